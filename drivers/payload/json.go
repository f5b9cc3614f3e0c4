package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"unicode/utf8"
)

// Limits bound a JSON text. The zero value stands for the defaults.
type Limits struct {
	Size   int // bytes; default 256 KiB
	Depth  int // nested arrays and objects; default 32
	Values int // values in all, of any type; default 20,000
}

// The default limits: far beyond any sensor's message, far below what would hurt a small board.
const (
	maxSize   = 256 << 10
	maxDepth  = 32
	maxValues = 20_000
	maxDigits = 40 // characters of a number
)

// DefaultLimits are the limits that codecs use.
func DefaultLimits() Limits { return Limits{Size: maxSize, Depth: maxDepth, Values: maxValues} }

func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	if l.Size > 0 {
		d.Size = l.Size
	}
	if l.Depth > 0 {
		d.Depth = l.Depth
	}
	if l.Values > 0 {
		d.Values = l.Values
	}
	return d
}

// CheckJSON tells whether b is one JSON value (RFC 8259) within the limits: UTF-8, no duplicate
// keys, no trailing data, numbers within the range of float64. The error is an *[Error].
func CheckJSON(b []byte, l Limits) error {
	d, err := ParseJSON(b, l)
	if err != nil {
		return err
	}
	d.Free()
	return nil
}

// JSON is a checked JSON text with an index of its values. Nothing is copied: it refers to the
// bytes it was made of, which must not change while it is used.
type JSON struct {
	b     []byte
	nodes []node
	lim   Limits
	i     int
}

// node is one value. Children of a container follow it; next is the index behind its last
// descendant, where its sibling stands.
type node struct {
	key0, key1 int32 // the key without quotes; for members of objects
	val0, val1 int32 // the text: of a string without quotes
	next       int32
	size       int32 // children of a container
	typ        Type
	keyEsc     bool // the key has escapes
	esc        bool // the string has escapes
}

// Type is the type of a JSON value.
type Type uint8

// The types; None is a value that does not exist.
const (
	None Type = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

var jsonPool = sync.Pool{New: func() any { return new(JSON) }}

const keepNodes = 1024 // indexes of larger texts are not kept for reuse

// ParseJSON checks b as CheckJSON does and indexes it. Free gives the index back.
func ParseJSON(b []byte, l Limits) (*JSON, error) {
	l = l.orDefaults()
	if len(b) > l.Size {
		return nil, errorf(TooLarge, "JSON of %d bytes, at most %d are taken", len(b), l.Size)
	}
	d := jsonPool.Get().(*JSON)
	d.b, d.nodes, d.lim, d.i = b, d.nodes[:0], l, 0
	if err := d.parse(); err != nil {
		d.Free()
		return nil, err
	}
	return d, nil
}

// Free gives the index back; neither d nor its values may be used after it.
func (d *JSON) Free() {
	d.b = nil
	if cap(d.nodes) <= keepNodes {
		jsonPool.Put(d)
	}
}

func (d *JSON) parse() *Error {
	d.space()
	if d.i == len(d.b) {
		return errorf(Malformed, "empty, want JSON")
	}
	if err := d.value(node{}, 1); err != nil {
		return err
	}
	if d.space(); d.i < len(d.b) {
		return d.wrong("data after the end of the JSON value")
	}
	return nil
}

func (d *JSON) wrong(what string) *Error {
	return errorf(Malformed, "%s at byte %d", what, d.i)
}

func (d *JSON) space() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\n' || d.b[d.i] == '\r' || d.b[d.i] == '\t') {
		d.i++
	}
}

