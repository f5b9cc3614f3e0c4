package httppush

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/headcount-hub/headcount/edge"
)

// Limits of one reading.
const (
	maxValues = 32
	maxName   = 200 // bytes of a device address
	maxSeq    = 64
	maxText   = 256
)

// names is the words that a reading may have: the vocabulary, and the addresses that the
// configuration knows, so that a batch needs no memory for them.
// It is not changed after it was made.
type names struct {
	devices map[string]string // address -> the same
	sensors map[string]string // id -> address of the device that serves it
	fields  map[string]*field
}

func newNames(sensors []edge.Sensor) *names {
	n := &names{devices: map[string]string{}, sensors: map[string]string{}, fields: vocabulary()}
	for _, s := range sensors {
		n.devices[s.Address()] = s.Address()
		n.sensors[s.ID] = s.Address()
	}
	return n
}

func (n *names) device(b []byte) string {
	if s, ok := n.devices[string(b)]; ok {
		return s
	}
	return string(b)
}

// sensor turns a sensor's id into the address of its device; an unknown id is an address.
func (n *names) sensor(b []byte) string {
	if s, ok := n.sensors[string(b)]; ok {
		return s
	}
	return n.device(b)
}

// field is what a key of a native reading stands for.
type field struct {
	do   func(p *parser) error // nil for a value
	kind edge.Kind
	info edge.KindInfo
}

// parser reads native readings of one body. One body, one parser.
type parser struct {
	scanner
	names    *names
	received time.Time
	arena    []edge.Value // values are cut from it, so that a batch needs few allocations

	r      edge.Reading
	values []edge.Value // of r, until its end is known
	seen   []*field
	why    error // first thing wrong with r that does not hinder reading on
}

// arenaValues is how many values share an allocation; what keeps one of them keeps all (4 KiB).
const arenaValues = 64

// reading reads one object. A syntax error is returned as err and leaves the cursor where it
// is; anything else that is wrong is why, and the cursor stands behind the object.
func (p *parser) reading() (r edge.Reading, why, err error) {
	p.r = edge.Reading{Received: p.received}
	p.values, p.seen, p.why = p.values[:0], p.seen[:0], nil
	start := p.i
	if p.peek() != '{' {
		if err := p.skip(0); err != nil {
			return r, nil, err
		}
		return r, errors.New("a reading is a JSON object"), nil
	}
	if err := p.list('}', p.member); err != nil {
		return r, nil, err
	}
	p.finish(p.i - start)
	if p.why != nil {
		return r, p.why, nil
	}
	p.r.Values = p.cut()
	return p.r, nil, nil
}

func (p *parser) finish(size int) {
	switch {
	case size > maxItem:
		p.wrong("reading has %d bytes; at most %d are taken", size, maxItem)
	case p.r.Device == "":
		p.wrong(`no "sensor" or "device": say whose reading it is`)
	case len(p.values) == 0:
		p.wrong("no value: say what was measured, as in {\"count_in\": 12}")
	}
}

// cut moves the values into memory of their own.
func (p *parser) cut() []edge.Value {
	n := len(p.values)
	if cap(p.arena)-len(p.arena) < n {
		p.arena = make([]edge.Value, 0, max(arenaValues, n))
	}
	at := len(p.arena)
	p.arena = append(p.arena, p.values...)
	return p.arena[at : at+n : at+n]
}

// wrong notes what is wrong with the reading; the first one is told.
func (p *parser) wrong(format string, args ...any) {
	if p.why == nil {
		p.why = fmt.Errorf(format, args...)
	}
}

func (p *parser) member() error {
	key, err := p.str()
	if err != nil {
		return err
	}
	f := p.names.fields[string(key)]
	if f == nil {
		p.wrong("unknown field %q; messages in a device's own words go to /v1/push/json", clip(key))
	} else {
		for _, g := range p.seen {
			if g == f {
				p.wrong("field %q stands twice", clip(key))
			}
		}
		p.seen = append(p.seen, f)
	}
	if err := p.expect(':'); err != nil {
		return err
	}
	switch {
	case f == nil:
		return p.skip(1)
	case f.do != nil:
		return f.do(p)
	}
	return p.value(f)
}

// value reads the value of a kind. null means not known: there is no value then.
func (p *parser) value(f *field) error {
	v := edge.Value{Kind: f.kind, Semantics: f.info.Semantics}
	known, err := p.scalar(&v)
	if err != nil || !known {
		return err
	}
	p.add(v, f.info.Shape)
	return nil
}

// scalar reads a number, boolean or text into v.
func (p *parser) scalar(v *edge.Value) (known bool, err error) {
	switch c := p.peek(); {
	case c == '"':
		b, err := p.str()
		if err != nil {
			return false, err
		}
		if len(b) > maxText {
			p.wrong("%s: text of %d bytes; at most %d are taken", v.Kind, len(b), maxText)
			return false, nil
		}
		v.Type, v.Text = edge.Text, string(b)
		return true, nil
	case c == '-' || c-'0' <= 9:
		v.Type = edge.Number
		v.Num, _, err = p.num()
		return err == nil, err
	case c == '{' || c == '[':
		p.wrong("%s: want a number, a boolean or a text", v.Kind)
		return false, p.skip(1)
	}
	w, err := p.word()
	v.Type = edge.Bool
	if w == "true" {
		v.Num = 1
	}
	return err == nil && w != "null", err
}

