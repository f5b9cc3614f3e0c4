package payload

import (
	"bytes"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// deviceOptions are those of codecs for firmware whose points have names that its user chose.
type deviceOptions struct {
	// Map gives the kind of a named point: {"Switch1": "presence"}.
	Map map[string]string `json:"map,omitempty"`
	// Timezone is the zone of times that name none.
	Timezone string `json:"timezone,omitempty"`
}

// points are the kinds of named points, and the zone.
type points struct {
	kinds map[string]*field
	zone  *time.Location
}

func newPoints(o deviceOptions) (points, error) {
	p := points{kinds: map[string]*field{}}
	if o.Timezone != "" {
		loc, err := time.LoadLocation(o.Timezone)
		if err != nil {
			return p, errorf(BadValue, "timezone %q: not a known zone; write for example Europe/Oslo", o.Timezone)
		}
		p.zone = loc
	}
	for name, kind := range o.Map {
		f := fields[strings.ToLower(kind)]
		if f == nil || f.role != roleValue {
			return p, errorf(BadValue, "map: %s: %q is not a kind; known are presence, motion, count_abs, contact, temperature_c and so on", name, kind)
		}
		p.kinds[name] = f
	}
	return p, nil
}

// motion is what a switch or binary input reports that is bound to presence: a pulse.
var motion = fields["motion"]

// pulse returns f, with presence read as motion: on this firmware it is an input's level.
func pulse(f *field) *field {
	if f.kind == edge.Presence {
		return motion
	}
	return f
}

// online reads the last will of a device.
func online(sensor string, body []byte) ([]Observation, error) {
	state := strings.ToLower(string(bytes.TrimSpace(body)))
	switch state {
	case "":
		return nil, nil
	case "true":
		state = "online"
	case "false":
		state = "offline"
	}
	if state != "online" && state != "offline" {
		return nil, errorf(BadValue, "%q: want online or offline", Clip(state, 60))
	}
	return one(sensor, edge.TextValue(edge.Health, edge.State, state)), nil
}

// bareValue reads a payload that is a bare value of f.
func bareValue(sensor string, f *field, body []byte) ([]Observation, error) {
	body = bytes.TrimSpace(body)
	if len(body) > maxText {
		return nil, errorf(TooLarge, "value of %d bytes", len(body))
	}
	v, known, err := f.readBare(body)
	if err != nil || !known {
		return nil, err
	}
	return one(sensor, v), nil
}

// stampAll gives all observations a time.
func stampAll(obs []Observation, at time.Time) []Observation {
	for i := range obs {
		obs[i].TS = at
	}
	return obs
}

// appendField appends the value of a JSON member when it is known.
func appendField(obs []Observation, sensor string, f *field, v Value) ([]Observation, error) {
	if v.Type() == None {
		return obs, nil
	}
	val, known, ok := f.read(v)
	if !ok {
		return obs, badValue(v, "want "+f.shape.want())
	}
	if known {
		obs = append(obs, Observation{Sensor: sensor, Value: val})
	}
	return obs, nil
}
