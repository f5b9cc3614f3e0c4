package payload

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// wrappers are keys of objects and arrays that carry the readings of a message.
var wrappers = map[string]bool{
	"readings": true, "records": true, "data": true, "values": true, "measurements": true,
	"items": true, "observations": true, "payload": true, "sensors": true,
}

// head is what a message says about all its values: whose they are and when.
type head struct {
	sensor           string
	at, from         time.Time
	seq              string
	eventID, zone    string // of an access message
	backfill         bool
	idRank, timeRank int8
}

const noRank = 127

// plain reads objects whose keys are our vocabulary or what devices usually call it.
type plain struct {
	zone  *time.Location
	found bool // a known key of a value, even with null
	obs   []Observation
	err   *Error
}

// element reads one reading, or a list of them.
func (p *plain) element(v Value, h head) {
	switch v.Type() {
	case Array:
		for c := range v.Children() {
			p.element(c, h)
		}
	case Object:
		mark := len(p.obs)
		if err := p.object(v, h); err != nil {
			p.obs = p.obs[:mark]
			if p.err == nil {
				p.err = err
			}
		}
	default:
		if p.err == nil {
			p.err = errorf(UnknownFormat, "a reading is a JSON object, found another value")
		}
	}
}

// maxFields is how many different known keys an object may have; more than the vocabulary needs.
const maxFields = 40

func (p *plain) object(v Value, h head) *Error {
	var seenBuf [16]*field
	seen := seenBuf[:0]
	var nested []Value
	start := len(p.obs)
	h.idRank, h.timeRank = noRank, noRank
	access := isAccess(v)
	for c := range v.Children() {
		f := lookup(c.keyBytes(), access)
		if t := c.Type(); t == Object || t == Array {
			if f != nil && f.role == roleCompact && t == Array && c.Index(0).Type() == Array {
				p.found = true
				if err := p.compact(c, h.sensor); err != nil {
					return err
				}
				continue
			}
			if wrappers[string(c.keyBytes())] {
				nested = append(nested, c)
				continue
			}
		}
		if f == nil || f.role == roleCompact || !access && (f.role == roleEvent || f.role == roleDetail) {
			continue
		}
		for _, g := range seen {
			if g == f && f.role != roleDetail && f.role != roleEventID {
				return errorf(Malformed, "key %q stands twice in different case", c.Key())
			}
		}
		if seen = append(seen, f); len(seen) > maxFields {
			return errorf(TooLarge, "more than %d fields in a reading", maxFields)
		}
		if err := p.member(f, c, &h, start); err != nil {
			return err
		}
	}
	if access {
		p.obs = append(p.obs[:start], sighted(p.obs[start:])...)
		if err := h.settle(); err != nil {
			return err
		}
	}
	for i := start; i < len(p.obs); i++ {
		h.stamp(&p.obs[i])
	}
	for _, c := range nested {
		p.element(c, h)
	}
	return nil
}

// settle decides what an event's id and a camera's zone are for.
func (h *head) settle() *Error {
	if h.eventID != "" && h.idRank == noRank {
		if err := checkName(h.eventID); err != nil {
			return errorf(BadValue, "the event's id can be no device's; say which reader, camera or door it is about")
		}
		h.sensor = h.eventID
	} else if h.seq == "" && len(h.eventID) <= maxSeq {
		h.seq = h.eventID
	}
	if h.zone == "" {
		return nil
	}
	h.sensor += "/" + h.zone
	return checkName(h.sensor)
}

// stamp gives an observation what the message says about all.
func (h *head) stamp(o *Observation) {
	o.Sensor, o.TS, o.From, o.Seq, o.Backfill = h.sensor, h.at, h.from, h.seq, h.backfill
}