// value reads one value into a node that has its key already.
func (d *JSON) value(n node, depth int) *Error {
	if d.i == len(d.b) {
		return d.wrong("ends where a value should be")
	}
	if len(d.nodes) >= d.lim.Values {
		return errorf(TooLarge, "more than %d JSON values", d.lim.Values)
	}
	at := len(d.nodes)
	d.nodes = append(d.nodes, n)
	var err *Error
	start := d.i
	switch c := d.b[d.i]; {
	case c == '"':
		n.typ = String
		n.val0, n.val1, n.esc, err = d.str()
		if err != nil {
			return err
		}
		n.next = int32(at + 1)
		d.nodes[at] = n
		return nil
	case c == '{' || c == '[':
		if depth > d.lim.Depth {
			return errorf(TooLarge, "JSON nested deeper than %d", d.lim.Depth)
		}
		return d.container(at, c, depth)
	case c == 't':
		n.typ, err = Bool, d.word("true")
	case c == 'f':
		n.typ, err = Bool, d.word("false")
	case c == 'n':
		n.typ, err = Null, d.word("null")
	default:
		n.typ, err = Number, d.number()
	}
	n.val0, n.val1, n.next = int32(start), int32(d.i), int32(at+1)
	d.nodes[at] = n
	return err
}

func (d *JSON) container(at int, open byte, depth int) *Error {
	start := d.i
	typ, closing := Array, byte(']')
	if open == '{' {
		typ, closing = Object, '}'
	}
	d.i++
	var size int32
	for {
		d.space()
		if d.i < len(d.b) && d.b[d.i] == closing && size == 0 {
			d.i++
			break
		}
		var n node
		if typ == Object {
			if err := d.key(&n); err != nil {
				return err
			}
		}
		if err := d.value(n, depth+1); err != nil {
			return err
		}
		size++
		if d.space(); d.i == len(d.b) {
			return d.wrong("ends within an array or object")
		}
		c := d.b[d.i]
		if c != ',' && c != closing {
			return d.wrong("no comma or end of the array or object")
		}
		d.i++
		if c == closing {
			break
		}
	}
	n := &d.nodes[at]
	n.typ, n.size, n.val0, n.val1, n.next = typ, size, int32(start), int32(d.i), int32(len(d.nodes))
	if typ == Object && size > 1 {
		return d.unique(at)
	}
	return nil
}

// key reads a key and its colon.
func (d *JSON) key(n *node) *Error {
	if d.i == len(d.b) || d.b[d.i] != '"' {
		return d.wrong("no key in quotes")
	}
	var err *Error
	if n.key0, n.key1, n.keyEsc, err = d.str(); err != nil {
		return err
	}
	if d.space(); d.i == len(d.b) || d.b[d.i] != ':' {
		return d.wrong("no colon after a key")
	}
	d.i++
	d.space()
	return nil
}

// few is up to how many members keys are compared one by one.
const few = 16

// unique refuses an object with a key that stands twice: readers differ in which one they
// take, so that it can say one thing to a check and another to what acts on it.
func (d *JSON) unique(at int) *Error {
	end := d.nodes[at].next
	var seen map[string]bool
	if d.nodes[at].size > few {
		seen = make(map[string]bool, d.nodes[at].size)
	}
	for i := int32(at + 1); i < end; i = d.nodes[i].next {
		if seen != nil {
			k := d.keyText(i)
			if seen[k] {
				return errorf(Malformed, "key %q stands twice", Clip(k, 60))
			}
			seen[k] = true
			continue
		}
		for j := int32(at + 1); j < i; j = d.nodes[j].next {
			if d.sameKey(i, j) {
				return errorf(Malformed, "key %q stands twice", Clip(d.keyText(i), 60))
			}
		}
	}
	return nil
}

func (d *JSON) sameKey(i, j int32) bool {
	a, b := &d.nodes[i], &d.nodes[j]
	if a.keyEsc || b.keyEsc {
		return d.keyText(i) == d.keyText(j)
	}
	return a.key1-a.key0 == b.key1-b.key0 && string(d.b[a.key0:a.key1]) == string(d.b[b.key0:b.key1])
}

func (d *JSON) keyText(i int32) string {
	n := &d.nodes[i]
	return d.text(n.key0, n.key1, n.keyEsc)
}

// text returns a string's content.
func (d *JSON) text(from, to int32, esc bool) string {
	if !esc {
		return string(d.b[from:to])
	}
	var s string
	_ = json.Unmarshal(d.b[from-1:to+1], &s) // checked by str
	return s
}

// Clip shortens s to at most n bytes without cutting a rune, for messages.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// hash is the first 16 hex digits of the SHA-256 of b.
func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
