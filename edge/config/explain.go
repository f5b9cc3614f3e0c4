package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Explanation says what one key is and where its value came from.
type Explanation struct {
	Key         string `json:"key"`                   // as in spaces[2].capacity
	Value       string `json:"value"`                 // as JSON, secrets hidden
	From        string `json:"from"`                  // file:line:col, environment variable X, or default
	Default     string `json:"default,omitempty"`     // as JSON, if the schema has one
	Description string `json:"description,omitempty"` //
}

// Explain returns the effective values of a key and of all below it; of everything for an
// empty key. Elements of lists are named by number, spaces[2].capacity, or by id,
// spaces.lobby.capacity. It returns none if there is no such key.
func (c *Config) Explain(key string) []Explanation {
	e := explainer{want: bracket.ReplaceAllString(key, ".$1")}
	e.walk(c.tree, rootSchema(), "", "", e.want == "")
	return e.out
}

var bracket = regexp.MustCompile(`\[(\w+)\]`)

type explainer struct {
	want string
	out  []Explanation
}

// walk visits n, known as path (with numbers) and dotted (what the user may have written).
func (e *explainer) walk(n *node, s *schema, path, dotted string, wanted bool) {
	wanted = wanted || dotted == e.want
	if !wanted && dotted != "" && !strings.HasPrefix(e.want, dotted+".") {
		return
	}
	for i, item := range n.items {
		var sub *schema
		if s != nil {
			sub = s.Items
		}
		name := cmp.Or(item.str("id"), item.str("name"))
		number := fmt.Sprint(i)
		if name != "" && (e.want == join(dotted, name) || strings.HasPrefix(e.want, join(dotted, name)+".")) {
			number = name
		}
		e.walk(item, sub, fmt.Sprintf("%s[%d]", path, i), join(dotted, number), wanted)
	}
	for _, m := range n.members {
		var sub *schema
		if s != nil {
			sub, _ = s.property(m.key)
		}
		e.walk(hide(m.key, m.value), sub, join(path, m.key), join(dotted, m.key), wanted)
	}
	if wanted && n.kind != mapNode && (n.kind != listNode || len(n.items) == 0) {
		e.add(n, s, path)
	}
}

func (e *explainer) add(n *node, s *schema, path string) {
	x := Explanation{Key: path, Value: string(n.appendJSON(nil)), From: n.pos.String()}
	if s != nil {
		x.Default, x.Description = string(s.Default), s.Description
	}
	e.out = append(e.out, x)
}

// Show returns the effective document as indented JSON, secrets hidden.
func (c *Config) Show() []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, c.tree.hidden().appendJSON(nil), "", "  "); err != nil {
		panic("config: " + err.Error()) // appendJSON writes JSON
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// hide replaces what must not be shown: values of keys that sound like secrets, passwords in
// URLs.
func hide(key string, n *node) *node {
	if n.kind != textNode {
		return n
	}
	c := *n
	for _, word := range [...]string{"password", "secret", "token", "passphrase", "api_key"} {
		if strings.Contains(key, word) && !strings.HasSuffix(key, "_file") {
			c.text = "***"
			return &c
		}
	}
	if u, err := url.Parse(n.text); err == nil && u.User != nil {
		c.text = u.Redacted()
	}
	return &c
}

func (n *node) hidden() *node {
	c := *n
	c.items, c.members = slices.Clone(n.items), slices.Clone(n.members)
	for i, item := range c.items {
		c.items[i] = item.hidden()
	}
	for i, m := range c.members {
		c.members[i].value = hide(m.key, m.value.hidden())
	}
	return &c
}

// sorted returns a copy of n with the keys of all maps in order.
func (n *node) sorted() *node {
	c := *n
	c.items, c.members = slices.Clone(n.items), slices.Clone(n.members)
	for i, item := range c.items {
		c.items[i] = item.sorted()
	}
	for i, m := range c.members {
		c.members[i].value = m.value.sorted()
	}
	slices.SortFunc(c.members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	return &c
}
