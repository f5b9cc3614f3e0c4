package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/systems.md anew")

// check is one script of the folder systems: a feature of another system, as it works here. See systems/lib.sh
// for its form.
type check struct {
	id, title, doc string
	commands       []string // what shows it, as docs/systems.md prints it
}

func checks(t *testing.T) []check {
	t.Helper()
	files, err := filepath.Glob("systems/S[0-9].*.sh")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no checks in systems/", err)
	}
	var all []check
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parseCheck(t, strings.TrimSuffix(filepath.Base(f), ".sh"), string(b)))
	}
	return all
}

func parseCheck(t *testing.T, id, text string) check {
	t.Helper()
	lines := strings.Split(text, "\n")
	first, title, _ := strings.Cut(strings.TrimPrefix(lines[0], "# "), "  ")
	c := check{id: id, title: title}
	for _, l := range lines[1:] {
		if doc, ok := strings.CutPrefix(l, "# doc: "); ok {
			c.doc = doc
		}
		if cmd, ok := strings.CutPrefix(l, "# $ "); ok {
			c.commands = append(c.commands, cmd)
		}
	}
	if first != id || title == "" || c.doc == "" {
		t.Errorf("systems/%s.sh: want a first line \"# %s  TITLE\" and a line \"# doc: FILE\"", id, id)
	}
	if !strings.Contains(text, `lib.sh"`) {
		t.Errorf("systems/%s.sh: it does not source lib.sh, so that its commands are not run", id)
	}
	return c
}

// row is the check's line of docs/systems.md.
func (c check) row() string {
	shown := []string{"`cmd/headcount-demo/systems/lab cmd/headcount-demo/systems/" + c.id + ".sh`"}
	if len(c.commands) > 0 {
		shown = nil
	}
	for _, cmd := range c.commands {
		shown = append(shown, "`"+strings.ReplaceAll(cmd, "|", `\|`)+"`")
	}
	name, _, _ := strings.Cut(c.doc, "#")
	return fmt.Sprintf("| %s | %s | %s | [%s](%s) |", c.id, c.title, strings.Join(shown, "<br>"), strings.TrimSuffix(filepath.Base(name), ".md"), c.doc)
}

// TestSystemsDocument holds docs/systems.md to the checks that make systems runs: the same rows with the same
// commands, and documents that are there.
func TestSystemsDocument(t *testing.T) {
	const path, begin, end = "../../docs/systems.md", "<!-- generated: cmd/headcount-demo/systems_doc_test.go -->\n", "<!-- end -->\n"
	var rows strings.Builder
	rows.WriteString("| feature | ours | shown by | more |\n|---|---|---|---|\n")
	heading := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, c := range checks(t) {
		rows.WriteString(c.row() + "\n")
		name, anchor, _ := strings.Cut(c.doc, "#")
		b, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Errorf("systems/%s.sh: %v", c.id, err)
		}
		found := anchor == ""
		for l := range strings.Lines(string(b)) {
			title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(l, "#")))
			found = found || strings.HasPrefix(l, "#") && strings.ReplaceAll(heading.ReplaceAllString(title, ""), " ", "-") == anchor
		}
		if !found {
			t.Errorf("systems/%s.sh: docs/%s has no heading %q", c.id, name, anchor)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(b), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: want the lines %q and %q", path, begin, end)
	}
	if table == rows.String() {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the checks say; run: go test ./cmd/headcount-demo -run SystemsDocument -update", path)
	}
	if err := os.WriteFile(path, []byte(head+begin+rows.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
