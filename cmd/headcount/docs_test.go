package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/drivers/broker"
	"github.com/headcount-hub/headcount/drivers/httppush"
	"github.com/headcount-hub/headcount/drivers/lines"
	"github.com/headcount-hub/headcount/drivers/mqtt"
	"github.com/headcount-hub/headcount/drivers/profiles"
	"github.com/headcount-hub/headcount/edge/config"
)

var update = flag.Bool("update", false, "write the generated parts of docs/")

// TestConfigurationTable holds docs/configuration.md against the schema.
func TestConfigurationTable(t *testing.T) {
	var root node
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	root.rows(&b, root.Defs, "")
	generated(t, "../../docs/configuration.md", "<!-- generated: cmd/headcount/docs_test.go -->\n", b.String())
}

// TestProfilesTable holds docs/drivers.md against the models.
func TestProfilesTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| profile | what | over | class | topics | addresses |\n|---|---|---|---|---|---|\n")
	for _, name := range profiles.Names() {
		p, _ := profiles.Lookup(name)
		topics := ""
		if len(p.Topics) > 0 {
			topics = "`" + strings.Join(p.Topics, "` `") + "`"
		}
		prefix := ""
		if p.Prefix != "" {
			prefix = "`" + p.Prefix + "…`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", p.Name, p.Title, cmp.Or(p.Transport, "any"), p.Class, topics, prefix)
	}
	generated(t, "../../docs/drivers.md", "<!-- profiles: cmd/headcount/docs_test.go -->\n", b.String())
}

// TestDriversDocNamesEveryOption fails when a driver has an option that nobody can read about.
func TestDriversDocNamesEveryOption(t *testing.T) {
	b, err := os.ReadFile("../../docs/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]any{
		broker.Name: broker.Options{}, mqtt.Name: mqtt.Options{}, httppush.Name: httppush.Options{}, lines.Name: lines.Options{},
	} {
		_, section, ok := strings.Cut(string(b), "\n## "+name+"\n")
		if !ok {
			t.Errorf("docs/drivers.md has no section %s", name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, f := range reflect.VisibleFields(reflect.TypeOf(options)) {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key != "" && !strings.Contains(section, "`"+key+"`") {
				t.Errorf("docs/drivers.md: section %s says nothing of the option %s", name, key)
			}
		}
	}
}

// generated compares the part of a document that follows a mark, or with -update writes it.
func generated(t *testing.T, file, mark, want string) {
	t.Helper()
	const end = "<!-- end -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), mark)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part between %q and %q", file, mark, end)
	}
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run: go test ./cmd/headcount -run Table -update", file)
	}
	if err := os.WriteFile(file, []byte(before+mark+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// node is the part of the JSON Schema that the table shows.
type node struct {
	Ref         string `json:"$ref"`
	Type        string
	Description string
	Default     json.RawMessage
	Enum        []string
	Required    []string
	Items       *node
	Properties  map[string]*node
	Additional  json.RawMessage  `json:"additionalProperties"`
	Defs        map[string]*node `json:"$defs"`
}

// rows writes a line for each property and for all below it.
func (n *node) rows(b *strings.Builder, defs map[string]*node, prefix string) {
	keys := slices.SortedFunc(maps.Keys(n.Properties), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	for _, key := range keys {
		p, name := n.Properties[key], ""
		if p.Ref != "" {
			name = strings.TrimPrefix(p.Ref, "#/$defs/")
			def := *defs[name]
			def.Description = cmp.Or(p.Description, def.Description)
			if p.Default != nil {
				def.Default = p.Default
			}
			p = &def
		}
		inside, suffix := p, ""
		var values node
		if p.Type == "array" && p.Items.Ref != "" {
			inside, suffix = defs[strings.TrimPrefix(p.Items.Ref, "#/$defs/")], "[]"
		} else if json.Unmarshal(p.Additional, &values) == nil && values.Ref != "" {
			inside, suffix = defs[strings.TrimPrefix(values.Ref, "#/$defs/")], ".NAME"
		}
		value := ""
		switch {
		case slices.Contains(n.Required, key):
			value = "**required**"
		case p.Default != nil && string(p.Default) != "{}":
			value = "`" + strings.Trim(string(p.Default), `"`) + "`"
		}
		fmt.Fprintf(b, "| `%s%s%s` | %s | %s | %s |\n", prefix, key, suffix, kind(p, name), value, p.Description)
		if len(inside.Properties) > 0 {
			inside.rows(b, defs, prefix+key+suffix+".")
		}
	}
}

// order is that of the example, and what names a thing before what describes it.
var order = []string{"id", "name", "driver", "site", "spaces", "doors", "inputs", "sensors", "alerts", "actions", "uplink", "storage", "http"}

// rank is a key's place in order; those that order does not name follow by the alphabet.
func rank(key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}

func kind(p *node, name string) string {
	switch {
	case len(p.Enum) > 0:
		return strings.Join(p.Enum, ", ")
	case name == "duration" || name == "size" || name == "id":
		return "*" + name + "*"
	case p.Type == "array":
		return "list"
	case p.Type == "object":
		return "map"
	}
	return p.Type
}

var block = regexp.MustCompile("(?s)```yaml\n(site:.*?)```")

// TestConfigurationsInDocsLoad loads every configuration that a document or the package shows.
func TestConfigurationsInDocsLoad(t *testing.T) {
	found := 0
	for _, pattern := range []string{"../../README.md", "../../docs/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range block.FindAllSubmatch(b, -1) {
				found++
				dir := inDir(t, map[string]string{"headcount.yaml": string(m[1])})
				headcount(t, "config", "check", "-c", filepath.Join(dir, "headcount.yaml")).is(exitOK, "is good")
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a configuration")
	}
}
