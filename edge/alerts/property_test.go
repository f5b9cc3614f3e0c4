package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/edge"
)

// propertyRules exercise every kind of deadline.
var propertyRules = []Rule{
	Builtin()[0], Builtin()[1], Builtin()[2],
	{Name: "now", ForEach: "space", When: "count > 5"},
	{Name: "keep", ForEach: "room", When: "count >= 4", KeepFor: 90 * time.Second},
	{Name: "hours", ForEach: "room", When: "count > 0 and not open_hours", For: 45 * time.Second},
	{Name: "quiet", ForEach: "sensor", When: "silent_for > 100", Message: "{silent_for}"},
	{Name: "vacant", ForEach: "room", When: "state == 'vacant' and state_for > 60"},
	{Name: "behind", ForEach: "hub", When: "unsynced_for > 200 or backlog > 5", Clear: "synced"},
}

// change is one change of the world at a time.
type change struct {
	at    time.Time
	apply func(*world, *Machine)
}

func drawChanges(t *rapid.T, start time.Time) []change {
	n := rapid.IntRange(1, 25).Draw(t, "changes")
	now := start
	var out []change
	for range n {
		now = now.Add(time.Duration(rapid.IntRange(0, 200_000).Draw(t, "gap")) * time.Millisecond)
		at := now
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0, 1:
			id := rapid.SampledFrom([]string{"floor", "room-1", "office"}).Draw(t, "space")
			o := edge.Occupancy{}
			if k := rapid.IntRange(-1, 12).Draw(t, "people"); k >= 0 {
				o = people(max(0, k-1), k, k+1)
				o.Since = at
			}
			out = append(out, change{at, func(w *world, m *Machine) { w.spaces[id] = o; m.TouchSpace(id) }})
		case 2:
			st := edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: rapid.SampledFrom([]string{"ok", "silent"}).Draw(t, "status"), LastSeen: at}
			out = append(out, change{at, func(w *world, m *Machine) { w.sensors["pir-1"] = st; m.TouchSensor("pir-1") }})
		case 3:
			h := Hub{UplinkConfigured: true, Backlog: uint64(rapid.IntRange(0, 9).Draw(t, "backlog"))}
			if h.Backlog > 0 {
				h.UnsyncedSince = at
			}
			out = append(out, change{at, func(w *world, m *Machine) { w.hub = h; m.TouchHub() }})
		}
	}
	return out
}

// run plays the changes. between is called before each and may do anything that must make no
// difference; it returns the machine to go on with and the events it caused.
func run(changes []change, end time.Time, between func(m *Machine, w *world, from, to time.Time) (*Machine, []edge.Event)) []edge.Event {
	m, err := New(propertyRules, testSite)
	if err != nil {
		panic(err)
	}
	w := newWorld()
	last := changes[0].at.Add(-time.Minute)
	events := m.Evaluate(last, w)
	for _, c := range append(changes, change{at: end, apply: func(*world, *Machine) {}}) {
		var more []edge.Event
		m, more = between(m, w, last, c.at)
		events = append(events, more...)
		c.apply(w, m)
		events = append(events, m.Evaluate(c.at, w)...)
		last = c.at
	}
	return events
}

func nothing(m *Machine, _ *world, _, _ time.Time) (*Machine, []edge.Event) { return m, nil }

func text(events []edge.Event) string {
	b, err := json.MarshalIndent(events, "", " ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestAskingMoreOftenChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := after(time.Duration(rapid.IntRange(0, 10*3600).Draw(t, "start")) * time.Second)
		changes := drawChanges(t, start)
		end := changes[len(changes)-1].at.Add(30 * time.Minute)
		want := run(changes, end, nothing)
		got := run(changes, end, func(m *Machine, w *world, from, to time.Time) (*Machine, []edge.Event) {
			var events []edge.Event
			for from.Before(to) {
				if rapid.Bool().Draw(t, "jump") {
					from = from.Add(time.Duration(rapid.IntRange(1, 300_000).Draw(t, "step")) * time.Millisecond)
				} else if next := m.Next(); next.IsZero() {
					break
				} else {
					from = next
				}
				if from.Before(to) {
					events = append(events, m.Evaluate(from, w)...)
				}
			}
			return m, events
		})
		if text(got) != text(want) {
			t.Fatalf("asked more often:\n%s\nasked at changes only:\n%s", text(got), text(want))
		}
	})
}

func TestARestartChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := drawChanges(t, after(6*time.Hour+50*time.Minute))
		end := changes[len(changes)-1].at.Add(30 * time.Minute)
		want := run(changes, end, nothing)
		got := run(changes, end, func(m *Machine, w *world, _, _ time.Time) (*Machine, []edge.Event) {
			if !rapid.Bool().Draw(t, "restart") {
				return m, nil
			}
			return restarted(t, m, w), nil
		})
		if text(got) != text(want) {
			t.Fatalf("restarted:\n%s\nnot restarted:\n%s", text(got), text(want))
		}
	})
}

// fataler is what testing.T and rapid.T share.
type fataler interface{ Fatalf(string, ...any) }

