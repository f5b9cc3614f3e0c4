package decode

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

// oldest is the earliest time that a device's clock can tell; before it the clock is not set.
var oldest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// render turns an observation into the members of the samples' vocabulary.
func render(o payload.Observation) map[string]any {
	m := map[string]any{}
	for k, v := range o.Extra {
		m[k] = v
	}
	m["sensor"], m["kind"], m["semantics"] = o.Sensor, string(o.Value.Kind), string(o.Value.Semantics)
	switch o.Value.Type {
	case edge.Bool:
		m["value"] = o.Value.Num != 0
	case edge.Text:
		m["value"] = o.Value.Text
	default:
		m["value"] = o.Value.Num
	}
	m["ts"] = nil
	switch {
	case o.TS.IsZero():
	case o.TS.Before(oldest):
		m["device_clock"] = renderTime(o.TS) + " (unset)"
	default:
		m["ts"] = renderTime(o.TS)
	}
	if !o.From.IsZero() {
		m["from_"] = renderTime(o.From)
	}
	if o.Seq != "" {
		m["dedup"] = o.Seq
	}
	if o.Backfill {
		m["backfill"] = true
	}
	return m
}

func renderTime(t time.Time) string { return edge.Millis(t).Format(time.RFC3339Nano) }

// compare lists what differs. Of a stream, the order counts per sensor and kind; otherwise
// both are sets.
func compare(got, want []map[string]any, stream, ignoreSensor bool) []string {
	var mismatches []string
	rest := slices.Clone(got)
	last := map[string]int{} // by sensor and kind: where in got the one before was found
	at := make([]int, len(got))
	for i := range at {
		at[i] = i
	}
	for _, w := range want {
		i := slices.IndexFunc(rest, func(g map[string]any) bool { return equal(g, w, ignoreSensor) })
		if i < 0 {
			mismatches = append(mismatches, "missing "+show(w)+near(rest, w, ignoreSensor))
			continue
		}
		group := fmt.Sprint(rest[i]["sensor"], "|", rest[i]["kind"])
		if before, ok := last[group]; ok && stream && at[i] < before {
			mismatches = append(mismatches, "out of order "+show(w))
		}
		last[group] = at[i]
		rest, at = slices.Delete(rest, i, i+1), slices.Delete(at, i, i+1)
	}
	for _, g := range rest {
		mismatches = append(mismatches, "unexpected "+show(g))
	}
	return mismatches
}

// near shows the observation that was probably meant.
func near(rest []map[string]any, w map[string]any, ignoreSensor bool) string {
	for _, g := range rest {
		if g["kind"] == w["kind"] && (ignoreSensor || g["sensor"] == w["sensor"]) {
			return ", found " + show(g)
		}
	}
	return ""
}

func show(m map[string]any) string {
	b, _ := json.Marshal(m) // of values that came from JSON or are plain
	return string(b)
}

// equal compares an observation with an expected one: the five members always, others where
// both have them.
func equal(g, w map[string]any, ignoreSensor bool) bool {
	for k, wv := range w {
		gv, ok := g[k]
		switch k {
		case "sensor":
			if !ignoreSensor && gv != wv {
				return false
			}
		case "ts":
			if !sameTime(gv, wv) {
				return false
			}
		case "kind", "value", "semantics":
			if !ok || !same(gv, wv) {
				return false
			}
		default:
			if ok && !same(gv, wv) && (gv == nil || wv == nil || !sameTime(gv, wv) || instant(gv).IsZero()) {
				return false
			}
		}
	}
	return true
}

func same(a, b any) bool {
	x, ok1 := toFloat(a)
	y, ok2 := toFloat(b)
	if ok1 && ok2 {
		return math.Abs(x-y) <= 1e-6*max(math.Abs(x), math.Abs(y))
	}
	return show(map[string]any{"v": a}) == show(map[string]any{"v": b})
}

func toFloat(v any) (float64, bool) {
	x, ok := v.(float64)
	return x, ok
}

// sameTime compares to the millisecond. What is no time with a zone stands for none.
func sameTime(a, b any) bool { return instant(a).Equal(instant(b)) }

func instant(v any) time.Time {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return edge.Millis(t)
}
