package doors_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/doors"
)

var t0 = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

var site = &edge.Site{
	Doors: []edge.Door{{ID: "d", HeldOpenAfter: 45 * time.Second, GrantWithin: 10 * time.Second}, {ID: "free"}},
	Sensors: []edge.Sensor{
		{ID: "reader", Class: edge.Badge, Door: "d"}, {ID: "contact", Class: edge.Contact, Door: "d"},
		{ID: "back", Class: edge.Badge, Door: "d", Direction: edge.In, Reversed: true},
		{ID: "gate", Class: edge.Contact, Door: "free"}, {ID: "pir", Class: edge.PIR, Space: "s"},
	},
}

// bench is a machine at a time; it says what happened as "45s door.held_open".
type bench struct {
	*doors.Machine
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T) *bench { return &bench{doors.New(site), t, t0} }

func (b *bench) lines(events []edge.Event) (out []string) {
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s", e.At.Sub(t0), e.Type))
	}
	return out
}

func reading(sensor string, k edge.Kind, word string) *edge.Reading {
	i, _ := k.Info()
	return &edge.Reading{Sensor: sensor, Values: []edge.Value{edge.TextValue(k, i.Semantics, word)}}
}

// say lets the machine hear a sensor after d, at the time at.
func (b *bench) say(d time.Duration, r *edge.Reading, want ...string) {
	b.t.Helper()
	b.now = t0.Add(d)
	if r.At.IsZero() {
		r.At = b.now
	}
	b.want(append(b.lines(b.Advance(b.now)), b.lines(b.Observe(r, b.now))...), want...)
}

func (b *bench) pass(d time.Duration, want ...string) {
	b.t.Helper()
	b.now = t0.Add(d)
	b.want(b.lines(b.Advance(b.now)), want...)
}

func (b *bench) want(got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("at %s: got %q, want %q", b.now.Sub(t0), got, want)
	}
}

func (b *bench) status() edge.DoorStatus { return b.Statuses()[0] }

const second = time.Second

func opened() *edge.Reading  { return reading("contact", edge.ContactKind, "open") }
func shut() *edge.Reading    { return reading("contact", edge.ContactKind, "closed") }
func granted() *edge.Reading { return reading("reader", edge.Access, edge.Granted) }
func denied() *edge.Reading  { return reading("reader", edge.Access, edge.Denied) }

func TestAnOpeningThatWasGrantedIsNoForce(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	b.say(1*second, granted(), "1s access.granted")
	b.say(11*second, opened(), "11s door.opened")
	b.say(15*second, shut(), "15s door.closed")
	b.pass(3600 * second)
	if s := b.status(); s.State != edge.DoorShut || s.Forced || s.HeldOpen {
		t.Errorf("status %+v", s)
	}
}

func TestAnOpeningWithoutAGrantIsForced(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	b.say(1*second, granted(), "1s access.granted")
	b.say(12*second, opened(), "12s door.opened") // a second too late
	b.pass(13*second, "12.5s door.forced")
	b.say(20*second, reading("reader", edge.DoorAlarm, edge.Forced)) // the controller noticed it as well
	if !b.status().Forced {
		t.Error("it is not forced any more")
	}
	b.say(30*second, shut(), "30s door.closed")
	if b.status().Forced {
		t.Error("it is forced after it was closed")
	}
}

func TestAGrantMayComeShortlyAfterTheOpening(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	b.say(20*second, opened(), "20s door.opened")
	late := granted()
	late.At = t0.Add(19 * second)
	b.say(20*second+400*time.Millisecond, late, "19s access.granted")
	b.pass(30 * second)
}

func TestADoorThatIsClosedAtOnceIsStillForced(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	b.say(20*second, opened(), "20s door.opened")
	b.say(20*second+100*time.Millisecond, shut(), "20.1s door.closed")
	b.pass(21*second, "20.5s door.forced")
	b.pass(20*second + 500*time.Millisecond + doors.Latch)
	if b.status().Forced {
		t.Error("it is forced for ever")
	}
}

