package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// forge writes one commit into a store that no hub runs on, as another version might have.
func (b *bench) forge(drafts []journal.Draft, change func(state []byte) []byte) {
	b.t.Helper()
	b.stop()
	j, err := journal.Open(journal.Options{Dir: b.dir, Source: "hq", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	core, flaw := engine.Rebuild(j, b.clock.Now())
	if flaw != nil {
		b.t.Fatal(flaw)
	}
	state, err := core.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	var forged []byte
	if change != nil {
		if forged = change(state); bytes.Equal(forged, state) {
			b.t.Fatal("the checkpoint is as it was")
		}
	}
	_, at := j.LastCommit()
	if _, err := j.Commit(at, drafts, forged); err != nil {
		b.t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func replaced(old, by string) func([]byte) []byte {
	return func(state []byte) []byte { return bytes.Replace(state, []byte(old), []byte(by), 1) }
}

// Whatever another version left behind, the hub starts, says what it could not use, and its next
// start is an ordinary one.
func TestAStoreOfAnotherVersionIsNoCrashLoop(t *testing.T) {
	badSite := setup()
	badSite.Hash = "two"
	badSite.Site.Sensors[2].Params = map[string]float64{"of_another_version": 1}
	bad, err := json.Marshal(badSite)
	if err != nil {
		t.Fatal(err)
	}
	draft := func(typ, data string) []journal.Draft {
		return []journal.Draft{{Lane: edge.Events, Input: true, Type: typ, Subject: "hub", Data: json.RawMessage(data)}}
	}
	cases := map[string]struct {
		drafts []journal.Draft
		change func([]byte) []byte
		known  bool // the count survives
	}{
		"checkpoint of another version": {draft(engine.TypeAction, `{"job":"none"}`), replaced(`{"version":`, `{"version":9`), true}, // all inputs are kept
		"checkpoint that is no object":  {draft(engine.TypeAction, `{"job":"none"}`), func([]byte) []byte { return []byte(`[]`) }, true},
		"rules that do not compile":     {draft(engine.TypeAction, `{"job":"none"}`), replaced(`"when":"silent and`, `"when":"lsient and`), true},
		"an input of another version":   {draft("input.future", `{"a":1}`), nil, true},
		"an input of another form":      {draft(engine.TypeLink, `[1]`), nil, true},
		"a configuration it refuses":    {draft(engine.TypeConfig, string(bad)), nil, true},
		"readings of another form":      {[]journal.Draft{{Lane: edge.Readings, Input: true, Type: engine.TypeReadings, Data: json.RawMessage(`{"v":2}`)}}, nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := start1(t)
			approved(b)
			b.put(edge.Accepted, b.count(100, 90, 1))
			b.clock.advance(10 * time.Second)
			b.put(edge.Accepted, b.count(104, 90, 2))
			b.clock.advance(time.Minute)
			b.settle()
			b.forge(c.drafts, c.change)

			b = open(t, b.dir, b.clock, setup())
			b.clock.advance(10 * time.Second)
			s := b.settle()
			if o := space(s, "lobby"); c.known && (o.Count == nil || *o.Count != 4) {
				t.Errorf("the lobby is %+v, was 4", o)
			}
			b.put(edge.Accepted, edge.Reading{Device: "new", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}})
			b.verify()
			b.stop()
			losses := lossesOf(s, "state not restored")
			b = open(t, b.dir, b.clock, setup())
			if again := lossesOf(b.settle(), "state not restored"); again != losses {
				t.Errorf("the start after that declares another loss (%d, were %d)", again, losses)
			}
		})
	}
}

// When neither the checkpoint nor the inputs can be used the counts begin anew, but what people
// decided stays.
func TestWhatPeopleDecidedOutlivesTheState(t *testing.T) {
	b := start1(t)
	approved(b)
	b.put(edge.Accepted, b.count(100, 90, 1))
	b.forge([]journal.Draft{{Lane: edge.Events, Input: true, Type: engine.TypeAnew, Subject: "hub", Data: json.RawMessage(`{"reason":"test"}`)}}, replaced(`"model":"`, `"model":"AAAA`))
	b = open(t, b.dir, b.clock, setup())
	s := b.settle()
	if o := space(s, "lobby"); o.State != edge.Unknown {
		t.Errorf("the lobby is %+v, want unknown", o)
	}
	if lossesOf(s, "state not restored") == 0 {
		t.Errorf("the ledger does not tell that the state is lost: %+v", s.Loss)
	}
	b.put(edge.Accepted, edge.Reading{Device: "new", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}})
	b.verify()
}

// approved makes device "new" serve a sensor.
func approved(b *bench) {
	b.t.Helper()
	b.put(edge.Pending, edge.Reading{Device: "new", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.State, true)}})
	res, err := b.Do(b.t.Context(), edge.Command{ID: "approve", Kind: edge.ApproveDevice, Subject: "new", By: "test", Args: json.RawMessage(`{"id":"desk","space":"lab","class":"desk"}`)})
	if err != nil || !res.Applied {
		b.t.Fatalf("approve: %+v, %v", res, err)
	}
}

