package twin

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Routes is the twin's part of the API.
func (t *Twin) Routes() []route.Route {
	routes := []route.Route{{
		Method: http.MethodGet, Path: "/v1/sites", Tag: "twin", Summary: "The sites that the caller may see", Need: route.Need{SignedIn: true},
		Handle: t.sites,
	}}
	add := func(method, path, summary string, least token.Role, h func(*route.Request, store.Site) (any, error)) {
		routes = append(routes, route.Route{
			Method: method, Path: path, Tag: "twin", Summary: summary, Need: route.Need{Of: t.OfSite, Role: least},
			Handle: func(r *route.Request) (any, error) { return h(r, r.Found.(store.Site)) },
		})
	}
	get := func(path, summary string, h func(*http.Request, store.Site) (any, error)) {
		add(http.MethodGet, path, summary, token.Viewer, func(r *route.Request, s store.Site) (any, error) { return h(r.Request, s) })
	}
	get("/v1/sites/{site}", "One site", t.site)
	get("/v1/sites/{site}/status", "How its hub is doing, as far as the cloud knows", t.status)
	get("/v1/sites/{site}/spaces", "Its spaces with their occupancy", t.spaces)
	get("/v1/sites/{site}/spaces/{id}", "One space", t.space)
	get("/v1/sites/{site}/spaces/{id}/history", "Past occupancy of a space", t.history)
	get("/v1/sites/{site}/sensors", "Its sensors", t.sensors)
	get("/v1/sites/{site}/alerts", "Its alerts", t.alerts)
	add(http.MethodGet, "/v1/sites/{site}/events", "What happened there", token.Viewer, t.events)
	get("/v1/sites/{site}/readings", "Newest readings", t.readings)
	get("/v1/sites/{site}/loss", "What did not arrive, and why", t.loss)
	add(http.MethodPost, "/v1/sites/{site}/alerts/{id}/acknowledge", "Acknowledge an alert", token.Operator,
		func(r *route.Request, s store.Site) (any, error) { return t.acknowledge(r.Request, s, r.Who.Who()) })
	routes = append(routes, route.Route{
		Method: http.MethodGet, Path: "/v1/sites/{site}/history", Tag: "twin", Summary: "Past occupancy of all spaces as NDJSON or CSV, for analytical databases",
		Need: route.Need{Of: t.OfSite, Role: token.Viewer}, Serve: http.HandlerFunc(t.export),
	})
	return append(routes, t.siteRoutes()...)
}

func problem(status int, format string, args ...any) error {
	return route.Problem(status, format, args...)
}

// OfSite is the Need.Of of routes with {site} in their path: it leaves the store.Site in Found.
// Where several organisations have a site of that id, ?org= says which; only those that the
// caller may see count.
func (t *Twin) OfSite(r *route.Request) ([]string, error) {
	id := r.PathValue("site")
	found, err := t.db.FindSites(r.Context(), r.URL.Query().Get("org"), id)
	if err != nil {
		return nil, err
	}
	var seen []store.Site
	for _, s := range found {
		if r.Who.RoleIn(Domains(s)) > token.None {
			seen = append(seen, s)
		}
	}
	switch len(seen) {
	case 0:
		return nil, problem(http.StatusNotFound, "there is no site %q that you may see; GET /v1/sites lists those there are", id)
	case 1:
		r.Found = seen[0]
		return Domains(seen[0]), nil
	}
	return nil, problem(http.StatusConflict, "%d organisations have a site %q; say which one with ?org=", len(seen), id)
}

// Domains lists the domains that own a site: a role in one of them is a role at the site.
func Domains(s store.Site) []string {
	if len(s.Domains) == 0 {
		return []string{s.Org}
	}
	return s.Domains
}

// Summary is one element of GET /v1/sites.
type Summary struct {
	ID            string    `json:"id"`
	Org           string    `json:"org"`
	Name          string    `json:"name"`
	Online        bool      `json:"online"`
	Stale         bool      `json:"stale"`
	AsOf          time.Time `json:"as_of,omitzero"`
	LastHeartbeat time.Time `json:"last_heartbeat,omitzero"`
	People        *int      `json:"people"` // null = not known
	Spaces        int       `json:"spaces"`
	OpenAlerts    int       `json:"open_alerts"`
	Epoch         string    `json:"epoch,omitempty"`
	Backlog       *uint64   `json:"backlog"` // records at the hub that are not applied here; null = not known
}

