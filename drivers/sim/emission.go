package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Emission is one message of one sensor.
type Emission struct {
	Sensor  string
	Device  string // address by which the hub's driver knows it
	Via     Via
	At      time.Time // by the sensor's clock
	Seq     uint64    // the sensor's own, ascending, never used twice
	Values  []edge.Value
	Garbled bool // it is to be sent so that it cannot be understood
}

// Topic is where it is published when it goes by MQTT.
func (e Emission) Topic() string {
	if e.Via == Zigbee {
		return e.Device
	}
	return "sensors/" + e.Sensor
}

// Payload is the message in the shape of its transport, without an end of line.
func (e Emission) Payload() []byte {
	if e.Garbled {
		return []byte(`{"device":"` + e.Device + `","seq":` + strconv.FormatUint(e.Seq, 10) + `,"count_in"`)
	}
	switch e.Via {
	case Zigbee:
		return e.zigbee()
	case Serial:
		return e.line()
	}
	return e.native()
}

// Reading is the message as recorded readings are: by the sensor's id, with the time of its receipt,
// whatever its transport. A garbled one has no values.
func (e Emission) Reading() []byte {
	b := fmt.Appendf(nil, `{"rx":"%s","sensor":%s,"seq":"%d"`, e.At.UTC().Format("2006-01-02T15:04:05.000Z"), quote(e.Sensor), e.Seq)
	return e.appendValues(b)
}

// native is the hub's own JSON.
func (e Emission) native() []byte {
	b := fmt.Appendf(nil, `{"device":%s,"t":"%s","seq":%d`, quote(e.Device), e.At.UTC().Format("2006-01-02T15:04:05.000Z"), e.Seq)
	return e.appendValues(b)
}

func (e Emission) appendValues(b []byte) []byte {
	for _, v := range e.Values {
		b = fmt.Appendf(b, `,"%s":%s`, v.Kind, jsonOf(v))
	}
	return append(b, '}')
}

// line is what a small board prints: it has no clock.
func (e Emission) line() []byte {
	b := fmt.Appendf(nil, `{"id":%s,"seq":%d`, quote(e.Device), e.Seq)
	for _, v := range e.Values {
		name := string(v.Kind)
		switch v.Kind {
		case edge.CountIn:
			name = "in"
		case edge.CountOut:
			name = "out"
		}
		b = fmt.Appendf(b, `,"%s":%s`, name, jsonOf(v))
	}
	return append(b, '}')
}

// zigbee is what Zigbee2MQTT publishes of a motion detector.
func (e Emission) zigbee() []byte {
	return fmt.Appendf(nil, `{"battery":97,"last_seen":"%s","linkquality":%d,"occupancy":%t}`,
		e.At.UTC().Format("2006-01-02T15:04:05.000Z"), 60+e.Seq%120, len(e.Values) > 0 && e.Values[0].True())
}

func jsonOf(v edge.Value) string {
	switch v.Type {
	case edge.Bool:
		return strconv.FormatBool(v.True())
	case edge.Text:
		return quote(v.Text)
	}
	return strconv.FormatFloat(v.Num, 'f', -1, 64)
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string cannot fail
	return string(b)
}
