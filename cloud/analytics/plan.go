package analytics

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/ical"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Plan is a time for which somebody expects people in a space.
type Plan struct {
	ID     string    `json:"id"`
	Space  string    `json:"space"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	People *int      `json:"people"`          // null = not said
	Title  string    `json:"title,omitempty"` // kept only when it was asked for
}

// Imported is the answer of POST /v1/sites/{site}/plans/import.
type Imported struct {
	Events   int            `json:"events"`
	Plans    int            `json:"plans"`
	Replaced int64          `json:"replaced"` // plans of the same events that were there before
	Skipped  []ical.Skipped `json:"skipped"`
	Unplaced int            `json:"unplaced"` // occurrences whose place is no space of the site
	Places   []string       `json:"unknown_places"`
}

// The window of an import when it names none.
const (
	importBack  = 30
	importAhead = 365
)

const maxPlaces = 20 // unknown ones that are named

func (m *Module) importPlans(r *route.Request) (any, error) {
	v, now := r.URL.Query(), m.now()
	q := &question{Site: r.Found.(store.Site), Model: m.model(r.Found.(store.Site)), Space: v.Get("space")}
	q.Loc = q.Model.Location()
	var err error
	if q.From, err = instant("from", v.Get("from"), now.AddDate(0, 0, -importBack), q.Loc); err != nil {
		return nil, err
	}
	if q.To, err = instant("to", v.Get("to"), now.AddDate(0, 0, importAhead), q.Loc); err != nil {
		return nil, err
	}
	if !q.From.Before(q.To) || q.To.Sub(q.From) > 3*366*24*time.Hour {
		return nil, route.Problem(http.StatusBadRequest, "from and to: want a time of at most three years")
	}
	if _, ok := q.Model.Space(q.Space); q.Space != "" && !ok {
		return nil, route.Problem(http.StatusNotFound, "there is no space %q on site %s", q.Space, q.Site.Site)
	}
	c, err := ical.Read(r.Body, ical.Window{From: q.From, To: q.To, Zone: q.Loc})
	if err != nil {
		return nil, route.Problem(http.StatusBadRequest, "%v", err)
	}
	return m.putPlans(r.Context(), q, c, v.Get("titles") == "1")
}

// putPlans replaces what was known of the calendar's events.
func (m *Module) putPlans(ctx context.Context, q *question, c *ical.Calendar, titles bool) (*Imported, error) {
	out := &Imported{Events: c.Events, Skipped: c.Skipped, Places: []string{}}
	if out.Skipped == nil {
		out.Skipped = []ical.Skipped{}
	}
	err := m.db.Update(ctx, func(tx *store.Tx) error {
		for _, uid := range c.UIDs {
			n, err := tx.ExecCount(`DELETE FROM analytics_plans WHERE site = ? AND uid = ? AND ends > ? AND begins < ?`,
				q.Site.ID, hashed(uid), store.Millis(q.From), store.Millis(q.To))
			if err != nil {
				return err
			}
			out.Replaced += n
		}
		for _, o := range c.Occurrences {
			space := q.place(o)
			if space == "" {
				out.unplaced(o)
				continue
			}
			if !titles {
				o.Title = ""
			}
			if err := addPlan(tx, q.Site.ID, space, o, m.now()); err != nil {
				return err
			}
			out.Plans++
		}
		return nil
	})
	return out, err
}

// hashed is the form in which a calendar's own id is kept: such ids may hold names.
func hashed(uid string) string {
	h := sha256.Sum256([]byte(uid))
	return hex.EncodeToString(h[:16])
}

func addPlan(tx *store.Tx, site int64, space string, o ical.Occurrence, now time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	people := -1
	if o.People != nil {
		people = *o.People
	}
	const insert = `INSERT INTO analytics_plans (id, site, space, begins, ends, people, title, uid, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	return tx.Exec(insert, id.String(), site, space, store.Millis(o.Start), store.Millis(o.End), people, o.Title, hashed(o.UID), store.Millis(now))
}

func (i *Imported) unplaced(o ical.Occurrence) {
	i.Unplaced++
	place := o.Space
	if place == "" {
		place = o.Location
	}
	for _, known := range i.Places {
		if known == place {
			return
		}
	}
	if len(i.Places) < maxPlaces {
		i.Places = append(i.Places, place)
	}
}

// place finds the space an occurrence is in: the one that was asked for, the one it names by id,
// or the one whose id or name is its location or a part of it between commas.
func (q *question) place(o ical.Occurrence) string {
	if q.Space != "" {
		return q.Space
	}
	names := []string{o.Space}
	if o.Space == "" {
		names = append([]string{o.Location}, strings.FieldsFunc(o.Location, func(r rune) bool { return r == ',' || r == ';' })...)
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		for _, sp := range q.Model.Spaces {
			if name != "" && (strings.EqualFold(sp.ID, name) || o.Space == "" && strings.EqualFold(sp.Name, name)) {
				return sp.ID
			}
		}
	}
	return ""
}

// plans lists what is planned within a time, by its beginning.
func (m *Module) plans(ctx context.Context, q *question, limit int) ([]Plan, error) {
	const query = `SELECT id, space, begins, ends, people, title FROM analytics_plans
		WHERE site = ? AND (space = ? OR ? = '') AND begins < ? AND ends > ? ORDER BY begins, id LIMIT ?`
	rows, err := m.db.Query(ctx, query, q.Site.ID, q.Space, q.Space, q.span().to, q.span().from, limit)
	return store.Collect(rows, err, func(r *sql.Rows) (p Plan, err error) {
		var from, to int64
		var people int
		err = r.Scan(&p.ID, &p.Space, &from, &to, &people, &p.Title)
		p.From, p.To = store.FromMillis(from), store.FromMillis(to)
		if people >= 0 {
			p.People = &people
		}
		return p, err
	})
}

// askAhead is ask for what is to come too: a week from now unless it is said.
func (m *Module) askAhead(r *route.Request, space string) (*question, error) {
	v := r.URL.Query()
	to := v.Get("to")
	if to == "" {
		to = m.now().AddDate(0, 0, 7).Format(time.RFC3339)
	}
	return m.questionOf(r.Found.(store.Site), space, v.Get("from"), to, 14)
}

func (m *Module) listPlans(r *route.Request) (any, error) {
	q, err := m.askAhead(r, r.URL.Query().Get("space"))
	if err != nil {
		return nil, err
	}
	list, err := m.plans(r.Context(), q, maxPoints+1)
	if err != nil {
		return nil, err
	}
	if len(list) > maxPoints {
		return nil, route.Problem(http.StatusBadRequest, "more than %d plans; ask for a shorter time, or for one ?space=", maxPoints)
	}
	if list == nil {
		list = []Plan{}
	}
	return map[string]any{"from": q.From, "to": q.To, "plans": list}, nil
}

func (m *Module) deletePlan(r *route.Request) (any, error) {
	return nil, m.delete(r.Context(), `DELETE FROM analytics_plans WHERE site = ? AND id = ?`, r.Found.(store.Site).ID, r.PathValue("id"))
}

// delete runs a statement that removes one thing; there being none is an error.
func (m *Module) delete(ctx context.Context, statement string, args ...any) error {
	return m.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.ExecCount(statement, args...)
		if err == nil && n == 0 {
			err = route.ErrNotFound
		}
		return err
	})
}

