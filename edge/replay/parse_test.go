package replay

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/edge"
)

func TestParseLine(t *testing.T) {
	const rx = `"rx":"2026-09-07T08:00:01.250Z","sensor":"s",`
	for _, c := range []struct{ name, line, want string }{
		{"totals", rx + `"t":"2026-09-07T08:00:00Z","seq":7,"count_out":2,"count_in":3`, "08:00:00.000 7 count_in/cumulative=3 count_out/cumulative=2"},
		{"increments", rx + `"semantics":"delta","count_in":3`, "08:00:01.250  count_in/delta=3"},
		{"motion is presence", rx + `"motion":true`, "08:00:01.250  presence/motion-state=1"},
		{"presence is a state", rx + `"presence":false`, "08:00:01.250  presence/state=0"},
		{"presence of a motion sensor", rx + `"presence":1,"semantics":"motion-state"`, "08:00:01.250  presence/motion-state=1"},
		{"absolute count and CO2", rx + `"count_abs":4,"co2_ppm":612.5`, "08:00:01.250  co2_ppm/absolute=612.5 count_abs/absolute=4"},
		{"text", rx + `"contact":"open","seq":"a-1"`, "08:00:01.250 a-1 contact/state=open"},
		{"unknown keys and nulls", rx + `"note":"x","nested":{"a":1},"count_in":null`, "08:00:01.250 "},
		{"time ahead by more than 5 min is not believed", rx + `"t":"2026-09-07T08:06:00Z","motion":true`, "08:00:01.250  presence/motion-state=1"},
		{"time before 2015 is not believed", rx + `"t":"1970-01-01T00:00:09Z","motion":true`, "08:00:01.250  presence/motion-state=1"},
		{"milliseconds since 1970", `"rx":1788768001250,"sensor":"s","motion":true`, "08:00:01.250  presence/motion-state=1"},
		{"seconds since 1970", `"rx":1788768001.25,"sensor":"s","motion":true`, "08:00:01.250  presence/motion-state=1"},
		{"only an event time", `"t":"2026-09-07 08:00:01Z","sensor":"s","motion":true`, "08:00:01.000  presence/motion-state=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseLine([]byte("{" + strings.TrimSuffix(c.line, ",") + "}"))
			if err != nil {
				t.Fatal(err)
			}
			if got := show(r); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func show(r edge.Reading) string {
	parts := []string{r.At.Format("15:04:05.000"), r.Seq}
	for _, v := range r.Values {
		text := v.Text
		if v.Type != edge.Text {
			text = number(v.Num)
		}
		parts = append(parts, string(v.Kind)+"/"+string(v.Semantics)+"="+text)
	}
	return strings.Join(parts, " ")
}

func number(x float64) string {
	b, _ := edge.NumberValue("", "", x).MarshalJSON()
	return strings.TrimSuffix(strings.TrimPrefix(string(b), `["","",`), "]")
}

func TestParseLineRefuses(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"no object", `[1,2]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"cut off", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","mot`, "not a JSON object"},
		{"no sensor", `{"rx":"2026-09-07T08:00:00Z","motion":true}`, `"sensor" is missing`},
		{"no time", `{"sensor":"s","motion":true}`, `neither "rx" nor "t"`},
		{"bad time", `{"rx":"yesterday","sensor":"s"}`, `"rx": "yesterday" is no time`},
		{"absurd time", `{"rx":1e300,"sensor":"s"}`, "is no time"},
		{"time of receipt in another millennium", `{"rx":"1066-10-14T09:00:00Z","sensor":"s"}`, "not plausible"},
		{"boolean count", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","count_in":true}`, `"count_in": got true, want a number`},
		{"text presence", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","motion":"on"}`, "want a boolean"},
		{"array", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","count_in":[1]}`, `"count_in": want a number`},
		{"too large", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","count_in":1e999}`, `"count_in"`},
		{"semantics of another type", `{"rx":"2026-09-07T08:00:00Z","sensor":"s","semantics":3}`, `"semantics": want a text`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseLine([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestLongLines: a line of any length costs no more memory than the limit, and those after it
// are read.
func TestLongLines(t *testing.T) {
	const good = `{"rx":"2026-09-07T08:00:00Z","sensor":"s","motion":true}`
	text := good + "\n" + strings.Repeat("x", 3*maxLine) + "\n" + good + "\n" + strings.Repeat("y", 2*maxLine)
	var took, bad []int
	err := readLines(strings.NewReader(text), func(l line) { took = append(took, l.number) }, func(n int, err error) { bad = append(bad, n) })
	if err != nil || !slices.Equal(took, []int{1, 3}) || !slices.Equal(bad, []int{2, 4}) {
		t.Errorf("took %v, left out %v, error %v; want lines 1 and 3, 2 and 4", took, bad, err)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{
		`{"rx":"2026-09-07T08:00:01Z","t":"2026-09-07T08:00:00Z","sensor":"door1","seq":1,"count_in":65400,"count_out":121}`,
		`{"rx":1788768001250,"sensor":"pir1","motion":true,"backfill":true,"quality":"retained"}`,
		`{"t":null,"rx":"2026-09-07 08:00:01+02:00","sensor":"s","count_abs":-0.0,"health":"offline"}`,
		`{"rx":-1e11,"sensor":"s","from":1e13,"co2_ppm":1e-320}`, `{}`, `[]`, "\xff", `{"sensor":"a","sensor":"b"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseLine(b)
		if err != nil {
			return
		}
		if r.Sensor == "" || r.At.IsZero() || r.Received.IsZero() || r.At.After(r.Received.Add(edge.MaxAhead)) {
			t.Fatalf("%q gave %+v", b, r)
		}
		for _, v := range r.Values {
			if math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
				t.Fatalf("%q gave %+v", b, r)
			}
		}
	})
}

// TestShuffle: slots are kept, no reading comes later than a day after its event time unless it
// did, and the order does change.
func TestShuffle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 9, 7, 0, 0, 0, 0, time.UTC)
		var rs []edge.Reading
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			at := start.Add(time.Duration(rapid.IntRange(0, 14*24*60).Draw(t, "at")) * time.Minute)
			rs = append(rs, edge.Reading{At: at, Received: at.Add(time.Duration(rapid.IntRange(0, 30*60).Draw(t, "late")) * time.Minute)})
		}
		before := append([]edge.Reading(nil), rs...)
		shuffle(rs, rapid.Int64().Draw(t, "seed"))
		times := func(rs []edge.Reading) []time.Time {
			out := make([]time.Time, len(rs))
			for i, r := range live(rs) {
				out[i] = r.Received
			}
			return out
		}
		if !slices.Equal(times(before), times(rs)) {
			t.Fatal("the slots are not the same")
		}
		for i, r := range rs {
			if !r.At.Equal(before[i].At) {
				t.Fatal("an event time changed")
			}
			if r.Received.After(r.At.Add(maxLate)) && r.Received.After(before[i].Received) {
				t.Fatalf("event of %s is delivered at %s", r.At, r.Received)
			}
		}
	})
	rs := make([]edge.Reading, 1000)
	for i := range rs {
		rs[i].At = time.Unix(int64(i)*60, 0)
		rs[i].Received = rs[i].At
	}
	shuffle(rs, 1)
	moved := 0
	for _, r := range rs {
		if !r.Received.Equal(r.At) {
			moved++
		}
	}
	if moved < 900 {
		t.Errorf("%d of 1000 readings moved", moved)
	}
}

// TestScore compares with figures worked out by hand.
func TestScore(t *testing.T) {
	var s score
	est := func(count, low, high int, p float64) edge.Occupancy {
		return edge.Occupancy{Count: &count, Low: &low, High: &high, POccupied: &p}
	}
	s.add(est(2, 1, 4, .9), 3)             // off by 1, covered
	s.add(est(0, 0, 0, .2), 2)             // off by 2, missed by 2, said vacant
	s.add(est(1, 0, 1, .6), 0)             // off by 1, covered, said occupied
	s.add(edge.Occupancy{Capacity: 10}, 0) // unknown
	got, want := s.figures(), Figures{
		N: 4, MAE: 1, RMSE: math.Sqrt(6.0 / 4), PresenceAccuracy: .5, PresenceF1: 2.0 / 4,
		Brier: (.01 + .64 + .36 + .25) / 4, Coverage90: .75, Coverage90Occupied: .5, IntervalScore: (3 + 40 + 1 + 10) / 4.0,
	}
	if math.Abs(got.Brier-want.Brier) < 1e-12 {
		got.Brier = want.Brier
	}
	if got != want || s.unknown != 1 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
