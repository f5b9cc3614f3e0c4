package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// schema is the part of JSON Schema that schema.json uses; a keyword beyond it does not parse,
// so that none is silently ignored.
type schema struct {
	Schema        string             `json:"$schema"`
	ID            string             `json:"$id"`
	Ref           string             `json:"$ref"`
	Defs          map[string]*schema `json:"$defs"`
	Title         string             `json:"title"`
	Description   string             `json:"description"`
	Type          string             `json:"type"`
	Format        string             `json:"format"`
	Pattern       string             `json:"pattern"`
	Enum          []string           `json:"enum"`
	Default       json.RawMessage    `json:"default"`
	Minimum       *float64           `json:"minimum"`
	Maximum       *float64           `json:"maximum"`
	MinLength     int                `json:"minLength"`
	MaxLength     int                `json:"maxLength"`
	MinItems      int                `json:"minItems"`
	MaxItems      int                `json:"maxItems"`
	Items         *schema            `json:"items"`
	Properties    map[string]*schema `json:"properties"`
	Required      []string           `json:"required"`
	PropertyNames *schema            `json:"propertyNames"`
	Additional    *additional        `json:"additionalProperties"`

	pattern *regexp.Regexp
}

// additional is the value of additionalProperties: false, true, or a schema.
type additional struct {
	allowed bool
	schema  *schema
}

// UnmarshalJSON reads either form.
func (a *additional) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return json.Unmarshal(b, &a.allowed)
	}
	a.allowed, a.schema = true, &schema{}
	return strictJSON(b, a.schema)
}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// rootSchema is schema.json with its references resolved.
var rootSchema = sync.OnceValue(func() *schema {
	root := &schema{}
	if err := strictJSON(schemaJSON, root); err != nil {
		panic("config: schema.json: " + err.Error()) // part of the program; a test reads it
	}
	root.resolve(root.Defs)
	return root
})

// resolve replaces references by what they name; a description beside one wins.
func (s *schema) resolve(defs map[string]*schema) {
	if s == nil {
		return
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		target := *defs[name]
		if s.Description != "" {
			target.Description = s.Description
		}
		if s.Default != nil {
			target.Default = s.Default
		}
		*s = target
	}
	if s.Pattern != "" {
		s.pattern = regexp.MustCompile(s.Pattern)
	}
	for _, p := range s.Properties {
		p.resolve(defs)
	}
	s.Items.resolve(defs)
	s.PropertyNames.resolve(defs)
	if s.Additional != nil {
		s.Additional.schema.resolve(defs)
	}
}

// property returns the schema of a key; nil if it has none. known is false if the key is not
// allowed.
func (s *schema) property(key string) (p *schema, known bool) {
	if p, ok := s.Properties[key]; ok {
		return p, true
	}
	if s.Additional != nil && s.Additional.allowed {
		return s.Additional.schema, true
	}
	return nil, false
}

func (s *schema) keys() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// checker walks a tree along the schema.
type checker struct {
	ps       *problems
	siteOnly bool
}

// check notes everything in n that the schema does not allow, and fills in defaults.
func (c checker) check(n *node, s *schema, path string) {
	if s == nil {
		n.settle()
		return
	}
	if !c.rightType(n, s, path) {
		return
	}
	switch n.kind {
	case mapNode:
		c.checkMap(n, s, path)
	case listNode:
		c.checkList(n, s, path)
	case textNode:
		c.checkText(n, s, path)
	case numberNode:
		c.checkNumber(n, s, path)
	}
}

// settle reads unquoted text from the environment below n as what it looks like, where no
// schema says what is wanted.
func (n *node) settle() {
	if n.loose && !n.quoted && n.kind == textNode {
		if v := scalar(n.text, n.pos); v.kind != nullNode {
			*n = *v
		}
	}
	for _, item := range n.items {
		item.settle()
	}
	for _, m := range n.members {
		m.value.settle()
	}
}

// rightType compares types, after reading text from the environment as what is wanted and
// nothing at all as an empty list or map.
func (c checker) rightType(n *node, s *schema, path string) bool {
	want := map[string]kind{"string": textNode, "number": numberNode, "integer": numberNode, "boolean": boolNode, "array": listNode, "object": mapNode}[s.Type]
	if n.loose && n.kind == textNode && (want == numberNode || want == boolNode) {
		n.kind = nullNode
		if v := scalar(n.text, n.pos); v.kind != nullNode {
			v.loose = true
			*n = *v
		}
	}
	if n.kind == nullNode && (want == listNode || want == mapNode) {
		n.kind = want
	}
	switch {
	case n.kind == nullNode:
		c.ps.add(n, path, "delete the key or give it "+wanted(s), "has no value")
		return false
	case want == textNode && (n.kind == numberNode || n.kind == boolNode):
		c.ps.add(n, path, textHint(n, s), "must be %s, not %s %s", wanted(s), map[kind]string{numberNode: "the number", boolNode: "the yes or no"}[n.kind], n.text)
		return false
	case n.kind != want:
		c.ps.add(n, path, "", "must be %s, not %s", wanted(s), n.describe())
		return false
	case s.Type == "integer" && !n.whole:
		c.ps.add(n, path, "", "must be a whole number, not %s", n.text)
		return false
	}
	return true
}

