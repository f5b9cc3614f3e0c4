package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

const patience = 10 * time.Second

var epoch = strings.Repeat("a", 32)

// office is a site in Oslo with two rooms on a floor and a door with a badge reader.
var office = edge.Site{
	ID: "hq", Name: "=HQ", Timezone: "Europe/Oslo",
	Spaces: []edge.Space{
		{ID: "house", Name: "House", Kind: edge.Building},
		{ID: "first", Name: "First floor", Kind: edge.Floor, Parent: "house"},
		{ID: "meet", Name: "Meeting, \"large\"", Kind: edge.Room, Parent: "first", Capacity: 4, Hours: "Mon-Fri 08:00-16:00"},
		{ID: "lab", Name: "=1+1", Kind: edge.Room, Parent: "first", Capacity: 10},
	},
	Doors:   []edge.Door{{ID: "front", Between: [2]string{edge.Outside, "lab"}}},
	Sensors: []edge.Sensor{{ID: "reader", Class: edge.Badge, Door: "front"}, {ID: "pir", Name: "PIR", Class: edge.PIR, Space: "meet"}},
}

// mailed is a mail that would have been sent.
type mailed struct{ key, org, to, subject, text string }

// rig is a module over a real database and server, at a time the test sets.
type rig struct {
	testing.TB
	db  *store.DB
	m   *Module
	url string

	mu    sync.Mutex // guards what follows
	now   time.Time
	mails []mailed
	seq   uint64
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, db: storetest.Open(t), now: at(t, "2026-04-01T12:00")}
	r.m = r.open()
	router := route.NewRouter(slog.New(slog.NewTextHandler(io.Discard, nil)), http.NotFoundHandler())
	r.must(router.Add(r.m.Routes()...))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id := &token.Identity{Kind: token.User, Subject: "ada", Memberships: []token.Membership{{Domain: "acme", Role: token.Admin}}}
		if q.Header.Get("Authorization") == "Bearer other" {
			id = &token.Identity{Kind: token.User, Subject: "otto", Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}
		}
		router.ServeHTTP(w, q.WithContext(token.Into(q.Context(), id)))
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	r.model("hq", office)
	return r
}

// open is one process's module.
func (r *rig) open() *Module {
	r.Helper()
	domains := func(s store.Site) []string { return s.Domains }
	m, err := Open(r.Context(), Options{
		DB: r.db, Now: r.clock, Domains: domains, PublicURL: func() string { return "https://cloud.example.org" },
		OfSite: func(q *route.Request) ([]string, error) {
			found, err := r.db.FindSites(q.Context(), "", q.PathValue("site"))
			if err != nil || len(found) == 0 {
				return nil, route.ErrNotFound
			}
			q.Found = found[0]
			return domains(found[0]), nil
		},
		Mail: func(_ *store.Tx, key, org, to, subject, text string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mails = append(r.mails, mailed{key, org, to, subject, text})
			return nil
		},
		Deliveries: func(context.Context, store.Site, time.Time, time.Time) (map[string]int, error) {
			return map[string]int{"delivered": 2, "late": 1}, nil
		},
	})
	r.must(err)
	return m
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) set(local string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = at(r, local)
}

// at is a time on the clock of Oslo.
func at(t testing.TB, local string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	v, err := time.ParseInLocation("2006-01-02T15:04", local, loc)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}

// update runs fn for a site of acme.
func (r *rig) update(site string, fn func(*store.Tx, store.Site) error) {
	r.Helper()
	r.must(r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", site, at(r, "2026-01-01T00:00"))
		if err != nil {
			return err
		}
		return fn(tx, s)
	}))
}

func (r *rig) model(site string, m edge.Site) {
	r.Helper()
	b, err := json.Marshal(m)
	r.must(err)
	r.update(site, func(tx *store.Tx, s store.Site) error {
		return tx.PutModel(s.ID, m.Name, b, store.Position{Epoch: s.Snapshot.Epoch, Seq: s.Snapshot.Seq + 1}, r.clock())
	})
}

// event is what a hub tells.
type event struct {
	typ     edge.EventType
	subject string
	at      time.Time
	data    any
}

// occupied is an occupancy of a space; fewer than 0 people are unknown.
func occupied(space string, at time.Time, people, capacity int) event {
	o := edge.Occupancy{Space: space, State: edge.Occupied, Count: &people, Capacity: capacity, AsOf: at, Quality: edge.QualityGood}
	switch {
	case people < 0:
		o.State, o.Count = edge.Unknown, nil
	case people == 0:
		o.State = edge.Vacant
	}
	return event{edge.OccupancyChanged, space, at, o}
}

