package occupancy

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/edge"
)

// testSite has a floor of two rooms with a door between them and one to the outside, a room of
// unknown capacity with opening hours, and sensors of all kinds.
func testSite() *edge.Site {
	return &edge.Site{
		ID: "s", Timezone: "Europe/Oslo",
		Spaces: []edge.Space{
			{ID: "floor", Kind: edge.Floor},
			{ID: "a", Kind: edge.Room, Parent: "floor", Capacity: 6},
			{ID: "b", Kind: edge.Room, Parent: "floor", Hours: "Mon-Fri 07:00-19:00"},
		},
		Doors: []edge.Door{{ID: "out", Between: [2]string{edge.Outside, "a"}}, {ID: "ab", Between: [2]string{"a", "b"}}},
		Sensors: []edge.Sensor{
			{ID: "line-out", Class: edge.LineBeam, Door: "out"},
			{ID: "line-ab", Class: edge.LineToF, Door: "ab", Reversed: true},
			{ID: "pir-a", Class: edge.PIR, Space: "a"},
			{ID: "mm-b", Class: edge.MMWave, Space: "b", Horizon: time.Hour},
			{ID: "cam-b", Class: edge.ZoneCount, Space: "b"},
			{ID: "co2-b", Class: edge.CO2, Space: "b"},
		},
	}
}

func newModel(t interface{ Fatal(...any) }) *Model {
	m, err := New(testSite(), monday)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// event is one thing that happens to a model: a reading or, without sensor, only time.
type event struct {
	after   time.Duration
	reading edge.Reading
}

func drawEvents(t *rapid.T) []event {
	totals := map[string]int{}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		e := event{after: time.Duration(rapid.OneOf(rapid.IntRange(0, 4000), rapid.IntRange(0, 400_000), rapid.IntRange(0, 20_000_000)).Draw(t, "ms")) * time.Millisecond}
		sensors := testSite().Sensors
		s := sensors[rapid.IntRange(0, len(sensors)-1).Draw(t, "sensor")]
		e.reading = edge.Reading{Sensor: s.ID, Values: drawValues(t, s, totals)}
		if rapid.IntRange(0, 9).Draw(t, "retained") == 0 {
			e.reading.Quality = edge.RetainedStale
		}
		return e
	}), 1, 60).Draw(t, "events")
}

func drawValues(t *rapid.T, s edge.Sensor, totals map[string]int) []edge.Value {
	if rapid.IntRange(0, 19).Draw(t, "health") == 0 {
		return []edge.Value{edge.TextValue(edge.Health, edge.State, rapid.SampledFrom([]string{"offline", "online", "?"}).Draw(t, "text"))}
	}
	n := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 30), rapid.IntRange(0, 100_000)).Draw(t, "n")
	switch {
	case s.Door != "" && n%2 == 0:
		totals[s.ID] += n % 16
		if n > 50_000 {
			totals[s.ID] = n
		}
		return []edge.Value{
			edge.NumberValue(edge.CountIn, edge.Cumulative, float64(totals[s.ID])),
			edge.NumberValue(edge.CountOut, edge.Cumulative, float64(totals[s.ID]/2)),
		}
	case s.Door != "":
		k := rapid.SampledFrom([]edge.Kind{edge.CountIn, edge.CountOut}).Draw(t, "kind")
		return []edge.Value{edge.NumberValue(k, rapid.SampledFrom([]edge.Semantics{edge.Delta, edge.PassageEvent}).Draw(t, "semantics"), float64(n%40))}
	case s.Class == edge.ZoneCount:
		return []edge.Value{edge.NumberValue(edge.CountAbs, edge.Absolute, float64(n))}
	case s.Class == edge.CO2:
		return []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, float64(400+n))}
	case s.Class == edge.PIR:
		return []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, n%2 == 1)}
	}
	return []edge.Value{edge.BoolValue(edge.Presence, edge.State, n%2 == 1)}
}

// TestNumbersStayNumbers: whatever happens, probabilities add up to 1, counts lie within their
// interval and are not negative, and an unknown space has none.
func TestNumbersStayNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		now := monday
		for _, e := range drawEvents(t) {
			now = now.Add(e.after)
			for _, o := range m.Advance(now) {
				checkOccupancy(t, o)
			}
			e.reading.At = now
			m.Observe(e.reading)
			for i := range m.spaces {
				if r := m.spaces[i].room; r != nil {
					checkRoom(t, r)
				}
			}
			for _, o := range m.Occupancies() {
				checkOccupancy(t, o)
			}
		}
	})
}

