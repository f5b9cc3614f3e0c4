package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

var start = time.Now().UTC().Truncate(time.Millisecond)

var epoch = strings.Repeat("a", 32)

// receiver remembers what it was told and fails when it is told to.
type receiver struct {
	mu   sync.Mutex
	got  []deliver.Message
	bad  int // failed attempts
	fail error
}

func (r *receiver) Deliver(_ context.Context, m deliver.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		r.bad++
		return r.fail
	}
	r.got = append(r.got, m)
	return nil
}

func (r *receiver) set(fail error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

func (r *receiver) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// steps lists what was received as type:alert.
func (r *receiver) steps() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.got {
		out = append(out, b.Type+":"+b.Subject)
	}
	return out
}

// rig is a notifier over a real database at a time the test sets.
type rig struct {
	*testing.T
	db   *store.DB
	n    *Notifier
	now  time.Time
	rec  *receiver
	seq  uint64
	path string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	path := storetest.Where(t)
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{T: t, db: db, now: start, rec: &receiver{}, path: path}
	r.n = r.notifier(Webhook{Org: "acme", Name: "facilities", Channel: r.rec})
	return r
}

func (r *rig) notifier(hooks ...Webhook) *Notifier {
	r.Helper()
	n, err := New(r.Context(), Options{DB: r.db, Webhooks: hooks})
	r.must(err)
	n.now = func() time.Time { return r.now }
	n.opts = deliver.Options{FirstRetry: time.Millisecond, LastRetry: 5 * time.Millisecond, Breaker: 1000}
	return n
}

// tell stores an event that happened at a time.
func (r *rig) tell(typ edge.EventType, at time.Time, fact any) {
	r.Helper()
	r.seq++
	data, err := json.Marshal(fact)
	r.must(err)
	r.must(r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", r.now)
		if err != nil {
			return err
		}
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		if err != nil {
			return err
		}
		rec := edge.Record{Epoch: epoch, Lane: edge.Events, Seq: r.seq, Source: "hq", Type: string(typ), Time: at, Data: data}
		return tx.AddEvents([]store.Event{{Site: s.ID, Position: store.Position{Epoch: id, Seq: r.seq}, Type: rec.Type, Time: at, At: at, Body: rec.AppendJSON(nil)}})
	}))
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// during runs n until done says that it has come far enough.
func (r *rig) during(n *Notifier, what string, done func() bool) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	wg.Go(func() { n.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !done(); <-tick.C {
		if time.Now().After(deadline) {
			r.Fatalf("not within 10 s: %s; outbox %v", what, r.states())
		}
	}
}

// settle runs n until everything is decided and nothing is due.
func (r *rig) settle(n *Notifier) {
	r.Helper()
	r.during(n, "nothing is due", func() bool {
		at, err := r.db.Cursor(r.Context(), cursor)
		r.must(err)
		left, err := r.db.NotifyEvents(r.Context(), int64(at.Position), 1)
		r.must(err)
		due, err := List(r.Context(), r.db, Query{State: Due})
		r.must(err)
		return len(left) == 0 && len(due) == 0
	})
}

// states lists the outbox as type:alert=state, oldest first.
func (r *rig) states() (out []string) {
	r.Helper()
	rows, err := List(r.Context(), r.db, Query{Limit: 1000})
	r.must(err)
	for _, d := range slices.Backward(rows) {
		out = append(out, fmt.Sprintf("%s:%s=%s", strings.TrimPrefix(d.Message.Type, "alert."), d.Alert, d.State))
	}
	return out
}

func (r *rig) expect(what string, got, want []string) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func alert(id string, actions ...string) edge.Alert {
	return edge.Alert{ID: id, Rule: "over", Subject: "room", Severity: edge.Warning, State: edge.StateFiring, RaisedAt: start, Actions: actions}
}

func cleared(a edge.Alert) edge.Alert {
	a.State = edge.StateCleared
	return a
}

func report(a edge.Alert, action string) map[string]any {
	return map[string]any{"job": a.ID + "/alert.raised/" + action, "action": action, "event": "alert.raised", "attempts": 1}
}

func TestRaisedAndClearedAreToldOnceInOrder(t *testing.T) {
	r := newRig(t)
	a := alert("a1")
	r.tell(edge.AlertRaised, start, a)
	r.tell(edge.AlertUpdated, start, a)
	r.tell(edge.AlertCleared, start.Add(time.Second), cleared(a))
	r.settle(r.n)
	r.tell(edge.AlertRaised, start, a) // a restored hub tells it again
	r.settle(r.n)
	r.settle(r.notifier(Webhook{Org: "acme", Name: "facilities", Channel: r.rec})) // after a restart
	r.expect("told", r.rec.steps(), []string{"alert.raised:a1", "alert.cleared:a1"})
	if m := r.rec.got[0]; m.Source != "/acme/hq" || m.Key != "acme/hq/a1/alert.raised" || !m.At.Equal(start) || !strings.Contains(string(m.Data), `"rule":"over"`) {
		t.Errorf("message is %+v", m)
	}
}

func TestLateAlertIsRecordedNotSent(t *testing.T) {
	r := newRig(t)
	r.now = start.Add(48 * time.Hour) // the hub was offline over the weekend
	old := alert("saturday")
	r.tell(edge.AlertRaised, start, old)
	r.tell(edge.AlertCleared, r.now, cleared(old)) // is news, but of something nobody was told
	r.tell(edge.AlertRaised, r.now.Add(-time.Minute), alert("monday"))
	r.settle(r.n)
	r.expect("told", r.rec.steps(), []string{"alert.raised:monday"})
	r.expect("outbox", r.states(), []string{"raised:saturday=late", "cleared:saturday=late", "raised:monday=delivered"})
}

func TestHubsOwnChannelIsNotRepeated(t *testing.T) {
	r := newRig(t)
	a := alert("a1", "facilities")
	r.tell(edge.AlertRaised, start, a)
	r.settle(r.n)
	r.expect("waiting", r.states(), []string{"raised:a1=hub"})
	r.tell(edge.ActionDelivered, start, report(a, "facilities"))
	r.settle(r.n)
	r.expect("told", r.rec.steps(), nil)
	r.expect("outbox", r.states(), []string{"raised:a1=hub-delivered"})
}

func TestChannelIsTakenOverWhenTheHubFails(t *testing.T) {
	r := newRig(t)
	a := alert("a1", "facilities")
	r.tell(edge.AlertRaised, start, a)
	r.tell(edge.ActionFailed, start.Add(time.Minute), report(a, "pager")) // another channel
	r.settle(r.n)
	r.expect("told", r.rec.steps(), nil)
	r.tell(edge.ActionFailed, start.Add(time.Minute), report(a, "facilities"))
	r.settle(r.n)
	r.expect("told", r.rec.steps(), []string{"alert.raised:a1"})
}

func TestChannelIsTakenOverWhenTheHubFallsSilent(t *testing.T) {
	r := newRig(t)
	r.tell(edge.AlertRaised, start, alert("fresh", "facilities"))
	r.settle(r.n)
	r.now = start.Add(time.Minute)
	r.must(r.db.Update(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", r.now)
		r.must(err)
		_, err = tx.RaiseCloudAlert(s, store.RuleHubOffline, edge.Warning, "silent", start, r.now)
		return err
	}))
	r.settle(r.n)
	got := r.rec.steps()
	if len(got) != 2 || got[0] != "alert.raised:fresh" || !strings.HasPrefix(got[1], "alert.raised:cloud:hub-offline:") {
		t.Errorf("told %v, want the hub's alert and that it is offline", got)
	}
}

