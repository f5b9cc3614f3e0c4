# What the checks of make systems share. A check is a bash script that begins with
#
#   # ID  what it is called here
#   # doc: the document that says more
#   # $ commands that show it
#   # > an extended regular expression that their output must match, one a line
#   . "$(dirname "$0")/lib.sh"
#
# and goes on with what takes more than a few lines. Sourcing this file logs in (TOKEN at the demo's cloud, LABTOKEN at
# the lab's), runs the commands and compares. A check that ends with 0 works; `missing WHY` ends one that cannot.
set -euo pipefail
export T=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$T"' EXIT
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR

login() { # URL EMAIL PASSWORD
	curl -fsS "$1/auth/login" -d "{\"email\":\"$2\",\"password\":\"$3\"}" | jq -r .access_token
}
missing() { echo "MISSING: $*" >&2; exit 3; }
wrong() { echo "$*" >&2; exit 1; }
has() { grep -Eq -- "$1" <<<"$OUT" || wrong "no /$1/ in: $(head -c 1500 <<<"$OUT")"; }
is() { [ "$1" = "$2" ] || wrong "got ${1:0:1500}, want $2"; }
# status CURL-ARGUMENTS... prints the answer's status.
status() { curl -s -o "$T/body" -w '%{http_code}' "$@"; }
# soon COMMAND... tries for 30 s (TRIES times 0.2 s) until it succeeds and prints something.
soon() {
	for _ in $(seq "${TRIES:-150}"); do
		if OUT=$("$@" 2>"$T/err") && [ -n "$OUT" ]; then return; fi
		sleep 0.2
	done
	wrong "not in time: $*: $OUT $(cat "$T/err")"
}
# proven PACKAGE TEST... runs Go tests with these exact names and insists that each of them passed.
proven() {
	local pkg=$1 name names
	shift
	names=$(IFS='|'; echo "$*")
	(cd "$ROOT" && go test -v -timeout 5m -tags "${TAGS:-none}" -run "^($names)\$" "$pkg") >"$T/test" 2>&1 || wrong "$pkg $*: $(grep -vE '^(=== |ok )' "$T/test" | tail -n 15)"
	for name; do grep -q -- "--- PASS: $name " "$T/test" || wrong "$pkg: $name did not run"; done
}
# kill9 NAME ends a process of the lab (cloud, hub) as a power cut does; back URL waits for the one that takes its place.
kill9() { kill -9 "$(cat "$DIR/$1.pid")"; }
back() { for _ in $(seq 150); do curl -fso /dev/null "$1/health/live" && return; sleep 0.2; done; wrong "$1 does not come back"; }

# crowd N says how many people are in the lab's lobby, which is made for 4.
crowd() { curl -fsS -X PUT "$LABHUB/v1/spaces/lobby/count" -H "Content-Type: application/json" -d "{\"count\":$1}" >/dev/null; }
# nats_user makes credentials at the lab's NATS server, and nats_as runs the NATS command line with them.
nats_user() {
	command -v nats >/dev/null || missing "the NATS command line is not installed; run: make tools"
	headcount-cloud nats-user "check-$$" --permission observe --permission call --out "$T/nats.creds" --config "$DIR/cloud/cloud.yaml" 2>/dev/null
}
nats_as() { nats --creds "$T/nats.creds" --server "$LABNATS" --inbox-prefix "_INBOX_check-$$" "$@"; }

TOKEN=$(login "$CLOUD" "$EMAIL" "$PASSWORD")
LABTOKEN=$(login "$LAB" ann@acme.example "correct horse battery")
# as NAME prints the header of another user of the lab: bob operates, mia manages, vic looks, eve belongs to globex.
as() { echo "Authorization: Bearer $(login "$LAB" "$1@acme.example" "correct horse battery")"; }

export TOKEN LABTOKEN A="Authorization: Bearer $TOKEN" L="Authorization: Bearer $LABTOKEN"
export SITE=$(curl -fsS "$CLOUD/v1/sites" -H "$A" | jq -r '.sites[0].id')

shown=$(sed -n 's/^# \$ //p' "$0")
if [ -n "$shown" ]; then
	set +o pipefail # a command cut off by head or a time limit is not amiss
	eval "$shown" >"$T/out" 2>&1 || wrong "the command failed: $(tail -c 1500 "$T/out")"
	set -o pipefail
	OUT=$(cat "$T/out")
	while IFS= read -r want; do has "$want"; done < <(sed -n 's/^# > //p' "$0")
fi
