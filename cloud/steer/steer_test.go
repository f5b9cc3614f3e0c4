package steer_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/steer"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// rig is a Steer over a real database and a real NATS server, and a connection with a hub's own
// permissions.
type rig struct {
	*testing.T
	*steer.Steer
	db    *store.DB
	site  store.Site
	hub   *nats.Conn
	mux   http.Handler
	who   *token.Identity
	stale atomic.Bool
	auth  atomic.Pointer[steer.Auth]
	away  atomic.Bool                    // the hub of site "away"
	asked atomic.Pointer[token.Identity] // whose token was signed last
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b, err := bus.Start(t.Context(), bus.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Orgs: []string{"acme"}})
	must(t, err)
	t.Cleanup(b.Shutdown)
	db, err := store.Open(t.Context(), storetest.Where(t))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	r := &rig{T: t, db: db, who: &token.Identity{Kind: token.User, Subject: "u1", Name: "Ada", Memberships: []token.Membership{{Domain: "acme", Role: token.Admin}}}}
	r.auth.Store(&steer.Auth{Issuer: "headcount", JWKS: []byte(`{"keys":[]}`)})
	must(t, db.Update(t.Context(), func(tx *store.Tx) error {
		if r.site, err = tx.Site("acme", "oslo", time.Now()); err != nil {
			return err
		}
		return tx.PutDomains(r.site.ID, []string{"acme", "globex"})
	}))
	r.Steer, err = steer.Open(t.Context(), steer.Options{
		DB: db, Conn: b.Conn(), OfSite: r.ofSite, Stale: func(s store.Site) bool { return r.stale.Load() || r.away.Load() && s.Site == "away" },
		Auth: func() steer.Auth { return *r.auth.Load() }, Sign: func(who *token.Identity, _ time.Duration) (string, error) {
			r.asked.Store(who)
			return "signed for " + who.Name, nil
		},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Steer.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	creds, err := b.Enrol("acme", "oslo")
	must(t, err)
	r.hub, err = nats.Connect(b.ClientURL(), nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(wire.InboxPrefix("acme", "oslo")))
	must(t, err)
	t.Cleanup(r.hub.Close)
	router := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	must(t, router.Add(r.Routes()...))
	r.mux = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		router.ServeHTTP(w, q.WithContext(token.Into(q.Context(), r.who)))
	})
	return r
}

func (r *rig) ofSite(q *route.Request) ([]string, error) {
	found, err := r.db.FindSites(q.Context(), "", q.PathValue("site"))
	if err != nil || len(found) != 1 {
		return nil, route.ErrNotFound
	}
	q.Found = found[0]
	return found[0].Domains, nil
}

// call returns the status and the answer; header is "Name: value" or empty.
func (r *rig) call(method, path, header, body string, into any) (int, string) {
	r.Helper()
	q := httptest.NewRequest(method, "/v1/sites/oslo"+path, strings.NewReader(body))
	if name, value, ok := strings.Cut(header, ": "); ok {
		q.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, q)
	b, _ := io.ReadAll(w.Body)
	if into != nil && w.Code < 300 {
		must(r, json.Unmarshal(b, into))
	}
	return w.Code, string(b)
}

// pull is a hub's request for its configuration.
func (r *rig) pull(req wire.ConfigRequest) (reply wire.ConfigReply) {
	r.Helper()
	b, err := json.Marshal(req)
	must(r, err)
	deadline := time.Now().Add(5 * time.Second)
	for { // until the cloud's subscription has arrived
		m, err := r.hub.Request(wire.UpSubject("acme", "oslo", wire.UpConfig), b, time.Second)
		if err == nil {
			must(r, json.Unmarshal(m.Data, &reply))
			return reply
		}
		if time.Now().After(deadline) {
			r.Fatal(err)
		}
	}
}