func TestFailureIsTriedAgainInOrderAcrossRestarts(t *testing.T) {
	r := newRig(t)
	r.rec.set(errors.New("503"))
	a := alert("a1")
	r.tell(edge.AlertRaised, start, a)
	r.tell(edge.AlertCleared, start, cleared(a))
	r.during(r.n, "five attempts", func() bool { return r.rec.failures() >= 5 })
	r.expect("outbox", r.states(), []string{"raised:a1=due", "cleared:a1=due"})
	r.rec.set(nil)
	r.settle(r.n) // the process goes on; another one would have to wait for the claim to end
	r.expect("told", r.rec.steps(), []string{"alert.raised:a1", "alert.cleared:a1"})
}

func TestWhatCannotBeDeliveredIsGivenUp(t *testing.T) {
	r := newRig(t)
	r.rec.set(errors.New("503"))
	r.n.opts.MaxAge = 20 * time.Millisecond
	r.tell(edge.AlertRaised, start, alert("a1"))
	r.settle(r.n)
	r.expect("outbox", r.states(), []string{"raised:a1=failed"})
}

func TestRefusalIsNotTriedAgain(t *testing.T) {
	r := newRig(t)
	r.rec.set(fmt.Errorf("%w: 400", deliver.ErrRefused))
	r.tell(edge.AlertRaised, start, alert("a1"))
	r.settle(r.n)
	r.rec.set(nil)
	r.tell(edge.AlertRaised, start, alert("a2"))
	r.settle(r.n)
	r.expect("told", r.rec.steps(), []string{"alert.raised:a2"})
	r.expect("outbox", r.states(), []string{"raised:a1=failed", "raised:a2=delivered"})
	if n := r.rec.failures(); n != 1 {
		t.Errorf("a refused message was sent %d times", n)
	}
}

func TestOrganisationAndSeverityDecideWhoIsTold(t *testing.T) {
	r := newRig(t)
	critical, other := &receiver{}, &receiver{}
	n := r.notifier(
		Webhook{Org: "acme", Name: "pager", MinSeverity: edge.Critical, Channel: critical},
		Webhook{Org: "globex", Name: "facilities", Channel: other},
	)
	loud := alert("loud")
	loud.Severity = edge.Critical
	r.tell(edge.AlertRaised, start, alert("mild"))
	r.tell(edge.AlertRaised, start, loud)
	r.settle(n)
	r.expect("pager told", critical.steps(), []string{"alert.raised:loud"})
	r.expect("the other organisation told", other.steps(), nil)
}

func TestTwoNotifiersTellOnce(t *testing.T) {
	r := newRig(t)
	second, err := store.Open(t.Context(), r.path)
	r.must(err)
	defer second.Close()
	other, err := New(t.Context(), Options{DB: second, Webhooks: []Webhook{{Org: "acme", Name: "facilities", Channel: r.rec}}})
	r.must(err)
	for i := range 30 {
		r.tell(edge.AlertRaised, start, alert(fmt.Sprint("a", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, n := range []*Notifier{r.n, other} {
		wg.Go(func() { n.Run(ctx) })
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); len(r.rec.steps()) < 30 && time.Now().Before(deadline); {
		<-tick.C
	}
	cancel()
	wg.Wait()
	seen := map[string]bool{}
	for _, s := range r.rec.steps() {
		if seen[s] {
			t.Errorf("%s was told twice", s)
		}
		seen[s] = true
	}
	if len(seen) != 30 {
		t.Errorf("told %d of 30", len(seen))
	}
}
