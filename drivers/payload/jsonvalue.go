package payload

import (
	"iter"
	"math"
	"strconv"
)

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