func TestADesiredConfigurationGoesDownAndItsFateComesUp(t *testing.T) {
	r := newRig(t)
	news, err := r.hub.SubscribeSync(wire.DownSubject("acme", "oslo", wire.DownConfigNew))
	must(t, err)
	must(t, r.hub.Flush())
	if got := r.pull(wire.ConfigRequest{}); got.Rev != 0 || got.Layer != nil {
		t.Errorf("nothing is desired, the hub is told %+v", got)
	}
	const doc = `{"spaces":[{"id":"attic","kind":"room"}]}`
	if status, _ := r.call("PATCH", "/twin/desired", "", doc, nil); status != http.StatusPreconditionRequired {
		t.Errorf("without If-Match: %d", status)
	}
	var d steer.Desired
	if status, body := r.call("PATCH", "/twin/desired", `If-Match: "0"`, doc, &d); status != 200 || d.Rev != 1 || d.State != "pending" {
		t.Fatalf("%d %s", status, body)
	}
	if status, _ := r.call("PATCH", "/twin/desired", `If-Match: "0"`, doc, nil); status != http.StatusPreconditionFailed {
		t.Errorf("with an old If-Match: %d", status)
	}
	if m, err := news.NextMsg(5 * time.Second); err != nil || string(m.Data) != `{"rev":1}` {
		t.Errorf("push %v, %v", m, err)
	}
	if got := r.pull(wire.ConfigRequest{}); got.Rev != 1 || !strings.Contains(string(got.Layer), `"attic"`) {
		t.Errorf("the hub gets %+v", got)
	}
	r.pull(wire.ConfigRequest{Have: 1})
	if r.call("GET", "/twin/desired", "", "", &d); d.State != "applied" || *d.Applied != 1 {
		t.Errorf("after the hub's report: %+v", d)
	}
	r.call("PATCH", "/twin/desired", `If-Match: "1"`, `{"remove":{"spaces":["attic"]}}`, &d)
	r.pull(wire.ConfigRequest{Have: 1, Refused: 2, Reasons: []string{"a door leads there"}})
	if r.call("GET", "/twin/desired", "", "", &d); d.State != "refused" || len(d.Reasons) != 1 || string(d.Document) != `{"remove":{"spaces":["attic"]}}` {
		t.Errorf("after the hub's refusal: %+v %s", d, d.Document)
	}
	var h struct{ Revisions []steer.Revision }
	if r.call("GET", "/twin/desired/history", "", "", &h); len(h.Revisions) != 2 || h.Revisions[0].Author != "Ada" {
		t.Errorf("history %+v", h)
	}
	// A restored database does not give a number twice: the hub knows revision 9.
	r.pull(wire.ConfigRequest{Have: 9})
	if r.call("PUT", "/twin/desired", `If-Match: "2"`, `{}`, &d); d.Rev != 10 {
		t.Errorf("the revision after the hub's 9 is %d", d.Rev)
	}
}

func TestWhatIsWrongWithADocumentIsTold(t *testing.T) {
	r := newRig(t)
	for body, want := range map[string]string{
		`{"inputs":[]}`:                                     "unknown field",
		`{"spaces":[{}]}`:                                   "body.spaces[0].id",
		`{"alerts":[{"name":"a"},{"name":"a"}]}`:            "there twice",
		`{"spaces":[{"id":"A B"}]}`:                         "a-z 0-9",
		`{"spaces":[{"id":"a"}],"remove":{"spaces":["a"]}}`: "among the spaces",
		`{"spaces":[{"id":"a","id":"b"}]}`:                  "twice in one object",
	} {
		if status, answer := r.call("PUT", "/twin/desired", "If-Match: *", body, nil); status < 400 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s, want %q", body, status, answer, want)
		}
	}
	var d steer.Desired
	if status, answer := r.call("POST", "/import?dry_run=1", "Content-Type: application/yaml", "spaces:\n  - {id: a, kind: room}\n", &d); status != 200 || !d.DryRun || len(d.Diff.Added) != 1 {
		t.Errorf("YAML: %d %s", status, answer)
	}
	if r.call("GET", "/twin/desired", "", "", &d); d.Rev != 0 {
		t.Errorf("a dry run made revision %d", d.Rev)
	}
}

func TestASharedSiteIsLookedAtOnly(t *testing.T) {
	r := newRig(t)
	r.who = &token.Identity{Kind: token.User, Subject: "g", Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}
	if status, _ := r.call("GET", "/twin/desired", "", "", nil); status != 200 {
		t.Errorf("look: %d", status)
	}
	if status, _ := r.call("PUT", "/twin/desired", "If-Match: *", "{}", nil); status != http.StatusForbidden {
		t.Errorf("change: %d", status)
	}
}

