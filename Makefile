# Headcount. `make run` shows it, `make test` needs nothing but Go, `make check` is what CI runs.
GO        ?= go
GO_NEEDED := 1.26
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 3s
CMDS      := headcount headcount-cloud headcount-demo

# The packages that have tests under a build tag.
tagged = $$(grep -rl --include='*_test.go' '^//go:build.*$(1)' . | xargs -n1 dirname | sort -u)

.PHONY: run test check build bench deb rpm tarball fmt vet lint race fuzz integration postgres browser systems tools sizes go-present

run: go-present
	@mkdir -p bin && $(GO) build -ldflags '-X main.version=$(VERSION)' -o bin/headcount-demo ./cmd/headcount-demo
	@exec bin/headcount-demo $(ARGS)

test: go-present
	$(GO) test ./...

build: go-present
	@mkdir -p bin
	@for c in $(CMDS); do CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/$$c ./cmd/$$c || exit 1; done
	@ls -l bin

# Package benchmarks; then the hub beside bare bbolt and nats-server in one run, its memory and latency; then sizes.
bench: go-present
	$(GO) test -run '^$$' -bench . -benchtime 100ms -timeout 5m $$(grep -rl '^func Benchmark' --include='*_test.go' . | xargs -n1 dirname | sort -u)
	$(GO) test -tags bench -run TestBench -v -count=1 -timeout 10m ./cmd/headcount-demo
	@$(MAKE) --no-print-directory sizes

# Stripped sizes of the binaries on the platforms of the field.
sizes: go-present
	@mkdir -p bin
	@for a in amd64 arm64 arm; do for c in headcount headcount-cloud; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$a GOARM=7 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/$$c-$$a ./cmd/$$c || exit 1; \
	  printf '%-16s %-6s %5.1f MB\n' $$c $$a $$(stat -c %s bin/$$c-$$a | awk '{print $$1/1e6}'); done; done

# Packages of hub and cloud for amd64, arm64 and 32-bit ARM: dist/.
deb rpm tarball: go-present
	@sh packaging/packages.sh $(VERSION) $@

check: go-present fmt vet lint race fuzz integration postgres browser

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt these files:"; echo "$$out"; exit 1; fi

vet:
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags 'integration browser bench systems postgres' ./...
	GOOS=linux GOARCH=386 $(GO) build ./...
	GOOS=linux GOARCH=arm $(GO) build ./...

lint:
	$(GO) tool staticcheck ./...

race:
	$(GO) test -race -timeout 15m ./...

# Every fuzz target for a short while.
fuzz:
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; for p in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | sed 's/func //' | sort -u); do \
	    $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p >$$log 2>&1 || { cat $$log; exit 1; }; \
	    echo "fuzzed $$p $$f"; done; done

# Tests with real servers that do not come with Go modules, and the long ones.
integration: tools
	$(GO) test -tags integration -run Integration -timeout 15m -count=1 $(call tagged,integration)

# The cloud's suites on PostgreSQL.
postgres: tools
	.ci/postgres $(GO) test -tags postgres -count=1 -timeout 10m ./cloud/...

browser: tools
	$(GO) test -tags browser -run Browser -timeout 5m -count=1 $(call tagged,browser)

# Every feature of docs/systems.md against a started demo, with real clients: a line each.
systems: tools
	cmd/headcount-demo/systems/lab $(GO) test -tags systems -run TestSystems$$ -v -count=1 -timeout 45m ./cmd/headcount-demo

# Installs from Debian and npm what the integration and browser tests need.
tools:
	@sh .ci/tools

go-present:
	@command -v $(GO) >/dev/null || { echo "Headcount is built with Go $(GO_NEEDED) or newer, and there is no '$(GO)' in PATH. Install it from your distribution or go.dev and try again."; exit 1; }
	@v=$$($(GO) env GOVERSION | sed 's/^go//; s/-.*//'); \
	 [ "$$(printf '%s\n%s\n' $(GO_NEEDED) "$$v" | sort -V | head -n1)" = "$(GO_NEEDED)" ] || { echo "Headcount needs Go $(GO_NEEDED) or newer; '$(GO)' is $$v."; exit 1; }
