package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"math"
	"strconv"
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

// str reads a string and returns where its content stands.
func (d *JSON) str() (from, to int32, esc bool, err *Error) {
	d.i++
	start, high := d.i, byte(0)
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			if high >= utf8.RuneSelf && !utf8.Valid(d.b[start:d.i]) {
				d.i = start
				return 0, 0, false, d.wrong("string is not UTF-8")
			}
			d.i++
			return int32(start), int32(d.i - 1), esc, nil
		case c < 0x20:
			return 0, 0, false, d.wrong("control character in a string")
		case c == '\\':
			esc = true
			if err := d.escape(); err != nil {
				return 0, 0, false, err
			}
		default:
			high |= c
			d.i++
		}
	}
	return 0, 0, false, d.wrong("ends within a string")
}

// escape reads what a backslash begins; halves of surrogate pairs are refused.
func (d *JSON) escape() *Error {
	if d.i+1 >= len(d.b) {
		return d.wrong("ends within a string")
	}
	switch d.b[d.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.i += 2
		return nil
	case 'u':
		r, ok := d.hex(d.i + 2)
		switch {
		case !ok:
			return d.wrong(`\u without four hex digits`)
		case r < 0xd800 || r > 0xdfff:
			d.i += 6
			return nil
		}
		low, ok := rune(0), false
		if d.i+7 < len(d.b) && d.b[d.i+6] == '\\' && d.b[d.i+7] == 'u' {
			low, ok = d.hex(d.i + 8)
		}
		if !ok || r > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return d.wrong("half a surrogate pair in a string")
		}
		d.i += 12
		return nil
	}
	return d.wrong("unknown escape in a string")
}

func (d *JSON) hex(at int) (rune, bool) {
	if at+4 > len(d.b) {
		return 0, false
	}
	n := rune(0)
	for _, c := range d.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func (d *JSON) word(w string) *Error {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return d.wrong("no JSON value")
	}
	d.i += len(w)
	return nil
}

// number checks a number's grammar and range.
func (d *JSON) number() *Error {
	start := d.i
	d.sign("-")
	whole := d.i
	if d.digits() == 0 {
		d.i = start
		return d.wrong("no JSON value")
	}
	if d.b[whole] == '0' && d.i-whole > 1 {
		return d.wrong("number with a leading zero")
	}
	if d.i < len(d.b) && d.b[d.i] == '.' {
		d.i++
		if d.digits() == 0 {
			return d.wrong("no digit after the decimal point")
		}
	}
	if d.i-start > maxDigits {
		return errorf(TooLarge, "number of more than %d characters at byte %d", maxDigits, start)
	}
	if d.i == len(d.b) || d.b[d.i]|0x20 != 'e' {
		return nil
	}
	d.i++
	d.sign("+-")
	if d.digits() == 0 {
		return d.wrong("no digit in the exponent")
	}
	if d.i-start > maxDigits {
		return errorf(TooLarge, "number of more than %d characters at byte %d", maxDigits, start)
	}
	if _, err := strconv.ParseFloat(string(d.b[start:d.i]), 64); err != nil {
		return errorf(TooLarge, "number %s is out of range", d.b[start:d.i])
	}
	return nil
}

func (d *JSON) sign(of string) {
	for i := 0; i < len(of) && d.i < len(d.b); i++ {
		if d.b[d.i] == of[i] {
			d.i++
			return
		}
	}
}

func (d *JSON) digits() int {
	start := d.i
	for d.i < len(d.b) && d.b[d.i]-'0' <= 9 {
		d.i++
	}
	return d.i - start
}

// Root returns the text's value.
func (d *JSON) Root() Value { return Value{d, 0} }

// Value is one value of a JSON text; the zero Value has Type None.
type Value struct {
	d *JSON
	i int32
}

// Type returns the value's type.
func (v Value) Type() Type {
	if v.d == nil {
		return None
	}
	return v.d.nodes[v.i].typ
}

// Len is how many children an array or object has.
func (v Value) Len() int {
	if v.d == nil {
		return 0
	}
	return int(v.d.nodes[v.i].size)
}

// Get returns the member of an object with the given key, None when there is none.
func (v Value) Get(key string) Value {
	if v.Type() != Object {
		return Value{}
	}
	end := v.d.nodes[v.i].next
	for i := v.i + 1; i < end; i = v.d.nodes[i].next {
		if v.d.keyIs(i, key) {
			return Value{v.d, i}
		}
	}
	return Value{}
}

func (d *JSON) keyIs(i int32, key string) bool {
	n := &d.nodes[i]
	if n.keyEsc {
		return d.keyText(i) == key
	}
	return string(d.b[n.key0:n.key1]) == key
}

// Index returns element i of an array, None when it is not there.
func (v Value) Index(i int) Value {
	if v.Type() != Array || i < 0 || i >= v.Len() {
		return Value{}
	}
	at := v.i + 1
	for ; i > 0; i-- {
		at = v.d.nodes[at].next
	}
	return Value{v.d, at}
}

// Children yields the elements of an array or the members of an object, in order.
func (v Value) Children() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if t := v.Type(); t != Array && t != Object {
			return
		}
		end := v.d.nodes[v.i].next
		for i := v.i + 1; i < end; i = v.d.nodes[i].next {
			if !yield(Value{v.d, i}) {
				return
			}
		}
	}
}

// Key returns the key of a member of an object.
func (v Value) Key() string { return v.d.keyText(v.i) }

// keyBytes returns the key's bytes, which are good only while the text is.
func (v Value) keyBytes() []byte {
	n := &v.d.nodes[v.i]
	if n.keyEsc {
		return []byte(v.d.keyText(v.i))
	}
	return v.d.b[n.key0:n.key1]
}

// Text returns a string's content, empty for other types.
func (v Value) Text() string {
	if v.Type() != String {
		return ""
	}
	n := &v.d.nodes[v.i]
	return v.d.text(n.val0, n.val1, n.esc)
}

// bytes returns a string's content without copying where it can.
func (v Value) bytes() []byte {
	n := &v.d.nodes[v.i]
	if n.esc {
		return []byte(v.Text())
	}
	return v.d.b[n.val0:n.val1]
}

// True tells whether the value is the boolean true.
func (v Value) True() bool { return v.Type() == Bool && v.d.b[v.d.nodes[v.i].val0] == 't' }

// Float returns a number's value; ok is false for other types.
func (v Value) Float() (x float64, ok bool) {
	if v.Type() != Number {
		return 0, false
	}
	n := &v.d.nodes[v.i]
	return parseFloat(v.d.b[n.val0:n.val1])
}

// Raw returns the value's text; of a string, without its quotes.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	n := &v.d.nodes[v.i]
	return v.d.b[n.val0:n.val1]
}

// parseFloat reads a finite number. Whole numbers of few digits, the usual case, cost little.
func parseFloat(b []byte) (float64, bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	if len(b) <= 15 {
		n, neg := int64(0), b[0] == '-'
		digits := b
		if neg {
			digits = b[1:]
		}
		whole := len(digits) > 0
		for _, c := range digits {
			if c-'0' > 9 {
				whole = false
				break
			}
			n = n*10 + int64(c-'0')
		}
		if whole && neg {
			return float64(-n), true
		}
		if whole {
			return float64(n), true
		}
	}
	x, err := strconv.ParseFloat(string(b), 64)
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
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
