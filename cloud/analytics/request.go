package analytics

import (
	"net/http"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// The bounds of a question.
const (
	maxSpan     = 400 * 24 * time.Hour
	maxHourRows = 2_000_000 // hours of all spaces together
)

// question is what a request asks about.
type question struct {
	Site  store.Site
	Model *edge.Site
	Loc   *time.Location
	Space string // empty = all
	From  time.Time
	To    time.Time
}

func (q *question) span() span { return span{q.From.UnixMilli(), q.To.UnixMilli()} }

// ask reads ?from=, ?to= and ?space= of a request about a site; without from it is about the
// stretch of days before to.
func (m *Module) ask(r *route.Request, days int) (*question, error) {
	v := r.URL.Query()
	return m.questionOf(r.Found.(store.Site), v.Get("space"), v.Get("from"), v.Get("to"), days)
}

func (m *Module) questionOf(s store.Site, space, from, to string, days int) (*question, error) {
	q := &question{Site: s, Model: m.model(s), Space: space}
	q.Loc = q.Model.Location()
	var err error
	if q.To, err = instant("to", to, edge.Millis(m.now()), q.Loc); err != nil {
		return nil, err
	}
	if q.From, err = instant("from", from, q.To.In(q.Loc).AddDate(0, 0, -days).UTC(), q.Loc); err != nil {
		return nil, err
	}
	switch {
	case !q.From.Before(q.To):
		return nil, route.Problem(http.StatusBadRequest, "from %s is not before to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.To.Sub(q.From) > maxSpan:
		return nil, route.Problem(http.StatusBadRequest, "from and to are %d days apart, at most %d are possible", int(q.To.Sub(q.From).Hours()/24), int(maxSpan.Hours()/24))
	}
	spaces := 1
	if space == "" {
		spaces = len(q.Model.Spaces)
	}
	if rows := int(q.To.Sub(q.From).Hours()) * spaces; rows > maxHourRows {
		return nil, route.Problem(http.StatusBadRequest, "%d spaces for that long are too much at once; ask for a shorter time, or for one ?space=", spaces)
	}
	return q, nil
}

// instant reads an RFC 3339 time, or a date: its midnight in the site's zone.
func instant(name, s string, byDefault time.Time, loc *time.Location) (time.Time, error) {
	if s == "" {
		return byDefault, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, s, loc); err == nil && plausible(day) {
		return day.UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !plausible(t) {
		return t, route.Problem(http.StatusBadRequest, "%s %q: want a time such as 2026-03-02T08:00:00Z, or a date such as 2026-03-02 (its midnight at the site)", name, s)
	}
	return edge.Millis(t), nil
}

// plausible keeps times within what milliseconds and calendars bear.
func plausible(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2200 }

// spaces lists the spaces a question is about. One that the model does not have (any more) but
// that was heard of has its id alone.
func (q *question) spaces(heard map[string]*series) ([]edge.Space, error) {
	if q.Space == "" {
		return q.Model.Spaces, nil
	}
	if sp, ok := q.Model.Space(q.Space); ok {
		return []edge.Space{sp}, nil
	}
	if heard[q.Space] != nil {
		return []edge.Space{{ID: q.Space}}, nil
	}
	return nil, route.Problem(http.StatusNotFound, "there is no space %q on site %s; GET /v1/sites/%s/spaces lists those there are", q.Space, q.Site.Site, q.Site.Site)
}

// whole is the space that stands for the site when none is asked for: its only one without
// parent.
func (q *question) whole() error {
	if q.Space != "" {
		return nil
	}
	for _, sp := range q.Model.Spaces {
		switch {
		case sp.Parent != "":
		case q.Space != "":
			return route.Problem(http.StatusBadRequest, "site %s has no space around all others; say which one with ?space=", q.Site.Site)
		default:
			q.Space = sp.ID
		}
	}
	if q.Space == "" {
		return route.Problem(http.StatusNotFound, "nothing is known of the spaces of site %s yet", q.Site.Site)
	}
	return nil
}

// ofQuerySite is OfSite for ?site=, which may be left out by who sees one site only.
func (m *Module) ofQuerySite(r *route.Request) ([]string, error) {
	if id := r.URL.Query().Get("site"); id != "" {
		r.SetPathValue("site", id)
		return m.o.OfSite(r)
	}
	sites, err := m.db.Sites(r.Context())
	if err != nil {
		return nil, err
	}
	sites = slices.DeleteFunc(sites, func(s store.Site) bool { return r.Who.RoleIn(m.o.Domains(s)) < token.Viewer })
	if len(sites) != 1 {
		return nil, route.Problem(http.StatusBadRequest, "say which site with ?site=; GET /v1/sites lists those that you may see")
	}
	r.Found = sites[0]
	return m.o.Domains(sites[0]), nil
}
