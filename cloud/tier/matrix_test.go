package tier

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// The matrix calls every route of the tier's own table as everybody: role x domain x route. What
// must come is computed from the route's policy. New routes are in it by being in the table;
// where their paths name things of their own, a line in made makes one.

// made are things that the test makes by the API before it begins: what follows path in other
// routes' paths is then id, or the made one's own "id".
var made = []struct{ path, body, id string }{
	{"/v1/orgs", `{"id":"acme","name":"Acme"}`, "acme"},
	{"/v1/orgs/{org}/domains", `{"domain":"acme/north","name":"North"}`, "north"},
	{"/v1/orgs/{org}/domains", `{"domain":"acme/south","name":"South"}`, "north"},
	{"/v1/users", `{"email":"%[1]s@acme.example","name":"U","domain":"%[2]s","role":"viewer","password":"correct horse battery staple"}`, ""},
	{"/v1/work-orders", `{"org":"acme","site":"%[1]s","title":"Lamp"}`, ""},
	{"/v1/orgs/{org}/webhooks", `{"name":"x","url":"http://127.0.0.1:9/","active":false}`, ""},
	{"/v1/silences", `{"org":"acme","domain":"%[2]s","match":{"rules":["over"]},"until_cleared":true,"reason":"drill"}`, ""},
}

// matrixSite is a site and the domain that owns it.
type matrixSite struct{ org, site, domain string }

var matrixSites = []matrixSite{{"acme", "hq", "acme"}, {"acme", "annex", "acme/north"}}

// noSite has the names of things that are not there.
var noSite = matrixSite{"nosuchorg", "nosuchsite", "nosuchorg"}

// matrix is a started tier whose callers are whom the test says they are.
type matrix struct {
	*testing.T
	tier   *Tier
	url    string
	routes []route.Route
	who    map[string]*token.Identity   // by the bearer that the test sends
	ids    map[string]map[string]string // site -> route below which {id} is known -> id
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{T: t, tier: startTier(t, config(t.TempDir())), who: identities(), ids: map[string]map[string]string{}}
	for _, s := range append(slices.Clone(matrixSites), matrixSite{"globex", "lab", "globex"}) {
		h := newHub(t, m.tier, s.org, s.site)
		h.occupancy(1)
		h.tell(edge.AlertRaised, "a-"+s.site, time.Now(), edge.Alert{ID: "a-" + s.site, Rule: "over", State: edge.StateFiring})
		h.conn.Close()
		must(t, m.tier.db.Update(t.Context(), func(tx *store.Tx) error {
			site, err := tx.Site(s.org, s.site, time.Now())
			if err != nil {
				return err
			}
			const sensor = `INSERT INTO sensors (site, sensor, status, epoch, seq) VALUES (?, ?, '{}', 0, 0)`
			if err := tx.Exec(sensor, site.ID, "s-"+s.site); err != nil {
				return err
			}
			return tx.PutDomains(site.ID, []string{s.domain})
		}))
	}
	eventually(t, "the sites' alerts are there", func() bool {
		open, err := m.tier.db.CountOpenAlerts(t.Context())
		must(t, err)
		return len(open) >= 3
	})
	eventually(t, "analytics have taken in what there is", func() bool { // it writes tables that are compared
		at, err := m.tier.db.Cursor(t.Context(), "analytics")
		must(t, err)
		newest, err := m.tier.db.NewestEvent(t.Context())
		must(t, err)
		return int64(at.Position) >= newest
	})
	rt, err := m.tier.router()
	must(t, err)
	m.routes = rt.Routes()
	g, err := gateway.New(gateway.Options{Identify: func(r *http.Request) (*token.Identity, error) {
		return m.who[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")], nil
	}})
	must(t, err)
	server := httptest.NewServer(g.Wrap(rt))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = m.tier.clients.Close(ctx) // streams that were left
		server.Close()
	})
	m.url = server.URL
	m.make()
	return m
}