func (t *Twin) summary(r *http.Request, s store.Site, open map[int64]int) (Summary, error) {
	v := View{Site: s, Stale: Stale(s.LastHeartbeat, t.now()), AsOf: s.SnapshotAt}
	if err := v.decode(); err != nil {
		return Summary{}, err
	}
	rows, err := t.db.Spaces(r.Context(), s.ID)
	if err != nil {
		return Summary{}, err
	}
	if err := v.addSpaces(rows); err != nil {
		return Summary{}, err
	}
	marks, err := t.db.Current(r.Context(), s.ID)
	if err != nil {
		return Summary{}, err
	}
	out := Summary{
		ID: s.Site, Org: s.Org, Name: s.Name, Online: !v.Stale, Stale: v.Stale, AsOf: v.AsOf, LastHeartbeat: s.LastHeartbeat,
		People: v.People(), Spaces: len(v.Spaces), OpenAlerts: open[s.ID], Epoch: marks.Events.Epoch,
	}
	if v.Heartbeat != nil {
		out.Epoch, out.Backlog = v.Heartbeat.Epoch, backlog(v.Heartbeat, marks)
	}
	return out, nil
}

// backlog is how far the marks are behind what the hub last said it has.
func backlog(h *wire.Heartbeat, m wire.Marks) *uint64 {
	n := laneBacklog(h, h.Events, m.Events) + laneBacklog(h, h.Readings, m.Readings)
	return &n
}

// laneBacklog trusts whichever knows more: the mark here, or what the hub knew of it.
func laneBacklog(h *wire.Heartbeat, p wire.Position, m wire.Mark) uint64 {
	done := p.Mark
	if m.Epoch == h.Epoch {
		done = max(done, m.Seq)
	}
	return p.Head - min(p.Head, done)
}

func (t *Twin) sites(r *route.Request) (any, error) {
	rows, err := t.db.Sites(r.Context())
	if err != nil {
		return nil, err
	}
	open, err := t.db.CountOpenAlerts(r.Context())
	if err != nil {
		return nil, err
	}
	out := make([]Summary, 0, len(rows))
	for _, s := range rows {
		q := strings.ToLower(r.URL.Query().Get("q"))
		if org := r.URL.Query().Get("org"); org != "" && org != s.Org || r.Who.RoleIn(Domains(s)) < token.Viewer || !strings.Contains(strings.ToLower(s.Site+"\n"+s.Name), q) {
			continue
		}
		sum, err := t.summary(r.Request, s, open)
		if err != nil {
			return nil, err
		}
		out = append(out, sum)
	}
	return map[string]any{"sites": out}, nil
}

func (t *Twin) site(r *http.Request, s store.Site) (any, error) {
	open, err := t.db.CountOpenAlerts(r.Context())
	if err != nil {
		return nil, err
	}
	return t.summary(r, s, open)
}

// Status is the answer of GET /v1/sites/{site}/status: the hub's own status as far as its
// heartbeat tells it, in the hub's shape but without what only the hub itself can know, and what
// the cloud knows of the site.
type Status struct {
	Summary
	Site       string          `json:"site"`
	Version    string          `json:"version,omitempty"` // of the hub
	State      string          `json:"state"`             // "running", or "unknown" when the hub is not heard
	StartedAt  time.Time       `json:"started_at,omitzero"`
	Now        time.Time       `json:"now"` // the cloud's clock
	Clock      string          `json:"clock,omitempty"`
	Lanes      Lanes           `json:"lanes"`
	HorizonS   *int64          `json:"horizon_s"` // how long the hub can stay offline; null = not known
	Warnings   []string        `json:"warnings"`
	FirstSeen  time.Time       `json:"first_seen"`
	SnapshotAt time.Time       `json:"snapshot_at,omitzero"`
	Marks      wire.Marks      `json:"marks"`
	Heartbeat  *wire.Heartbeat `json:"heartbeat"` // the hub's last; null = never heard
}

