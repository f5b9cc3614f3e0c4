package httppush

import "github.com/headcount-hub/headcount/edge"

// semantics are the ones that a value may name.
var semantics = [...]edge.Semantics{
	edge.State, edge.MotionState, edge.Absolute, edge.Cumulative, edge.CumulativeToday, edge.Delta,
	edge.PassageEvent, edge.PeriodMax, edge.Sequence, edge.AlarmSemantics,
}

// vocabulary is the fields of a native reading: whose it is, when, and what was measured. A
// kind stands for itself with its usual semantics; for others there is "values".
func vocabulary() map[string]*field {
	at := &field{do: func(p *parser) error { return p.instant(&p.r.At) }}
	m := map[string]*field{
		"sensor":   {do: func(p *parser) error { return p.name(p.names.sensor) }},
		"device":   {do: func(p *parser) error { return p.name(p.names.device) }},
		"t":        at,
		"at":       at,
		"ts":       at,
		"time":     at,
		"from":     {do: func(p *parser) error { return p.instant(&p.r.From) }},
		"rx":       {do: func(p *parser) error { return p.skip(1) }}, // of recordings; receipt is now
		"seq":      {do: (*parser).sequence},
		"backfill": {do: (*parser).backfill},
		"values":   {do: (*parser).compact},
		"motion":   {kind: edge.Presence, semantics: edge.MotionState, typ: boolType},
	}
	kind := func(k edge.Kind, s edge.Semantics, t valueType) {
		m[string(k)] = &field{kind: k, semantics: s, typ: t}
	}
	kind(edge.Presence, edge.State, boolType)
	kind(edge.CountIn, edge.Cumulative, countType)
	kind(edge.CountOut, edge.Cumulative, countType)
	kind(edge.CountAbs, edge.Absolute, countType)
	kind(edge.CountAbsMax, edge.PeriodMax, countType)
	kind(edge.TargetCount, edge.Absolute, countType)
	kind(edge.DeviceCount, edge.Absolute, countType)
	kind(edge.MotionCount, edge.Delta, countType)
	kind(edge.UsageCount, edge.Delta, countType)
	kind(edge.ContactKind, edge.State, anyType)
	kind(edge.Flow, edge.Delta, numType)
	for _, k := range []edge.Kind{
		edge.CO2PPM, edge.TemperatureC, edge.HumidityPct, edge.Illuminance, edge.LightLevel, edge.DistanceMM,
		edge.PressureHPa, edge.BatteryV, "battery_pct", edge.StatusBits, edge.LinkQuality, edge.SignalDBm,
	} {
		kind(k, edge.Absolute, numType)
	}
	for _, k := range []edge.Kind{edge.Daylight, edge.Health, edge.Tamper} {
		kind(k, edge.State, anyType)
	}
	kind(edge.TeachIn, edge.PassageEvent, anyType)
	kind(edge.Access, edge.PassageEvent, anyType)
	return m
}
