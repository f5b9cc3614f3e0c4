package payload

import (
	"math"

	"github.com/headcount-hub/headcount/edge"
)

// role says what a field of a message is for.
type role uint8

const (
	roleValue role = iota
	roleID
	roleTime
	roleFrom
	roleSeq
	roleBackfill
	roleCompact // [["kind","semantics",value],…]
	roleEvent   // what happened, as in "access.granted"
	roleDetail  // more of an access
	roleEventID // an event's own id; the device's where it has no other
	roleZone    // a part of what a camera sees
)

// shape says what a value's text must be.
type shape uint8

const (
	anyShape shape = iota
	boolShape
	countShape   // a whole number from 0
	numShape     // a finite number
	textShape    //
	contactShape // "open" or "closed"; true = closed
	openShape    // "open" or "closed"; true = open
	occupancyShape
	eventShape
	wordShape    // one of the kind's words, as devices spell them
	labelShape   // a text or number
	wiegandShape // a badge as a Wiegand frame
)

// field is what a key stands for. rank orders several names of the same thing: the smallest wins.
type field struct {
	role      role
	kind      edge.Kind
	semantics edge.Semantics
	shape     shape
	rank      int8
	scale     float64 // 0 = 1
}

// fields is the vocabulary: our own kinds by their names, and what devices call them. Keys are
// lower case. It is not changed.
var fields = vocabulary()

func vocabulary() map[string]*field {
	m := map[string]*field{}
	add := func(f field, names ...string) {
		for i, n := range names {
			g := f
			g.rank = int8(i)
			m[n] = &g
		}
	}
	add(field{role: roleID}, "sensor", "device", "id", "sensor_id", "device_id", "sensorid", "deviceid", "deveui", "dev_eui", "uid", "uuid", "serial", "serial_number", "mac")
	add(field{role: roleTime}, "at", "t", "ts", "time", "timestamp", "datetime", "date_time", "measured_at", "last_seen")
	add(field{role: roleFrom}, "from", "period_start")
	add(field{role: roleSeq}, "seq", "sequence", "msg_id", "message_id", "packet_id")
	add(field{role: roleBackfill}, "backfill")
	add(field{role: roleCompact}, "values")

	kind := func(k edge.Kind, s edge.Semantics, sh shape, names ...string) {
		add(field{kind: k, semantics: s, shape: sh}, append([]string{string(k)}, names...)...)
	}
	kind(edge.Presence, edge.State, boolShape, "occupied", "present", "is_occupied", "presence_state", "occupancy_state")
	add(field{kind: edge.Presence, semantics: edge.MotionState, shape: boolShape}, "motion", "pir", "motion_detected", "movement")
	add(field{kind: edge.Presence, semantics: edge.State, shape: occupancyShape}, "occupancy")
	kind(edge.CountIn, edge.Cumulative, countShape, "in", "in_count", "people_in", "total_in", "entries", "entered", "countin")
	kind(edge.CountOut, edge.Cumulative, countShape, "out", "out_count", "people_out", "total_out", "exits", "exited", "countout")
	kind(edge.CountAbs, edge.Absolute, countShape, "people", "people_count", "person_count", "peoplecount", "headcount", "head_count", "persons", "num_people", "occupants", "occupancy_count")
	kind(edge.CountAbsMax, edge.PeriodMax, countShape)
	kind(edge.TargetCount, edge.Absolute, countShape)
	kind(edge.DeviceCount, edge.Absolute, countShape)
	kind(edge.MotionCount, edge.Delta, countShape)
	kind(edge.UsageCount, edge.Delta, countShape)
	kind(edge.Flow, edge.Delta, numShape)
	kind(edge.ContactKind, edge.State, contactShape)
	add(field{kind: edge.ContactKind, semantics: edge.State, shape: openShape}, "door", "door_open", "open", "is_open", "window", "window_open")
	kind(edge.CO2PPM, edge.Absolute, numShape, "co2", "carbon_dioxide")
	kind(edge.TemperatureC, edge.Absolute, numShape, "temperature", "temp", "temp_c")
	kind(edge.HumidityPct, edge.Absolute, numShape, "humidity", "rh", "relative_humidity")
	kind(edge.Illuminance, edge.Absolute, numShape, "illuminance", "lux")
	kind(edge.LightLevel, edge.Absolute, numShape)
	kind(edge.DistanceMM, edge.Absolute, numShape)
	kind(edge.PressureHPa, edge.Absolute, numShape, "pressure")
	kind(batteryPct, edge.Absolute, numShape, "battery", "battery_level", "battery_percent")
	kind(edge.BatteryV, edge.Absolute, numShape, "battery_voltage")
	add(field{kind: edge.BatteryV, semantics: edge.Absolute, shape: numShape, scale: 0.001}, "battery_mv")
	kind(edge.StatusBits, edge.Absolute, numShape)
	kind(edge.LinkQuality, edge.Absolute, numShape)
	kind(edge.SignalDBm, edge.Absolute, numShape)
	kind(edge.Daylight, edge.State, anyShape)
	kind(edge.Health, edge.State, textShape)
	kind(edge.Tamper, edge.State, anyShape)
	kind(edge.TeachIn, edge.PassageEvent, anyShape)
	kind(edge.Access, edge.PassageEvent, wordShape)
	kind(edge.DoorAlarm, edge.AlarmSemantics, wordShape)
	details(add)
	return m
}

