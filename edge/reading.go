package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Kind names what a value measures; its unit is in the name.
type Kind string

// The kinds of value.
const (
	Presence     Kind = "presence"
	ContactKind  Kind = "contact"
	CountIn      Kind = "count_in"
	CountOut     Kind = "count_out"
	CountAbs     Kind = "count_abs"
	CountAbsMax  Kind = "count_abs_max"
	TargetCount  Kind = "target_count"
	Flow         Kind = "flow"
	MotionCount  Kind = "motion_count"
	UsageCount   Kind = "usage_count"
	CO2PPM       Kind = "co2_ppm"
	TemperatureC Kind = "temperature_c"
	HumidityPct  Kind = "humidity_pct"
	Illuminance  Kind = "illuminance_lux"
	LightLevel   Kind = "light_level"
	Daylight     Kind = "daylight"
	DistanceMM   Kind = "distance_mm"
	PressureHPa  Kind = "pressure_hpa"
	BatteryV     Kind = "battery_v"
	SeqKind      Kind = "seq"
	Health       Kind = "health"
	Tamper       Kind = "tamper"
	TeachIn      Kind = "teach_in"
	StatusBits   Kind = "status_bits"
	DeviceCount  Kind = "device_count"
	Access       Kind = "access"
	LinkQuality  Kind = "link_quality"
	SignalDBm    Kind = "signal_dbm"
)

// Semantics says how a value relates to time.
type Semantics string

// The semantics of a value.
const (
	State           Semantics = "state"            // a level that holds until the next one
	MotionState     Semantics = "motion-state"     // a motion pulse; "false" is weak evidence of vacancy
	Absolute        Semantics = "absolute"         // the quantity now
	Cumulative      Semantics = "cumulative"       // running total since the device started
	CumulativeToday Semantics = "cumulative-today" // running total since local midnight
	Delta           Semantics = "delta"            // since the previous report, or for [From, At)
	PassageEvent    Semantics = "event"            // one passage
	PeriodMax       Semantics = "period-max"       // largest within the period
	Sequence        Semantics = "sequence"         // the device's own counter of messages
	AlarmSemantics  Semantics = "alarm"            // a condition the device raises
)

// Type says which of a Value's fields holds it.
type Type uint8

// The types of a value.
const (
	Number Type = iota
	Bool
	Text
)

// Value is one measured quantity: a finite number, a boolean or a text, by Type.
type Value struct {
	Kind      Kind
	Semantics Semantics
	Type      Type
	Num       float64 // Number; for Bool 1 is true and 0 false
	Text      string
}

// NumberValue makes a numeric value.
func NumberValue(k Kind, s Semantics, x float64) Value {
	return Value{Kind: k, Semantics: s, Type: Number, Num: x}
}

// BoolValue makes a boolean value.
func BoolValue(k Kind, s Semantics, b bool) Value {
	v := Value{Kind: k, Semantics: s, Type: Bool}
	if b {
		v.Num = 1
	}
	return v
}

// TextValue makes a text value.
func TextValue(k Kind, s Semantics, t string) Value {
	return Value{Kind: k, Semantics: s, Type: Text, Text: t}
}

// True tells whether v is the boolean true or a number other than 0.
func (v Value) True() bool { return v.Type != Text && v.Num != 0 }

// Quality qualifies a reading: empty is a good one.
type Quality string

// The qualities of a reading.
const (
	Good          Quality = ""
	RetainedStale Quality = "retained" // a broker's memory of an earlier value, not a fresh observation
	BadClock      Quality = "clock"    // the device's time was implausible; At is the time of receipt
)

