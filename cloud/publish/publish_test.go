package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/publish"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

const patience = 5 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a database beside a NATS server.
type rig struct {
	*testing.T
	db  *store.DB
	bus *bus.Bus
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, db: storetest.Open(t)}
	r.start(t.TempDir())
	return r
}

func (r *rig) start(dir string) {
	r.Helper()
	var err error
	r.bus, err = bus.Start(r.Context(), bus.Options{Dir: dir, Listen: "127.0.0.1:0"})
	must(r, err)
	r.Cleanup(r.bus.Shutdown)
}

func (r *rig) publisher(readings bool) *publish.Publisher {
	return publish.New(publish.Options{DB: r.db, Conn: r.bus.Conn(), JetStream: r.bus.JetStream(), Ensure: r.bus.EnsureEvents, Readings: readings})
}

// run runs a publisher until the returned function is called.
func (r *rig) run(p *publish.Publisher) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			must(r, <-done)
		}
	}
	r.Cleanup(stop)
	return stop
}

// tell writes an event of the cloud's own.
func (r *rig) tell(typ, subject, audience string) {
	r.Helper()
	must(r, r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", time.Now())
		if err != nil {
			return err
		}
		e, err := store.EventOf(edge.EventType(typ), subject, time.Now(), map[string]string{"is": subject})
		if err != nil {
			return err
		}
		return tx.AddSiteEvent(s, audience, e)
	}))
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			r.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// consumer is a durable of the stream EV.
func (r *rig) consumer(c jetstream.ConsumerConfig) jetstream.Consumer {
	r.Helper()
	must(r, r.bus.EnsureEvents(r.Context()))
	c.AckPolicy = jetstream.AckExplicitPolicy
	out, err := r.bus.JetStream().CreateOrUpdateConsumer(r.Context(), publish.EventStream, c)
	must(r, err)
	return out
}

// take reads and acknowledges n messages and returns their subjects.
func (r *rig) take(c jetstream.Consumer, n int) (subjects, ids []string) {
	r.Helper()
	for range n {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		must(r, err)
		must(r, m.Ack())
		subjects, ids = append(subjects, m.Subject()), append(ids, m.Headers().Get(nats.MsgIdHdr))
	}
	return subjects, ids
}

func TestAConsumerThatWasDownCatchesUp(t *testing.T) {
	r := newRig(t)
	c := r.consumer(jetstream.ConsumerConfig{Durable: "billing", FilterSubject: "ev.acme.>"})
	r.tell("alert.raised", "a1", "")
	stop := r.run(r.publisher(false))
	subjects, _ := r.take(c, 1)
	if subjects[0] != "ev.acme.hq.alert.raised" {
		t.Errorf("published under %s", subjects[0])
	}
	stop() // both are down while things happen
	for i := range 5 {
		r.tell("occupancy.changed", fmt.Sprint("room-", i), "")
	}
	r.tell("inbox.added", "secret", "user:ola")
	r.tell("user.created", "u1", "role:admin")
	r.run(r.publisher(false))
	_, ids := r.take(c, 6)
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	if len(seen) != 6 || !seen["acme/hq/cloud-events-2"] || seen["acme/hq/cloud-events-7"] || !seen["acme/hq/cloud-events-8"] {
		t.Errorf("ids %v, want events 2 to 6 and 8, and not the one for a single person", ids)
	}
	if _, err := c.Next(jetstream.FetchMaxWait(50 * time.Millisecond)); err == nil {
		t.Error("there is more than was told")
	}
}

func TestTheSameEventTwiceHasTheSameId(t *testing.T) {
	r := newRig(t)
	r.tell("alert.raised", "a1", "")
	must(t, r.bus.EnsureEvents(t.Context()))
	p := r.publisher(false)
	_, err := p.Step(t.Context())
	must(t, err)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutCursor("publish", store.Cursor{}) })) // a crash before the cursor moved
	_, err = p.Step(t.Context())
	must(t, err)
	s, err := r.bus.JetStream().Stream(t.Context(), publish.EventStream)
	must(t, err)
	if n := s.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("the stream has %d messages, want 1: the second was a duplicate", n)
	}
}

