package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// codecs makes a codec from its options; the names are those of profiles.
var codecs = map[string]func(options json.RawMessage) (Codec, error){
	"json": func(raw json.RawMessage) (Codec, error) {
		var o MapOptions
		if err := options(raw, &o); err != nil {
			return nil, err
		}
		return result(NewMapping(o))
	},
	"access": newAccess,
	"ignore": func(raw json.RawMessage) (Codec, error) { return ignore{}, options(raw, &struct{}{}) },
	"lines": func(raw json.RawMessage) (Codec, error) {
		var o LineOptions
		if err := options(raw, &o); err != nil {
			return nil, err
		}
		return result(NewLines(o))
	},
	"esphome":   device(func(p points) Codec { return &ESPHome{p} }),
	"homie":     device(func(p points) Codec { return &Homie{p} }),
	"meraki-mv": func(raw json.RawMessage) (Codec, error) { return MerakiMV{}, options(raw, &struct{}{}) },
	"shelly":    device(func(p points) Codec { return &Shelly{p} }),
	"tasmota":   device(func(p points) Codec { return &Tasmota{p} }),
	"zigbee2mqtt": func(raw json.RawMessage) (Codec, error) {
		var o struct {
			Base string `json:"base"` // the base topic
		}
		if err := options(raw, &o); err != nil {
			return nil, err
		}
		return result(NewZigbee2MQTT(o.Base))
	},
}

// device makes the constructor of a codec whose points the site may name.
func device(make func(points) Codec) func(json.RawMessage) (Codec, error) {
	return func(raw json.RawMessage) (Codec, error) {
		var o deviceOptions
		if err := options(raw, &o); err != nil {
			return nil, err
		}
		p, err := newPoints(o)
		if err != nil {
			return nil, err
		}
		return make(p), nil
	}
}

// ignore is for messages that are not about spaces, such as what programs tell one another.
type ignore struct{}

func (ignore) Decode(Input) ([]Observation, error) { return nil, nil }

// result keeps a nil pointer from becoming a codec.
func result[C Codec](c C, err error) (Codec, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// New makes the named codec from its options, a JSON object; unknown options are errors.
func New(name string, options json.RawMessage) (Codec, error) {
	f, ok := codecs[name]
	if !ok {
		return nil, fmt.Errorf("unknown codec %q; known codecs: %s", name, strings.Join(Names(), ", "))
	}
	return f(options)
}

// Names lists the codecs, sorted.
func Names() []string {
	names := make([]string, 0, len(codecs))
	for n := range codecs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func options(raw json.RawMessage, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("codec options: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