func lossesOf(s *edge.Snapshot, cause string) (n uint64) {
	for _, l := range s.Loss {
		if l.Cause == cause {
			n += l.Count
		}
	}
	return n
}

func TestAMonthOffIsQuickAndUnknown(t *testing.T) {
	b := start1(t)
	s := manyRooms(300)
	b.stop()
	b = open(t, b.dir, b.clock, s)
	var all []edge.Reading
	for i := range 300 {
		all = append(all, edge.Reading{Device: fmt.Sprintf("zigbee2mqtt/pir_%04d", i), Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}})
	}
	if _, err := b.Put(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Minute)
	before := b.settle()
	if o := space(before, "room-0007"); o.State != edge.Occupied {
		t.Fatalf("before: %+v", o)
	}
	b.stop()
	b.clock.advance(30 * 24 * time.Hour)
	began := time.Now()
	b = open(t, b.dir, b.clock, s)
	t.Logf("a start after a month took %v", time.Since(began))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a start after a month took %v", took)
	}
	after := b.settle()
	if o := space(after, "room-0007"); o.State != edge.Unknown {
		t.Errorf("after a month off: %+v, want unknown", o)
	}
	if n := after.Counts.Events - before.Counts.Events; n > 3000 {
		t.Errorf("the month off gave %d events", n)
	}
	b.clock.advance(3 * time.Minute)
	for _, a := range b.settle().Alerts {
		if a.State == edge.StateFiring {
			t.Errorf("alert %s is raised because the hub was off: %s", a.ID, a.Message)
		}
	}
	b.verify()

	b.clock.advance(400 * 24 * time.Hour) // the wall clock is set while it runs
	b.put(edge.Accepted, edge.Reading{Device: "zigbee2mqtt/pir_0007", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}})
	b.verify()
}

func manyRooms(n int) engine.Setup {
	s := edge.Site{ID: "hq", Timezone: "Europe/Oslo"}
	for i := range n/100 + 1 {
		s.Spaces = append(s.Spaces, edge.Space{ID: fmt.Sprintf("floor-%d", i), Kind: edge.Floor})
	}
	for i := range n {
		room := fmt.Sprintf("room-%04d", i)
		s.Spaces = append(s.Spaces, edge.Space{ID: room, Name: fmt.Sprintf("Meeting room %d", i), Kind: edge.Room, Parent: fmt.Sprintf("floor-%d", i/100), Capacity: 12, Hours: "Mon-Fri 07:00-19:00"})
		s.Sensors = append(s.Sensors, edge.Sensor{ID: fmt.Sprintf("pir-%04d", i), Device: fmt.Sprintf("zigbee2mqtt/pir_%04d", i), Profile: "zigbee2mqtt", Class: edge.PIR, Space: room})
	}
	return engine.Setup{Hash: fmt.Sprint("many ", n), Site: s, Rules: alerts.Builtin()}
}

