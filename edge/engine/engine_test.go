package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// fakeClock is a clock that the test moves.
type fakeClock struct{ ms atomic.Int64 }

func (c *fakeClock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *fakeClock) set(t time.Time)         { c.ms.Store(t.UnixMilli()) }
func (c *fakeClock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// bench is an engine on a real journal.
type bench struct {
	*engine.Engine
	t     *testing.T
	dir   string
	clock *fakeClock
	j     *journal.Journal
	stop  func()
}

func site() edge.Site {
	return edge.Site{
		ID: "hq", Timezone: "UTC",
		Spaces:  []edge.Space{{ID: "lobby", Kind: edge.Room, Capacity: 10}, {ID: "lab", Kind: edge.Room, Capacity: 4}},
		Doors:   []edge.Door{{ID: "entrance", Between: [2]string{edge.Outside, "lobby"}}, {ID: "lab-door", Between: [2]string{"lobby", "lab"}}},
		Sensors: []edge.Sensor{{ID: "cam", Class: edge.LineStereo, Door: "entrance"}, {ID: "cam-lab", Class: edge.LineToF, Door: "lab-door"}, {ID: "pir", Class: edge.PIR, Space: "lab"}},
	}
}

func setup() engine.Setup {
	rules := alerts.Merge(alerts.Builtin(), []alerts.Rule{{Name: "over-capacity", Actions: []string{"facilities"}}})
	return engine.Setup{Hash: "one", Site: site(), Rules: rules}
}

func open(t *testing.T, dir string, clock *fakeClock, s engine.Setup) *bench {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, Source: "hq", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(engine.Options{Journal: j, Setup: s, Now: clock.Now, Boot: engine.Boot{ID: "boot", Version: "test"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // Run's end, once
	go func() { done <- e.Run(ctx) }()
	b := &bench{Engine: e, t: t, dir: dir, clock: clock, j: j}
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("close the journal: %v", err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func start1(t *testing.T) *bench {
	clock := &fakeClock{}
	clock.set(start)
	return open(t, t.TempDir(), clock, setup())
}

// put takes one reading in and asserts what becomes of it.
func (b *bench) put(want edge.OutcomeStatus, r edge.Reading) edge.Outcome {
	b.t.Helper()
	out, err := b.Put(b.t.Context(), r)
	if err != nil {
		b.t.Fatalf("put %s: %v", r.Device, err)
	}
	if out[0].Status != want {
		b.t.Fatalf("put %s %v: %s (%s), want %s", r.Device, r.Values, out[0].Status, out[0].Reason, want)
	}
	return out[0]
}

func (b *bench) count(in, out float64, seq int) edge.Reading {
	return edge.Reading{Device: "cam", At: b.clock.Now(), Seq: fmt.Sprint(seq), Values: []edge.Value{
		edge.NumberValue(edge.CountIn, edge.Cumulative, in), edge.NumberValue(edge.CountOut, edge.Cumulative, out)}}
}

// settle waits until the newest snapshot shows the clock's time.
func (b *bench) settle() *edge.Snapshot {
	b.t.Helper()
	if err := b.Reject(b.t.Context(), edge.Rejection{Driver: "test", Cause: "settle"}); err != nil {
		b.t.Fatal(err)
	}
	return b.Snapshot()
}

func space(s *edge.Snapshot, id string) edge.Occupancy {
	i := slices.IndexFunc(s.Spaces, func(o edge.Occupancy) bool { return o.Space == id })
	return s.Spaces[i]
}

func (b *bench) verify() {
	b.t.Helper()
	n, err := engine.Verify(b.j)
	if err != nil {
		b.t.Fatalf("replay: %v", err)
	}
	if n == 0 {
		b.t.Fatal("replay compared no output")
	}
}

func TestAReadingIsAcceptedOnceAndCounted(t *testing.T) {
	b := start1(t)
	if s := b.Snapshot(); space(s, "lobby").State != edge.Unknown || space(s, "lobby").Count != nil {
		t.Errorf("before any evidence the lobby is %+v, want unknown without count", space(s, "lobby"))
	}
	b.put(edge.Accepted, b.count(100, 90, 1))
	b.clock.advance(10 * time.Second)
	r := b.count(103, 90, 2)
	b.put(edge.Accepted, r)
	b.put(edge.Duplicate, r)
	b.clock.advance(time.Minute)
	s := b.settle()
	if o := space(s, "lobby"); o.Count == nil || *o.Count != 3 {
		t.Errorf("after three entered the lobby is %+v", o)
	}
	if s.Counts.Readings != 2 || s.Counts.Duplicates != 1 {
		t.Errorf("counts %+v, want 2 readings and 1 duplicate", s.Counts)
	}
	b.verify()
}

func TestARestartGoesOnWhereItStopped(t *testing.T) {
	b := start1(t)
	b.put(edge.Accepted, b.count(100, 90, 1))
	b.clock.advance(10 * time.Second)
	last := b.count(104, 90, 2)
	b.put(edge.Accepted, last)
	b.clock.advance(time.Minute)
	before := b.settle()
	b.stop()

	again := open(t, b.dir, b.clock, setup())
	if got, want := space(again.Snapshot(), "lobby"), space(before, "lobby"); !got.Same(want) {
		t.Errorf("after the restart the lobby is %+v, was %+v", got, want)
	}
	again.put(edge.Duplicate, last)
	if got, want := again.Snapshot().Counts.Readings, before.Counts.Readings; got != want {
		t.Errorf("%d readings after the restart, were %d", got, want)
	}
	again.verify()
}

func TestAnUnknownDeviceIsPendingUntilApproved(t *testing.T) {
	b := start1(t)
	motion := func() edge.Reading {
		return edge.Reading{Device: "zigbee2mqtt/new", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}}
	}
	b.put(edge.Pending, motion())
	s := b.settle()
	if i := slices.IndexFunc(s.Devices, func(d edge.Device) bool { return d.Address == "zigbee2mqtt/new" && d.State == edge.DevicePending }); i < 0 {
		t.Fatalf("the device is not listed as pending: %+v", s.Devices)
	}
	do := func(kind edge.CommandKind, id, args string) edge.CommandResult {
		t.Helper()
		res, err := b.Do(t.Context(), edge.Command{ID: id, Kind: kind, Subject: "zigbee2mqtt/new", By: "test", Args: json.RawMessage(args)})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := do(edge.ApproveDevice, "1", `{"id":"pir-2","space":"nowhere","class":"pir"}`); res.Applied || res.Code != "invalid" {
		t.Errorf("approving to a space that does not exist: %+v", res)
	}
	if res := do(edge.ApproveDevice, "2", `{"id":"pir-2","space":"lobby","class":"pir"}`); !res.Applied {
		t.Fatalf("approve: %+v", res)
	}
	b.put(edge.Accepted, motion())
	b.stop()
	again := open(t, b.dir, b.clock, setup())
	again.put(edge.Accepted, motion())
	again.verify()
}

func TestAnIgnoredDeviceIsCountedInTheLedger(t *testing.T) {
	b := start1(t)
	r := func() edge.Reading {
		return edge.Reading{Device: "noise", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}}
	}
	b.put(edge.Pending, r())
	if res, err := b.Do(t.Context(), edge.Command{ID: "1", Kind: edge.IgnoreDevice, Subject: "noise", By: "test"}); err != nil || !res.Applied {
		t.Fatalf("ignore: %+v, %v", res, err)
	}
	b.put(edge.Rejected, r())
	b.put(edge.Rejected, r())
	loss := b.settle().Loss
	i := slices.IndexFunc(loss, func(l edge.LossEntry) bool { return l.Source == "hub noise" })
	if i < 0 || loss[i].Count != 2 {
		t.Errorf("ledger %+v, want 2 of the ignored device", loss)
	}
	b.verify()
}

func TestOverCapacityIsRaisedDeliveredAndAcknowledged(t *testing.T) {
	b := start1(t)
	b.put(edge.Accepted, b.count(0, 0, 1))
	for i := 1; i <= 15; i++ {
		b.clock.advance(5 * time.Second)
		b.put(edge.Accepted, b.count(float64(i), 0, i+1))
	}
	b.clock.advance(3 * time.Minute)
	s := b.settle()
	i := slices.IndexFunc(s.Alerts, func(a edge.Alert) bool {
		return a.Rule == alerts.OverCapacity && a.Subject == "lobby" && a.State == edge.StateFiring
	})
	if i < 0 {
		t.Fatalf("alerts %+v, lobby %+v: want over-capacity firing", s.Alerts, space(s, "lobby"))
	}
	jobs := b.View().Jobs
	if len(jobs) != 1 || jobs[0].Action != "facilities" {
		t.Fatalf("jobs %+v, want one for facilities", jobs)
	}
	if err := b.Delivered(t.Context(), engine.ActionResult{Job: jobs[0].ID, Delivered: true, Attempts: 1}); err != nil {
		t.Fatal(err)
	}
	if left := b.View().Jobs; len(left) != 0 {
		t.Errorf("jobs %+v after the delivery", left)
	}
	cmd := edge.Command{ID: "ack-1", Kind: edge.AcknowledgeAlert, Subject: s.Alerts[i].ID, By: "reception"}
	for range 2 { // the same command again is answered, not applied again
		if res, err := b.Do(t.Context(), cmd); err != nil || !res.Applied {
			t.Fatalf("acknowledge: %+v, %v", res, err)
		}
	}
	b.verify()
}

func TestManyCallersShareACommit(t *testing.T) {
	b := start1(t)
	const callers, each = 64, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := range each {
				r := edge.Reading{Device: "pir", Seq: fmt.Sprintf("%d-%d", c, n), Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, n%2 == 0)}}
				if out, err := b.Put(t.Context(), r); err != nil || out[0].Status != edge.Accepted {
					t.Errorf("put: %v %v", out, err)
				}
			}
		})
	}
	wg.Wait()
	s := b.settle()
	if s.Counts.Readings != callers*each {
		t.Errorf("%d readings, want %d", s.Counts.Readings, callers*each)
	}
	if s.Counts.Commits > callers*each/2 {
		t.Errorf("%d commits for %d readings: the callers did not share them", s.Counts.Commits, callers*each)
	}
	b.verify()
}