// Lanes are the journal's two sequences.
type Lanes struct {
	Events   Lane `json:"events"`
	Readings Lane `json:"readings"`
}

// Lane is how far one sequence is and how far it is applied.
type Lane struct {
	Head           uint64    `json:"head"`
	Mark           uint64    `json:"mark"`
	BacklogRecords uint64    `json:"backlog_records"`
	OldestUnsent   time.Time `json:"oldest_unsent,omitzero"`
}

func (t *Twin) status(r *http.Request, s store.Site) (any, error) {
	open, err := t.db.CountOpenAlerts(r.Context())
	if err != nil {
		return nil, err
	}
	sum, err := t.summary(r, s, open)
	if err != nil {
		return nil, err
	}
	marks, err := t.db.Current(r.Context(), s.ID)
	if err != nil {
		return nil, err
	}
	v := View{Site: s}
	if err := v.decode(); err != nil {
		return nil, err
	}
	out := Status{
		Summary: sum, Site: s.Site, State: "unknown", Now: edge.Millis(t.now()),
		Warnings: []string{}, FirstSeen: s.FirstSeen, SnapshotAt: s.SnapshotAt, Marks: marks, Heartbeat: v.Heartbeat,
	}
	if sum.Online {
		out.State = "running"
	} else {
		out.Warnings = append(out.Warnings, "no heartbeat from the hub for more than "+StaleAfter.String()+"; what is shown is old")
	}
	if marks.Conflict != "" {
		out.Warnings = append(out.Warnings, "the hub's journal was refused: "+marks.Conflict)
	}
	if h := v.Heartbeat; h != nil {
		out.Version, out.StartedAt, out.Clock = h.Software, h.StartedAt, h.Clock
		out.Lanes = Lanes{Events: lane(h, h.Events, marks.Events), Readings: lane(h, h.Readings, marks.Readings)}
		if h.HorizonSec > 0 {
			out.HorizonS = &h.HorizonSec
		}
	}
	return out, nil
}

func lane(h *wire.Heartbeat, p wire.Position, m wire.Mark) Lane {
	left := laneBacklog(h, p, m)
	return Lane{Head: p.Head, Mark: p.Head - left, BacklogRecords: left, OldestUnsent: p.OldestUnsent}
}

func (t *Twin) spaces(r *http.Request, s store.Site) (any, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	spaces := v.Spaces
	if kind := r.URL.Query().Get("kind"); kind != "" {
		spaces = []edge.SpaceView{}
		for _, sp := range v.Spaces {
			if string(sp.Kind) == kind {
				spaces = append(spaces, sp)
			}
		}
	}
	return map[string]any{"spaces": spaces, "as_of": asOf(v.AsOf), "stale": v.Stale}, nil
}

func (t *Twin) space(r *http.Request, s store.Site) (any, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	for _, sp := range v.Spaces {
		if sp.ID == r.PathValue("id") {
			return sp, nil
		}
	}
	return nil, problem(http.StatusNotFound, "space %q is not on site %s", r.PathValue("id"), s.Site)
}

func (t *Twin) sensors(r *http.Request, s store.Site) (any, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	return map[string]any{"sensors": v.Sensors}, nil
}

func (t *Twin) alerts(r *http.Request, s store.Site) (any, error) {
	v, err := t.View(r.Context(), s)
	if err != nil {
		return nil, err
	}
	return map[string]any{"alerts": v.Alerts}, nil
}

func (t *Twin) loss(r *http.Request, s store.Site) (any, error) {
	entries, err := t.db.LossLedger(r.Context(), s.ID)
	if entries == nil {
		entries = []edge.LossEntry{}
	}
	return map[string]any{"loss": entries}, err
}

// intParam reads a number of 1..most.
func intParam(r *http.Request, name string, byDefault, most int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, problem(http.StatusBadRequest, "%s %q: want a number from 1 to %d", name, s, most)
	}
	return n, nil
}
