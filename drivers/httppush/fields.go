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
		"motion":   {kind: edge.Presence, info: edge.KindInfo{Semantics: edge.MotionState, Shape: edge.Truth}},
	}
	edge.KnownKinds(func(k edge.Kind, i edge.KindInfo) bool {
		if k != edge.SeqKind { // that is the reading's own "seq"
			m[string(k)] = &field{kind: k, info: i}
		}
		return true
	})
	return m
}