// member reads one known key. Values are appended; a second name of the same thing is taken
// only when it is the better one.
func (p *plain) member(f *field, c Value, h *head, start int) *Error {
	switch f.role {
	case roleID:
		return p.id(f, c, h)
	case roleTime:
		t, known, ok := instant(c, p.zone)
		if !ok {
			return badValue(c, "want RFC 3339 or the time since 1970")
		}
		if known && f.rank < h.timeRank {
			h.at, h.timeRank = t, f.rank
		}
		return nil
	case roleFrom:
		t, known, ok := instant(c, p.zone)
		if !ok {
			return nil // "from" may be anything where it is not a time
		}
		if known {
			h.from = t
		}
		return nil
	case roleSeq:
		s, ok := scalarText(c)
		if ok && len(s) <= maxSeq {
			h.seq = s
		}
		return nil
	case roleBackfill:
		h.backfill = c.True()
		return nil
	case roleEventID:
		if s, ok := scalarText(c); ok && h.eventID == "" {
			h.eventID = s
		}
		return nil
	case roleZone:
		h.zone, _ = scalarText(c)
		return nil
	}
	p.found = true
	switch {
	case c.Type() == Object && f.role == roleDetail:
		c = identity(c)
	case c.Type() == Object:
		c = c.Get("value")
	}
	v, known, ok := f.read(c)
	if !ok {
		return f.wrong(c)
	}
	if !known {
		return nil
	}
	for i := start; i < len(p.obs); i++ {
		if o := &p.obs[i]; o.Value.Kind == v.Kind && o.Value.Semantics == v.Semantics {
			if g := fields[string(v.Kind)]; g != nil && f == g {
				o.Value = v // our own name wins over a device's
			}
			return nil
		}
	}
	p.obs = append(p.obs, Observation{Value: v})
	return nil
}

func (p *plain) id(f *field, c Value, h *head) *Error {
	if c.Type() == Object {
		for _, k := range []string{"id", "uid", "name", "serial"} {
			if in := c.Get(k); in.Type() != None {
				c = in
				break
			}
		}
	}
	s, ok := scalarText(c)
	if !ok && c.Type() != Null && f.rank < 2 {
		return badValue(c, "want a text")
	}
	if !ok || s == "" || f.rank >= h.idRank {
		return nil
	}
	if err := checkName(s); err != nil {
		return err
	}
	h.sensor, h.idRank = s, f.rank
	return nil
}

// checkName refuses names that no device address can be made of.
func checkName(s string) *Error {
	if len(s) > maxName {
		return errorf(BadValue, "sensor id of %d bytes, at most %d are taken", len(s), maxName)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return errorf(BadValue, "control character in the sensor id %q", Clip(s, 60))
		}
	}
	return nil
}

func badValue(c Value, want string) *Error {
	key := ""
	if c.d != nil && c.i > 0 && c.d.nodes[c.i].key1 > 0 {
		key = c.Key() + ": "
	}
	return errorf(BadValue, "%s%.60s: %s", Clip(key, 60), c.Raw(), want)
}

func (s shape) want() string {
	switch s {
	case boolShape, occupancyShape:
		return "true or false"
	case countShape:
		return "a whole number from 0"
	case numShape:
		return "a number"
	case contactShape, openShape:
		return "open or closed"
	}
	return "a number, a boolean or a text"
}

// compact reads [["count_in","delta",3],…], the form of the journal.
func (p *plain) compact(list Value, sensor string) *Error {
	for c := range list.Children() {
		f := fields[c.Index(0).Text()]
		s := edge.Semantics(c.Index(1).Text())
		if c.Len() != 3 || f == nil || string(f.kind) != c.Index(0).Text() || !semantics[s] {
			return errorf(BadValue, `values: want ["kind","semantics",value]`)
		}
		g := *f
		g.semantics = s
		v, known, ok := g.read(c.Index(2))
		if !ok && f.secret() {
			return f.wrong(c)
		}
		if !ok {
			return errorf(BadValue, "values: %.60s: want %s", c.Raw(), f.shape.want())
		}
		if known {
			p.obs = append(p.obs, Observation{Sensor: sensor, Value: v})
		}
	}
	return nil
}

var semantics = map[edge.Semantics]bool{
	edge.State: true, edge.MotionState: true, edge.Absolute: true, edge.Cumulative: true, edge.CumulativeToday: true,
	edge.Delta: true, edge.PassageEvent: true, edge.PeriodMax: true, edge.Sequence: true, edge.AlarmSemantics: true,
}
