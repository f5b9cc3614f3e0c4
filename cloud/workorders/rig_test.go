package workorders

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/sync/token"
)

// start is a Monday morning in Oslo.
var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

const patience = 5 * time.Second

// people are the users of the tests by their tokens, which are their ids.
var people = map[string]struct {
	name   string
	domain string
	role   token.Role
}{
	"ada":   {"Ada Admin", "acme", token.Admin},
	"mia":   {"Mia Manager", "acme", token.Manager},
	"max":   {"Max Manager", "acme", token.Manager},
	"ole":   {"Ole Operator", "acme", token.Operator},
	"olga":  {"Olga Operator", "acme", token.Operator},
	"vera":  {"Vera Viewer", "acme", token.Viewer},
	"north": {"Nora North", "acme/north", token.Operator},
	"other": {"Otto Other", "globex", token.Admin},
}

func identity(id string) *token.Identity {
	p, ok := people[id]
	if !ok {
		return nil
	}
	return &token.Identity{Kind: token.User, Subject: id, Name: p.name, Memberships: []token.Membership{{Domain: p.domain, Role: p.role}}}
}

// rig is a module behind a real server.
type rig struct {
	t   *testing.T
	dir string
	db  *store.DB
	m   *Module
	url string

	mu      sync.Mutex // guards what follows
	now     time.Time
	notices []Notice
	revoked map[string]bool
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "attachments"), now: start, revoked: map[string]bool{}}
	r.db = storetest.Open(t)
	r.open(change...)
	t.Cleanup(func() { r.m.Close() })
	router := route.NewRouter(slog.New(slog.NewTextHandler(&testLog{t: t}, nil)), http.NotFoundHandler())
	must(t, router.Add(r.m.Routes(r.ofSite)...))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if id := identity(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")); id != nil {
			req = req.WithContext(token.Into(req.Context(), id))
		}
		router.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// open makes the module over the rig's database.
func (r *rig) open(change ...func(*Options)) {
	r.t.Helper()
	o := Options{DB: r.db, Dir: r.dir, Now: r.clock, People: r.people, Tell: r.tell, Authenticate: r.authenticate, Log: slog.New(slog.NewTextHandler(&testLog{t: r.t}, nil))}
	for _, c := range change {
		c(&o)
	}
	m, err := Open(r.t.Context(), o)
	must(r.t, err)
	r.m = m
}

// run runs the module until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.m.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// fire passes time and fires what is due.
func (r *rig) fire(d time.Duration) {
	r.t.Helper()
	r.pass(d)
	_, err := r.m.fireDue(r.t.Context())
	must(r.t, err)
}

func (r *rig) people(_ context.Context, domain string, least token.Role) (out []Person, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range people {
		if !r.revoked[id] && identity(id).Role(domain) >= least {
			out = append(out, Person{ID: id, Email: id + "@example.org", Name: p.name})
		}
	}
	return out, nil
}

func (r *rig) authenticate(_ context.Context, raw string) (*token.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := identity(raw); id != nil && !r.revoked[raw] {
		return id, nil
	}
	return nil, io.EOF
}

func (r *rig) tell(_ *store.Tx, n Notice) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices = append(r.notices, n)
	return nil
}

// told lists who was told of a kind since the last call.
func (r *rig) told(kind string) (out []Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rest []Notice
	for _, n := range r.notices {
		if n.Kind == "workorder."+kind {
			out = append(out, n)
		} else {
			rest = append(rest, n)
		}
	}
	r.notices = rest
	return out
}

func (r *rig) ofSite(req *route.Request) ([]string, error) {
	sites, err := r.db.FindSites(req.Context(), "", req.PathValue("site"))
	if err != nil || len(sites) == 0 {
		return nil, route.ErrNotFound
	}
	req.Found = sites[0]
	return sites[0].Domains, nil
}

// call sends JSON as somebody, wants a status, and reads the answer into out.
func (r *rig) call(who, method, path string, body any, want int, out any, header ...string) http.Header {
	r.t.Helper()
	var b []byte
	switch v := body.(type) {
	case nil:
	case string:
		b = []byte(v)
	case []byte:
		b = v
	default:
		b, _ = json.Marshal(v)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewReader(b))
	must(r.t, err)
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+who)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(r.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(r.t, err)
	if resp.StatusCode != want {
		r.t.Fatalf("%s %s as %s: got %d %s, want %d", method, path, who, resp.StatusCode, got, want)
	}
	switch v := out.(type) {
	case nil:
	case *[]byte:
		*v = got
	default:
		if err := json.Unmarshal(got, out); err != nil {
			r.t.Fatalf("%s %s: answer %s: %v", method, path, got, err)
		}
	}
	return resp.Header
}

// order opens a work order as ole.
func (r *rig) order(change ...func(*Wanted)) View {
	r.t.Helper()
	w := Wanted{Org: "acme", Title: "the door is broken"}
	for _, c := range change {
		c(&w)
	}
	var v View
	r.call("ole", "POST", "/v1/work-orders", w, 201, &v)
	return v
}

// move moves an order and returns it.
func (r *rig) move(who string, v View, to State, reason string) (out View) {
	r.t.Helper()
	r.call(who, "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: to, Reason: reason, Version: r.show(v).Version}, 200, &out)
	return out
}

func (r *rig) show(v View) (out View) {
	r.t.Helper()
	r.call("ole", "GET", "/v1/work-orders/"+v.ID, nil, 200, &out)
	return out
}

func (r *rig) steps(v View) (out []Step) {
	r.t.Helper()
	var answer struct{ History []Step }
	r.call("ole", "GET", "/v1/work-orders/"+v.ID+"/history", nil, 200, &answer)
	return answer.History
}

// events lists the types of the events there are.
func (r *rig) events() (out []string) {
	r.t.Helper()
	rows, err := r.db.EventsAfter(r.t.Context(), 0, 0, 1000)
	must(r.t, err)
	for _, e := range rows {
		out = append(out, e.Type)
	}
	return out
}

// site makes a site.
func (r *rig) site(org, site string) (s store.Site) {
	r.t.Helper()
	must(r.t, r.db.Update(r.t.Context(), func(tx *store.Tx) (err error) { s, err = tx.Site(org, site, start); return err }))
	return s
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after %s: not %s", patience, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog shows the log with the test.
type testLog struct{ t *testing.T }

func (l *testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
