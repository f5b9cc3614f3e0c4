package payload

import (
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Tasmota reads what Tasmota firmware publishes: tele/<topic>/SENSOR, tele/<topic>/LWT and
// stat/<topic>/<name>. What a switch stands for is the site's to say in the map. Time has no
// zone unless the device is set up so; without a zone in the options it is not used.
type Tasmota struct{ points }

// Decode reads one message.
func (c *Tasmota) Decode(in Input) ([]Observation, error) {
	prefix, device, last := tasmotaTopic(in.Topic)
	switch {
	case device == "":
		return nil, errorf(UnknownFormat, "topic %q: want tele/<topic>/… or stat/<topic>/…", Clip(in.Topic, 60))
	case prefix == "tele" && last == "LWT":
		return online(device, in.Body)
	case prefix == "tele" && last != "SENSOR" || prefix == "cmnd":
		return nil, nil
	case prefix == "stat" && last != "RESULT" && !strings.HasPrefix(last, "STATUS"):
		return c.named(device, last, in.Body)
	}
	d, err := ParseJSON(in.Body, Limits{})
	if err != nil {
		return nil, err
	}
	defer d.Free()
	root := d.Root()
	if sns := root.Get("StatusSNS"); sns.Type() == Object {
		root = sns
	}
	return c.sensors(device, root)
}

// tasmotaTopic finds prefix, device and last level of <prefix>/<device>/<last> and
// <device>/<prefix>/<last>.
func tasmotaTopic(topic string) (prefix, device, last string) {
	levels := strings.Split(topic, "/")
	n := len(levels)
	if n < 3 {
		return "", "", ""
	}
	for _, at := range []int{0, n - 2} {
		switch p := levels[at]; p {
		case "tele", "stat", "cmnd":
			rest := levels[1 : n-1]
			if at > 0 {
				rest = levels[:n-2]
			}
			return p, strings.Join(rest, "/"), levels[n-1]
		}
	}
	return "", "", ""
}

// named reads stat/<topic>/<name>, which a rule or a switch publishes.
func (c *Tasmota) named(device, name string, body []byte) ([]Observation, error) {
	f := c.kinds[name]
	if f == nil {
		for n, g := range c.kinds {
			if strings.EqualFold(n, name) {
				f = g
			}
		}
	}
	if f == nil && (strings.HasPrefix(strings.ToUpper(name), "PIR") || strings.HasPrefix(strings.ToUpper(name), "MOTION")) {
		f = motion
	}
	if f == nil {
		return nil, nil
	}
	if len(body) > 0 && body[0] == '{' {
		d, err := ParseJSON(body, Limits{})
		if err != nil {
			return nil, err
		}
		defer d.Free()
		return appendField(nil, device+"/"+name, pulse(f), switchState(d.Root()))
	}
	return bareValue(device+"/"+name, pulse(f), body)
}

// switchState is the state in {"STATE":"ON"} or {"Action":"ON"}, or v itself.
func switchState(v Value) Value {
	for _, k := range []string{"STATE", "Action", "State"} {
		if s := v.Get(k); s.Type() != None {
			return s
		}
	}
	return v
}

// tasmotaFields are the members of a sensor's object.
var tasmotaFields = map[string]*field{
	"Temperature": fields["temperature_c"], "Humidity": fields["humidity_pct"], "CarbonDioxide": fields["co2_ppm"],
	"Illuminance": fields["illuminance_lux"], "Pressure": fields["pressure_hpa"],
}

func (c *Tasmota) sensors(device string, root Value) ([]Observation, error) {
	var obs []Observation
	var at time.Time
	fahrenheit := root.Get("TempUnit").Text() == "F"
	for m := range root.Children() {
		var err error
		name := m.Key()
		switch f := c.kinds[name]; {
		case name == "Time":
			t, known, ok := instant(m, c.zone)
			if !ok {
				return nil, badValue(m, "want a time")
			}
			if known {
				at = t
			}
		case f != nil:
			obs, err = appendField(obs, device+"/"+name, pulse(f), switchState(m))
		case m.Type() != Object:
		case m.Get("People").Type() == Number: // LD2410S: 0 and 1 mean nobody, 2 and 3 somebody
			x, _ := m.Get("People").Float()
			obs = append(obs, Observation{Sensor: device + "/" + name, Value: edge.BoolValue(edge.Presence, edge.State, x >= 2)})
		case m.Get("Distance").Type() == Array:
			obs, err = radar(obs, device+"/"+name, m.Get("Distance"))
		default:
			obs, err = c.climate(obs, device+"/"+name, m, fahrenheit)
		}
		if err != nil {
			return nil, err
		}
	}
	return stampAll(obs, at), nil
}

// radar reads an LD2410's [detection, moving, static] distances in cm: 0 everywhere is nobody.
func radar(obs []Observation, sensor string, distance Value) ([]Observation, error) {
	somebody := false
	var first float64
	for i := range distance.Len() {
		x, ok := distance.Index(i).Float()
		if !ok {
			return obs, badValue(distance, "want distances")
		}
		if i == 0 {
			first = x
		}
		somebody = somebody || x > 0
	}
	return append(obs, Observation{
		Sensor: sensor, Value: edge.BoolValue(edge.Presence, edge.State, somebody),
		Extra: map[string]any{"detection_distance_cm": first},
	}), nil
}

func (c *Tasmota) climate(obs []Observation, sensor string, m Value, fahrenheit bool) ([]Observation, error) {
	for v := range m.Children() {
		f := tasmotaFields[v.Key()]
		if f == nil {
			continue
		}
		n := len(obs)
		var err error
		if obs, err = appendField(obs, sensor, f, v); err != nil {
			return obs, err
		}
		if len(obs) > n && f.kind == edge.TemperatureC && fahrenheit {
			obs[n].Value.Num = (obs[n].Value.Num - 32) * 5 / 9
		}
	}
	return obs, nil
}