// identities are the callers: everybody in every domain, and those that are not users.
func identities() map[string]*token.Identity {
	no := false
	member := func(domain string, role token.Role) []token.Membership {
		return []token.Membership{{Domain: domain, Role: role}}
	}
	out := map[string]*token.Identity{
		"nobody":         {},
		"admin-no-subs":  {Memberships: []token.Membership{{Domain: "acme", Role: token.Admin, Subs: &no}}},
		"acme-lookalike": {Memberships: member("acme2", token.Admin)},
		"root":           {Kind: token.Local, Everywhere: token.Admin},
		"service-idle":   {Kind: token.Service, Memberships: member("acme", token.Admin)},
		"service-read":   {Kind: token.Service, Memberships: member("acme", token.Viewer), Permissions: []string{"read"}},
		"device":         {Kind: token.Device, Memberships: member("acme", token.Admin)},
	}
	for _, domain := range []string{"acme", "acme/north", "acme/south", "globex"} {
		for _, role := range []token.Role{token.Viewer, token.Operator, token.Manager, token.Admin} {
			out[role.String()+"@"+strings.ReplaceAll(domain, "/", "-")] = &token.Identity{Memberships: member(domain, role)}
		}
	}
	for name, id := range out {
		id.Subject, id.Name = name, name
		if id.Kind == "" {
			id.Kind = token.User
		}
	}
	return out
}

// make creates the things of made on every site.
func (m *matrix) make() {
	for _, s := range matrixSites {
		m.ids[s.site] = map[string]string{}
		for _, thing := range made {
			if !slices.ContainsFunc(m.routes, func(r route.Route) bool { return r.Method == http.MethodPost && r.Path == thing.path }) {
				continue
			}
			path := m.fill(thing.path, s)
			status, body := m.call(http.MethodPost, path, strings.NewReplacer("%[1]s", s.site, "%[2]s", s.domain).Replace(thing.body), "root")
			var got struct{ ID string }
			if err := json.Unmarshal(body, &got); err != nil || thing.id == "" && got.ID == "" || status >= 400 && status != http.StatusConflict {
				m.Fatalf("POST %s: %d %s, want a thing with an id", path, status, body)
			}
			m.ids[s.site][thing.path] = cmp.Or(thing.id, got.ID)
		}
	}
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// path is a route's path about things of a site, as far as they are known.
func (m *matrix) path(r route.Route, s matrixSite) string {
	begin, id := "", ""
	for path, known := range m.ids[s.site] {
		if strings.HasPrefix(r.Path, path+"/{") && len(path) > len(begin) {
			begin, id = path, known
		}
	}
	rest := r.Path[len(begin):]
	if id != "" {
		_, rest, _ = strings.Cut(rest, "}")
		begin += "/" + id
	}
	return m.fill(begin, s) + m.fill(rest, s) + "?site=" + s.site + "&org=" + s.org
}

// fill puts the things of a site for the parameters of a pattern.
func (m *matrix) fill(pattern string, s matrixSite) string {
	return placeholder.ReplaceAllStringFunc(strings.ReplaceAll(pattern, "{$}", ""), func(p string) string {
		switch name := strings.Trim(p, "{.}"); {
		case name == "site":
			return s.site
		case name == "org" || name == "organisation":
			return s.org
		case strings.Contains(pattern, "/spaces/{id}") || strings.Contains(pattern, "/rooms/{id}"):
			return "room"
		case strings.Contains(pattern, "/sensors/{id}"):
			return "s-" + s.site
		case strings.Contains(pattern, "/alerts/{id}"):
			return "a-" + s.site
		case s == noSite:
			return "018f0000-0000-7000-8000-00000000ffff"
		}
		return "018f0000-0000-7000-8000-000000000000"
	})
}

// call makes one request; a stream is left after its head.
func (m *matrix) call(method, path, body, who string) (int, []byte) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, m.url+path, strings.NewReader(body))
	must(m, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", "*")
	req.Header.Set("X-Request-Id", "matrix")
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+who)
	}
	resp, err := client.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusOK, nil // it waits for something to tell: it let the caller in
	}
	must(m, err)
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, nil
	}
	b, _ := io.ReadAll(resp.Body) // a poll that waits ends with the deadline
	return resp.StatusCode, b
}