// lookup finds the field of a key in any case, without allocating; access tells that it is in a
// message about an access.
func lookup(key []byte, access bool) *field {
	if len(key) > 32 {
		return nil
	}
	var buf [32]byte
	lower := buf[:len(key)]
	for i, c := range key {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	if access {
		return accessFields[string(lower)]
	}
	return fields[string(lower)]
}

// read makes a value of v by the field's shape. known is false when v says that there is none.
func (f *field) read(v Value) (out edge.Value, known, ok bool) {
	if f.shape.ofAccess() {
		return f.readAccess(v)
	}
	out = edge.Value{Kind: f.kind, Semantics: f.semantics}
	switch f.shape {
	case boolShape:
		b, known, ok := boolean(v)
		return edge.BoolValue(f.kind, f.semantics, b), known, ok
	case occupancyShape:
		// A number is a head count; anything else a state.
		if x, known, ok := number(v); ok && v.Type() == Number {
			return edge.NumberValue(edge.CountAbs, edge.Absolute, x), known, isCount(x)
		}
		b, known, ok := boolean(v)
		return edge.BoolValue(f.kind, f.semantics, b), known, ok
	case countShape, numShape:
		x, known, ok := number(v)
		if known && f.scale != 0 {
			x *= f.scale
		}
		out.Num = x
		return out, known, ok && (f.shape == numShape || !known || isCount(x))
	case contactShape, openShape:
		t, known, ok := contact(v, f.shape == contactShape)
		return edge.TextValue(f.kind, f.semantics, t), known, ok
	case textShape:
		t, ok := scalarText(v)
		return edge.TextValue(f.kind, f.semantics, Clip(t, maxText)), t != "", ok || v.Type() == Null
	}
	return f.readAny(v)
}

func (f *field) readAny(v Value) (out edge.Value, known, ok bool) {
	switch v.Type() {
	case Bool:
		return edge.BoolValue(f.kind, f.semantics, v.True()), true, true
	case Number:
		x, ok := v.Float()
		return edge.NumberValue(f.kind, f.semantics, x), ok, ok
	case String:
		t := v.Text()
		return edge.TextValue(f.kind, f.semantics, Clip(t, maxText)), t != "", true
	}
	return out, false, v.Type() == Null || v.Type() == None
}

const (
	maxText = 256 // bytes of a value that is text
	maxName = 200 // bytes of a sensor's id in a message
	maxSeq  = 64
)

func isCount(x float64) bool { return x >= 0 && x == math.Trunc(x) && x <= 1<<53 }
