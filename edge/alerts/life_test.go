package alerts

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

const minute = time.Minute

func overCapacity() Rule { return Builtin()[0] }

func TestAnAlertsLife(t *testing.T) {
	b := newBench(t, overCapacity())
	b.want(b.at(0))
	b.want(b.set(minute, "room-1", people(10, 11, 12)))
	if got := b.m.Open(); len(got) != 1 || got[0].State != edge.StatePending || !got[0].Since.Equal(after(minute)) {
		t.Errorf("open %+v, want one pending", got)
	}
	if got := b.m.Next(); !got.Equal(after(3 * minute)) {
		t.Errorf("Next %s, want 12:03", got)
	}
	b.want(b.at(3*minute - 1))
	// Late by two minutes: it fires at its own time.
	b.want(b.at(5*minute), "3m0s raised over-capacity.room-1: room-1: 11 people (10-12), capacity 8")
	a := b.m.Open()[0]
	if a.ID != "over-capacity.room-1.20260302T120300000Z" || a.State != edge.StateFiring || a.Severity != edge.Critical || a.SubjectKind != "room" || !a.RaisedAt.Equal(after(3*minute)) {
		t.Errorf("alert %+v", a)
	}
	// Neither over the capacity nor at most 0.9 of it.
	b.want(b.set(6*minute, "room-1", people(8, 8, 9)), "6m0s updated over-capacity.room-1: room-1: 8 people (8-9), capacity 8")
	b.want(b.set(7*minute, "room-1", people(6, 7, 8)), "7m0s cleared over-capacity.room-1: room-1: 7 people (6-8), capacity 8")
	if got := b.m.Open(); len(got) != 0 {
		t.Errorf("open %+v, want none", got)
	}
}

func TestAShortExcessIsNoAlert(t *testing.T) {
	b := newBench(t, overCapacity())
	b.want(b.set(0, "room-1", people(9, 9, 9)))
	b.want(b.set(2*minute-1, "room-1", people(8, 9, 10)))
	b.want(b.at(10 * minute))
	if !b.m.Next().IsZero() {
		t.Errorf("Next %s, want none", b.m.Next())
	}
}

func TestUnknownNeitherRaisesNorClears(t *testing.T) {
	b := newBench(t, Rule{Name: "crowd", ForEach: "room", When: "count > 5"}, Rule{Name: "empty", ForEach: "room", When: "count < 1"},
		Rule{Name: "not-full", ForEach: "room", When: "not (count >= 8)"}, Rule{Name: "differs", ForEach: "room", When: "count != 3"})
	b.want(b.at(0)) // nothing is known: not even "not (count >= 8)" holds
	b.want(b.set(minute, "room-1", people(6, 6, 6)),
		"1m0s raised crowd.room-1: room-1: 6 people, capacity 8", "1m0s raised not-full.room-1: room-1: 6 people, capacity 8", "1m0s raised differs.room-1: room-1: 6 people, capacity 8")
	b.want(b.set(2*minute, "room-1", edge.Occupancy{}),
		"2m0s updated crowd.room-1: room-1: count unknown, capacity 8", "2m0s updated not-full.room-1: room-1: count unknown, capacity 8", "2m0s updated differs.room-1: room-1: count unknown, capacity 8")
	b.want(b.set(4*minute, "room-1", people(3, 3, 3)),
		"4m0s cleared crowd.room-1: room-1: 3 people, capacity 8", "4m0s updated not-full.room-1: room-1: 3 people, capacity 8", "4m0s cleared differs.room-1: room-1: 3 people, capacity 8")
}

func TestKleeneLogic(t *testing.T) {
	// count is unknown, capacity 8, open_hours yes.
	for when, want := range map[string]bool{
		"count > 5 or capacity == 8":                          true,
		"count > 5 or capacity == 9":                          false,
		"not (count > 5 and capacity == 9)":                   true,
		"not (count > 5 and capacity == 8)":                   false,
		"not (count > 5 or capacity == 9)":                    false,
		"count > 5 ? true : true":                             false, // which branch is unknown
		"capacity == 8 ? open_hours : count > 5":              true,
		"not known":                                           true,
		"!(count == 0)":                                       false,
		"count == 0":                                          false,
		"count in [0, 1]":                                     false,
		"count not in [0, 1]":                                 false,
		"(count > 5) == false":                                false,
		"max(count, 3) < 5":                                   false,
		"utilisation < 2 || state == 'unknown'":               true,
		"capacity / 0 > 1":                                    true, // infinite
		"id matches '^room'":                                  true,
		"kind in ['room', 'zone'] && capacity * 0.5 + 1 == 5": true,
	} {
		b := newBench(t, Rule{Name: "x", ForEach: "room", When: when, Message: "m"})
		got := strings.Join(b.at(0), " ")
		if fired := strings.Contains(got, "x.room-1"); fired != want {
			t.Errorf("%s: raised %v, want %v", when, fired, want)
		}
	}
}