// owners asks the route's policy who owns what a path is about; ok is false when that cannot be
// known before the call (the thing is not there, or the caller's own things are meant).
func (m *matrix) owners(r route.Route, path string) (domains []string, ok bool) {
	if r.Need.Of == nil {
		return nil, false
	}
	mux := http.NewServeMux()
	mux.HandleFunc(r.Method+" "+r.Path, func(_ http.ResponseWriter, q *http.Request) {
		found, err := r.Need.Of(&route.Request{Request: q, Who: m.who["root"]})
		domains, ok = found, err == nil
	})
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(r.Method, path, strings.NewReader("{}")))
	return domains, ok
}

// want computes the verdict from the policy: the status of a refusal, or 0 to let the caller in;
// known is false where the policy alone does not tell.
func want(r route.Route, id *token.Identity, domains []string, owned bool) (status int, known bool) {
	permission := r.Need.Permission
	if permission == "" {
		permission = "write"
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			permission = "read"
		}
	}
	switch {
	case r.Need.Public:
		return 0, false
	case id == nil:
		return http.StatusUnauthorized, true
	case id.Kind == token.Device, !id.Allows(permission):
		return http.StatusForbidden, true
	case r.Need.SignedIn:
		return 0, false
	case !owned:
		return 0, false
	case id.RoleIn(domains) == token.None:
		return http.StatusNotFound, true
	case id.RoleIn(domains) < r.Need.Role:
		return http.StatusForbidden, true
	}
	return 0, true
}

func TestRouteMatrix(t *testing.T) {
	m := newMatrix(t)
	callers := append(slices.Sorted(maps.Keys(m.who)), "")
	type call struct {
		r         route.Route
		path, who string
	}
	var allowed []call
	refused, unknown := 0, map[string]bool{}
	before := m.dump()
	for _, s := range matrixSites {
		for _, r := range m.routes {
			path := m.path(r, s)
			domains, owned := m.owners(r, path)
			if owned && strings.Contains(r.Path, "{site}") && !slices.Equal(domains, []string{s.domain}) {
				t.Errorf("%s %s is said to belong to %v, want %s", r.Method, path, domains, s.domain)
			}
			if r.Need.Of != nil && !owned {
				unknown[r.Method+" "+r.Path] = true
			}
			for _, who := range callers {
				status, known := want(r, m.who[who], domains, owned)
				switch {
				case status != 0:
					refused++
					if got, body := m.call(r.Method, path, "{}", who); got != status {
						t.Errorf("%s %s as %q: %d %s, want %d", r.Method, path, who, got, body, status)
					}
				case known:
					allowed = append(allowed, call{r, path, who})
				}
			}
		}
	}
	if after := m.dump(); !maps.Equal(before, after) {
		for table := range after {
			if before[table] != after[table] {
				t.Errorf("refused calls have changed the table %s", table)
			}
		}
	}
	slices.SortStableFunc(allowed, func(a, b call) int { return rank(a.r.Method) - rank(b.r.Method) })
	for _, c := range allowed {
		got, body := m.call(c.r.Method, c.path, "{}", c.who)
		if got == http.StatusUnauthorized || got == http.StatusForbidden && bytes.Contains(body, []byte("needs the role")) || got == http.StatusInternalServerError {
			t.Errorf("%s %s as %q: %d %s, want to be let in", c.r.Method, c.path, c.who, got, body)
		}
	}
	t.Logf("%d routes, %d callers: %d calls refused, %d let in; owner not known before the call: %v",
		len(m.routes), len(callers), refused, len(allowed), slices.Sorted(maps.Keys(unknown)))
	if refused < 1000 || len(allowed) < 300 {
		t.Errorf("only %d refused and %d let in: the matrix has lost its routes", refused, len(allowed))
	}
}

// rank lets what only reads go first, and what deletes last.
func rank(method string) int {
	return slices.Index([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete}, method)
}