// A random day, with restarts: the outputs are what the inputs give, and a core rebuilt from a
// checkpoint goes on as one rebuilt from the beginning.
func TestReplayGivesEveryOutputByteAgain(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			b := start1(t)
			in, out := 0.0, 0.0
			for n := range 400 {
				b.clock.advance(time.Duration(rnd.IntN(90_000)) * time.Millisecond)
				if rnd.IntN(40) == 0 { // nobody listened for a while
					b.clock.advance(time.Duration(rnd.IntN(3*3600_000)) * time.Millisecond)
				}
				switch rnd.IntN(8) {
				case 0:
					b.put(edge.Accepted, edge.Reading{Device: "pir", Seq: fmt.Sprint("p", n), Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, rnd.IntN(2) == 0)}})
				case 1:
					b.settle()
				case 2:
					if _, err := b.Do(t.Context(), edge.Command{ID: fmt.Sprint(n), Kind: edge.CorrectCount, Subject: "lobby", By: "test", Args: json.RawMessage(fmt.Sprintf(`{"count":%d}`, rnd.IntN(12)))}); err != nil {
						t.Fatal(err)
					}
				case 3:
					if rnd.IntN(10) == 0 {
						b.stop()
						s := setup()
						s.Hash = fmt.Sprint(rnd.IntN(2)) // now and then another configuration
						s.Site.Spaces[0].Capacity = 10 + rnd.IntN(2)
						b = open(t, b.dir, b.clock, s)
					}
				default:
					if rnd.IntN(2) == 0 || out >= in {
						in += float64(rnd.IntN(3))
					} else {
						out++
					}
					b.put(edge.Accepted, b.count(in, out, n))
				}
			}
			b.verify()
		})
	}
}

func TestNothingIsTakenAfterTheEnd(t *testing.T) {
	b := start1(t)
	b.stop()
	if _, err := b.Put(t.Context(), b.count(1, 0, 1)); err == nil {
		t.Error("a reading was accepted by an engine that has stopped")
	}
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("batch ", size), func(b *testing.B) {
			j, err := journal.Open(journal.Options{Dir: b.TempDir(), Source: "hq", Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			e, err := engine.Open(engine.Options{Journal: j, Setup: setup(), Now: func() time.Time { return edge.Millis(time.Now()) }, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1) // Run's end, once
			go func() { done <- e.Run(ctx) }()
			n := 0
			for b.Loop() {
				rs := make([]edge.Reading, size)
				for i := range rs {
					n++
					rs[i] = edge.Reading{Device: "pir", Seq: fmt.Sprint("s", n), Received: time.Now(), Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, n%2 == 0)}}
				}
				if _, err := e.Put(ctx, rs...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "readings/s")
			cancel()
			<-done
		})
	}
}