// A site of 1,200 rooms is one record like any other.
func TestALargeSiteIsOneRecord(t *testing.T) {
	clock := &fakeClock{}
	clock.set(start)
	s := manyRooms(1200)
	b := open(t, t.TempDir(), clock, s)
	b.put(edge.Accepted, edge.Reading{Device: "zigbee2mqtt/pir_1199", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}})
	b.stop()
	b = open(t, b.dir, clock, s)
	b.put(edge.Accepted, edge.Reading{Device: "zigbee2mqtt/pir_1199", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, false)}})
	if got := len(b.Snapshot().Sensors); got != 1200 {
		t.Errorf("%d sensors", got)
	}
	b.verify()
}

// changed is a store in which one record reads otherwise.
type changed struct {
	*journal.Journal
	n      int // of the output
	change func(*edge.Record)
}

func (c changed) Commits(after uint64) iter.Seq2[journal.Commit, error] {
	return func(yield func(journal.Commit, error) bool) {
		n := 0
		for commit, err := range c.Journal.Commits(after) {
			commit.Records = slices.Clone(commit.Records)
			for i := range commit.Records {
				if r := &commit.Records[i]; !r.Input {
					if n == c.n {
						c.change(r)
					}
					n++
				}
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// Verify that compares less than every byte of every output would be worth nothing.
func TestVerifyFindsEveryChangedOutput(t *testing.T) {
	b := start1(t)
	for i := range 15 {
		b.clock.advance(5 * time.Second)
		b.put(edge.Accepted, b.count(float64(i), 0, i+1))
	}
	b.clock.advance(3 * time.Minute)
	b.settle()
	total, err := engine.Verify(b.j)
	if err != nil || total < 10 {
		t.Fatalf("verify: %d outputs, %v", total, err)
	}
	changes := map[string]func(*edge.Record){
		"type":    func(r *edge.Record) { r.Type += "x" },
		"subject": func(r *edge.Record) { r.Subject += "x" },
		"at":      func(r *edge.Record) { r.At = r.At.Add(time.Millisecond) },
		"data":    func(r *edge.Record) { r.Data = append(slices.Clone(r.Data[:len(r.Data)-1]), ' ', '}') },
		"input":   func(r *edge.Record) { r.Input, r.Type = true, engine.TypeBoot }, // an output is missing
	}
	for n := range total {
		for what, change := range changes {
			if _, err := engine.Verify(changed{b.j, n, change}); err == nil {
				t.Errorf("output %d: a changed %s is not found", n, what)
			}
		}
	}
	if _, err := engine.Verify(changed{b.j, total, nil}); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// A device that was swapped at run time stays so until the configuration names another one.
func TestTheNewerWordAboutADeviceHolds(t *testing.T) {
	b := start1(t)
	say := func(device string, want edge.OutcomeStatus) {
		t.Helper()
		b.put(want, edge.Reading{Device: device, Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}})
	}
	say("spare", edge.Pending)
	swap := edge.Command{ID: "1", Kind: edge.ApproveDevice, Subject: "spare", By: "test", Args: json.RawMessage(`{"id":"pir"}`)}
	if res, err := b.Do(t.Context(), swap); err != nil || !res.Applied {
		t.Fatalf("swap: %+v, %v", res, err)
	}
	say("spare", edge.Accepted)
	again := func(change func(*engine.Setup)) {
		t.Helper()
		s := setup()
		change(&s)
		b.stop()
		b = open(t, b.dir, b.clock, s)
		b.verify()
	}
	again(func(s *engine.Setup) { s.Hash, s.Site.Spaces[0].Capacity = "two", 11 })
	say("spare", edge.Accepted)
	again(func(s *engine.Setup) { s.Hash, s.Site.Sensors[2].Device = "three", "third" })
	say("third", edge.Accepted)
	say("spare", edge.Pending)
	for _, id := range []string{"../etc", strings.Repeat("x", 65), "a b"} {
		args, _ := json.Marshal(edge.Sensor{ID: id, Space: "lab", Class: edge.PIR})
		if res, err := b.Do(t.Context(), edge.Command{ID: id, Kind: edge.ApproveDevice, Subject: "spare", Args: args}); err != nil || res.Applied {
			t.Errorf("a sensor called %q: %+v, %v", id, res, err)
		}
	}
}