// tell stores events as ingest does, without projecting them.
func (r *rig) tell(site string, events ...event) {
	r.Helper()
	r.update(site, func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.clock())
		if err != nil {
			return err
		}
		rows := make([]store.Event, len(events))
		for i, e := range events {
			r.seq++
			data, err := json.Marshal(e.data)
			if err != nil {
				return err
			}
			rec := edge.Record{Epoch: epoch, Lane: edge.Events, Seq: r.seq, Commit: r.seq, Source: site, Type: string(e.typ), Subject: e.subject, Time: e.at, At: e.at, Data: data}
			rows[i] = store.Event{Site: s.ID, Position: store.Position{Epoch: id, Seq: r.seq}, Type: rec.Type, Subject: e.subject, Time: e.at, At: e.at, Body: rec.AppendJSON(nil)}
		}
		return tx.AddEvents(rows)
	})
}

// project takes in all there is.
func (r *rig) project(m *Module) {
	r.Helper()
	for more := true; more; {
		var err error
		more, err = m.Project(r.Context())
		r.must(err)
	}
}

// hold tells a space's occupancy over a time, repeated every 15 minutes as hubs do.
func (r *rig) hold(site, space string, from, to time.Time, people, capacity int) {
	r.Helper()
	var events []event
	for t := from; t.Before(to); t = t.Add(15 * time.Minute) {
		events = append(events, occupied(space, t, people, capacity))
	}
	r.tell(site, events...)
}

// do calls the API and decodes the answer unless into is nil.
func (r *rig) do(method, path string, body any, status int, into any) *http.Response {
	r.Helper()
	return r.doAs("ada", method, path, body, status, into)
}

func (r *rig) doAs(who, method, path string, body any, status int, into any) *http.Response {
	r.Helper()
	var b []byte
	switch v := body.(type) {
	case nil:
	case string:
		b = []byte(v)
	default:
		var err error
		b, err = json.Marshal(v)
		r.must(err)
	}
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, bytes.NewReader(b))
	r.must(err)
	req.Header.Set("Authorization", "Bearer "+who)
	resp, err := http.DefaultClient.Do(req)
	r.must(err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	r.must(err)
	if resp.StatusCode != status {
		r.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, got, status)
	}
	switch v := into.(type) {
	case nil:
	case *[]byte:
		*v = got
	default:
		if err := json.Unmarshal(got, into); err != nil {
			r.Fatalf("%s %s: %s: %v", method, path, got, err)
		}
	}
	return resp
}

func (r *rig) get(path string, into any) {
	r.Helper()
	r.do(http.MethodGet, path, nil, http.StatusOK, into)
}

// same compares pointers to values, nil for what is not known.
func same[T comparable](t testing.TB, what string, got *T, want T) {
	t.Helper()
	switch {
	case got == nil:
		t.Errorf("%s is not known, want %v", what, want)
	case *got != want:
		t.Errorf("%s is %v, want %v", what, *got, want)
	}
}

func none[T any](t testing.TB, what string, got *T) {
	t.Helper()
	if got != nil {
		t.Errorf("%s is %v, want null", what, *got)
	}
}

// group finds a group of a summary.
func (s *Summary) group(t testing.TB, id string) GroupUsage {
	t.Helper()
	for _, g := range s.Groups {
		if g.Group == id {
			return g
		}
	}
	t.Fatalf("no group %s in %+v", id, s.Groups)
	return GroupUsage{}
}

// rows are all hours of a site's spaces, in order, to be compared.
func (r *rig) rows(site string) string {
	r.Helper()
	found, err := r.db.FindSites(r.Context(), "acme", site)
	r.must(err)
	rows, err := r.db.Query(r.Context(), `SELECT space, hour, `+hourColumns+` FROM analytics_hours WHERE site = ? ORDER BY space, hour`, found[0].ID)
	r.must(err)
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		var space string
		v := make([]any, 14)
		for i := range v {
			v[i] = new(int64)
		}
		r.must(rows.Scan(append([]any{&space}, v...)...))
		fmt.Fprint(&out, space)
		for _, x := range v {
			fmt.Fprint(&out, " ", *x.(*int64))
		}
		fmt.Fprintln(&out)
	}
	r.must(rows.Err())
	return out.String()
}
