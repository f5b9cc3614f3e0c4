package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/sync/token"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// letter is a message that accounts have sent.
type letter struct{ Org, To, Subject, Text string }

// rig is accounts served over HTTP on a real store, with a clock that is set by hand.
type rig struct {
	t   testing.TB
	a   *Accounts
	db  *store.DB
	dir string
	url string

	mu      sync.Mutex // guards what follows
	skipped time.Duration
	mails   []letter
}

const good = "correct horse battery"

// newRig starts accounts; change sets options.
func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	var err error
	r.db, err = store.Open(t.Context(), storetest.Where(t))
	must(t, err)
	t.Cleanup(func() { r.db.Close() })
	o := Options{DB: r.db, Dir: r.dir, PublicURL: func() string { return r.url }, Now: r.now,
		Mail: func(_ *store.Tx, _, org, to, subject, text string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mails = append(r.mails, letter{org, to, subject, text})
			return nil
		},
		OfSite: func(q *route.Request) ([]string, error) {
			s := store.Site{Org: "acme", Site: q.PathValue("site"), Domains: []string{"acme/north"}}
			q.Found = s
			return s.Domains, nil
		},
		Domains: func(s store.Site) []string { return s.Domains },
	}
	for _, c := range change {
		c(&o)
	}
	r.a, err = Open(t.Context(), o)
	must(t, err)
	r.a.memory = 64 // the cost of real hashes is for TestRealHashes
	rt := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	must(t, rt.Add(r.a.Routes()...))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw := Raw(q)
		if raw == localToken {
			q = q.WithContext(token.Into(q.Context(), &token.Identity{Kind: token.Local, Subject: "local", Name: "local", Everywhere: token.Admin}))
		} else if id, err := r.a.Authenticate(q.Context(), raw); err == nil {
			q = q.WithContext(token.Into(q.Context(), id))
		}
		rt.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// localToken is how tests are the administrator of the whole cloud.
const localToken = "local"

// now is the clock: it runs, and skip sets it forward.
func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.skipped)
}

func (r *rig) skip(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped += d
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// into decodes the body.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// do sends a request; body is JSON unless it is a string.
func (r *rig) do(method, path, bearer string, body any, header ...string) answer {
	r.t.Helper()
	a, err := r.try(method, path, bearer, body, header...)
	must(r.t, err)
	return a
}

func (r *rig) try(method, path, bearer string, body any, header ...string) (answer, error) {
	var in io.Reader
	if s, text := body.(string); text {
		in = strings.NewReader(s)
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.url+path, in)
	if err != nil {
		return answer{}, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// want does a request and fails unless it has this status.
func (r *rig) want(status int, method, path, bearer string, body any, header ...string) answer {
	r.t.Helper()
	a := r.do(method, path, bearer, body, header...)
	if a.status != status {
		r.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

type obj = map[string]any

// org makes organisations and domains.
func (r *rig) org(domains ...string) {
	r.t.Helper()
	for _, d := range domains {
		if org, _, deep := strings.Cut(d, "/"); deep {
			r.want(201, "POST", "/v1/orgs/"+org+"/domains", localToken, obj{"domain": d, "name": d})
		} else {
			r.want(201, "POST", "/v1/orgs", localToken, obj{"id": d, "name": d})
		}
	}
}

// user makes a user with the good password and a role, and returns the id.
func (r *rig) user(email, domain, role string) string {
	r.t.Helper()
	var u User
	r.want(201, "POST", "/v1/users", localToken, obj{"email": email, "name": email, "password": good, "domain": domain, "role": role}).into(r.t, &u)
	return u.ID
}

// login logs in with the good password.
func (r *rig) login(email string) tokens {
	r.t.Helper()
	var t tokens
	r.want(200, "POST", "/auth/login", "", obj{"email": email, "password": good}).into(r.t, &t)
	return t
}

// link is the token of the newest link that was mailed to an address.
func (r *rig) link(to string) string {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.mails) - 1; i >= 0; i-- {
		if _, after, ok := strings.Cut(r.mails[i].Text, "?token="); ok && strings.EqualFold(r.mails[i].To, to) {
			raw, _, _ := strings.Cut(after, "\n")
			return raw
		}
	}
	r.t.Fatalf("no link was mailed to %s", to)
	return ""
}

func (r *rig) mailCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mails)
}
