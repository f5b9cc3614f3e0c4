package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// builder turns a checked tree into a Config and notes what the schema cannot see.
type builder struct {
	ps   *problems
	opts Options
	root *node
	base string // absolute folder of the file
}

func (b *builder) build() *Config {
	c := &Config{Site: b.site(), Actions: map[string]Action{}}
	b.checkSite(&c.Site)
	if b.opts.SiteOnly {
		return c
	}
	c.Inputs = b.inputs()
	b.actions(c.Actions)
	c.Alerts = b.alerts(c.Actions)
	c.Uplink = b.uplink()
	c.Storage = b.storage()
	c.HTTP = b.http()
	c.Discovery = Discovery{MDNS: b.root.get("discovery").boolean("mdns")}
	c.Telemetry = b.telemetry()
	return c
}

// duration returns the value of a key that the schema has checked; 0 if it is missing.
func duration(n *node, key string) time.Duration {
	d, _ := ParseDuration(n.str(key))
	return d
}

// file makes a configured file name absolute; empty stays empty.
func (b *builder) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(b.base, name)
}

func (b *builder) inputs() []Input {
	var out []Input
	numbers, seen := map[string]int{}, map[string]bool{}
	for i, n := range b.root.list("inputs") {
		path := fmt.Sprintf("inputs[%d]", i)
		in := Input{ID: n.str("id"), Driver: n.str("driver"), Pos: n.pos}
		numbers[in.Driver]++
		if in.ID == "" {
			in.ID = fmt.Sprintf("%s-%d", in.Driver, numbers[in.Driver])
		}
		if seen[in.ID] {
			b.ps.add(n.at("id"), join(path, "id"), "give it another id", "there is already an input %q", in.ID)
		}
		seen[in.ID] = true
		own := b.options(n)
		in.Options = own.appendJSON(nil)
		if in.Driver != "" && b.opts.CheckInput != nil {
			if err := b.opts.CheckInput(in.Driver, in.Options); err != nil {
				b.blame(n, path, err)
			}
		}
		out = append(out, in)
	}
	return out
}

// options is the input without the keys that are not the driver's, files made absolute.
func (b *builder) options(n *node) *node {
	own := &node{kind: mapNode}
	for _, m := range n.members {
		if m.key != "driver" && m.key != "id" {
			own.members = append(own.members, m)
		}
	}
	return b.withFiles(own)
}

func (b *builder) withFiles(n *node) *node {
	c := *n
	c.members, c.items = slices.Clone(n.members), slices.Clone(n.items)
	for i, m := range c.members {
		v := b.withFiles(m.value)
		if strings.HasSuffix(m.key, "_file") && v.kind == textNode {
			v.text = b.file(v.text)
		}
		c.members[i].value = v
	}
	for i, item := range c.items {
		c.items[i] = b.withFiles(item)
	}
	return &c
}

var (
	quoted = regexp.MustCompile(`"([^"]+)"|\.([a-z0-9_]+) of type`)
	words  = regexp.MustCompile(`[a-z0-9_]+`)
)

// blame reports a driver's error at the option that it quotes or names, else at the input.
func (b *builder) blame(n *node, path string, err error) {
	for _, q := range quoted.FindAllStringSubmatch(err.Error(), -1) {
		for _, m := range n.members {
			if m.key == q[1] || m.key == q[2] {
				b.ps.addAt(m.keyPos, join(path, m.key), "", "%v", err)
				return
			}
		}
	}
	for _, word := range words.FindAllString(err.Error(), -1) {
		for _, m := range n.members {
			if m.key == word && m.key != "driver" && m.key != "id" {
				b.ps.add(m.value, join(path, m.key), "", "%v", err)
				return
			}
		}
	}
	b.ps.add(n.at("driver"), path, "", "%v", err)
}

func (b *builder) alerts(actions map[string]Action) []Alert {
	var out []Alert
	seen := map[string]bool{}
	for i, n := range b.root.list("alerts") {
		path := fmt.Sprintf("alerts[%d]", i)
		a := Alert{
			Name: n.str("name"), ForEach: n.str("for_each"), When: n.str("when"), Clear: n.str("clear"),
			For: duration(n, "for"), KeepFor: duration(n, "keep_for"), Severity: edge.Severity(n.str("severity")),
			Actions: n.texts("actions"), Message: n.str("message"), Disabled: n.boolean("disabled"), Pos: n.pos,
		}
		if seen[a.Name] && a.Name != "" {
			b.ps.add(n.at("name"), join(path, "name"), "give it another name", "there is already a rule %q", a.Name)
		}
		seen[a.Name] = true
		b.completeAlert(n, a, path)
		for j, item := range n.list("actions") {
			if _, ok := actions[item.text]; !ok && item.kind == textNode {
				b.ps.add(item, fmt.Sprintf("%s.actions[%d]", path, j), choices(item.text, slices.Sorted(maps.Keys(actions))), "there is no action %q", item.text)
			}
		}
		if b.opts.CheckAlert != nil && a.Name != "" {
			if err := b.opts.CheckAlert(a); err != nil {
				b.blameAlert(n, path, err)
			}
		}
		out = append(out, a)
	}
	return out
}