// wanted says what the schema wants.
func wanted(s *schema) string {
	switch s.Format {
	case "duration":
		return "a duration such as 30s, 2m or 30d"
	case "size":
		return "a size such as 512MiB or 4GiB"
	}
	return map[string]string{
		"string": "text", "number": "a number", "integer": "a whole number",
		"boolean": "true or false", "array": "a list", "object": "a map of keys",
	}[s.Type]
}

func textHint(n *node, s *schema) string {
	switch {
	case s.Format == "duration":
		return "write the unit: " + n.text + "s, " + n.text + "m, …"
	case s.Format == "size":
		return "write the unit: " + n.text + "MiB, …"
	case len(s.Enum) > 0:
		return choices(n.text, s.Enum)
	}
	return fmt.Sprintf("write it in quotes: %q", n.text)
}

// describe says what a node is, with its text if that is short.
func (n *node) describe() string {
	if n.kind == textNode && utf8.RuneCountInString(n.text) <= 40 {
		return fmt.Sprintf("the text %q", n.text)
	}
	if n.kind == numberNode || n.kind == boolNode {
		return n.text
	}
	return n.kind.String()
}

func (c checker) checkMap(n *node, s *schema, path string) {
	for i := range n.members {
		m := &n.members[i]
		where := join(path, m.key)
		p, known := s.property(m.key)
		if !known {
			c.ps.addAt(m.keyPos, where, choices(m.key, s.keys()), "there is no such key")
			continue
		}
		if s.PropertyNames != nil {
			name := &node{kind: textNode, text: m.key, pos: m.keyPos}
			c.check(name, s.PropertyNames, where)
		}
		c.check(m.value, p, where)
	}
	for _, key := range s.Required {
		if n.get(key) == nil && !(c.siteOnly && path == "") {
			c.ps.add(n, join(path, key), describeHint(s.Properties[key]), "is missing")
		}
	}
	for _, key := range s.keys() {
		p := s.Properties[key]
		if p.Default == nil || n.get(key) != nil {
			continue
		}
		v := defaultNode(p.Default)
		c.check(v, p, join(path, key))
		n.set(key, v)
	}
}

func describeHint(s *schema) string {
	if s == nil {
		return ""
	}
	first, _, _ := strings.Cut(s.Description, ". ")
	return strings.TrimSuffix(first, ".")
}

// defaultNode makes a node of a default in the schema: text, boolean, number or empty map.
func defaultNode(raw json.RawMessage) *node {
	if raw[0] == '{' {
		return &node{kind: mapNode}
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return &node{kind: textNode, text: text}
	}
	return scalar(string(raw), Position{})
}

func (c checker) checkList(n *node, s *schema, path string) {
	if l := len(n.items); l < s.MinItems || s.MaxItems > 0 && l > s.MaxItems {
		if s.MinItems == s.MaxItems {
			c.ps.add(n, path, "", "must have %d elements, has %d", s.MinItems, l)
		} else {
			c.ps.add(n, path, "", "has %d elements, allowed are %d to %d", l, s.MinItems, s.MaxItems)
		}
	}
	for i, item := range n.items {
		c.check(item, s.Items, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (c checker) checkNumber(n *node, s *schema, path string) {
	if s.Minimum != nil && n.num < *s.Minimum {
		c.ps.add(n, path, "", "must be at least %v, not %s", *s.Minimum, n.text)
	}
	if s.Maximum != nil && n.num > *s.Maximum {
		c.ps.add(n, path, "", "must be at most %.0f, not %s", *s.Maximum, n.text)
	}
}

func (c checker) checkText(n *node, s *schema, path string) {
	length := utf8.RuneCountInString(n.text)
	switch {
	case len(s.Enum) > 0:
		if !slices.Contains(s.Enum, n.text) {
			c.ps.add(n, path, choices(n.text, s.Enum), "must not be %q", n.text)
		}
		return
	case length < s.MinLength && strings.TrimSpace(n.text) == "":
		c.ps.add(n, path, "delete the key or give it a value", "is empty")
		return
	case s.MaxLength > 0 && length > s.MaxLength:
		c.ps.add(n, path, "", "has %d characters, at most %d are allowed", length, s.MaxLength)
		return
	}
	if i := strings.IndexFunc(n.text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == utf8.RuneError }); i >= 0 {
		c.ps.add(n, path, "", "has a control character or broken UTF-8 at character %d", utf8.RuneCountInString(n.text[:i])+1)
		return
	}
	if msg, hint := c.checkFormat(n.text, s.Format); msg != "" {
		c.ps.add(n, path, hint, "%s", msg)
		return
	}
	if s.pattern != nil && !s.pattern.MatchString(n.text) && !(c.siteOnly && s.Format == "id") {
		c.ps.add(n, path, "", "%q does not have the shape %s", n.text, s.Pattern)
	}
}
