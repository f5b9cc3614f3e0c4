package engine_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
)

// One message that no record can hold is refused alone; its neighbours are taken, the hub goes on.
func TestAMonstrousReadingIsRefusedAlone(t *testing.T) {
	number := edge.NumberValue(edge.CO2PPM, edge.Absolute, 800)
	for name, monster := range map[string]edge.Reading{
		"values":  {Device: "pir", Values: slices.Repeat([]edge.Value{number}, 100_000)},
		"device":  {Device: strings.Repeat("d", 300_000), Values: []edge.Value{number}},
		"seq":     {Device: "pir", Seq: strings.Repeat("7", 300_000), Values: []edge.Value{number}},
		"text":    {Device: "pir", Values: []edge.Value{edge.TextValue(edge.Health, edge.State, strings.Repeat("x", 300_000))}},
		"kind":    {Device: "pir", Values: []edge.Value{edge.NumberValue(edge.Kind(strings.Repeat("k", 300_000)), edge.State, 1)}},
		"quality": {Device: "pir", Quality: edge.Quality(strings.Repeat("q", 300_000)), Values: []edge.Value{number}},
		"nobody":  {Values: []edge.Value{number}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start1(t)
			out, err := b.Put(t.Context(), b.count(1, 0, 1), monster, b.count(2, 0, 2))
			if err != nil {
				t.Fatal(err)
			}
			if out[0].Status != edge.Accepted || out[1].Status != edge.Rejected || out[2].Status != edge.Accepted {
				t.Errorf("outcomes %v, want accepted, rejected, accepted", out)
			}
			if s := b.settle(); s.Counts.Readings != 2 || s.Counts.Rejected != 2 { // and the one of settle
				t.Errorf("counts %+v, want 2 readings and 1 rejected", s.Counts)
			}
			b.verify()
		})
	}
}

func TestNoInputIsTooLargeForTheJournal(t *testing.T) {
	b := start1(t)
	long := strings.Repeat("\u2028", 100_000)
	if err := b.Reject(t.Context(), edge.Rejection{Driver: long, Device: long, Cause: long, Detail: long, Hash: long}); err != nil {
		t.Error(err)
	}
	if err := b.Reject(t.Context(), edge.Rejection{Driver: "d", Cause: "c", Count: -7, At: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}); err != nil {
		t.Error(err)
	}
	if err := b.DriverChanged(t.Context(), engine.DriverStatus{ID: "mqtt-1", Driver: "mqtt", Detail: long}); err != nil {
		t.Error(err)
	}
	if err := b.Linked(t.Context(), engine.Link{Reason: long}); err != nil {
		t.Error(err)
	}
	if err := b.Delivered(t.Context(), engine.ActionResult{Job: "1", Error: long}); err != nil {
		t.Error(err)
	}
	args, _ := json.Marshal(map[string]any{"count": 1, "reason": long})
	if res, err := b.Do(t.Context(), edge.Command{ID: "1", Kind: edge.CorrectCount, Subject: "lobby", Args: args}); err != nil || res.Applied || res.Code != "invalid" {
		t.Errorf("a command of 300 kB: %+v, %v; want it refused", res, err)
	}
	if err := b.DriverChanged(t.Context(), engine.DriverStatus{ID: long}); err == nil {
		t.Error("an input of 300 kB was taken")
	}
	b.put(edge.Accepted, b.count(1, 0, 1))
	b.verify()
}

// What JSON does not give back bit for bit must not make a replay, which is every restart, see
// other values than the core saw: two readings that differ only in that are one in the journal.
func TestHostileValuesSurviveARestart(t *testing.T) {
	b := start1(t)
	at := b.clock.Now()
	one := func(device string, v edge.Value) edge.Reading {
		return edge.Reading{Device: device, At: at, Values: []edge.Value{v}}
	}
	var batch []edge.Reading
	for i, x := range []float64{math.Copysign(0, -1), 0, math.NaN(), math.Float64frombits(0x7ff8000000000123), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, -(1 << 60), .1} {
		for _, typ := range []edge.Type{edge.Number, edge.Bool, edge.Text, 7} {
			batch = append(batch, one("pir", edge.Value{Kind: edge.CO2PPM, Semantics: edge.Absolute, Type: typ, Num: x, Text: "t"}))
			batch = append(batch, one("pir", edge.Value{Kind: edge.Presence, Semantics: edge.State, Type: typ, Num: x, Text: fmt.Sprint(i % 2)}))
			batch = append(batch, one("cam", edge.Value{Kind: edge.CountIn, Semantics: edge.Cumulative, Type: typ, Num: x}))
		}
	}
	for _, text := range []string{"\xff", "\xfe", "\xed\xa0\x80", "\u2028<&>\"\\\x00\n\r", "\x7f", strings.Repeat("\xff", 200)} {
		batch = append(batch, one("dev"+text, edge.TextValue(edge.Kind("k"+text), edge.Semantics(text), text)))
		r := one("pir", edge.TextValue(edge.Health, edge.State, text))
		r.Seq, r.Quality = text, edge.Quality(text)
		batch = append(batch, r)
	}
	out, err := b.Put(t.Context(), batch...)
	if err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Minute)
	before := b.settle()
	b.verify()
	b.stop()
	again := open(t, b.dir, b.clock, setup())
	after := again.Snapshot()
	if got, want := after.Counts.Readings, before.Counts.Readings; got != want {
		t.Errorf("%d readings after the restart, were %d", got, want)
	}
	second, err := again.Put(t.Context(), batch...)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range second {
		if o.Status != edge.Duplicate {
			t.Errorf("reading %d (%+v), %s at first, is %s when it comes again", i, batch[i], out[i].Status, o.Status)
		}
	}
	again.verify()
}