// Reading is what one device said about one sensor at one instant: an atomic group of values
// (the in and out of a door step together).
//
// A driver sets Device, Received, Values and, where the device gives them, At, From, Seq and
// Backfill. The engine fixes At (see [Reading.Fix]) and sets Sensor.
type Reading struct {
	Sensor   string    // id of the place-bound sensor; empty until the engine has resolved Device
	Device   string    // address of the hardware point as the driver names it, channel included
	At       time.Time // event time; before Fix the device's own time, zero when it gave none
	From     time.Time // start of the interval that ends at At; zero when there is none
	Received time.Time // when the hub took it in
	Seq      string    // the device's sequence number or de-duplication key; empty when it has none
	Backfill bool      // a stored record from the past
	Quality  Quality
	Timed    bool // At is the device's own plausible time (set by Fix)
	Values   []Value
}

// The window of plausible device times (sensors.md, section 5).
const (
	MaxAhead = 5 * time.Minute // a device clock may run ahead of the time of receipt by this much
)

// MinDeviceTime is the earliest plausible device time, 2015-01-01 UTC.
var minDeviceTime = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// Fix settles the reading's times: all cut to milliseconds, At the device's time if that is
// plausible (not before 2015, at most MaxAhead after receipt), else the time of receipt with
// Quality set to BadClock when the device had given one.
func (r *Reading) Fix() {
	r.Received, r.At, r.From = Millis(r.Received), Millis(r.At), Millis(r.From)
	switch {
	case r.At.IsZero():
		r.At, r.Timed = r.Received, false
	case r.At.Before(minDeviceTime) || r.At.After(r.Received.Add(MaxAhead)):
		r.At, r.Timed, r.Quality = r.Received, false, BadClock
	default:
		r.Timed = true
	}
	if !r.From.IsZero() && (r.From.Before(minDeviceTime) || r.From.After(r.At)) {
		r.From = time.Time{}
	}
}

// AppendJSON appends the reading's compact wire form to b and returns the longer slice:
//
//	{"sensor":"s","device":"d","rx":MS,"at":MS,"from":MS,"seq":"…","backfill":true,"quality":"…","values":[["kind","semantics",VALUE],…]}
//
// Times are milliseconds since 1970 UTC; "at" stands only for a device's own plausible time,
// absent fields have their zero value. The form is part of sync/wire/FORMAT.md.
func (r *Reading) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if r.Sensor != "" {
		b = appendString(append(b, `"sensor":`...), r.Sensor)
		b = append(b, ',')
	}
	b = appendString(append(b, `"device":`...), r.Device)
	b = strconv.AppendInt(append(b, `,"rx":`...), r.Received.UnixMilli(), 10)
	if r.Timed {
		b = strconv.AppendInt(append(b, `,"at":`...), r.At.UnixMilli(), 10)
	}
	if !r.From.IsZero() {
		b = strconv.AppendInt(append(b, `,"from":`...), r.From.UnixMilli(), 10)
	}
	if r.Seq != "" {
		b = appendString(append(b, `,"seq":`...), r.Seq)
	}
	if r.Backfill {
		b = append(b, `,"backfill":true`...)
	}
	if r.Quality != "" {
		b = appendString(append(b, `,"quality":`...), string(r.Quality))
	}
	b = append(b, `,"values":[`...)
	for i, v := range r.Values {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.appendJSON(b)
	}
	return append(b, `]}`...)
}

func (v Value) appendJSON(b []byte) []byte {
	b = appendString(append(b, '['), string(v.Kind))
	b = appendString(append(b, ','), string(v.Semantics))
	b = append(b, ',')
	switch v.Type {
	case Bool:
		b = strconv.AppendBool(b, v.Num != 0)
	case Text:
		b = appendString(b, v.Text)
	default:
		b = appendNumber(b, v.Num)
	}
	return append(b, ']')
}

// appendNumber writes whole numbers without exponent or fraction, others in shortest form.
// Values that JSON has no number for become null.
func appendNumber(b []byte, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(b, "null"...)
	}
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.AppendInt(b, int64(x), 10)
	}
	return strconv.AppendFloat(b, x, 'g', -1, 64)
}