func restarted(t fataler, m *Machine, w *world) *Machine {
	b, err := m.MarshalState()
	if err != nil {
		t.Fatalf("%v", err)
	}
	fresh, err := New(propertyRules, testSite)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := fresh.Restore(b, w); err != nil {
		t.Fatalf("%v", err)
	}
	again, err := fresh.MarshalState()
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("state %s\nis restored as\n%s, %v", b, again, err)
	}
	if !fresh.Next().Equal(m.Next()) {
		t.Fatalf("Next %s, restored %s", m.Next(), fresh.Next())
	}
	return fresh
}

func TestEveryAlertIsRaisedOnceAndClearedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := drawChanges(t, t0)
		events := run(changes, changes[len(changes)-1].at.Add(2*time.Hour), nothing)
		open, seen := map[string]string{}, map[string]bool{}
		var last time.Time
		for _, e := range events {
			var a edge.Alert
			if err := json.Unmarshal(e.Data, &a); err != nil || a.ID != e.Subject || a.Message == "" {
				t.Fatalf("event %s %s, %v", e.Subject, e.Data, err)
			}
			if e.At.Before(last) || e.At != edge.Millis(e.At) {
				t.Fatalf("%s at %s after %s", e.Type, e.At, last)
			}
			last = e.At
			key := a.Rule + " " + a.Subject
			switch e.Type {
			case edge.AlertRaised:
				if open[key] != "" || seen[a.ID] || a.State != edge.StateFiring {
					t.Fatalf("%s is raised while %q is open", a.ID, open[key])
				}
				open[key], seen[a.ID] = a.ID, true
			case edge.AlertCleared:
				if open[key] != a.ID || a.State != edge.StateCleared || a.ClearedAt != e.At {
					t.Fatalf("%s is cleared while %q is open", a.ID, open[key])
				}
				open[key] = ""
			default:
				if open[key] != a.ID {
					t.Fatalf("%s of %s while %q is open", e.Type, a.ID, open[key])
				}
			}
		}
	})
}

// drawCondition makes a random condition over count (may be unknown) and two known facts.
func drawCondition(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{"count > 2", "count <= 4", "count == 3", "count != 3", "mean < count", "capacity > 5", "capacity == 3", "known", "open_hours", "count in [1, 3]", "2 * count - 1 > capacity"}).Draw(t, "atom")
	}
	a, b := drawCondition(t, depth-1), drawCondition(t, depth-1)
	switch rapid.IntRange(0, 4).Draw(t, "operator") {
	case 0:
		return "(" + a + " and " + b + ")"
	case 1:
		return "(" + a + " or " + b + ")"
	case 2:
		return "not (" + a + ")"
	case 3:
		return "(" + a + " ? " + b + " : " + drawCondition(t, depth-1) + ")"
	}
	return a
}

// TestWhatIsKnownHoldsWhateverTheUnknownIs: a verdict given while the count is unknown is that
// of every possible count; and a known world always has a verdict.
func TestWhatIsKnownHoldsWhateverTheUnknownIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		when := strings.ReplaceAll(drawCondition(t, rapid.IntRange(0, 3).Draw(t, "depth")), "known", "open_hours")
		yes, no, err := compile("x", "when", "room", when)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		m := &Machine{}
		verdict := func(f spaceFacts) string {
			y, n := yes.holds(&m.vm, &f), no.holds(&m.vm, &f)
			if y && n {
				t.Fatalf("%s is both true and false for %+v", when, f)
			}
			return fmt.Sprint(y, n)
		}
		f := spaceFacts{Capacity: float64(rapid.IntRange(0, 8).Draw(t, "capacity")), HasCapacity: true, OpenHours: rapid.Bool().Draw(t, "open")}
		unknown := verdict(f)
		for count := range 8 {
			g := f
			g.Count, g.HasCount, g.Mean, g.HasMean = float64(count), true, 2.5, true
			switch got := verdict(g); {
			case got == "false false":
				t.Fatalf("%s has no verdict for count %d", when, count)
			case unknown != "false false" && got != unknown:
				t.Fatalf("%s: %s while unknown, %s for count %d", when, unknown, got, count)
			}
		}
	})
}

func TestAChangedConfigurationClearsWhatIsGone(t *testing.T) {
	b := newBench(t, Rule{Name: "now", ForEach: "room", When: "count > 5"}, Rule{Name: "soon", ForEach: "room", When: "count > 5", For: time.Hour})
	b.set(0, "room-1", people(9, 9, 9))
	b.spaces["office"] = people(9, 9, 9)
	b.m.TouchSpace("office")
	b.at(time.Second)
	state, err := b.m.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	smaller := *testSite
	smaller.Spaces = slices.Clone(testSite.Spaces[:2]) // without the office
	m, err := New([]Rule{{Name: "now", ForEach: "room", When: "count > 5"}, {Name: "new", ForEach: "room", When: "count > 8"}}, &smaller)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(state, b.world); err != nil {
		t.Fatal(err)
	}
	b.want(lines(m.Evaluate(after(minute), b.world)), "1m0s cleared now.office: Office: 9 people", "1m0s raised new.room-1: room-1: 9 people, capacity 8")
	if got := m.Open(); len(got) != 2 || got[0].Rule != "now" || got[0].Subject != "room-1" {
		t.Errorf("open %+v, want now and new of room-1", got)
	}
	if err := m.Restore([]byte("{"), b.world); err == nil {
		t.Error("half a state is restored")
	}
}