func TestKeepForHoldsTheAlert(t *testing.T) {
	r := Rule{Name: "x", ForEach: "room", When: "count > 5", KeepFor: 5 * minute, Message: "{count}"}
	b := newBench(t, r)
	b.want(b.set(0, "room-1", people(6, 6, 6)), "0s raised x.room-1: 6")
	b.want(b.set(2*minute, "room-1", people(1, 1, 1)), "2m0s updated x.room-1: 1")
	b.want(b.set(6*minute, "room-1", people(7, 7, 7)), "6m0s updated x.room-1: 7") // again over: the clearing is off
	b.want(b.set(8*minute, "room-1", people(1, 1, 1)), "8m0s updated x.room-1: 1")
	b.want(b.at(20*minute), "13m0s cleared x.room-1: 1")
}

func TestUpdatesAreTold_AtMostOncePerMinute(t *testing.T) {
	b := newBench(t, Rule{Name: "x", ForEach: "room", When: "count > 5", Message: "{count}"})
	b.want(b.set(0, "room-1", people(6, 6, 6)), "0s raised x.room-1: 6")
	for i := 7; i < 20; i++ {
		b.want(b.set(time.Duration(i)*time.Second, "room-1", people(i, i, i)))
	}
	b.want(b.at(3*minute), "1m0s updated x.room-1: 19")
	b.want(b.set(3*minute+1000000, "room-1", people(20, 20, 20)), "3m0.001s updated x.room-1: 20")
	b.want(b.set(3*minute+2000000, "room-1", people(21, 21, 21)))
	b.want(b.set(3*minute+3000000, "room-1", people(20, 20, 20))) // back to what was told
	b.want(b.at(10 * minute))
}

func TestAcknowledge(t *testing.T) {
	b := newBench(t, overCapacity())
	b.set(0, "room-1", people(10, 11, 12))
	id := b.m.Open()[0].ID
	if _, err := b.m.Acknowledge(id, "ada", "", after(minute)); !errors.Is(err, ErrConflict) {
		t.Errorf("pending: got %v, want ErrConflict", err)
	}
	events, err := b.m.Acknowledge(id, "ada", "on my way", after(3*minute)) // fires first: it was due at 2m
	if err != nil {
		t.Fatal(err)
	}
	b.want(lines(events), "2m0s raised over-capacity.room-1: room-1: 11 people (10-12), capacity 8",
		"3m0s acknowledged over-capacity.room-1: room-1: 11 people (10-12), capacity 8")
	var data Acknowledged
	if err := json.Unmarshal(events[1].Data, &data); err != nil || data.Note != "on my way" || data.AcknowledgedBy != "ada" || data.State != edge.StateAcknowledged || events[1].Subject != id {
		t.Errorf("event %s %s, %v", events[1].Subject, events[1].Data, err)
	}
	if _, err := b.m.Acknowledge(id, "bob", "", after(4*minute)); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "by ada") {
		t.Errorf("twice: got %v, want ErrConflict that names ada", err)
	}
	b.want(b.set(5*minute, "room-1", people(2, 2, 2)), "5m0s cleared over-capacity.room-1: room-1: 2 people, capacity 8")
	if _, err := b.m.Acknowledge(id, "bob", "", after(6*minute)); !errors.Is(err, ErrNotFound) {
		t.Errorf("cleared: got %v, want ErrNotFound", err)
	}
}

