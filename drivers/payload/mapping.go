package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// MapOptions say how JSON messages of a site's devices are to be read. Without Map, keys that
// are our own vocabulary, or what devices usually call it, are understood by themselves.
type MapOptions struct {
	// Map gives, for "id", "ts", "from", "seq", "backfill" and each kind ("count_in", "motion",
	// …), where it stands: a path such as "in", "data.people[0].in" or "zones[].count" (one
	// reading per element), or an object {path, semantics, unit, scale, offset, values, const}.
	// An id may be "$topic" or "$topic/1" (a level, from 0), or a list of paths, joined by "/".
	Map map[string]json.RawMessage `json:"map,omitempty"`
	// Items is the path of the array whose elements are the readings.
	Items string `json:"items,omitempty"`
	// Timezone is the zone of times that name none, as in "Europe/Oslo". Without it they are
	// not used, and the time of receipt counts.
	Timezone string `json:"timezone,omitempty"`
	// Semantics differ from the usual: {"count_in": "delta"}.
	Semantics map[string]edge.Semantics `json:"semantics,omitempty"`
}

// Mapping reads JSON by MapOptions. It implements [Codec].
type Mapping struct {
	zone                    *time.Location
	id, ts, from, seq, late *spec
	values                  []*spec
	items                   path
	all                     bool // no map: the vocabulary
	semantics               map[edge.Kind]edge.Semantics
}

// NewMapping checks the options.
func NewMapping(o MapOptions) (*Mapping, error) {
	m := &Mapping{all: len(o.Map) == 0, semantics: map[edge.Kind]edge.Semantics{}}
	if o.Timezone != "" {
		loc, err := time.LoadLocation(o.Timezone)
		if err != nil {
			return nil, fmt.Errorf("timezone %q: not a known zone; write for example Europe/Oslo", o.Timezone)
		}
		m.zone = loc
	}
	for k, s := range o.Semantics {
		f := fields[k]
		if f == nil || f.role != roleValue || !semantics[s] {
			return nil, fmt.Errorf("semantics: %q: %q: want a kind and one of its semantics, as in count_in: delta", k, s)
		}
		m.semantics[f.kind] = s
	}
	if o.Items != "" {
		p, err := parsePath(o.Items)
		if err != nil {
			return nil, fmt.Errorf("items: %w", err)
		}
		if n := len(p) - 1; p[n].each {
			p = p[:n:n]
		}
		if slices.ContainsFunc(p, func(st step) bool { return st.each }) {
			return nil, fmt.Errorf("items: only one [] in a path")
		}
		m.items = p
	}
	names := make([]string, 0, len(o.Map))
	for name := range o.Map {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := m.add(name, o.Map[name]); err != nil {
			return nil, fmt.Errorf("map: %s: %w", name, err)
		}
	}
	if !m.all && len(m.values) == 0 {
		return nil, fmt.Errorf("map: no kind of value; say where it stands, as in count_in: in")
	}
	return m, nil
}

// add takes one entry. It may also be written the other way round: path: kind.
func (m *Mapping) add(name string, raw json.RawMessage) error {
	f := fields[strings.ToLower(name)]
	if f == nil {
		var kind string
		if json.Unmarshal(raw, &kind) == nil {
			if g := fields[strings.ToLower(kind)]; g != nil {
				f, raw = g, json.RawMessage(strconv.Quote(name))
			}
		}
	}
	if f == nil || f.role == roleCompact {
		return fmt.Errorf("not a field or kind; known are id, ts, from, seq, backfill and kinds such as presence, motion, count_in, count_abs, co2_ppm")
	}
	s, err := m.spec(name, f, raw)
	if err != nil {
		return err
	}
	switch f.role {
	case roleID:
		m.id = s
	case roleTime:
		m.ts = s
	case roleFrom:
		m.from = s
	case roleSeq:
		m.seq = s
	case roleBackfill:
		m.late = s
	default:
		m.values = append(m.values, s)
	}
	return nil
}

// Decode reads one message.
func (m *Mapping) Decode(in Input) ([]Observation, error) {
	d, err := ParseJSON(in.Body, Limits{})
	if err != nil {
		return m.bare(in, err)
	}
	defer d.Free()
	root := d.Root()
	if t := root.Type(); t != Object && t != Array {
		return m.bare(in, errorf(UnknownFormat, "a bare value; only on a topic that ends in its kind"))
	}
	if m.all {
		return m.plain(root, in)
	}
	return m.mapped(root, in)
}