func TestWithoutNATSEventsWait(t *testing.T) {
	r := newRig(t)
	p := r.publisher(false)
	stop := r.run(p)
	r.tell("alert.raised", "a1", "")
	r.eventually("the first is published", func() bool { return p.Stats().Events.Load() == 1 })
	r.bus.Shutdown()
	r.tell("alert.cleared", "a1", "")
	r.eventually("it says that events wait", func() bool { return p.Err() != nil })
	stop()
	r.start(t.TempDir()) // another server, with an empty store
	r.run(r.publisher(false))
	subjects, _ := r.take(r.consumer(jetstream.ConsumerConfig{Durable: "late"}), 1)
	if subjects[0] != "ev.acme.hq.alert.cleared" {
		t.Errorf("after NATS came back: %v, want what waited", subjects)
	}
}

func TestReadingsWhenAsked(t *testing.T) {
	r := newRig(t)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", time.Now())
		if err != nil {
			return err
		}
		epoch, _, err := tx.Epoch(s.ID, "0123456789abcdef0123456789abcdef", time.Now())
		if err != nil {
			return err
		}
		rec := edge.Record{Epoch: "0123456789abcdef0123456789abcdef", Lane: edge.Readings, Seq: 1, Commit: 1, Source: "hq", Type: "readings", Time: time.Now(), Data: json.RawMessage(`[]`)}
		return tx.AddReadings([]store.Reading{{Site: s.ID, Position: store.Position{Epoch: epoch, Seq: 1}, Time: time.Now(), Body: rec.AppendJSON(nil)}})
	}))
	r.run(r.publisher(true))
	subjects, ids := r.take(r.consumer(jetstream.ConsumerConfig{Durable: "lake"}), 1)
	if subjects[0] != "ev.acme.hq.reading" || ids[0] != "acme/hq/0123456789abcdef0123456789abcdef-readings-1" {
		t.Errorf("a reading is published as %v %v", subjects, ids)
	}
}

func TestAPoisonMessageBecomesADeadLetterAndTheQueueMovesOn(t *testing.T) {
	r := newRig(t)
	c := r.consumer(jetstream.ConsumerConfig{Durable: "fragile", MaxDeliver: 2, AckWait: 100 * time.Millisecond})
	p := r.publisher(false)
	r.run(p)
	r.tell("alert.raised", "poison", "")
	r.tell("alert.raised", "good", "")
	r.eventually("the poison is given up", func() bool { // the consumer chokes on one and takes the other
		if m, err := c.Next(jetstream.FetchMaxWait(20 * time.Millisecond)); err == nil {
			if rec, err := edge.ParseRecord(m.Data()); err == nil && rec.Subject == "good" {
				must(t, m.Ack())
			}
		}
		return p.Stats().DeadLetters.Load() == 1
	})
	info, err := c.Info(t.Context())
	must(t, err)
	if info.NumPending != 0 {
		t.Errorf("%d messages wait behind the poison", info.NumPending)
	}

	rt := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	must(t, rt.Add(p.Routes()...))
	call := func(method, path string, who *token.Identity) (int, []byte) {
		w := httptest.NewRecorder()
		q := httptest.NewRequest(method, "/v1/bus/dead-letters"+path, nil)
		rt.ServeHTTP(w, q.WithContext(token.Into(q.Context(), who)))
		return w.Code, w.Body.Bytes()
	}
	admin := func(org string) *token.Identity {
		return &token.Identity{Kind: token.User, Memberships: []token.Membership{{Domain: org, Role: token.Admin}}}
	}
	var got struct {
		Letters []publish.Letter `json:"dead_letters"`
	}
	_, body := call("GET", "", admin("acme"))
	must(t, json.Unmarshal(body, &got))
	if len(got.Letters) != 1 || got.Letters[0].Subject != "ev.acme.hq.alert.raised" || got.Letters[0].Consumer != "fragile" || got.Letters[0].Error == "" {
		t.Fatalf("dead letters: %s", body)
	}
	if _, body := call("GET", "", admin("globex")); string(body) != "{\"dead_letters\":[]}\n" {
		t.Errorf("another organisation sees %s", body)
	}
	id := fmt.Sprintf("/%d", got.Letters[0].ID)
	if code, _ := call("POST", id+"/retry", admin("globex")); code != http.StatusNotFound {
		t.Errorf("another organisation tries again: %d, want 404", code)
	}
	if code, body := call("POST", id+"/retry", admin("acme")); code != http.StatusNoContent {
		t.Fatalf("retry: %d %s", code, body)
	}
	if subjects, _ := r.take(c, 1); subjects[0] != "ev.acme.hq.alert.raised" {
		t.Errorf("tried again: %v", subjects)
	}
	if code, _ := call("GET", id, admin("acme")); code != http.StatusNotFound {
		t.Errorf("a letter that was tried again: %d, want 404", code)
	}
}