// completeAlert notes what a rule that is not built in must have.
func (b *builder) completeAlert(n *node, a Alert, path string) {
	if slices.Contains(b.opts.Builtin, a.Name) || n.kind != mapNode {
		return
	}
	for _, key := range [...]string{"for_each", "when"} {
		if n.get(key) == nil {
			b.ps.add(n, join(path, key), "only built-in rules go without: "+strings.Join(b.opts.Builtin, ", "), "is missing")
		}
	}
}

// blameAlert reports each mistake in a rule at its key and character.
func (b *builder) blameAlert(n *node, path string, err error) {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, one := range several.Unwrap() {
			b.blameAlert(n, path, one)
		}
		return
	}
	at, msg, hint := n.at("name").pos, err.Error(), ""
	var placed interface{ Where() (string, int) }
	if errors.As(err, &placed) {
		key, column := placed.Where()
		path = join(path, key)
		if v := n.get(key); v != nil {
			at = within(v, column)
		}
		if b.ps.has(path) {
			return
		}
	}
	var worded interface{ Problem() (string, string) }
	if errors.As(err, &worded) {
		msg, hint = worded.Problem()
	}
	b.ps.addAt(at, path, hint, "%s", msg)
}

// within is the place of a character in a text on one line of the file, else of the text.
func within(v *node, column int) Position {
	p := v.pos
	if column > 0 && p.Line > 0 && !v.block && !v.loose && !strings.Contains(v.text, "\n") {
		p.Col += column - 1
		if v.quoted {
			p.Col++
		}
	}
	return p
}

func (b *builder) uplink() *Uplink {
	n := b.root.get("uplink")
	if n == nil {
		return nil
	}
	return &Uplink{URL: n.str("url"), CredentialsFile: b.file(n.str("credentials_file")), CAFile: b.file(n.str("ca_file")), Org: n.str("org")}
}

// The least that storage can be configured to.
const (
	minSize    = 64 << 20
	minHistory = time.Hour
	minWear    = 100_000_000
)

func (b *builder) storage() Storage {
	n := b.root.get("storage")
	if n == nil {
		return Storage{}
	}
	if n.get("dir") == nil {
		n.set("dir", &node{kind: textNode, text: b.defaultDir()})
	}
	s := Storage{Dir: b.file(n.str("dir")), History: duration(n, "history"), WearBudget: n.str("wear_budget")}
	var err error
	if s.MaxSize, err = ParseSize(n.str("max_size")); err == nil && s.MaxSize < minSize {
		b.ps.add(n.get("max_size"), "storage.max_size", "", "must be at least 64MiB, not %s", n.str("max_size"))
	}
	if _, err := ParseDuration(n.str("history")); err == nil && s.History < minHistory {
		b.ps.add(n.get("history"), "storage.history", "", "must be at least 1h, not %s", n.str("history"))
	}
	if wear, err := ParseSize(s.WearBudget); err == nil && wear < minWear {
		b.ps.add(n.get("wear_budget"), "storage.wear_budget", "write none for no limit", "must be at least 100MB per day, not %s", s.WearBudget)
	}
	return s
}

func (b *builder) defaultDir() string {
	if b.opts.Dir == "" {
		return DefaultDir
	}
	dir, err := filepath.Abs(b.opts.Dir)
	if err != nil {
		return b.opts.Dir
	}
	return dir
}

func (b *builder) telemetry() *Telemetry {
	n := b.root.get("telemetry")
	if n == nil {
		return nil
	}
	return &Telemetry{OTLP: n.str("otlp"), Sample: n.number("sample")}
}

func (b *builder) http() HTTP {
	n := b.root.get("http")
	if n == nil {
		return HTTP{}
	}
	h := HTTP{Listen: n.str("listen"), TokenFile: b.file(n.str("token_file")), TLSCertFile: b.file(n.str("tls_cert_file")), TLSKeyFile: b.file(n.str("tls_key_file"))}
	h.PlainHTTP, h.Hosts, h.TrustedProxies, h.CORSOrigins = n.str("tls") == "off", n.texts("hosts"), n.texts("trusted_proxies"), n.texts("cors_origins")
	if l := n.get("rate_limit"); l != nil {
		h.RateLimit = RateLimit{PerSecond: l.number("per_second"), Burst: int(l.number("burst")), IngestPerSecond: l.number("ingest_per_second")}
	}
	if (h.TLSCertFile == "") != (h.TLSKeyFile == "") {
		b.ps.add(n, "http", "give both or neither", "tls_cert_file and tls_key_file belong together")
	}
	if h.TokenFile == "" {
		h.Listen = b.loopback(n, h.Listen)
	}
	return h
}

// loopback keeps the web server to this machine while it has no token: a port without a host
// means this machine, any other host is a mistake.
func (b *builder) loopback(n *node, listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || IsLoopback(listen) {
		return listen
	}
	if host == "" {
		narrowed := net.JoinHostPort("127.0.0.1", port)
		b.ps.warn(n.get("listen"), "http.listen", "give http.token_file to open it to others", "is opened on %s only, as there is no token file", narrowed)
		return narrowed
	}
	b.ps.add(n.get("listen"), "http.listen", fmt.Sprintf("write the token that clients must present to a file of mode 0600 and name it in http.token_file, or listen on 127.0.0.1:%s", port),
		"%s is open to other machines without a token", listen)
	return listen
}

// IsLoopback tells whether host:port is reachable from this machine only.
func IsLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