// Every reading that comes in is counted once: taken (pending ones among them), duplicate or rejected.
func TestCountsAddUp(t *testing.T) {
	b := start1(t)
	if _, err := b.Do(t.Context(), edge.Command{ID: "1", Kind: edge.IgnoreDevice, Subject: "ignored"}); err != nil {
		t.Fatal(err)
	}
	var batch []edge.Reading
	for n := range 40 {
		device := []string{"cam", "pir", "unknown", "ignored", ""}[n%5]
		batch = append(batch, edge.Reading{Device: device, Seq: fmt.Sprint("s", n%7), Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, float64(n%7))}})
	}
	said := map[edge.OutcomeStatus]uint64{}
	for range 2 {
		out, err := b.Put(t.Context(), batch...)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out {
			said[o.Status]++
		}
	}
	c := b.Snapshot().Counts
	if c.Readings != said[edge.Accepted]+said[edge.Pending] || c.Pending != said[edge.Pending] || c.Duplicates != said[edge.Duplicate] || c.Rejected != said[edge.Rejected] {
		t.Errorf("counts %+v, the callers were told %v", c, said)
	}
	if got, want := c.Readings+c.Duplicates+c.Rejected, uint64(2*len(batch)); got != want {
		t.Errorf("%d readings are accounted for, %d came in", got, want)
	}
	lost := uint64(0)
	for _, l := range b.settle().Loss {
		if l.Cause != "settle" {
			lost += l.Count
		}
	}
	if lost != said[edge.Rejected] {
		t.Errorf("the ledger has %d losses, %d readings were rejected", lost, said[edge.Rejected])
	}
}

// A flood of what nobody understands shares records as it shares commits; each is counted.
func TestAFloodOfRejectionsIsFewRecords(t *testing.T) {
	b := start1(t)
	before := b.j.Head(edge.Events).Seq
	const callers, each = 50, 20
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if err := b.Reject(t.Context(), edge.Rejection{Driver: "mqtt", Device: "bad", Cause: "malformed", Detail: "byte 3", At: start}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := lossesOf(b.settle(), "malformed"); got != callers*each {
		t.Errorf("%d are counted, want %d", got, callers*each)
	}
	if n := b.j.Head(edge.Events).Seq - before; n > callers*each/2 {
		t.Errorf("%d records for %d rejections", n, callers*each)
	}
	b.verify()
}

func TestABootForgetsWhatOnlyHoldsWhileAProcessRuns(t *testing.T) {
	b := start1(t)
	if err := b.DriverChanged(t.Context(), engine.DriverStatus{ID: "mqtt-1", Driver: "mqtt", Up: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.Linked(t.Context(), engine.Link{Configured: true, UnsyncedSince: b.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(4 * time.Minute)
	b.settle()
	b.clock.advance(2 * time.Minute)
	firing := func(s *edge.Snapshot) bool {
		return slices.ContainsFunc(s.Alerts, func(a edge.Alert) bool { return a.Rule == "hub-not-synced" && a.State == edge.StateFiring })
	}
	if !firing(b.settle()) {
		t.Fatal("hub-not-synced does not fire")
	}
	b.stop()
	b = open(t, b.dir, b.clock, setup()) // a configuration without an uplink
	v := b.View()
	if len(v.Drivers) != 0 || v.Link.Configured || firing(v.Snapshot) {
		t.Errorf("after a start without inputs and uplink: drivers %+v, link %+v, firing %v", v.Drivers, v.Link, firing(v.Snapshot))
	}
	b.verify()
}
