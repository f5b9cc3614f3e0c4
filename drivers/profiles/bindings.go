package profiles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

// Bindings say which profile reads the messages of which MQTT topics:
//
//  1. a filter of the input's own options (the most specific one that matches),
//  2. the profile of the sensor whose device is the topic or stands above it,
//  3. the topics that a profile names as its own,
//  4. JSON in our vocabulary.
//
// It may be used from any goroutine.
type Bindings struct {
	driver    string
	own       []binding           // by specificity
	sensors   map[string]*Decoder // by device address
	models    []binding
	vocabular *Decoder
	addresses map[string]string // sensor id -> address, where they differ

	cache  sync.Map // topic -> *Decoder, of the topics heard first
	cached atomic.Int64
}

type binding struct {
	filter  []string
	decoder *Decoder
}

const maxCached = 4096 // topics

// NewBindings checks the table of an input: topic filter -> name of a profile, or an object
// {profile, prefix, …} whose other members are options of the profile's codec.
func NewBindings(driver string, own map[string]json.RawMessage, sensors []edge.Sensor) (*Bindings, error) {
	b := &Bindings{driver: driver, sensors: map[string]*Decoder{}, addresses: map[string]string{}}
	for filter, raw := range own {
		if err := CheckFilter(filter); err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
		d, err := parseBinding(raw)
		if err != nil {
			return nil, fmt.Errorf("profiles: %q: %w", filter, err)
		}
		b.own = append(b.own, binding{strings.Split(filter, "/"), d})
	}
	slices.SortFunc(b.own, moreSpecific)
	for _, s := range sensors {
		if s.Address() != s.ID {
			b.addresses[s.ID] = s.Address()
		}
		if _, ok := Lookup(s.Profile); !ok {
			continue // of another driver; the configuration is checked elsewhere
		}
		d, err := Open(s.Profile, nil)
		if err != nil {
			return nil, fmt.Errorf("sensor %s: %w", s.ID, err)
		}
		b.sensors[s.Address()] = d
	}
	return b, b.addModels()
}

func (b *Bindings) addModels() error {
	for _, name := range Names() {
		p, _ := Lookup(name)
		if len(p.Topics) == 0 {
			continue
		}
		d, err := Open(name, nil)
		if err != nil {
			return err
		}
		for _, t := range p.Topics {
			b.models = append(b.models, binding{strings.Split(t, "/"), d})
		}
	}
	slices.SortFunc(b.models, moreSpecific)
	var err error
	b.vocabular, err = Open("json", nil)
	return err
}

func parseBinding(raw json.RawMessage) (*Decoder, error) {
	var name string
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, err
		}
		return Open(name, nil)
	}
	options := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &options); err != nil {
		return nil, fmt.Errorf("want the name of a profile or an object {profile, …}")
	}
	name, prefix := "json", ""
	for key, to := range map[string]*string{"profile": &name, "prefix": &prefix} {
		if v, ok := options[key]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return nil, fmt.Errorf("%s: want a text", key)
			}
			delete(options, key)
		}
	}
	site, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	d, err := Open(name, site)
	if err == nil && prefix != "" {
		d.prefix = prefix
	}
	return d, err
}

// moreSpecific sorts filters: more levels that name a topic first, "+" before "#".
func moreSpecific(a, b binding) int {
	weight := func(f []string) int {
		n := 0
		for _, l := range f {
			switch l {
			case "#":
			case "+":
				n++
			default:
				n += 100
			}
		}
		return n
	}
	if d := weight(b.filter) - weight(a.filter); d != 0 {
		return d
	}
	return strings.Compare(strings.Join(a.filter, "/"), strings.Join(b.filter, "/"))
}

// CheckFilter tells whether f is a valid MQTT topic filter.
func CheckFilter(f string) error {
	if f == "" || len(f) > 65535 || strings.ContainsRune(f, 0) {
		return fmt.Errorf("topic filter %q: want one as in zigbee2mqtt/#", f)
	}
	levels := strings.Split(f, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "#+") && (len(l) > 1 || l == "#" && i != len(levels)-1) {
			return fmt.Errorf("topic filter %q: + stands for a whole level, # for the rest", f)
		}
	}
	return nil
}

// match tells whether a topic matches the filter. Wildcards do not match a first level that
// begins with $ (MQTT 3.1.1, section 4.7.2).
func match(filter []string, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == "#" || filter[0] == "+") {
		return false
	}
	rest, more := topic, true
	for i, l := range filter {
		if l == "#" {
			return true
		}
		if !more {
			return false
		}
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if l != "+" && l != level {
			return false
		}
		if i == len(filter)-1 {
			return !more
		}
	}
	return false
}

// Match tells whether an MQTT topic matches a topic filter.
func Match(filter, topic string) bool { return match(strings.Split(filter, "/"), topic) }

// find returns the decoder of a topic.
func (b *Bindings) find(topic string) *Decoder {
	if d, ok := b.cache.Load(topic); ok {
		return d.(*Decoder)
	}
	d := b.resolve(topic)
	if b.cached.Load() < maxCached {
		b.cached.Add(1)
		b.cache.Store(strings.Clone(topic), d)
	}
	return d
}

func (b *Bindings) resolve(topic string) *Decoder {
	for _, o := range b.own {
		if match(o.filter, topic) {
			return o.decoder
		}
	}
	for t := topic; t != ""; t = t[:max(0, strings.LastIndexByte(t, '/'))] {
		if d, ok := b.sensors[t]; ok {
			return d
		}
	}
	for _, m := range b.models {
		if match(m.filter, topic) {
			return m.decoder
		}
	}
	return b.vocabular
}

// Take makes readings of a message. What cannot be understood, the whole or a part, is the
// rejection; a message that says nothing about a space is neither.
func (b *Bindings) Take(in payload.Input) ([]edge.Reading, *edge.Rejection) {
	rs, err := b.find(in.Topic).Readings(in)
	for i := range rs {
		if a, ok := b.addresses[rs[i].Device]; ok {
			rs[i].Device = a
		}
	}
	if err == nil {
		return rs, nil
	}
	rj := payload.Rejection(b.driver, payload.Clip(in.Topic, 200), err, in)
	return rs, &rj
}