func TestADoorIsHeldOpenUntilItIsClosed(t *testing.T) {
	b := newBench(t)
	b.say(0, opened(), "0s door.opened") // not known before: no force
	b.say(10*second, opened())
	b.pass(3600*second, "45s door.held_open")
	b.Skip() // nobody listens for a while: the alarm stands
	b.pass(7200 * second)
	if s := b.status(); !s.HeldOpen || s.State != edge.DoorUnknown {
		t.Errorf("status %+v, want held open and unknown", s)
	}
	b.say(7300*second, opened(), "2h1m40s door.opened")
	b.say(7310*second, shut(), "2h1m50s door.closed")
	if b.status().HeldOpen {
		t.Error("it is held open after it was closed")
	}
}

func TestNothingFallsDueInATimeInWhichNobodyListened(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	b.say(20*second, opened(), "20s door.opened")
	b.Skip()
	b.pass(3600 * second)
}

func TestALateWordAboutADoorChangesNothing(t *testing.T) {
	b := newBench(t)
	b.say(0, shut(), "0s door.closed")
	late := opened()
	late.At = t0.Add(-time.Minute)
	b.say(1*second, late)
	remembered := opened()
	remembered.Quality = edge.RetainedStale
	b.say(2*second, remembered)
	b.say(3*second, reading("pir", edge.ContactKind, "open"))
	if s := b.status(); s.State != edge.DoorShut {
		t.Errorf("status %+v", s)
	}
}

func TestDeniedAccessesAreCountedForAWhile(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		d := time.Duration(i) * time.Minute
		b.say(d, denied(), d.String()+" access.denied")
	}
	b.pass(doors.DeniedWindow - second)
	if n := b.status().Denied; n != 3 {
		t.Errorf("%d denied, want 3", n)
	}
	b.pass(doors.DeniedWindow + time.Minute)
	if n := b.status().Denied; n != 1 {
		t.Errorf("%d denied, want the newest one", n)
	}
	for range 2 * doors.MaxDenied {
		b.Observe(&edge.Reading{Sensor: "reader", At: b.now, Values: denied().Values}, b.now)
	}
	if n := b.status().Denied; n != doors.MaxDenied {
		t.Errorf("%d denied, want at most %d", n, doors.MaxDenied)
	}
}

func TestTheDirectionIsThatOfTheDoor(t *testing.T) {
	b := newBench(t)
	r := reading("back", edge.Access, edge.Granted)
	r.At = t0
	var p edge.Passage
	if err := json.Unmarshal(b.Observe(r, t0)[0].Data, &p); err != nil || p.Direction != edge.Out || p.Door != "d" || p.Sensor != "back" {
		t.Errorf("passage %+v %v, want out: the reader's own direction, reversed", p, err)
	}
}

// However time is cut, and with a restart in between, the same readings give the same events; and
// an alarm that stands is always told first.
func TestTheSameReadingsGiveTheSameEvents(t *testing.T) {
	for seed := range uint64(15) {
		run := func(cuts bool) ([]edge.Event, []edge.DoorStatus) {
			rnd, cut := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
			m, now := doors.New(site), t0
			var out []edge.Event
			for range 200 {
				next := now.Add(time.Duration(rnd.IntN(60_000)) * time.Millisecond)
				for cuts && now.Before(next) {
					now = now.Add(time.Duration(cut.IntN(20_000)+1) * time.Millisecond)
					if now.Before(next) {
						out = append(out, m.Advance(now)...)
					}
					var s doors.State
					b, _ := json.Marshal(m.State())
					if err := json.Unmarshal(b, &s); err != nil {
						t.Fatal(err)
					}
					m = doors.New(site)
					m.Restore(s)
				}
				now = next
				out = append(out, m.Advance(now)...)
				r := [](*edge.Reading){opened(), shut(), granted(), denied(), reading("reader", edge.DoorAlarm, edge.Forced)}[rnd.IntN(5)]
				r.At = now.Add(-time.Duration(rnd.IntN(3000)) * time.Millisecond)
				out = append(out, m.Observe(r, now)...)
				if rnd.IntN(50) == 0 {
					m.Skip()
				}
			}
			return out, m.Statuses()
		}
		events, status := run(false)
		again, same := run(true)
		if !reflect.DeepEqual(events, again) || !reflect.DeepEqual(status, same) {
			t.Fatalf("seed %d: cutting time changes what happens:\n%v\n%v", seed, events, again)
		}
		forced := 0
		for _, e := range events {
			if e.Type == edge.DoorForced {
				forced++
			}
		}
		if status[0].Forced && forced == 0 {
			t.Errorf("seed %d: forced without an event", seed)
		}
	}
}
