package payload

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Zigbee2MQTT reads what Zigbee2MQTT publishes: <base>/<name> with the known or changed
// properties of a device, <base>/<name>/<property> where it is set up to publish attributes,
// and <base>/<name>/availability. Names may have slashes. <base>/bridge/#, /set and /get say
// nothing.
//
// "occupancy" is motion, "presence" a state. Zigbee2MQTT repeats the last known value of every
// property with each message, so that a missing or null one is unknown, never vacant.
type Zigbee2MQTT struct{ base string }

// NewZigbee2MQTT makes the codec; an empty base means "zigbee2mqtt".
func NewZigbee2MQTT(base string) (*Zigbee2MQTT, error) {
	if base == "" {
		base = "zigbee2mqtt"
	}
	if base = strings.TrimSuffix(base, "/"); base == "" || strings.ContainsAny(base, "#+\x00") {
		return nil, fmt.Errorf("base topic %q: want one without wildcards, as in zigbee2mqtt", base)
	}
	return &Zigbee2MQTT{base}, nil
}

// Prefix is the base topic of the message.
func (z *Zigbee2MQTT) Prefix(in Input) string { return z.split(in.Topic) + "/" }

// split returns the base of a topic: the configured one where it fits, else the first level.
func (z *Zigbee2MQTT) split(topic string) string {
	if strings.HasPrefix(topic, z.base+"/") {
		return z.base
	}
	first, _, _ := strings.Cut(topic, "/")
	return first
}

// Decode reads one message.
func (z *Zigbee2MQTT) Decode(in Input) ([]Observation, error) {
	base := z.split(in.Topic)
	if len(in.Topic) <= len(base)+1 {
		return nil, errorf(UnknownFormat, "topic %q has no device; want %s/<name>", Clip(in.Topic, 60), z.base)
	}
	name := in.Topic[len(base)+1:]
	body := bytes.TrimSpace(in.Body)
	switch last := name[strings.LastIndexByte(name, '/')+1:]; {
	case name == "bridge" || strings.HasPrefix(name, "bridge/"):
		return nil, nil
	case last == "set" || last == "get" || strings.Contains(name, "/set/") || strings.Contains(name, "/get/"):
		return nil, nil
	case last == "availability" && last != name:
		return availability(strings.TrimSuffix(name, "/availability"), body)
	case len(body) == 0: // a retained message was deleted
		return nil, nil
	case body[0] != '{':
		return z.attribute(name, body)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	d, err := ParseJSON(body, Limits{})
	if err != nil {
		return nil, err
	}
	defer d.Free()
	return z.device(name, d.Root())
}

// availability reads {"state":"online"} or the bare word.
func availability(name string, body []byte) ([]Observation, error) {
	if len(body) == 0 {
		return nil, nil
	}
	state := string(body)
	if body[0] == '{' || body[0] == '"' {
		d, err := ParseJSON(body, Limits{})
		if err != nil {
			return nil, err
		}
		defer d.Free()
		if state = d.Root().Text(); d.Root().Type() == Object {
			state = d.Root().Get("state").Text()
		}
	}
	if state != "online" && state != "offline" {
		return nil, errorf(BadValue, "availability %q: want online or offline", Clip(state, 60))
	}
	return one(name, edge.TextValue(edge.Health, edge.State, state)), nil
}

// attribute reads <name>/<property> with a bare value.
func (z *Zigbee2MQTT) attribute(name string, body []byte) ([]Observation, error) {
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return nil, errorf(UnknownFormat, "%.40q is no JSON object", body)
	}
	f := zigbeeFields[name[at+1:]]
	if f == nil {
		return nil, nil
	}
	v, known, err := f.readBare(body)
	if err != nil || !known || !zigbeePlausible(&v) {
		return nil, err
	}
	return one(name[:at], v), nil
}

// zigbeeFields are the properties that say something about a space or about the sensor itself.
var zigbeeFields = func() map[string]*field {
	m := map[string]*field{}
	add := func(k edge.Kind, s edge.Semantics, sh shape, scale float64, names ...string) {
		for _, n := range names {
			m[n] = &field{kind: k, semantics: s, shape: sh, scale: scale}
		}
	}
	add(edge.Presence, edge.MotionState, boolShape, 0, "occupancy", "motion")
	add(edge.Presence, edge.State, boolShape, 0, "presence")
	add(edge.CountAbs, edge.Absolute, countShape, 0, "people", "people_count", "person_count", "count")
	add(edge.CountIn, edge.Cumulative, countShape, 0, "people_in", "count_in")
	add(edge.CountOut, edge.Cumulative, countShape, 0, "people_out", "count_out")
	add(edge.TargetCount, edge.Absolute, countShape, 0, "target_count")
	add(edge.ContactKind, edge.State, contactShape, 0, "contact") // true: the contact is closed
	add(edge.Tamper, edge.State, boolShape, 0, "tamper")
	add(batteryPct, edge.Absolute, numShape, 0, "battery")
	add(edge.BatteryV, edge.Absolute, numShape, 0.001, "voltage") // mV
	add(edge.Illuminance, edge.Absolute, numShape, 0, "illuminance_lux", "illuminance")
	add(edge.TemperatureC, edge.Absolute, numShape, 0, "temperature")
	add(edge.HumidityPct, edge.Absolute, numShape, 0, "humidity")
	add(edge.PressureHPa, edge.Absolute, numShape, 0, "pressure")
	add(edge.CO2PPM, edge.Absolute, numShape, 0, "co2")
	return m
}()

// zigbeePlausible tells a battery's voltage from the mains voltage of a plug, which has the same name.
func zigbeePlausible(v *edge.Value) bool {
	return v.Kind != edge.BatteryV || v.Num >= 0.5 && v.Num <= 30
}

// device reads the properties of one device.
func (z *Zigbee2MQTT) device(name string, root Value) ([]Observation, error) {
	obs := make([]Observation, 0, 2)
	var at time.Time
	var link Value
	for c := range root.Children() {
		key := c.keyBytes()
		switch string(key) {
		case "last_seen":
			t, known, ok := instant(c, nil)
			if !ok {
				return nil, badValue(c, "want the time since 1970 or ISO 8601")
			}
			if known {
				at = t
			}
			continue
		case "linkquality":
			link = c
			continue
		case "illuminance": // raw in old versions, which give the lux beside it
			if root.Get("illuminance_lux").Type() != None {
				continue
			}
		}
		f := zigbeeFields[string(key)]
		if f == nil || c.Type() == Object || c.Type() == Array {
			continue
		}
		v, known, ok := f.read(c)
		if !ok {
			return nil, badValue(c, "want "+f.shape.want())
		}
		if known && zigbeePlausible(&v) && !reported(obs, &v) {
			obs = append(obs, Observation{Sensor: name, Value: v})
		}
	}
	for i := range obs {
		obs[i].TS = at
	}
	if x, ok := link.Float(); ok && len(obs) > 0 {
		obs[0].Extra = map[string]any{string(edge.LinkQuality): x}
	}
	return obs, nil
}

func reported(obs []Observation, v *edge.Value) bool {
	for i := range obs {
		if obs[i].Value.Kind == v.Kind && obs[i].Value.Semantics == v.Semantics {
			return true
		}
	}
	return false
}
