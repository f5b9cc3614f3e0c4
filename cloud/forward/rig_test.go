package forward_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/forward"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

const patience = 20 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// call is one call that a receiver got.
type call struct {
	header http.Header
	body   []byte
	ids    []string // of its events
	types  []string
}

// receiver is a webhook's receiver.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	calls  []call
	answer func(n int, c call) int // the n-th call, from 1; nil = 204
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		c := call{header: req.Header, body: body}
		c.read(t)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, c)
		status := http.StatusNoContent
		if r.answer != nil {
			status = r.answer(len(r.calls), c)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (c *call) read(t *testing.T) {
	list := []json.RawMessage{c.body}
	if strings.HasPrefix(c.header.Get("Content-Type"), "application/cloudevents-batch+json") {
		list = nil // or its backing array, the body, would be written over
		if err := json.Unmarshal(c.body, &list); err != nil {
			t.Error(err)
		}
	}
	for _, b := range list {
		var e struct{ SpecVersion, ID, Type string }
		if err := json.Unmarshal(b, &e); err != nil || e.SpecVersion != "1.0" {
			t.Errorf("%s is no CloudEvent: %v", b, err)
		}
		c.ids, c.types = append(c.ids, e.ID), append(c.types, e.Type)
	}
}

// set changes how the receiver answers.
func (r *receiver) set(answer func(n int, c call) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// got are the calls so far.
func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls...)
}

// ids are those of all events that arrived, in order.
func (r *receiver) ids() (out []string) {
	for _, c := range r.got() {
		out = append(out, c.ids...)
	}
	return out
}

// rig is a module on a database, with its API.
type rig struct {
	*testing.T
	where string
	db    *store.DB
	o     forward.Options
	f     *forward.Forwarder
	api   *route.Router
	stop  func()
	told  []string // titles; written within transactions, one at a time
}

func newRig(t *testing.T, change func(*forward.Options)) *rig {
	t.Helper()
	r := &rig{T: t, where: storetest.Where(t)}
	db, err := store.Open(t.Context(), r.where)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	r.db = db
	r.o = forward.Options{
		DB: db, Domains: func(s store.Site) []string { return s.Domains }, Private: true, Alone: true, FirstRetry: 5 * time.Millisecond, LastRetry: 20 * time.Millisecond, MaxFailures: 4,
		Tell: func(_ *store.Tx, org, _, title, _, _ string) error {
			r.told = append(r.told, org+": "+title)
			return nil
		},
	}
	if change != nil {
		change(&r.o)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start opens and runs the module; stop ends it.
func (r *rig) start() {
	r.Helper()
	var err error
	r.f, err = forward.Open(r.Context(), r.o)
	must(r, err)
	r.api = route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	must(r, r.api.Add(r.f.Routes()...))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.f.Run(ctx); err != nil {
			r.Error(err)
		}
	}()
	var once sync.Once
	f := r.f
	r.stop = func() { once.Do(func() { cancel(); <-done; f.Close() }) }
}

// happen writes events about a site of acme and returns their ids.
func (r *rig) happen(site, audience, typ string, n int) (ids []string) {
	r.Helper()
	before, err := r.db.NewestEvent(r.Context())
	must(r, err)
	must(r, r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", site, time.Now())
		if err != nil {
			return err
		}
		for i := range n {
			e, err := store.EventOf(edge.EventType(typ), site, time.Now(), map[string]int{"n": i})
			if err != nil {
				return err
			}
			if err := tx.AddSiteEvent(s, audience, e); err != nil {
				return err
			}
		}
		return nil
	}))
	after, err := r.db.NewestEvent(r.Context())
	must(r, err)
	for id := before + 1; id <= after; id++ {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	if len(ids) != n {
		r.Fatalf("%d events have the ids %v", n, ids)
	}
	return ids
}

var admin = &token.Identity{Kind: token.User, Subject: "ann", Name: "Ann", Memberships: []token.Membership{{Domain: "acme", Role: token.Admin}}}

// do calls the API as somebody and returns the answer; it must have the status.
func (r *rig) do(who *token.Identity, method, path, body string, status int) []byte {
	r.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	rec := httptest.NewRecorder()
	r.api.ServeHTTP(rec, req.WithContext(token.Into(r.Context(), who)))
	if rec.Code != status {
		r.Fatalf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, status)
	}
	return rec.Body.Bytes()
}

const hooks = "/v1/orgs/acme/webhooks"

// hook makes a webhook by the API.
func (r *rig) hook(body string) (w forward.Webhook) {
	r.Helper()
	must(r, json.Unmarshal(r.do(admin, "POST", hooks, body, 201), &w))
	return w
}

func (r *rig) see(id string) (w forward.Webhook) {
	r.Helper()
	must(r, json.Unmarshal(r.do(admin, "GET", hooks+"/"+id, "", 200), &w))
	return w
}

func (r *rig) deliveries(id, query string) []forward.Delivery {
	r.Helper()
	var got struct{ Deliveries []forward.Delivery }
	must(r, json.Unmarshal(r.do(admin, "GET", hooks+"/"+id+"/deliveries"+query, "", 200), &got))
	return got.Deliveries
}

// verify checks a call's signature.
func (r *rig) verify(c call, secret string) {
	r.Helper()
	must(r, deliver.Verify([]byte(secret), c.header.Get(deliver.HeaderSignature), c.body, time.Now(), time.Minute))
}