func TestOpeningHoursBeginAndEndAlertsByThemselves(t *testing.T) {
	b := newBench(t, Rule{Name: "after-hours", ForEach: "room", When: "p_occupied > 0.9 and not open_hours", For: 5 * minute})
	b.want(b.set(0, "office", people(1, 1, 2)))
	if got, want := b.m.Next(), after(7*time.Hour); !got.Equal(want) {
		t.Errorf("Next %s, want %s when it closes", got, want)
	}
	// Nobody asks until the next noon: it shut at 19:00 and opened at 07:00.
	b.want(b.at(24*time.Hour), "7h5m0s raised after-hours.office: Office: 1 person (1-2)", "19h0m0s cleared after-hours.office: Office: 1 person (1-2)")
}

func TestGrowingFactsAreLookedAtOnTheGrid(t *testing.T) {
	b := newBench(t, Rule{Name: "quiet", ForEach: "sensor", When: "silent_for > 600", Message: "{id} {silent_for} {horizon}"})
	b.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "ok", LastSeen: after(10 * time.Second)}
	b.want(b.at(10 * time.Second))
	// 600 s after 12:00:10 is 12:10:10; the grid's next point is 12:10:30.
	b.want(b.at(30*minute), "10m30s raised quiet.pir-1: pir-1 10m unknown")
	b.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "ok", LastSeen: after(31 * minute)}
	b.m.TouchSensor("pir-1")
	b.want(b.at(31*minute), "31m0s cleared quiet.pir-1: pir-1 0s unknown")
	b.want(b.at(100*time.Hour), "99h0m30s raised quiet.pir-1: pir-1 4d2h unknown") // the last hour is made up for
}

func TestBuiltinRules(t *testing.T) {
	b := newBench(t, Builtin()...)
	b.hub = Hub{UplinkConfigured: true}
	b.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "ok", LastSeen: t0}
	b.want(b.at(0))
	b.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "silent", LastSeen: t0, Reason: "heard nothing"}
	b.m.TouchSensor("pir-1")
	b.hub = Hub{UplinkConfigured: true, UnsyncedSince: after(10 * minute), Backlog: 1234}
	b.m.TouchHub()
	b.want(b.at(10 * minute))
	b.want(b.at(20*minute), "11m0s raised sensor-silent.pir-1: pir-1: silent for 10m: heard nothing",
		"15m0s raised hub-not-synced.hub: not in sync with the cloud: 1234 records wait, link down")
	b.hub = Hub{UplinkConfigured: true, Connected: true}
	b.m.TouchHub()
	b.sensors["pir-1"] = edge.SensorStatus{Sensor: edge.Sensor{ID: "pir-1"}, Status: "ok", LastSeen: after(21 * minute)}
	b.m.TouchSensor("pir-1")
	b.want(b.at(21*minute), "21m0s cleared sensor-silent.pir-1: pir-1: heard", "21m0s cleared hub-not-synced.hub: in sync with the cloud")
	// A floor without a capacity, and a hub without an uplink, raise nothing.
	b.hub = Hub{UnsyncedSince: t0}
	b.m.TouchHub()
	b.want(b.set(22*minute, "floor", people(500, 500, 500)))
	b.want(b.at(60 * minute))
}

func TestTheSameMillisecondNeverGivesTheSameID(t *testing.T) {
	b := newBench(t, Rule{Name: "x", ForEach: "room", When: "count > 5", Message: "m"})
	ids := map[string]bool{}
	note := func(events []edge.Event) {
		for _, e := range events {
			if e.Type == edge.AlertRaised {
				if ids[e.Subject] {
					t.Errorf("%s raised twice", e.Subject)
				}
				ids[e.Subject] = true
			}
		}
	}
	for i := range 6 {
		b.spaces["room-1"] = people(i%2*6, i%2*6, i%2*6)
		b.m.TouchSpace("room-1")
		note(b.m.Evaluate(t0, b.world))
	}
	note(b.m.Evaluate(after(minute), b.world))
	if len(ids) != 2 {
		t.Errorf("%d alerts, want 2: %v", len(ids), ids)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	b := newBench(t, overCapacity())
	b.want(b.set(10*minute, "room-1", people(10, 11, 12)))
	b.want(b.set(5*minute, "room-1", people(10, 12, 13)))
	b.want(b.at(11 * minute))
	b.want(b.at(12*minute), "12m0s raised over-capacity.room-1: room-1: 12 people (10-13), capacity 8")
}
