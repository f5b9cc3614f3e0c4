package api_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

const deviceSecret = "door-secret-0123456789"

// cloud signs tokens as the cloud does, and verifies them as a hub does.
type cloud struct {
	t      *testing.T
	signer *token.Signer
	verify *token.Verifier
	locked *token.Revocations
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	key := token.Key{ID: "k1", Private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	signer, err := token.NewSigner("https://cloud.example", []token.Key{key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseJWKS(signer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	locked := token.NewRevocations()
	v, err := token.NewVerifier(token.VerifierOptions{Issuers: []token.Issuer{{Name: "https://cloud.example", Keys: keys}}, Audience: "headcount", Revocations: locked})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{t, signer, v, locked}
}

func (c *cloud) sign(id token.Identity, audience string) string {
	c.t.Helper()
	if id.Subject == "" {
		id.Subject = "0190-carla"
	}
	raw, err := c.signer.Sign(&id, []string{audience}, 10*time.Minute)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

func member(domain string, role token.Role) []token.Membership {
	return []token.Membership{{Domain: domain, Role: role}}
}

// caller is a column of the matrix.
type caller struct {
	name   string
	bearer string
	rank   token.Role // on this hub
	known  bool       // the token is good
	sends  bool       // readings
}

func callers(c *cloud) []caller {
	user := func(domain string, role token.Role) string {
		return c.sign(token.Identity{Kind: token.User, Memberships: member(domain, role)}, "headcount")
	}
	service := func(domain string, role token.Role, permissions ...string) string {
		return c.sign(token.Identity{Kind: token.Service, Subject: "bms", Memberships: member(domain, role), Permissions: permissions}, "headcount")
	}
	no := false
	out := []caller{
		{name: "nobody"},
		{name: "a wrong secret", bearer: "wrong-secret-0123456789"},
		{name: "a token for others", bearer: c.sign(token.Identity{Kind: token.User, Memberships: member("acme", token.Admin)}, "elsewhere")},
		{name: "a token cut short", bearer: user("acme", token.Admin)[:300]},
		{name: "file: admin", bearer: annaSecret, rank: token.Admin, known: true, sends: true},
		{name: "file: device", bearer: deviceSecret, known: true, sends: true},
		{name: "another organisation's admin", bearer: user("other", token.Admin), known: true},
		{name: "a sister department's admin", bearer: user("acme/south", token.Admin), known: true},
		{name: "a department's admin below", bearer: user("acme/north/lab", token.Admin), known: true},
		{name: "a name that begins alike", bearer: user("acm", token.Admin), known: true},
		{name: "admin without subs", bearer: c.sign(token.Identity{Kind: token.User, Memberships: []token.Membership{{Domain: "acme", Role: token.Admin, Subs: &no}}}, "headcount"), known: true},
		{name: "no membership", bearer: c.sign(token.Identity{Kind: token.User}, "headcount"), known: true},
		{name: "device of the site", bearer: c.sign(token.Identity{Kind: token.Device, Subject: "door-9", Memberships: member("acme/north", token.Viewer)}, "headcount"), known: true, sends: true},
		{name: "device of another", bearer: c.sign(token.Identity{Kind: token.Device, Subject: "door-9", Memberships: member("other", token.Admin)}, "headcount"), known: true},
		{name: "service that sends", bearer: service("acme", token.Viewer, "readings"), known: true, sends: true},
		{name: "service of another that sends", bearer: service("other", token.Admin, "readings", "read", "write"), known: true},
		{name: "service without permission", bearer: service("acme", token.Admin), known: true},
	}
	for _, role := range []token.Role{token.Viewer, token.Operator, token.Manager, token.Admin} {
		out = append(out,
			caller{name: "file: " + role.String(), bearer: role.String() + "-secret-0123456789", rank: role, known: true, sends: role >= token.Operator},
			caller{name: "organisation's " + role.String(), bearer: user("acme", role), rank: role, known: true, sends: role >= token.Operator},
			caller{name: "department's " + role.String(), bearer: user("acme/north", role), rank: role, known: true, sends: role >= token.Operator})
	}
	return out
}

// rig is a hub of the department acme/north that counts what reached it.
type rig struct {
	site  *apitest.Site
	api   *api.API
	taken atomic.Int64 // requests that a route of an input took
}

func newRig(t *testing.T, c *cloud) *rig {
	t.Helper()
	r := &rig{site: apitest.Office(noon)}
	input := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { r.taken.Add(1) })
	r.api = newAPI(t, r.site, func(o *api.Options) {
		o.Tokens = []gateway.Token{{Name: "anna", Secret: annaSecret, Role: token.Admin}, {Name: "device door-9", Device: "door-9", Secret: deviceSecret}}
		for _, role := range []token.Role{token.Viewer, token.Operator, token.Manager, token.Admin} {
			o.Tokens = append(o.Tokens, gateway.Token{Name: role.String(), Role: role, Secret: role.String() + "-secret-0123456789"})
		}
		o.Routes = map[string]http.Handler{"POST /v1/readings": input, "POST /sensors/data": input, "POST /v1/push/{profile}": input, "POST /old/url": input}
		o.Needs = map[string]api.Need{"POST /old/url": api.Ingest()}
		o.Verify, o.Domains = c.verify.Verify, func() []string { return []string{"acme/north"} }
	})
	return r
}

// paths are a path of the route about something that exists, and one about something that does
// not.
func paths(r *rig, pattern string) (method string, there, missing string) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "GET", pattern
	}
	if path == "/v1/" {
		return method, "/v1/spaces/lobby/nothing", "/v1/nothing"
	}
	snap := r.site.Snapshot()
	id := map[string]string{"spaces": "lobby", "rooms": "lobby", "sensors": "co2-board", "devices": "httppush:desk-77", "alerts": ""}
	if len(snap.Alerts) > 0 {
		id["alerts"] = snap.Alerts[0].ID
	}
	for kind, value := range id {
		if strings.Contains(path, "/"+kind+"/{id}") {
			return method, strings.ReplaceAll(path, "{id}", value), strings.ReplaceAll(path, "{id}", "nothing")
		}
	}
	return method, strings.ReplaceAll(path, "{profile}", "json"), strings.ReplaceAll(path, "{profile}", "nothing")
}

var bodies = map[string]string{
	"PUT /v1/spaces/{id}/count": `{"count":3}`, "POST /v1/devices/{id}/approve": `{"id":"desk-77","space":"lobby","class":"desk"}`, "POST /v1/alerts/{id}/acknowledge": `{}`,
}

// Every route, by every kind of caller: who may is let through, who may not is refused before
// anything happens, and in the same words whether the thing exists or not.
func TestEveryRouteByEveryCaller(t *testing.T) {
	c := newCloud(t)
	r := newRig(t, c)
	gone, cancel := context.WithCancel(t.Context())
	cancel() // so that streams end at once
	var calls, refused int
	for _, p := range r.api.Policies() {
		for _, who := range callers(c) {
			want := 0 // not refused
			switch {
			case p.Public:
			case !who.known:
				want = 401
			case p.Ingest && who.sends || !p.Ingest && who.rank >= p.Role:
			default:
				want = 403
			}
			method, there, missing := paths(r, p.Pattern)
			var answers []string
			for _, path := range []string{there, missing} {
				commands, taken := len(r.site.Commands()), r.taken.Load()
				w := send(gone, r.api, method, path, bodies[p.Pattern], who.bearer, calls)
				calls++
				if denied := w.Code == 401 || w.Code == 403; denied != (want != 0) || denied && w.Code != want {
					t.Errorf("%s %s by %s: got %d %s, want %d (0 = let through)", method, path, who.name, w.Code, w.Body, want)
				}
				if want == 0 {
					continue
				}
				refused++
				answers = append(answers, fmt.Sprint(w.Code, w.Header().Get("Www-Authenticate"), w.Body))
				if len(r.site.Commands()) != commands || r.taken.Load() != taken {
					t.Errorf("%s %s by %s was refused and done", method, path, who.name)
				}
			}
			if len(answers) == 2 && answers[0] != answers[1] {
				t.Errorf("%s by %s: refusals differ by existence:\n%s\n%s", p.Pattern, who.name, answers[0], answers[1])
			}
		}
	}
	t.Logf("%d routes, %d calls, %d refused without effect", len(r.api.Policies()), calls, refused)
	if len(r.site.Commands()) == 0 || r.taken.Load() == 0 {
		t.Error("nobody was let through to anything: the matrix proves nothing")
	}
}

// send makes one request; n makes its address one of its own, so that nobody is held up for
// guessing.
func send(ctx context.Context, h http.Handler, method, path, body, secret string, n int) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	req.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:999", n>>16&255, n>>8&255, n&255)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Request-Id", "same") // answers name it
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// What is open to everybody, and that nothing which changes something asks for less than an
// operator, is said once more here: the matrix alone would follow a mistake in the table.
func TestPolicies(t *testing.T) {
	r := newRig(t, newCloud(t))
	var open []string
	for _, p := range r.api.Policies() {
		method, _, _ := strings.Cut(p.Pattern, " ")
		switch {
		case p.Public:
			open = append(open, p.Pattern)
		case method != "GET" && p.Pattern != "/v1/" && p.Role < token.Operator:
			t.Errorf("%s changes something and takes role %v", p.Pattern, p.Role)
		}
	}
	want := []string{"/", "GET /health", "GET /health/live", "GET /health/ready", "GET /openapi-3.0.json", "GET /openapi-3.0.yaml", "GET /openapi.json", "GET /openapi.yaml", "GET /socket.io/", "POST /socket.io/"}
	if !slices.Equal(open, want) {
		t.Errorf("open to everybody: got %q, want %q", open, want)
	}
}

func TestRouteWithoutPolicyIsRefused(t *testing.T) {
	site := apitest.Office(noon)
	for name, needs := range map[string]map[string]api.Need{"none": nil, "of another route": {"POST /b": api.Ingest()}, "empty": {"POST /a": {}}} {
		_, err := api.New(api.Options{Site: site, History: site, Status: site, Routes: map[string]http.Handler{"POST /a": http.NotFoundHandler()}, Needs: needs})
		if err == nil || !strings.Contains(err.Error(), `"POST /a" has no policy`) {
			t.Errorf("policy %s: got error %v", name, err)
		}
	}
	// The hub's own table cannot be softened from outside.
	a := newAPI(t, site, func(o *api.Options) { o.Needs = map[string]api.Need{"GET /v1/spaces": {Public: true}} })
	for _, p := range a.Policies() {
		if p.Pattern == "GET /v1/spaces" && p.Public {
			t.Error("an option opened GET /v1/spaces")
		}
	}
}

// Signed tokens are refused where the hub does not know whose it is, and on a hub without tokens
// a good one still counts for no more than it says.
func TestSignedTokens(t *testing.T) {
	c := newCloud(t)
	carla := c.sign(token.Identity{Kind: token.User, Name: "Carla", Memberships: member("acme", token.Operator)}, "headcount")
	viewer := c.sign(token.Identity{Kind: token.User, Memberships: member("acme", token.Viewer)}, "headcount")
	count := func(o func(*api.Options), secret string) (int, *apitest.Site, string) {
		site := apitest.Office(noon)
		w := do(newAPI(t, site, o), request{method: "PUT", path: "/v1/spaces/lobby/count", body: `{"count":3}`, header: bearer(secret)})
		return w.Code, site, w.Body.String()
	}
	tokens := []gateway.Token{{Name: "anna", Secret: annaSecret}}
	domains := func() []string { return []string{"acme"} }
	if got, site, _ := count(func(o *api.Options) { o.Tokens, o.Verify, o.Domains = tokens, c.verify.Verify, domains }, carla); got != 200 || site.Commands()[0].By != "Carla" {
		t.Errorf("operator: got %d, commands %+v", got, site.Commands())
	}
	if got, _, _ := count(func(o *api.Options) { o.Tokens, o.Verify = tokens, c.verify.Verify }, carla); got != 401 {
		t.Errorf("without domains: got %d, want 401", got)
	}
	if got, _, _ := count(func(o *api.Options) { o.Tokens, o.Domains = tokens, domains }, carla); got != 401 {
		t.Errorf("without keys: got %d, want 401", got)
	}
	if got, _, _ := count(func(o *api.Options) { o.Verify, o.Domains = c.verify.Verify, domains }, viewer); got != 403 {
		t.Errorf("viewer on an open hub: got %d, want 403", got)
	}
	c.locked.Add(token.Revocation{Subject: "0190-carla", Before: time.Now().Add(time.Second), Until: time.Now().Add(time.Hour)})
	got, _, body := count(func(o *api.Options) { o.Verify, o.Domains = c.verify.Verify, domains }, carla)
	if got != 401 || !strings.Contains(body, "revoked") {
		t.Errorf("locked out, on an open hub: got %d %s, want 401 that says why", got, body)
	}
}

// Health tells addresses to who may look at the hub, not to any holder of some token.
func TestHealthDetailsAreForViewers(t *testing.T) {
	c := newCloud(t)
	r := newRig(t, c)
	for _, who := range callers(c) {
		if who.bearer != "" && !who.known {
			continue
		}
		body := send(t.Context(), r.api, "GET", "/health", "", who.bearer, 1).Body.String()
		if told := strings.Contains(body, ":1883"); told != (who.rank >= token.Viewer) {
			t.Errorf("%s: told details: %v", who.name, told)
		}
	}
}

// stream is a response writer that can carry a live stream.
type stream struct{ *httptest.ResponseRecorder }

func (stream) SetReadDeadline(time.Time) error  { return nil }
func (stream) SetWriteDeadline(time.Time) error { return nil }
func (stream) Write(b []byte) (int, error)      { return io.Discard.Write(b) }

// A stream ends with its token: when it expires, and within seconds when its owner is locked out.
func TestStreamEndsWithItsToken(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*cloud)
		within time.Duration
	}{
		"expired": {func(*cloud) {}, 11 * time.Minute}, // the leeway does not prolong it
		"locked out": {func(c *cloud) {
			c.locked.Add(token.Revocation{Subject: "0190-carla", Before: time.Now(), Until: time.Now().Add(time.Hour)})
		}, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			cl := newCloud(t)
			r := newRig(t, cl)
			raw := cl.sign(token.Identity{Kind: token.User, Memberships: member("acme", token.Viewer)}, "headcount")
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			ended := make(chan time.Duration, 1)
			start := time.Now()
			go func() {
				req := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/v1/stream", nil)
				req.Header.Set("Authorization", "Bearer "+raw)
				r.api.ServeHTTP(stream{httptest.NewRecorder()}, req)
				ended <- time.Since(start)
			}()
			time.Sleep(time.Minute)
			select {
			case <-ended:
				t.Fatalf("%s: the stream ended while its token was good", name)
			default:
			}
			c.end(cl)
			if took := <-ended; took > time.Minute+c.within {
				t.Errorf("%s: the stream ended after %v", name, took)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("%s: the stream never ended", name)
			}
		})
	}
}