// Who may not see a thing gets the same answer as if it were not there, to the letter but for
// the names that the caller gave itself.
func TestWhatIsHiddenIsAnsweredAsIfItWereNotThere(t *testing.T) {
	m := newMatrix(t)
	compared := 0
	for _, s := range matrixSites {
		for _, r := range m.routes {
			path := m.path(r, s)
			domains, owned := m.owners(r, path)
			if !owned || placeholder.FindString(r.Path) == "" {
				continue
			}
			for _, who := range []string{"nobody", "admin@globex", "admin@acme-south", "acme-lookalike"} {
				if m.who[who].RoleIn(domains) != token.None {
					continue
				}
				compared++
				none := m.path(r, noSite)
				status, there := m.call(r.Method, path, "{}", who)
				statusNone, notThere := m.call(r.Method, none, "{}", who)
				if status != statusNone || m.nameless(there, path) != m.nameless(notThere, none) {
					t.Errorf("%s %s as %s tells that it is there: %d %s; what is not there: %d %s", r.Method, r.Path, who, status, there, statusNone, notThere)
				}
			}
		}
	}
	if compared < 100 {
		t.Errorf("only %d comparisons", compared)
	}
}

// nameless is an answer without the names that stand in the path.
func (m *matrix) nameless(body []byte, path string) string {
	s := string(body)
	for _, name := range regexp.MustCompile(`[/?&=]`).Split(path, -1) {
		if len(name) > 1 {
			s = strings.ReplaceAll(s, `\"`+name+`\"`, `\"\"`)
		}
	}
	return s
}

// unrelated tables may change by themselves or note that somebody was refused.
var unrelated = regexp.MustCompile(`audit|log|session|sqlite|attempt|catalog|instance`)

// dump is the content of all tables, as hashes.
func (m *matrix) dump() map[string]string {
	m.Helper()
	rows, err := m.tier.db.Query(m.Context(), `SELECT name FROM sqlite_master WHERE type = 'table'`)
	tables, err := store.Collect(rows, err, func(r *sql.Rows) (name string, err error) { return name, r.Scan(&name) })
	must(m, err)
	out := map[string]string{}
	for _, table := range tables {
		if unrelated.MatchString(table) {
			continue
		}
		rows, err := m.tier.db.Query(m.Context(), `SELECT * FROM "`+table+`"`)
		must(m, err)
		columns, err := rows.Columns()
		must(m, err)
		h := sha256.New()
		_, err = store.Collect(rows, nil, func(r *sql.Rows) (struct{}, error) {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			err := r.Scan(values...)
			for _, v := range values {
				fmt.Fprintf(h, "%v|", *v.(*any))
			}
			return struct{}{}, err
		})
		must(m, err)
		out[table] = fmt.Sprintf("%x", h.Sum(nil))
	}
	return out
}

// The description has every route, says how to call it, and refers to nothing that it lacks.
func TestDescriptionHasEveryRoute(t *testing.T) {
	m := newMatrix(t)
	status, body := m.call(http.MethodGet, "/openapi.json", "", "")
	var doc struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Summary     string
			Parameters  []struct{ Name, In string }
			Responses   map[string]struct{ Description string }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(body, &doc); err != nil || status != 200 || doc.OpenAPI != "3.1.0" || doc.Info.Title == "" {
		t.Fatalf("%d %.300s: %v", status, body, err)
	}
	ids := map[string]string{}
	for _, r := range m.routes {
		path := strings.ReplaceAll(strings.ReplaceAll(r.Path, "...}", "}"), "{$}", "")
		op, ok := doc.Paths[path][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("%s %s is not described", r.Method, r.Path)
			continue
		}
		if other := ids[op.OperationID]; op.OperationID == "" || other != "" {
			t.Errorf("%s %s has the operation id %q of %s", r.Method, path, op.OperationID, other)
		}
		ids[op.OperationID] = r.Method + " " + path
		if op.Summary == "" || len(op.Responses) == 0 || len(op.Parameters) != strings.Count(path, "{") {
			t.Errorf("%s %s is described as %+v", r.Method, path, op)
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]*)"`).FindAllSubmatch(body, -1) {
		if doc.Components.Schemas[string(ref[1])] == nil {
			t.Errorf("there is no schema %s", ref[1])
		}
	}
}