// plain reads by the vocabulary.
func (m *Mapping) plain(root Value, in Input) ([]Observation, error) {
	p := plain{zone: m.zone, obs: make([]Observation, 0, 2)}
	if m.items != nil {
		root, _ = m.items.find(root)
	}
	p.element(root, head{sensor: in.source()})
	for i := range p.obs {
		v := &p.obs[i].Value
		if s, ok := m.semantics[v.Kind]; ok && len(m.semantics) > 0 {
			v.Semantics = s
		}
	}
	if p.err == nil && !p.found && root.Len() > 0 {
		p.err = errorf(UnknownFormat, "no key is known; say in a map where the values stand")
	}
	if p.err != nil {
		return p.obs, p.err
	}
	return p.obs, nil
}

// bare reads a value that is no JSON object: the last level of its topic says what it is, as in
// "room-101/motion" with ON.
func (m *Mapping) bare(in Input, err error) ([]Observation, error) {
	at := strings.LastIndexByte(in.Topic, '/')
	body := bytes.TrimSpace(in.Body)
	if !m.all || at < 0 || len(body) > maxText || len(body) > 0 && (body[0] == '{' || body[0] == '[') {
		return nil, err
	}
	f := lookup([]byte(in.Topic[at+1:]), false)
	if f == nil || f.role != roleValue {
		return nil, err
	}
	v, known, err := f.readBare(body)
	if err != nil || !known {
		return nil, err
	}
	return one(in.Topic, v), nil
}

// readBare reads a value that is a JSON scalar or plain text.
func (f *field) readBare(body []byte) (v edge.Value, known bool, err error) {
	d, jerr := ParseJSON(body, Limits{})
	if jerr != nil {
		if d, jerr = ParseJSON([]byte(strconv.Quote(string(body))), Limits{}); jerr != nil {
			return v, false, jerr
		}
	}
	defer d.Free()
	v, known, ok := f.read(d.Root())
	if !ok {
		if f.secret() {
			return v, false, f.wrong(d.Root())
		}
		return v, false, errorf(BadValue, "%.60s: want %s", body, f.shape.want())
	}
	return v, known, nil
}

// mapped reads by the map.
func (m *Mapping) mapped(root Value, in Input) ([]Observation, error) {
	items := root
	if m.items != nil {
		var err *Error
		if items, err = m.items.find(root); err != nil {
			return nil, err
		}
		if items.Type() != Array {
			return nil, errorf(UnknownFormat, "no array at %s", m.items)
		}
	}
	obs := make([]Observation, 0, len(m.values))
	if items.Type() != Array {
		return m.item(obs, root, root, in)
	}
	var first error
	for c := range items.Children() {
		mark := len(obs)
		more, err := m.item(obs, root, c, in)
		if err != nil {
			more = more[:mark]
			if first == nil {
				first = err
			}
		}
		obs = more
	}
	return obs, first
}

// item reads one reading.
func (m *Mapping) item(obs []Observation, root, item Value, in Input) ([]Observation, error) {
	h := head{sensor: in.source()}
	if err := m.head(&h, root, item, in); err != nil {
		return obs, err
	}
	found, start := false, len(obs)
	for _, s := range m.values {
		v, err := s.find(root, item)
		if err != nil {
			return obs, err
		}
		found = found || v.Type() != None
		val, known, err := s.read(v)
		if err != nil {
			return obs, err
		}
		if known {
			obs = append(obs, Observation{Value: val})
			h.stamp(&obs[len(obs)-1])
		}
	}
	if !found {
		return obs, errorf(UnknownFormat, "nothing stands where the map says")
	}
	return append(obs[:start], sighted(obs[start:])...), nil
}

func (m *Mapping) head(h *head, root, item Value, in Input) error {
	if m.id != nil {
		s, err := m.id.sensor(root, item, in)
		if err != nil {
			return err
		}
		h.sensor = s
	}
	for _, t := range []struct {
		s  *spec
		to *time.Time
	}{{m.ts, &h.at}, {m.from, &h.from}} {
		if t.s == nil {
			continue
		}
		v, err := t.s.find(root, item)
		if err != nil {
			return err
		}
		at, known, ok := instant(v, m.zone)
		if !ok {
			return badValue(v, "want RFC 3339 or the time since 1970")
		}
		if known {
			*t.to = at
		}
	}
	if m.seq != nil {
		v, err := m.seq.find(root, item)
		if err != nil {
			return err
		}
		if s, ok := scalarText(v); ok && len(s) <= maxSeq {
			h.seq = s
		}
	}
	if m.late != nil {
		v, err := m.late.find(root, item)
		if err != nil {
			return err
		}
		h.backfill, _, _ = boolean(v)
	}
	return nil
}
