package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// everything is a configuration in which each key of the schema occurs.
const everything = `
site: {id: hq, name: HQ, timezone: Europe/Oslo}
spaces:
  - {id: building, kind: building}
  - {id: floor-1, kind: floor, parent: building}
  - {id: room-101, name: Big room, kind: room, parent: floor-1, capacity: 8, volume_m3: 72.5, hours: "Mon-Fri 07:00-19:00"}
doors:
  - {id: entrance, between: [outside, room-101]}
inputs:
  - {driver: broker, id: main}
sensors:
  - {id: cam, name: Camera, device: "xovis:00", profile: xovis, door: entrance, reversed: true, horizon: 10m, params: {miss: 0.04}}
  - {id: pir, class: pir, space: room-101}
alerts:
  - {name: crowd, for_each: room, when: "count > 5", clear: "count < 4", for: 2m, keep_for: 1m, severity: critical, actions: [hook], message: "{name}", disabled: false}
actions:
  hook: {webhook: "https://example.org/x", secret_file: /etc/k, timeout: 5s}
  journal: {log: true}
uplink: {url: "tls://nats.example.org:4222", credentials_file: /etc/c, ca_file: /etc/ca, org: acme}
storage: {dir: /var/lib/headcount, max_size: 4GiB, history: 30d, wear_budget: auto}
http: {listen: "127.0.0.1:8080", token_file: /etc/t, tls_cert_file: /etc/cert, tls_key_file: /etc/key}
`

// free are keys whose text may be anything that is text.
var free = map[string]bool{"name": true, "device": true, "message": true, "when": true, "clear": true,
	"secret_file": true, "credentials_file": true, "ca_file": true, "token_file": true, "tls_cert_file": true, "tls_key_file": true, "dir": true}

// defining are keys of which any id will do.
var defining = map[string]bool{"site.id": true, "inputs[0].driver": true, "inputs[0].id": true, "uplink.org": true,
	"sensors[0].id": true, "sensors[1].id": true, "sensors[0].profile": true, "alerts[0].name": true}

func tree(t testing.TB, text string) *node {
	t.Helper()
	ps := &problems{}
	n := readYAML(ps, "x", []byte(text))
	if err := ps.err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// mutant is one document with one change.
type mutant struct {
	what string
	doc  *node
}

// mutants returns the document with each value replaced in turn by values of other types and
// nonsense text, and each key misspelt.
func mutants(root *node) []mutant {
	var out []mutant
	var visit func(n *node, path, key string, rebuild func(*node) *node)
	visit = func(n *node, path, key string, rebuild func(*node) *node) {
		for _, v := range replacements(n, path, key) {
			out = append(out, mutant{path + " = " + string(v.appendJSON(nil)), rebuild(v)})
		}
		for i, m := range n.members {
			with := func(k string, v *node) *node {
				c := *n
				c.members = append([]member(nil), n.members...)
				c.members[i] = member{key: k, value: v}
				return rebuild(&c)
			}
			if !strings.HasPrefix(path, "actions") || strings.Contains(path, ".") {
				if !strings.HasSuffix(path, "params") && !strings.HasPrefix(path, "inputs[") {
					out = append(out, mutant{join(path, m.key) + " misspelt", with(m.key+"x", m.value)})
				}
			}
			visit(m.value, join(path, m.key), m.key, func(v *node) *node { return with(m.key, v) })
		}
		for i, item := range n.items {
			visit(item, fmt.Sprintf("%s[%d]", path, i), key, func(v *node) *node {
				c := *n
				c.items = append([]*node(nil), n.items...)
				c.items[i] = v
				return rebuild(&c)
			})
		}
	}
	visit(root, "", "", func(n *node) *node { return n })
	return out
}

func replacements(n *node, path, key string) []*node {
	var out []*node
	for _, v := range []*node{
		{kind: boolNode, yes: true}, {kind: numberNode, text: "-1", num: -1, whole: true},
		{kind: numberNode, text: "1.5", num: 1.5}, {kind: listNode, items: []*node{{kind: listNode}}},
		{kind: mapNode, members: []member{{key: "?", value: &node{kind: nullNode}}}},
	} {
		fits := v.kind == n.kind && (n.kind == boolNode || n.kind == numberNode && !(key == "capacity" || v.num < 0 && key == "volume_m3"))
		if !fits {
			out = append(out, v)
		}
	}
	if n.kind != listNode && n.kind != mapNode {
		out = append(out, &node{kind: nullNode})
	}
	if n.kind != textNode || !free[key] {
		for _, text := range []string{"No Such Thing!", "2 minutes", "4 gigs", "\x00"} {
			out = append(out, &node{kind: textNode, text: text})
		}
		if !defining[path] {
			out = append(out, &node{kind: textNode, text: "zzz"})
		}
	}
	return out
}

func TestEveryMutatedFieldIsRefused(t *testing.T) {
	if _, err := Parse("x", []byte(everything), Options{}); err != nil {
		t.Fatal(err)
	}
	all := mutants(tree(t, everything))
	if len(all) < 600 {
		t.Errorf("%d mutants, want at least 600", len(all))
	}
	for _, m := range all {
		doc := m.doc.appendJSON(nil) // JSON is YAML
		_, err := Parse("x", doc, Options{})
		var errs *Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: got %v, want it refused", m.what, err)
		}
	}
}

// TestTheSchemaIsValidAndAgrees holds schema.json against another implementation: what that
// one refuses we refuse too, and what we refuse for its shape that one refuses.
func TestTheSchemaIsValidAndAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("headcount.json", doc); err != nil {
		t.Fatal(err)
	}
	reference, err := c.Compile("headcount.json")
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(n *node) (theirs, ours bool) {
		var v any
		d := json.NewDecoder(bytes.NewReader(n.appendJSON(nil)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		ps := &problems{}
		copied := tree(t, string(n.appendJSON(nil)))
		checker{ps: ps}.check(copied, rootSchema(), "")
		return reference.Validate(v) == nil, len(ps.list) == 0
	}
	for _, text := range []string{everything, string(designYAML), string(exampleYAML)} {
		if theirs, ours := verdict(tree(t, text)); !theirs || !ours {
			t.Errorf("reference accepts: %v, we: %v, want both\n%s", theirs, ours, text)
		}
	}
	for _, m := range mutants(tree(t, everything)) {
		if theirs, ours := verdict(m.doc); ours && !theirs {
			t.Errorf("%s: the reference refuses it, we do not", m.what)
		}
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	var visit func(s *schema, path string)
	visit = func(s *schema, path string) {
		if s == nil {
			return
		}
		for k, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s: no description", join(path, k))
			}
			visit(p, join(path, k))
		}
		visit(s.Items, path+"[]")
		if s.Additional != nil {
			visit(s.Additional.schema, path+".*")
		}
	}
	visit(rootSchema(), "")
}
