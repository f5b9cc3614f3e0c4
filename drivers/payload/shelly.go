package payload

import (
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

// Shelly reads the MQTT of Shelly devices. First generation: shellies/<id>/status of motion
// sensors, shellies/<id>/sensor/<name> and shellies/<id>/online. From the second: <id>/online
// and <id>/events/rpc (NotifyStatus), which names the changed components only.
//
// A motion sensor whose detection is paused ("active": false) is blind: its "no motion" says
// nothing.
type Shelly struct{ points }

// Decode reads one message.
func (c *Shelly) Decode(in Input) ([]Observation, error) {
	levels := strings.Split(in.Topic, "/")
	n := len(levels)
	switch {
	case levels[0] == "shellies" && n == 3 && levels[2] == "online", levels[0] != "shellies" && n >= 2 && levels[n-1] == "online":
		return online(strings.TrimPrefix(strings.TrimSuffix(in.Topic, "/online"), "shellies/"), in.Body)
	case levels[0] == "shellies" && n == 4 && levels[2] == "sensor":
		f := shellyFields[levels[3]]
		if f == nil {
			return nil, nil
		}
		return bareValue(levels[1], f, in.Body)
	case levels[0] == "shellies" && n == 3 && levels[2] == "status":
		return c.parse(in, func(root Value) ([]Observation, error) { return shellyStatus(levels[1], root) })
	case n >= 3 && levels[n-2] == "events" && levels[n-1] == "rpc":
		return c.parse(in, c.notify)
	}
	return nil, nil
}

func (c *Shelly) parse(in Input, read func(Value) ([]Observation, error)) ([]Observation, error) {
	d, err := ParseJSON(in.Body, Limits{})
	if err != nil {
		return nil, err
	}
	defer d.Free()
	return read(d.Root())
}

// shellyFields are the values of first generation sensors. A door's state is "open" or "close".
var shellyFields = map[string]*field{
	"motion": motion, "lux": fields["illuminance_lux"], "bat": fields["battery_pct"], "battery": fields["battery_pct"],
	"temperature": fields["temperature_c"], "humidity": fields["humidity_pct"], "state": fields["contact"],
}

// shellyStatus reads the status of a motion sensor; timestamp is that of the last change.
func shellyStatus(id string, root Value) ([]Observation, error) {
	at, _, ok := instant(root.Get("timestamp"), nil)
	if !ok {
		return nil, badValue(root.Get("timestamp"), "want seconds since 1970")
	}
	blind := root.Get("active").Type() == Bool && !root.Get("active").True()
	var obs []Observation
	for _, name := range []string{"motion", "lux", "bat"} {
		if name == "motion" && blind {
			continue
		}
		var err error
		if obs, err = appendField(obs, id, shellyFields[name], root.Get(name)); err != nil {
			return nil, err
		}
	}
	return stampAll(obs, at), nil
}

// notify reads a NotifyStatus or NotifyFullStatus of later generations.
func (c *Shelly) notify(root Value) ([]Observation, error) {
	id, params := root.Get("src").Text(), root.Get("params")
	if m := root.Get("method").Text(); m != "NotifyStatus" && m != "NotifyFullStatus" || id == "" {
		return nil, nil
	}
	at, _, ok := instant(params.Get("ts"), nil)
	if !ok {
		return nil, badValue(params.Get("ts"), "want seconds since 1970")
	}
	var obs []Observation
	for p := range params.Children() {
		var err error
		name := p.Key()
		kind, _, _ := strings.Cut(name, ":")
		sensor := id + "/" + name
		switch {
		case p.Type() != Object:
		case c.kinds[name] != nil:
			obs, err = appendField(obs, sensor, pulse(c.kinds[name]), p.Get("state"))
		case kind == "temperature":
			obs, err = appendField(obs, sensor, fields["temperature_c"], p.Get("tC"))
		case kind == "humidity":
			obs, err = appendField(obs, sensor, fields["humidity_pct"], p.Get("rh"))
		case kind == "illuminance":
			obs, err = appendField(obs, sensor, fields["illuminance_lux"], p.Get("lux"))
		case kind == "devicepower":
			if obs, err = appendField(obs, id, fields["battery_pct"], p.Get("battery").Get("percent")); err == nil {
				obs, err = appendField(obs, id, fields[string(edge.BatteryV)], p.Get("battery").Get("V"))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return stampAll(obs, at), nil
}
