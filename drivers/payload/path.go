package payload

import (
	"fmt"
	"strconv"
	"strings"
)

// path leads from a JSON value to one within it.
type path []step

// step is a key of an object, an index of an array (key empty), or each element.
type step struct {
	key   string
	index int
	each  bool
}

// parsePath reads "a.b[0].c", "a.0.b", "$.a", "a[].b".
func parsePath(s string) (path, error) {
	p := path{}
	rest := strings.TrimPrefix(strings.TrimPrefix(s, "$"), ".")
	if rest == "" {
		return nil, fmt.Errorf("empty path")
	}
	for _, part := range strings.Split(rest, ".") {
		name, idx, has := strings.Cut(part, "[")
		switch n, err := strconv.Atoi(name); {
		case name == "*":
			p = append(p, step{each: true})
		case name != "" && err == nil && n >= 0:
			p = append(p, step{key: name, index: n})
		case name != "":
			p = append(p, step{key: name, index: -1})
		case !has:
			return nil, fmt.Errorf("path %q: empty step", s)
		}
		for has {
			var in string
			if in, idx, has = strings.Cut(idx, "]"); !has {
				return nil, fmt.Errorf("path %q: [ without ]", s)
			}
			n, err := strconv.Atoi(in)
			switch {
			case in == "" || in == "*":
				p = append(p, step{each: true})
			case err == nil && n >= 0:
				p = append(p, step{index: n})
			default:
				return nil, fmt.Errorf("path %q: want an index from 0 in []", s)
			}
			if _, idx, has = strings.Cut(idx, "["); !has && idx != "" {
				return nil, fmt.Errorf("path %q: text after ]", s)
			}
		}
	}
	return p, nil
}

func (p path) String() string {
	var b strings.Builder
	for i, st := range p {
		switch {
		case st.each:
			b.WriteString("[]")
		case st.key == "":
			fmt.Fprintf(&b, "[%d]", st.index)
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(st.key)
		}
	}
	return b.String()
}

// from finds the path in the item, or else, unless it says that it stands there, in the root.
func (p path) from(root, item Value, inItem bool) (Value, *Error) {
	v, err := p.find(item)
	if err != nil || v.Type() != None || inItem || root == item {
		return v, err
	}
	return p.find(root)
}

// find walks the path; None when it leads nowhere. A key that stands there in another case as
// well is refused: one of both is a forgery.
func (p path) find(v Value) (Value, *Error) {
	for _, st := range p {
		switch {
		case v.Type() == Array && st.index >= 0:
			v = v.Index(st.index)
		case st.key != "":
			var err *Error
			if v, err = v.strict(st.key); err != nil {
				return v, err
			}
		default:
			return Value{}, nil
		}
	}
	return v, nil
}

// strict is Get that refuses a second key that differs in case only.
func (v Value) strict(key string) (Value, *Error) {
	var hit, variant Value
	if v.Type() != Object {
		return hit, nil
	}
	end := v.d.nodes[v.i].next
	for i := v.i + 1; i < end; i = v.d.nodes[i].next {
		if v.d.keyIs(i, key) {
			hit = Value{v.d, i}
		} else if n := &v.d.nodes[i]; int(n.key1-n.key0) == len(key) && strings.EqualFold(string(v.d.b[n.key0:n.key1]), key) {
			variant = Value{v.d, i}
		}
	}
	if hit.Type() != None && variant.Type() != None {
		return hit, errorf(Malformed, "key %q stands twice in different case", variant.Key())
	}
	return hit, nil
}
