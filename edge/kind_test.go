package edge

import (
	"math"
	"testing"
)

func TestShapesFit(t *testing.T) {
	num := func(k Kind, x float64) Value { return NumberValue(k, Absolute, x) }
	for _, c := range []struct {
		v  Value
		ok bool
	}{
		{num(CountIn, 0), true},
		{num(CountIn, 1<<53), true},
		{num(CountIn, -1), false},
		{num(CountIn, 1.5), false},
		{num(CountIn, math.NaN()), false},
		{num(CountIn, math.Inf(1)), false},
		{BoolValue(CountIn, Cumulative, true), false},
		{num(Presence, 1), true},
		{num(Presence, 2), false},
		{TextValue(Presence, State, "on"), false},
		{num(TemperatureC, -40.5), true},
		{num(TemperatureC, math.NaN()), false},
		{TextValue(ContactKind, State, "open"), true},
	} {
		info, ok := c.v.Kind.Info()
		if !ok {
			t.Fatalf("%s is no kind", c.v.Kind)
		}
		got, err := info.Shape.Fit(c.v)
		if (err == nil) != c.ok {
			t.Errorf("%v: error %v, want ok %v", c.v, err, c.ok)
		}
		if c.ok && info.Shape == Truth && got.Type != Bool {
			t.Errorf("%v stays %v, want a boolean", c.v, got)
		}
	}
	if _, ok := Kind("people").Info(); ok {
		t.Error("an unknown kind has info")
	}
	n := 0
	KnownKinds(func(k Kind, i KindInfo) bool { n++; return i.Semantics != "" })
	if n < 25 {
		t.Errorf("%d kinds with semantics, want all", n)
	}
}
