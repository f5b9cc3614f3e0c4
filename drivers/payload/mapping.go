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

// spec is where one field stands and how it is read.
type spec struct {
	name          string
	field         field
	paths         []path
	inItem        []bool // by path: it begins at the element of the items
	topic         int    // id: a level of the topic from 0; topicAll; noTopic
	constant      string
	scale, offset float64
	values        map[string]Value
}

const (
	noTopic  = -1
	topicAll = -2
)

// specForm is a field's long form.
type specForm struct {
	Path      json.RawMessage            `json:"path"`
	Semantics edge.Semantics             `json:"semantics"`
	Unit      string                     `json:"unit"`
	Scale     *float64                   `json:"scale"`
	Offset    float64                    `json:"offset"`
	Values    map[string]json.RawMessage `json:"values"`
	Const     string                     `json:"const"`
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

func (m *Mapping) spec(name string, f *field, raw json.RawMessage) (*spec, error) {
	s := &spec{name: name, field: *f, topic: noTopic, scale: 1}
	if f.shape == occupancyShape {
		s.field.shape = boolShape
	}
	form := specForm{Path: raw}
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		form = specForm{}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&form); err != nil {
			return nil, fmt.Errorf("want a path or {path, semantics, unit, scale, offset, values, const}: %w", err)
		}
	}
	if err := s.set(form); err != nil {
		return nil, err
	}
	if o, ok := m.semantics[f.kind]; ok && f.role == roleValue {
		s.field.semantics = o
	}
	if form.Semantics != "" {
		if !semantics[form.Semantics] {
			return nil, fmt.Errorf("unknown semantics %q", form.Semantics)
		}
		s.field.semantics = form.Semantics
	}
	return s, m.place(s)
}

// set takes the long form.
func (s *spec) set(form specForm) error {
	s.constant = form.Const
	var list []string
	if len(form.Path) > 0 && form.Path[0] == '[' {
		if err := json.Unmarshal(form.Path, &list); err != nil || len(list) == 0 || s.field.role != roleID {
			return fmt.Errorf("want a path; only an id may have several")
		}
	} else if len(form.Path) > 0 {
		var one string
		if err := json.Unmarshal(form.Path, &one); err != nil {
			return fmt.Errorf("want a path as text")
		}
		list = []string{one}
	}
	if len(list) == 0 && s.constant == "" {
		return fmt.Errorf("no path")
	}
	for _, one := range list {
		if s.field.role == roleID && strings.HasPrefix(one, "$topic") {
			return s.fromTopic(strings.TrimPrefix(one, "$topic"))
		}
		p, err := parsePath(one)
		if err != nil {
			return err
		}
		s.paths, s.inItem = append(s.paths, p), append(s.inItem, false)
	}
	return s.convert(form)
}

func (s *spec) fromTopic(level string) error {
	if s.topic = topicAll; level == "" {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(level, "/"))
	if err != nil || n < 0 || level[0] != '/' {
		return fmt.Errorf("want $topic or $topic/N with a level N from 0")
	}
	s.topic = n
	return nil
}

// units and what turns them into those of our kinds.
var units = map[string]struct{ scale, offset float64 }{
	"": {1, 0}, "C": {1, 0}, "°C": {1, 0}, "F": {5. / 9, -160. / 9}, "°F": {5. / 9, -160. / 9}, "K": {1, -273.15},
	"%": {1, 0}, "fraction": {100, 0}, "V": {1, 0}, "mV": {0.001, 0}, "hPa": {1, 0}, "Pa": {0.01, 0}, "kPa": {10, 0},
	"mm": {1, 0}, "cm": {10, 0}, "m": {1000, 0}, "lx": {1, 0}, "lux": {1, 0}, "ppm": {1, 0}, "people": {1, 0},
	"0.1C": {0.1, 0}, "0.01C": {0.01, 0},
}

func (s *spec) convert(form specForm) error {
	u, ok := units[form.Unit]
	if !ok {
		return fmt.Errorf("unknown unit %q", form.Unit)
	}
	s.scale, s.offset = u.scale, u.offset
	if form.Scale != nil {
		s.scale *= *form.Scale
		s.offset = s.offset * *form.Scale
	}
	s.offset += form.Offset
	if len(form.Values) == 0 {
		return nil
	}
	s.values = map[string]Value{}
	for text, raw := range form.Values {
		d, err := ParseJSON(raw, Limits{})
		if err != nil {
			return fmt.Errorf("values: %q: %w", text, err)
		}
		if v, _, ok := s.field.read(d.Root()); !ok {
			return fmt.Errorf("values: %q: %s is no %s", text, raw, v.Kind)
		}
		s.values[strings.ToLower(text)] = d.Root()
	}
	return nil
}

// place cuts the part up to "[]" off a path: it says what the items are.
func (m *Mapping) place(s *spec) error {
	for i, p := range s.paths {
		at := slices.IndexFunc(p, func(st step) bool { return st.each })
		if at < 0 {
			continue
		}
		if m.items != nil && !slices.Equal(m.items, p[:at]) {
			return fmt.Errorf("all [] must stand for the same array")
		}
		if slices.ContainsFunc(p[at+1:], func(st step) bool { return st.each }) {
			return fmt.Errorf("only one [] in a path")
		}
		m.items, s.paths[i], s.inItem[i] = p[:at:at], p[at+1:], true
		if m.items == nil {
			m.items = path{}
		}
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
	f := lookup([]byte(in.Topic[at+1:]))
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
	found := false
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
	return obs, nil
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

// sensor reads the sensor's id.
func (s *spec) sensor(root, item Value, in Input) (string, error) {
	if s.constant != "" {
		return s.constant, nil
	}
	if s.topic == topicAll {
		return in.source(), nil
	}
	if s.topic >= 0 {
		levels := strings.Split(in.source(), "/")
		if s.topic >= len(levels) {
			return "", errorf(BadValue, "topic %q has no level %d for the sensor id", Clip(in.source(), 60), s.topic)
		}
		return levels[s.topic], nil
	}
	id := ""
	for i, p := range s.paths {
		v, err := p.from(root, item, s.inItem[i])
		if err != nil {
			return "", err
		}
		t, ok := scalarText(v)
		if !ok || t == "" {
			return "", errorf(BadValue, "no sensor id at %s", p)
		}
		if i > 0 {
			id += "/"
		}
		id += t
	}
	if err := checkName(id); err != nil {
		return "", err
	}
	return id, nil
}

// find returns the field's value, None when it is not there.
func (s *spec) find(root, item Value) (Value, error) {
	if len(s.paths) == 0 {
		return Value{}, nil
	}
	v, err := s.paths[0].from(root, item, s.inItem[0])
	if err != nil {
		return v, err
	}
	return v, nil
}

// read makes the field's value of v.
func (s *spec) read(v Value) (out edge.Value, known bool, err error) {
	if t := v.Type(); t == Object || t == Array {
		return out, false, badValue(v, "want "+s.field.shape.want())
	}
	if s.values != nil {
		text, _ := scalarText(v)
		to, ok := s.values[strings.ToLower(text)]
		if !ok && v.Type() != Null && v.Type() != None {
			return out, false, badValue(v, "not one of the map's values")
		}
		v = to
	}
	out, known, ok := s.field.read(v)
	if ok && known && out.Type == edge.Number && (s.scale != 1 || s.offset != 0) {
		out.Num = out.Num*s.scale + s.offset
	}
	if !ok {
		return out, false, badValue(v, "want "+s.field.shape.want())
	}
	return out, known, nil
}

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