// deletePlans removes all plans of a time, of one space or all.
func (m *Module) deletePlans(r *route.Request) (any, error) {
	v := r.URL.Query()
	if v.Get("from") == "" || v.Get("to") == "" {
		return nil, route.Problem(http.StatusBadRequest, "say which plans: ?from= and ?to=, and ?space= for those of one space")
	}
	q, err := m.ask(r, 0)
	if err != nil {
		return nil, err
	}
	var n int64
	err = m.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		n, err = tx.ExecCount(`DELETE FROM analytics_plans WHERE site = ? AND (space = ? OR ? = '') AND begins >= ? AND begins < ?`,
			q.Site.ID, q.Space, q.Space, q.span().from, q.span().to)
		return err
	})
	return map[string]int64{"deleted": n}, err
}

// The verdicts on a plan.
const (
	asPlanned = "as planned"
	noShow    = "no show"   // nobody came
	overPlan  = "over plan" // more came
	notKnown  = "not known" // too little was measured
	toCome    = "to come"
)

// leastCoverage is how much of a plan's time must be known to say that nobody came.
const leastCoverage = .8

// Measured is a plan beside what was measured in its time.
type Measured struct {
	Plan
	Verdict         string   `json:"verdict"` // "as planned", "no show", "over plan", "not known" or "to come"
	Average         *float64 `json:"average"`
	Max             *int     `json:"max"`
	OccupiedMinutes float64  `json:"occupied_minutes"`
	Coverage        *float64 `json:"coverage"`
}

