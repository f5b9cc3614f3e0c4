package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Document is a YAML file of another kind than the hub's configuration, read as strictly: along
// a JSON Schema, every mistake with its place. It is for one goroutine.
type Document struct {
	ps   *problems
	root *node
}

// ReadDocument reads a file along a schema, which is of the part of JSON Schema that the
// configuration's own uses. An error is an *[Errors] with all mistakes of shape, or says why the file or
// the schema cannot be read.
func ReadDocument(path string, schemaJSON []byte) (*Document, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseDocument(path, data, schemaJSON)
}

// ParseDocument is ReadDocument without the file system: name stands for the file in messages.
func ParseDocument(name string, data, schemaJSON []byte) (*Document, error) {
	s := &schema{}
	if err := strictJSON(schemaJSON, s); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	s.resolve(s.Defs)
	d := &Document{ps: &problems{file: name}}
	if d.root = readYAML(d.ps, name, data); d.root != nil {
		checker{ps: d.ps}.check(d.root, s, "")
	}
	return d, d.Err()
}

// Decode writes the values, defaults included, into v as JSON does.
func (d *Document) Decode(v any) error {
	dec := json.NewDecoder(bytes.NewReader(d.root.appendJSON(nil)))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// Wrong notes a mistake at a key, such as spaces[2].parent, or at what is nearest to it.
func (d *Document) Wrong(path, hint, format string, args ...any) {
	d.ps.add(d.find(path), path, hint, format, args...)
}

// WrongWord notes that a key has another word than the known ones.
func (d *Document) WrongWord(path, got, what string, known []string) {
	known = slices.Sorted(slices.Values(known))
	d.Wrong(path, choices(got, known), "there is no %s %q", what, got)
}

// Err returns an *[Errors] with all mistakes so far in the order of the file; nil if there are none.
func (d *Document) Err() error { return d.ps.err() }

// find goes down a path as far as there is something.
func (d *Document) find(path string) *node {
	n := d.root
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		i, err := strconv.Atoi(step)
		switch {
		case err == nil && n.kind == listNode && i < len(n.items):
			n = n.items[i]
		case n.get(step) != nil:
			n = n.get(step)
		default:
			return n
		}
	}
	return n
}