// appendString appends s as a JSON string. Plain ASCII, the usual case, is copied.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			q, _ := json.Marshal(s)
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// MarshalJSON writes the compact wire form.
func (r Reading) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON reads the compact wire form; unknown fields are ignored.
func (r *Reading) UnmarshalJSON(b []byte) error {
	var w struct {
		Sensor   string            `json:"sensor"`
		Device   string            `json:"device"`
		RX       int64             `json:"rx"`
		At       *int64            `json:"at"`
		From     *int64            `json:"from"`
		Seq      string            `json:"seq"`
		Backfill bool              `json:"backfill"`
		Quality  Quality           `json:"quality"`
		Values   []json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	*r = Reading{
		Sensor: w.Sensor, Device: w.Device, Received: time.UnixMilli(w.RX).UTC(),
		Seq: w.Seq, Backfill: w.Backfill, Quality: w.Quality, Timed: w.At != nil,
	}
	r.At = r.Received
	if w.At != nil {
		r.At = time.UnixMilli(*w.At).UTC()
	}
	if w.From != nil {
		r.From = time.UnixMilli(*w.From).UTC()
	}
	for _, raw := range w.Values {
		var v Value
		if err := v.UnmarshalJSON(raw); err != nil {
			return err
		}
		r.Values = append(r.Values, v)
	}
	return nil
}

// UnmarshalJSON reads ["kind","semantics",value].
func (v *Value) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil || len(parts) != 3 {
		return fmt.Errorf("value %.60s: want [kind, semantics, value]", b)
	}
	*v = Value{}
	if err := json.Unmarshal(parts[0], &v.Kind); err != nil {
		return fmt.Errorf("value kind: %w", err)
	}
	if err := json.Unmarshal(parts[1], &v.Semantics); err != nil {
		return fmt.Errorf("value semantics: %w", err)
	}
	switch raw := bytes.TrimSpace(parts[2]); {
	case len(raw) > 0 && raw[0] == '"':
		v.Type = Text
		return json.Unmarshal(raw, &v.Text)
	case string(raw) == "true":
		v.Type, v.Num = Bool, 1
	case string(raw) == "false":
		v.Type = Bool
	case string(raw) == "null":
		v.Num = math.NaN()
	default:
		return json.Unmarshal(raw, &v.Num)
	}
	return nil
}

// MarshalJSON writes ["kind","semantics",value].
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

// Outcome is what became of a reading that the hub took in.
type Outcome struct {
	Status OutcomeStatus `json:"status"`
	Reason string        `json:"reason,omitempty"` // for Rejected and Pending: what is wrong and what to do
}

// OutcomeStatus says what became of a reading.
type OutcomeStatus string

// The outcomes. All four are durable when they are reported: the reading, or its count in the
// loss ledger, or the pending device, is synced.
const (
	Accepted  OutcomeStatus = "accepted"
	Duplicate OutcomeStatus = "duplicate"
	Pending   OutcomeStatus = "pending"  // stored under a device that no sensor names yet
	Rejected  OutcomeStatus = "rejected" // not stored; counted in the loss ledger
)

// Rejection is something that arrived and could not be understood. It is counted in the loss
// ledger by (Driver, Device, Cause); Detail and Hash describe the newest one. The bytes
// themselves never reach the disk.
type Rejection struct {
	Driver string    `json:"driver"`
	Device string    `json:"device,omitempty"` // address, topic or path; empty when not even that is known
	Cause  string    `json:"cause"`            // short and constant: "malformed", "too large", "unknown format"
	Detail string    `json:"detail,omitempty"` // for people: what is wrong in this one, at most 200 bytes
	Hash   string    `json:"hash,omitempty"`   // first 16 hex digits of the SHA-256 of the bytes; a hub keeps a keyed hash of it
	Count  int       `json:"count,omitempty"`  // how many; 0 counts as 1
	At     time.Time `json:"at"`
}
