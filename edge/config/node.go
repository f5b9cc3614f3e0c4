package config

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// kind is the type of a node.
type kind uint8

const (
	nullNode kind = iota
	boolNode
	numberNode
	textNode
	listNode
	mapNode
)

// String names the kind for people.
func (k kind) String() string {
	return [...]string{"nothing", "yes or no", "a number", "text", "a list", "a map of keys"}[k]
}

// node is one value of the document, with where it was written.
type node struct {
	kind    kind
	pos     Position
	text    string  // text; of a number or boolean as it was written
	num     float64 // number
	whole   bool    // the number is an integer that int64 holds
	yes     bool    // boolean
	loose   bool    // text that came from the environment: may be read as number or boolean
	quoted  bool    // text in quotes: its first character is one column further right
	block   bool    // text in lines of its own, where columns mean nothing
	members []member
	items   []*node
}

// member is one key of a map.
type member struct {
	key    string
	keyPos Position
	value  *node
}

// get returns the value of a key; nil if n is nil, not a map or has no such key.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return n.members[i].value
		}
	}
	return nil
}

// at returns get(key), or n itself when the key is missing: a place to point at.
func (n *node) at(key string) *node {
	if v := n.get(key); v != nil {
		return v
	}
	return n
}

func (n *node) set(key string, v *node) {
	for i := range n.members {
		if n.members[i].key == key {
			n.members[i].value = v
			return
		}
	}
	n.members = append(n.members, member{key: key, keyPos: v.pos, value: v})
}

// str returns the text of the value of a key, empty if it is missing.
func (n *node) str(key string) string {
	if v := n.get(key); v != nil && v.kind == textNode {
		return v.text
	}
	return ""
}

func (n *node) boolean(key string) bool {
	v := n.get(key)
	return v != nil && v.kind == boolNode && v.yes
}

func (n *node) number(key string) float64 {
	if v := n.get(key); v != nil && v.kind == numberNode {
		return v.num
	}
	return 0
}

// list returns the elements of the value of a key.
func (n *node) list(key string) []*node {
	if v := n.get(key); v != nil {
		return v.items
	}
	return nil
}

func (n *node) texts(key string) []string {
	var out []string
	for _, item := range n.list(key) {
		if item.kind == textNode {
			out = append(out, item.text)
		}
	}
	return out
}

// scalar makes a node of plain YAML text by the core schema: null, booleans, numbers, text.
func scalar(text string, pos Position) *node {
	n := &node{kind: textNode, text: text, pos: pos}
	switch text {
	case "", "~", "null", "Null", "NULL":
		n.kind = nullNode
	case "true", "True", "TRUE":
		n.kind, n.yes = boolNode, true
	case "false", "False", "FALSE":
		n.kind = boolNode
	default:
		if x, whole, ok := parseNumber(text); ok {
			n.kind, n.num, n.whole = numberNode, x, whole
		}
	}
	return n
}

// parseNumber reads decimal numbers, and 0x and 0o integers.
func parseNumber(s string) (x float64, whole, ok bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return float64(i), true, true
	}
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0o") {
		if i, err := strconv.ParseInt(s, 0, 64); err == nil {
			return float64(i), true, true
		}
		return 0, false, false
	}
	if strings.Trim(s, "+-.0123456789eE") != "" || !strings.ContainsAny(s, "0123456789") {
		return 0, false, false
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, false, false
	}
	return x, x == math.Trunc(x) && math.Abs(x) < 1<<53, true
}

// appendJSON writes the node as JSON, keys in their order.
func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case boolNode:
		return strconv.AppendBool(b, n.yes)
	case numberNode:
		if i, err := strconv.ParseInt(n.text, 0, 64); err == nil {
			return strconv.AppendInt(b, i, 10)
		}
		return appendValue(b, n.num)
	case textNode:
		return appendValue(b, n.text)
	case listNode:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case mapNode:
		b = append(b, '{')
		for i, m := range n.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendValue(b, m.key), ':')
			b = m.value.appendJSON(b)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

// appendValue writes a finite number or a text as JSON.
func appendValue(b []byte, v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