// PlanFigures are the plans of a time that is over.
type PlanFigures struct {
	Plans    int `json:"plans"`
	NoShows  int `json:"no_shows"`
	OverPlan int `json:"over_plan"`
	NotKnown int `json:"not_known"`
}

func (f *PlanFigures) join(g *PlanFigures) *PlanFigures {
	if f == nil || g == nil {
		if f == nil {
			f = g
		}
		return f
	}
	return &PlanFigures{f.Plans + g.Plans, f.NoShows + g.NoShows, f.OverPlan + g.OverPlan, f.NotKnown + g.NotKnown}
}

// measure puts a plan beside its space's series.
func (s *series) measure(ctx context.Context, p Plan) (Measured, error) {
	out := Measured{Plan: p, Verdict: toCome}
	if p.To.UnixMilli() > s.now {
		return out, nil
	}
	t, err := s.sum(ctx, p.From.UnixMilli(), p.To.UnixMilli())
	if err != nil {
		return out, err
	}
	f := t.Figures()
	out.Average, out.Max, out.OccupiedMinutes, out.Coverage = f.Average, f.Max, f.OccupiedMinutes, f.Coverage
	out.Verdict = verdictOf(p, t)
	return out, nil
}

func verdictOf(p Plan, t usage.Totals) string {
	known := t.Span > 0 && float64(t.Known) >= leastCoverage*float64(t.Span)
	switch {
	case p.People != nil && t.Known > 0 && t.Max > *p.People:
		return overPlan
	case t.Occupied > 0:
		return asPlanned
	case !known:
		return notKnown
	case p.People != nil && *p.People == 0:
		return asPlanned
	}
	return noShow
}

// planFigures are the figures of the plans that lie within a question's time, by space.
func (m *Module) planFigures(ctx context.Context, q *question, heard map[string]*series) (map[string]*PlanFigures, error) {
	list, err := m.plans(ctx, q, 20*maxPoints)
	if err != nil {
		return nil, err
	}
	out := map[string]*PlanFigures{}
	for _, p := range list {
		if p.From.Before(q.From) || p.To.After(q.To) {
			continue
		}
		s := heard[p.Space]
		if s == nil {
			s = m.none(q.Site, q.Loc, p.Space)
		}
		x, err := s.measure(ctx, p)
		if err != nil {
			return nil, err
		}
		if out[p.Space] == nil {
			out[p.Space] = &PlanFigures{}
		}
		out[p.Space].count(x.Verdict)
	}
	return out, nil
}

func (f *PlanFigures) count(verdict string) {
	switch verdict {
	case toCome:
		return
	case noShow:
		f.NoShows++
	case overPlan:
		f.OverPlan++
	case notKnown:
		f.NotKnown++
	}
	f.Plans++
}

// SpacePlan is the answer of GET /v1/sites/{site}/spaces/{id}/plan.
type SpacePlan struct {
	Site  string     `json:"site"`
	Space string     `json:"space"`
	From  time.Time  `json:"from"`
	To    time.Time  `json:"to"`
	Plans []Measured `json:"plans"`

	Figures PlanFigures `json:"figures"` // of those that are over
}

func (m *Module) spacePlan(r *route.Request) (any, error) {
	q, err := m.askAhead(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	list, err := m.plans(r.Context(), q, maxPoints)
	if err != nil {
		return nil, err
	}
	begin := q.span().from
	for _, p := range list {
		begin = min(begin, p.From.UnixMilli())
	}
	heard, err := m.load(r.Context(), q.Site, q.Loc, q.Space, begin, q.span().to)
	if err != nil {
		return nil, err
	}
	if _, err := q.spaces(heard); err != nil {
		return nil, err
	}
	s := heard[q.Space]
	if s == nil {
		s = m.none(q.Site, q.Loc, q.Space)
	}
	out := &SpacePlan{Site: q.Site.Site, Space: q.Space, From: q.From, To: q.To, Plans: []Measured{}}
	for _, p := range list {
		x, err := s.measure(r.Context(), p)
		if err != nil {
			return nil, err
		}
		out.Plans = append(out.Plans, x)
		out.Figures.count(x.Verdict)
	}
	return out, nil
}
