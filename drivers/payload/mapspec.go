package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

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
		return out, false, s.field.wrong(v)
	}
	if s.values != nil {
		text, _ := scalarText(v)
		to, ok := s.values[strings.ToLower(text)]
		if !ok && v.Type() != Null && v.Type() != None {
			if s.field.secret() {
				return out, false, errorf(BadValue, "%s: not one of the map's values", s.name)
			}
			return out, false, badValue(v, "not one of the map's values")
		}
		v = to
	}
	out, known, ok := s.field.read(v)
	if ok && known && out.Type == edge.Number && (s.scale != 1 || s.offset != 0) {
		out.Num = out.Num*s.scale + s.offset
	}
	if !ok {
		return out, false, s.field.wrong(v)
	}
	return out, known, nil
}
