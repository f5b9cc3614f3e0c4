package occupancy

import (
	"bytes"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

func skipped(t *testing.T) (*Model, *edge.Site, time.Time) {
	t.Helper()
	site := &edge.Site{
		Spaces: []edge.Space{{ID: "hall", Kind: edge.Room, Capacity: 30}, {ID: "office", Kind: edge.Room, Capacity: 4}},
		Doors:  []edge.Door{{ID: "gate", Between: [2]string{edge.Outside, "hall"}}},
		Sensors: []edge.Sensor{
			{ID: "cam", Class: edge.LineStereo, Door: "gate"},
			{ID: "desk", Class: edge.Desk, Space: "office"},
		},
	}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	m, err := New(site, at)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		at = at.Add(10 * time.Second)
		m.Advance(at)
		m.Observe(edge.Reading{Sensor: "cam", At: at, Received: at, Values: []edge.Value{
			edge.NumberValue(edge.CountIn, edge.Cumulative, float64(100+n)), edge.NumberValue(edge.CountOut, edge.Cumulative, 90)}})
		m.Observe(edge.Reading{Sensor: "desk", At: at, Received: at, Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}})
	}
	at = at.Add(time.Minute)
	m.Advance(at)
	return m, site, at
}

func stateOf(m *Model, space string) edge.Occupancy {
	for _, o := range m.Occupancies() {
		if o.Space == space {
			return o
		}
	}
	return edge.Occupancy{}
}

func TestNobodyListenedIsUnknown(t *testing.T) {
	m, _, at := skipped(t)
	gap := m.Skip(at.Add(3 * time.Hour))
	if len(gap) != 2 {
		t.Fatalf("%d occupancies at the start of the gap, want both spaces'", len(gap))
	}
	for _, o := range gap {
		if o.State != edge.Unknown || o.Count != nil || o.Quality != edge.QualityNone || !o.AsOf.Equal(at) {
			t.Errorf("while nobody listens: %+v, want unknown as of %v", o, at)
		}
	}
	at = at.Add(3 * time.Hour)
	m.Advance(at.Add(time.Second))
	if o := stateOf(m, "hall"); o.State != edge.Occupied || *o.Count != 5 {
		t.Errorf("a hall whose doors are counted by totals is %+v after the gap, want 5 as before", o)
	}
	if o := stateOf(m, "office"); o.State != edge.Unknown {
		t.Errorf("an office of which nothing was heard for hours is %+v, want unknown", o)
	}
	at = at.Add(time.Minute)
	m.Advance(at)
	m.Observe(edge.Reading{Sensor: "desk", At: at, Received: at, Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}})
	m.Advance(at.Add(time.Second))
	if o := stateOf(m, "office"); o.State != edge.Occupied {
		t.Errorf("the office is %+v when its sensor is heard again", o)
	}
}

func TestAShortGapKeepsWhatWasKnown(t *testing.T) {
	m, _, at := skipped(t)
	at = at.Add(10 * time.Minute)
	m.Skip(at)
	m.Advance(at.Add(time.Second))
	if o := stateOf(m, "office"); o.State != edge.Occupied {
		t.Errorf("ten minutes later the office is %+v", o)
	}
}

func TestASensorIsNotSilentBecauseNobodyListened(t *testing.T) {
	m, _, at := skipped(t)
	at = at.Add(30 * 24 * time.Hour)
	m.Skip(at)
	if got := m.SensorTrust(1); got.Status != "waiting" || got.Reason == "" {
		t.Errorf("after the gap: %+v, want waiting", got)
	}
	m.Advance(at.Add(25 * time.Hour))
	if got := m.SensorTrust(1); got.Status != "silent" {
		t.Errorf("a horizon later: %+v, want silent", got)
	}
	m.Skip(at.Add(60 * time.Hour))
	if got := m.SensorTrust(1); got.Status != "silent" {
		t.Errorf("a sensor that was silent before a gap is %+v after it", got)
	}
}

func TestASkipIsPartOfTheState(t *testing.T) {
	m, site, at := skipped(t)
	m.Skip(at.Add(30 * 24 * time.Hour))
	state, err := m.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Restore(site, state)
	if err != nil {
		t.Fatal(err)
	}
	at = at.Add(31 * 24 * time.Hour)
	m.Advance(at)
	again.Advance(at)
	a, _ := m.MarshalState()
	b, _ := again.MarshalState()
	if !bytes.Equal(a, b) {
		t.Error("a restored model goes on otherwise after a skip")
	}
	if got, want := again.SensorTrust(1), m.SensorTrust(1); got != want {
		t.Errorf("restored trust %+v, want %+v", got, want)
	}
}

func BenchmarkSkip(b *testing.B) {
	site := &edge.Site{}
	for i := range 1000 {
		id := "room-" + string(rune('a'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
		site.Spaces = append(site.Spaces, edge.Space{ID: id, Kind: edge.Room, Capacity: 12})
		site.Sensors = append(site.Sensors, edge.Sensor{ID: id, Class: edge.PIR, Space: id})
	}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	m, err := New(site, at)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		at = at.Add(time.Hour)
		m.Skip(at)
	}
}