// serve plays the hub for commands.
func (r *rig) serve(answer func(wire.Command) edge.CommandResult) {
	r.Helper()
	_, err := r.hub.Subscribe(wire.DownSubject("acme", "oslo", wire.DownCommand), func(m *nats.Msg) {
		var cmd wire.Command
		if json.Unmarshal(m.Data, &cmd) == nil {
			b, _ := json.Marshal(answer(cmd))
			_ = m.Respond(b)
		}
	})
	must(r, err)
	must(r, r.hub.Flush())
}

func TestCommandsAreAnsweredByTheHub(t *testing.T) {
	r := newRig(t)
	if status, body := r.call("PUT", "/spaces/hall/count", "", `{"count":3}`, nil); status != http.StatusServiceUnavailable || !strings.Contains(body, "not connected") {
		t.Errorf("without a hub: %d %s", status, body)
	}
	var calls atomic.Int32
	r.serve(func(cmd wire.Command) edge.CommandResult {
		calls.Add(1)
		if cmd.Token != "signed for Ada" || cmd.By != "Ada" || cmd.Deadline.Before(time.Now()) {
			t.Errorf("the hub gets %+v", cmd)
		}
		switch cmd.Command.Subject {
		case "hall":
			return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
		}
		return edge.CommandResult{ID: cmd.Command.ID, Code: "not_found", Reason: "no such space"}
	})
	var c steer.Command
	for range 2 {
		if status, body := r.call("PUT", "/spaces/hall/count", "Idempotency-Key: k1", `{"count":3}`, &c); status != 200 || c.State != "applied" {
			t.Errorf("count: %d %s", status, body)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("the same command was sent %d times", calls.Load())
	}
	if status, body := r.call("POST", "/commands", "", `{"kind":"space.count","subject":"nowhere","args":{"count":1}}`, nil); status != http.StatusNotFound || !strings.Contains(body, "no such space") {
		t.Errorf("refused: %d %s", status, body)
	}
	if status, _ := r.call("POST", "/commands", "", `{"kind":"reboot","subject":"hub"}`, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("an unknown command: %d", status)
	}
	var list struct{ Commands []steer.Command }
	if r.call("GET", "/commands", "", "", &list); len(list.Commands) != 3 || list.Commands[0].State != "refused" {
		t.Errorf("the list: %+v", list)
	}
}

func TestAnAcknowledgementWaitsForTheHub(t *testing.T) {
	r := newRig(t)
	r.stale.Store(true)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return r.KeepAcknowledgement(tx, r.site, "alert-1", "on my way", r.who) }))
	got := make(chan wire.Command, 4)
	r.serve(func(cmd wire.Command) edge.CommandResult {
		got <- cmd
		return edge.CommandResult{ID: cmd.Command.ID, Applied: true}
	})
	r.stale.Store(false)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return r.KeepAcknowledgement(tx, r.site, "alert-2", "", r.who) })) // wakes it
	for _, want := range []string{"alert-1", "alert-2"} {
		select {
		case cmd := <-got:
			if cmd.Command.Subject != want || cmd.Command.Kind != edge.AcknowledgeAlert || cmd.Token != "signed for Ada" {
				t.Errorf("the hub gets %+v, want %s", cmd, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the hub was not told")
		}
	}
}

func TestHubsAreToldByWhatToVerify(t *testing.T) {
	r := newRig(t)
	r.pull(wire.ConfigRequest{}) // it listens
	ask := func() (a wire.Auth) {
		m, err := r.hub.Request(wire.UpSubject("acme", "oslo", wire.UpAuth), []byte("{}"), 5*time.Second)
		must(t, err)
		must(t, json.Unmarshal(m.Data, &a))
		return a
	}
	first := ask()
	if first.Issuer != "headcount" || first.Revision == "" || len(first.Domains) != 2 {
		t.Errorf("got %+v", first)
	}
	var h wire.HeartbeatReply
	if r.Complete(t.Context(), "acme", "oslo", &h); h.AuthRev != first.Revision || h.ConfigRev != "0" {
		t.Errorf("the heartbeat says %+v", h)
	}
	r.auth.Store(&steer.Auth{Issuer: "headcount", JWKS: []byte(`{"keys":[]}`), Revocations: []token.Revocation{{Subject: "u1", Before: time.Now(), Until: time.Now().Add(time.Hour)}}})
	if next := ask(); next.Revision == first.Revision || !strings.Contains(string(next.Revocations), "u1") {
		t.Errorf("after a revocation: %+v", next)
	}
}