func checkRoom(t *rapid.T, r *room) {
	sum := 0.0
	for n, x := range r.p {
		if !(x >= 0 && x <= 1+1e-9) {
			t.Fatalf("P(%d) = %v", n, x)
		}
		sum += x
	}
	if math.Abs(sum-1) > 1e-6 {
		t.Fatalf("probabilities add up to %v", sum)
	}
}

func checkOccupancy(t *rapid.T, o edge.Occupancy) {
	if o.State == edge.Unknown || o.Quality == edge.QualityNone {
		if o.State != edge.Unknown || o.Count != nil || o.Low != nil || o.High != nil || o.Mean != nil || o.POccupied != nil {
			t.Fatalf("unknown, but with numbers: %+v", o)
		}
		return
	}
	if *o.Low < 0 || *o.Low > *o.Count || *o.Count > *o.High {
		t.Fatalf("%s: count %d is not within [%d, %d]", o.Space, *o.Count, *o.Low, *o.High)
	}
	if !(*o.POccupied >= 0 && *o.POccupied <= 1) || !(*o.Mean >= 0) {
		t.Fatalf("%s: P(occupied) %v, mean %v", o.Space, *o.POccupied, *o.Mean)
	}
}

// TestAdvanceMayBeSplit: looking at the model more often changes nothing, neither its state
// nor what is published.
func TestAdvanceMayBeSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, split := newModel(t), newModel(t)
		now := monday
		for _, e := range drawEvents(t) {
			cuts := rapid.SliceOfN(rapid.Int64Range(0, e.after.Milliseconds()), 0, 3).Draw(t, "cuts")
			next := now.Add(e.after)
			want := whole.Advance(next)
			var got []edge.Occupancy
			for c := range 3 {
				if c < len(cuts) {
					got = append(got, split.Advance(now.Add(time.Duration(cuts[c])*time.Millisecond))...)
				}
			}
			got = append(got, split.Advance(next)...)
			now = next
			sameOccupancies(t, got, want)
			e.reading.At = now
			whole.Observe(e.reading)
			split.Observe(e.reading)
		}
		sameState(t, split, whole)
	})
}

// TestRestoredModelGoesOn: a model restored from a state goes on bit for bit.
func TestRestoredModelGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, restored := newModel(t), newModel(t)
		now := monday
		for _, e := range drawEvents(t) {
			now = now.Add(e.after)
			sameOccupancies(t, restored.Advance(now), m.Advance(now))
			e.reading.At = now
			m.Observe(e.reading)
			restored.Observe(e.reading)
			if rapid.Bool().Draw(t, "restart") {
				state, err := restored.MarshalState()
				if err != nil {
					t.Fatal(err)
				}
				if restored, err = Restore(testSite(), state); err != nil {
					t.Fatal(err)
				}
			}
		}
		sameState(t, restored, m)
		sameOccupancies(t, restored.Occupancies(), m.Occupancies())
	})
}

// TestPublicationsAreBounded: at most every 5 s per space, at least every 15 min, and never
// twice the same within that.
func TestPublicationsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		last := map[string]edge.Occupancy{}
		now := monday
		check := func(os []edge.Occupancy) {
			for _, o := range os {
				p, again := last[o.Space]
				age := o.AsOf.Sub(p.AsOf)
				if again && age < 5*time.Second {
					t.Fatalf("%s published again after %s", o.Space, age)
				}
				if again && p.Same(o) && age < 15*time.Minute {
					t.Fatalf("%s published without change after %s", o.Space, age)
				}
				if again && age > 15*time.Minute+30*time.Second {
					t.Fatalf("%s not published for %s", o.Space, age)
				}
				last[o.Space] = o
			}
		}
		for _, e := range drawEvents(t) {
			now = now.Add(e.after)
			check(m.Advance(now))
			e.reading.At = now
			m.Observe(e.reading)
			check(m.Advance(now))
			if next := m.Next(); next.Before(now) {
				t.Fatalf("next is %s, now is %s", next, now)
			}
		}
	})
}

func sameOccupancies(t *rapid.T, got, want []edge.Occupancy) {
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) && len(got)+len(want) > 0 {
		t.Fatalf("got  %s\nwant %s", a, b)
	}
}

func sameState(t *rapid.T, got, want *Model) {
	a, err := got.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := want.MarshalState()
	if !bytes.Equal(a, b) {
		t.Fatal("states differ")
	}
}