// add takes v when it fits its kind.
func (p *parser) add(v edge.Value, shape edge.Shape) {
	v, err := shape.Fit(v)
	switch {
	case err != nil:
		p.wrong("%v", err)
	case len(p.values) == maxValues:
		p.wrong("more than %d values", maxValues)
	default:
		p.values = append(p.values, v)
	}
}

// compact reads [["count_in","delta",3],…], the form of the journal.
func (p *parser) compact() error {
	if p.peek() != '[' {
		p.wrong(`"values": want [["kind","semantics",value],…]`)
		return p.skip(1)
	}
	return p.list(']', func() error {
		if p.peek() != '[' {
			p.wrong(`"values": want [["kind","semantics",value],…]`)
			return p.skip(2)
		}
		n := 0
		var v edge.Value
		shape, known := edge.AnyShape, false
		err := p.list(']', func() (err error) {
			n++
			switch n {
			case 1:
				shape, err = p.kind(&v)
			case 2:
				err = p.semantics(&v)
			case 3:
				known, err = p.scalar(&v)
			default:
				err = p.skip(3)
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case n != 3:
			p.wrong(`"values": %d elements in a value, want ["kind","semantics",value]`, n)
		case known && p.why == nil:
			p.add(v, shape)
		}
		return nil
	})
}

func (p *parser) kind(v *edge.Value) (edge.Shape, error) {
	if p.peek() != '"' {
		p.wrong(`"values": a kind is a text`)
		return edge.AnyShape, p.skip(3)
	}
	b, err := p.str()
	if err != nil {
		return edge.AnyShape, err
	}
	f := p.names.fields[string(b)]
	if f == nil || f.do != nil || string(f.kind) != string(b) {
		p.wrong(`"values": unknown kind %q`, clip(b))
		return edge.AnyShape, nil
	}
	v.Kind = f.kind
	return f.info.Shape, nil
}

func (p *parser) semantics(v *edge.Value) error {
	if p.peek() != '"' {
		p.wrong(`"values": semantics is a text`)
		return p.skip(3)
	}
	b, err := p.str()
	if err != nil {
		return err
	}
	for _, s := range semantics {
		if string(s) == string(b) {
			v.Semantics = s
			return nil
		}
	}
	p.wrong(`"values": unknown semantics %q`, clip(b))
	return nil
}

// name reads the device's address.
func (p *parser) name(lookup func([]byte) string) error {
	if p.peek() != '"' {
		p.wrong("the name of a sensor or device is a text")
		return p.skip(1)
	}
	b, err := p.str()
	if err != nil {
		return err
	}
	switch {
	case len(b) == 0 || len(b) > maxName:
		p.wrong("the name of a sensor or device has 1 to %d bytes, got %d", maxName, len(b))
		return nil
	case p.r.Device != "":
		p.wrong(`both "sensor" and "device": say one of them`)
		return nil
	}
	for _, c := range b {
		if c < 0x20 || c == 0x7f {
			p.wrong("control character in the name of a sensor or device")
			return nil
		}
	}
	p.r.Device = lookup(b)
	return nil
}

// instant reads a time: RFC 3339 with zone, or a number of seconds or milliseconds since 1970.
func (p *parser) instant(t *time.Time) error {
	switch c := p.peek(); {
	case c == '"':
		b, err := p.str()
		if err != nil {
			return err
		}
		if err := t.UnmarshalText(b); err != nil {
			p.wrong("time %q: want RFC 3339 with zone, as in 2026-01-31T12:00:00Z", clip(b))
		}
		return nil
	case c == '-' || c-'0' <= 9:
		x, _, err := p.num()
		if err != nil {
			return err
		}
		*t = epoch(x)
		return nil
	case c == '{' || c == '[':
		p.wrong("a time is a text or a number")
		return p.skip(1)
	}
	w, err := p.word()
	if err == nil && w != "null" {
		p.wrong("a time is a text or a number")
	}
	return err
}

// epoch is the time x seconds after 1970, or milliseconds where seconds would be after the year
// 5000. What no clock says becomes a time that the hub finds implausible.
func epoch(x float64) time.Time {
	const msFrom = 1e11
	if math.Abs(x) < msFrom {
		x *= 1000
	}
	if math.Abs(x) > 1e15 {
		x = 0
	}
	return time.UnixMilli(int64(math.Round(x))).UTC()
}

// sequence reads the device's own sequence, a text or a number.
func (p *parser) sequence() error {
	switch c := p.peek(); {
	case c == '"':
		b, err := p.str()
		if err != nil {
			return err
		}
		if len(b) > maxSeq {
			p.wrong("seq has %d bytes; at most %d are taken", len(b), maxSeq)
			return nil
		}
		p.r.Seq = string(b)
		return nil
	case c == '-' || c-'0' <= 9:
		x, text, err := p.num()
		if err != nil {
			return err
		}
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 { // 7, 7.0 and 7e0 are the same number
			var buf [20]byte
			p.r.Seq = string(strconv.AppendInt(buf[:0], int64(x), 10))
		} else if len(text) <= maxSeq {
			p.r.Seq = string(text)
		} else {
			p.wrong("seq has %d digits; at most %d are taken", len(text), maxSeq)
		}
		return nil
	}
	p.wrong("seq is a text or a number")
	return p.skip(1)
}

func (p *parser) backfill() error {
	if c := p.peek(); c != 't' && c != 'f' {
		p.wrong("backfill is true or false")
		return p.skip(1)
	}
	w, err := p.word()
	p.r.Backfill = w == "true"
	return err
}

// clip shortens b for a message.
func clip(b []byte) []byte {
	const most = 60
	if len(b) <= most {
		return b
	}
	n := most
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}
