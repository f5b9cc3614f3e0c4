// Package profiles names sensor models: which codec reads their messages, with which options,
// and what the estimator should know of them. A model is a YAML file in models/, embedded.
//
// It also holds [Bindings], the table by which MQTT drivers find the profile of a topic.
package profiles

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

//go:embed models/*.yaml
var models embed.FS

// Profile is a named sensor model.
type Profile struct {
	Name      string         `yaml:"name"`
	Title     string         `yaml:"title"`     // for people
	Transport string         `yaml:"transport"` // "mqtt", "http", "serial"; empty = any
	Codec     string         `yaml:"codec"`
	Class     edge.Class     `yaml:"class"`   // of sensors of this model; empty when it covers many
	Prefix    string         `yaml:"prefix"`  // of device addresses; empty when ids are addresses by themselves
	Topics    []string       `yaml:"topics"`  // MQTT topic filters that are this model's unless configured otherwise
	Options   map[string]any `yaml:"options"` // of the codec
	Notes     string         `yaml:"notes"`
}

// all reads the embedded models once; a test holds that they are right.
var all = sync.OnceValues(func() (map[string]Profile, error) {
	files, err := models.ReadDir("models")
	if err != nil {
		return nil, err
	}
	m := make(map[string]Profile, len(files))
	for _, f := range files {
		b, err := models.ReadFile("models/" + f.Name())
		if err != nil {
			return nil, err
		}
		var p Profile
		if err := yaml.UnmarshalWithOptions(b, &p, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("profile %s: %w", f.Name(), err)
		}
		if p.Name+".yaml" != f.Name() {
			return nil, fmt.Errorf("profile %s is named %q", f.Name(), p.Name)
		}
		m[p.Name] = p
	}
	return m, nil
})

// Lookup returns the named profile.
func Lookup(name string) (Profile, bool) {
	m, _ := all()
	p, ok := m[name]
	return p, ok
}

// Names lists the profiles, sorted.
func Names() []string {
	m, _ := all()
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Open makes the profile's codec. The options of a site, a JSON object or nil, replace the
// model's own of the same name.
func (p Profile) Open(site json.RawMessage) (payload.Codec, error) {
	options := map[string]any{}
	for k, v := range p.Options {
		options[k] = v
	}
	if len(site) > 0 {
		own := map[string]json.RawMessage{}
		if err := json.Unmarshal(site, &own); err != nil {
			return nil, fmt.Errorf("profile %s: options: want an object", p.Name)
		}
		for k, v := range own {
			options[k] = v
		}
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	c, err := payload.New(p.Codec, raw)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	return c, nil
}

// Decoder is a profile's codec at work: it makes readings.
type Decoder struct {
	codec  payload.Codec
	prefix string
}

// Open finds the named profile and makes its decoder; an unknown name is an error that lists
// the known ones.
func Open(name string, site json.RawMessage) (*Decoder, error) {
	p, ok := Lookup(name)
	if !ok {
		return nil, fmt.Errorf("unknown profile %q; known profiles: %s", name, strings.Join(Names(), ", "))
	}
	c, err := p.Open(site)
	if err != nil {
		return nil, err
	}
	return &Decoder{c, p.Prefix}, nil
}

// Readings decodes one message. As with [payload.Codec], readings and an error may come
// together. Readings of a retained message are marked as such.
func (d *Decoder) Readings(in payload.Input) ([]edge.Reading, error) {
	obs, err := d.codec.Decode(in)
	rs := payload.Group(payload.Prefix(d.codec, in, d.prefix), obs, in.Received)
	if in.Retained {
		for i := range rs {
			rs[i].Quality = edge.RetainedStale
		}
	}
	return rs, err
}