// FuzzObserve: any reading is safe.
func FuzzObserve(f *testing.F) {
	f.Add("line-out", "count_in", "cumulative", uint8(0), 3.0, int64(0), "7")
	f.Add("pir-a", "presence", "motion-state", uint8(1), 1.0, int64(-1e12), "")
	f.Add("cam-b", "count_abs", "absolute", uint8(0), math.NaN(), int64(1e15), "x")
	f.Add("line-ab", "count_out", "delta", uint8(0), math.Inf(1), int64(5), "65536")
	f.Add("mm-b", "presence", "state", uint8(2), -1e300, int64(9e15), "")
	f.Fuzz(func(t *testing.T, sensor, kind, semantics string, typ uint8, x float64, at int64, seq string) {
		m := newModel(t)
		now := monday
		for i := range 6 {
			now = now.Add(47 * time.Second)
			m.Advance(now)
			v := edge.Value{Kind: edge.Kind(kind), Semantics: edge.Semantics(semantics), Type: edge.Type(typ), Num: x * float64(i), Text: seq}
			m.Observe(edge.Reading{Sensor: sensor, At: time.UnixMilli(at + int64(i)), From: time.UnixMilli(at), Seq: seq, Values: []edge.Value{v, v}})
		}
		m.Advance(now.Add(time.Hour))
		state, err := m.MarshalState()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(testSite(), state); err != nil {
			t.Fatal(err)
		}
		for i := range m.spaces {
			if r := m.spaces[i].room; r != nil && math.Abs(mass(r.p)-1) > 1e-6 {
				t.Fatalf("%s: probabilities add up to %v", m.spaces[i].ID, mass(r.p))
			}
		}
	})
}

// FuzzRestore: no bytes harm.
func FuzzRestore(f *testing.F) {
	m := newModel(f)
	m.Observe(edge.Reading{Sensor: "cam-b", At: monday, Values: []edge.Value{edge.NumberValue(edge.CountAbs, edge.Absolute, 3)}})
	state, err := m.MarshalState()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[:len(state)/2])
	f.Add([]byte{stateVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Restore(testSite(), b)
		if err == nil {
			m.Occupancies()
			m.Advance(timeOf(m.now).Add(time.Minute))
		}
	})
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	m := newModel(t)
	at := monday
	in := edge.Reading{Sensor: "line-ab", Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.PassageEvent, 1)}}
	out := edge.Reading{Sensor: "line-ab", Values: []edge.Value{edge.NumberValue(edge.CountOut, edge.PassageEvent, 1)}}
	pir := edge.Reading{Sensor: "pir-a", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}}
	n := testing.AllocsPerRun(1000, func() {
		at = at.Add(time.Second)
		m.now, in.At, out.At, pir.At = millis(at), at, at, at
		m.Observe(in)
		m.Observe(pir)
		m.Observe(out)
		if m.now >= m.grid+tickMillis {
			m.tick()
		}
	})
	if n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

func TestUnknownParameterIsRefused(t *testing.T) {
	for _, p := range []map[string]float64{{"mis_in": .1}, {"miss_in": 2}, {"miss_in": math.NaN()}} {
		site := testSite()
		site.Sensors[0].Params = p
		if _, err := New(site, monday); err == nil {
			t.Errorf("parameters %v were taken", p)
		} else {
			t.Log(err)
		}
	}
}

// TestParametersCount: an override changes what a sensor's readings mean.
func TestParametersCount(t *testing.T) {
	mean := func(params map[string]float64) float64 {
		site := testSite()
		site.Sensors[0].Params = params
		m, err := New(site, monday)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			m.Observe(edge.Reading{Sensor: "line-out", At: monday.Add(time.Duration(i) * time.Second), Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Delta, 1)}})
		}
		return m.view(1).mean
	}
	if few, many := mean(map[string]float64{"miss_in": 0}), mean(map[string]float64{"miss_in": .4}); many < few+1 {
		t.Errorf("mean with a blind line %.2f, with a perfect one %.2f; want more", many, few)
	}
}

// TestRestoreUnderAnotherSite: what has kept its id keeps what it knew.
func TestRestoreUnderAnotherSite(t *testing.T) {
	m := newModel(t)
	for i := range 4 {
		m.Advance(monday.Add(time.Duration(i) * time.Minute))
		m.Observe(edge.Reading{Sensor: "cam-b", At: timeOf(m.now), Values: []edge.Value{edge.NumberValue(edge.CountAbs, edge.Absolute, 5)}})
	}
	state, err := m.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	site := testSite()
	site.Spaces = append([]edge.Space{{ID: "new", Kind: edge.Room}}, site.Spaces[0], site.Spaces[2])
	site.Doors = nil
	site.Sensors = site.Sensors[3:5]
	r, err := Restore(site, state)
	if err != nil {
		t.Fatal(err)
	}
	r.Advance(timeOf(m.now).Add(time.Minute))
	for i, want := range []string{"unknown", "occupied", "occupied"} {
		if o := r.Occupancies()[i]; string(o.State) != want || i == 2 && *o.Count != 5 {
			t.Errorf("%s is %s with count %v, want %s", o.Space, o.State, o.Count, want)
		}
	}
}

// TestSumIsAConvolution: the sum of rooms agrees with adding up all combinations.
func TestSumIsAConvolution(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Model{}
		var leaves []int
		want := []float64{1}
		for i := range rapid.IntRange(1, 5).Draw(t, "rooms") {
			r := newRoom(3)
			r.known = true
			for n := range r.p {
				r.p[n] = rapid.Float64Range(0, 1).Draw(t, "p")
			}
			r.normalise()
			m.spaces = append(m.spaces, space{room: r})
			leaves = append(leaves, i)
			want = convolve(nil, want, r.p)
		}
		got, exact := m.sum(leaves), summarise(want)
		width := (got.high - got.low) - (exact.high - exact.low) // ties may be broken either way
		if !isMedian(want, got.count) || width < -1 || width > 1 || math.Abs(got.mean-exact.mean) > 1e-6 || math.Abs(got.occupied-exact.occupied) > 1e-6 {
			t.Fatalf("got %+v, want %+v", got, exact)
		}
	})
}

// isMedian tells whether n is a median of p. Where half of the mass lies on either side of a gap
// there are several, and the slightest rounding chooses.
func isMedian(p []float64, n int) bool {
	below, above := 0.0, 0.0
	for i, x := range p {
		switch {
		case i < n:
			below += x
		case i > n:
			above += x
		}
	}
	return below <= .5+1e-6 && above <= .5+1e-6
}

// TestKernel: a kernel is a distribution, its mean is what was counted plus what is expected
// to be missing, and mirrored it is the change of the other side.
func TestKernel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := passage{
			enter: rapid.IntRange(0, 9).Draw(t, "enter"), exit: rapid.IntRange(0, 9).Draw(t, "exit"),
			missedEnter: rapid.Float64Range(0, 3).Draw(t, "missed in"), missedExit: rapid.Float64Range(0, 3).Draw(t, "missed out"), falseRate: .01,
		}
		var k kernel
		k.make(c)
		mean := func() (sum, mean float64) {
			for i := 0; i < k.n; i++ {
				sum += k.w[i]
				mean += k.w[i] * float64(k.from+i)
			}
			return sum, mean
		}
		want := float64(c.enter-c.exit)*(1-c.falseRate) + c.missedEnter - c.missedExit
		if sum, got := mean(); math.Abs(sum-1) > 1e-9 || math.Abs(got-want) > 1e-3 {
			t.Fatalf("sum %v, mean %v; want 1 and %v", sum, got, want)
		}
		k.mirror()
		if sum, got := mean(); math.Abs(sum-1) > 1e-9 || math.Abs(got+want) > 1e-3 {
			t.Fatalf("mirrored: sum %v, mean %v; want 1 and %v", sum, got, -want)
		}
	})
}

// TestMotionChain: the likelihoods of a motion sensor's on-time are a distribution: over all
// ways to end they add up to 1.
func TestMotionChain(t *testing.T) {
	p := defaults(edge.PIR)
	d := detections(&p)
	for _, hold := range []int{1, 2, 5, maxSlots} {
		for c, rate := range d {
			s := motion{}
			s.chain[c][0] = 1
			stillOn, ended := 1.0, 0.0
			for range 200_000 {
				on := s.survive(c, hold, rate)
				ended += stillOn * (1 - on)
				stillOn *= on
			}
			if math.Abs(stillOn+ended-1) > 1e-6 {
				t.Errorf("hold %d, %d people: probabilities add up to %v", hold, c, stillOn+ended)
			}
			first := motion{}
			first.chain[c][0] = 1
			for range hold - 1 {
				if on := first.survive(c, hold, rate); math.Abs(on-1) > 1e-9 {
					t.Errorf("hold %d: can go off before the hold has passed (%v)", hold, on)
				}
			}
			if on := first.survive(c, hold, rate); math.Abs(1-on-math.Pow(1-rate, float64(hold))) > 1e-9 {
				t.Errorf("hold %d, %d people: goes off after one hold with %v, want %v", hold, c, 1-on, math.Pow(1-rate, float64(hold)))
			}
		}
	}
}
