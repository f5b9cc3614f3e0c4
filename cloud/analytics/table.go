package analytics

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// table is a report before it is written. A cell is a string, an int, int64 or float64, a
// time.Time in the site's zone, or nil for what is not known.
type table struct {
	Title   string
	Site    string
	Zone    string
	From    time.Time
	To      time.Time
	Made    time.Time
	Columns []string
	Rows    [][]any
}

// maxRows bounds a report.
const maxRows = 200_000

// ReportAsk is what a report is to be: the body of POST /v1/sites/{site}/reports.
type ReportAsk struct {
	Kind   string `json:"kind"`            // summary, days, hours, access, availability or events
	From   string `json:"from,omitempty"`  // time or date; a week before To when empty
	To     string `json:"to,omitempty"`    // exclusive; now when empty
	Format string `json:"format"`          // csv, xlsx or html
	Space  string `json:"space,omitempty"` // all when empty
	Group  string `json:"group,omitempty"` // of a summary: space, floor or kind
}

var (
	reportKinds   = []string{"summary", "days", "hours", "access", "availability", "events"}
	reportFormats = []string{"csv", "xlsx", "html"}
)

func (a *ReportAsk) check() error {
	switch {
	case !slices.Contains(reportKinds, a.Kind):
		return route.Problem(http.StatusUnprocessableEntity, "kind %q: want one of %s", a.Kind, strings.Join(reportKinds, ", "))
	case !slices.Contains(reportFormats, a.Format):
		return route.Problem(http.StatusUnprocessableEntity, "format %q: want one of %s", a.Format, strings.Join(reportFormats, ", "))
	case a.Group != "" && a.Kind != "summary":
		return route.Problem(http.StatusUnprocessableEntity, "group: goes with the kind summary")
	case a.Group != "" && !slices.Contains([]string{bySpace, byFloor, byKind}, a.Group):
		return route.Problem(http.StatusUnprocessableEntity, "group %q: want space, floor or kind", a.Group)
	}
	return nil
}

// table makes the table of a report.
func (m *Module) table(ctx context.Context, q *question, a ReportAsk) (*table, error) {
	name := q.Model.Name
	if name == "" {
		name = q.Site.Site
	}
	t := &table{Title: "Headcount " + a.Kind, Site: name, Zone: q.Loc.String(), From: q.From.In(q.Loc), To: q.To.In(q.Loc), Made: m.now().In(q.Loc)}
	var err error
	switch a.Kind {
	case "summary":
		err = m.summaryTable(ctx, q, a.Group, t)
	case "days":
		err = m.stepsTable(ctx, q, nextDay, t)
	case "hours":
		err = m.stepsTable(ctx, q, nextHour, t)
	case "access":
		err = m.accessTable(ctx, q, t)
	case "availability":
		err = m.availabilityTable(ctx, q, t)
	default:
		err = m.eventsTable(ctx, q, t)
	}
	if err == nil && len(t.Rows) > maxRows {
		err = route.Problem(http.StatusUnprocessableEntity, "more than %d rows; ask for a shorter time, or for one space", maxRows)
	}
	return t, err
}

var figureColumns = []string{
	"minutes", "known_minutes", "unknown_minutes", "coverage", "occupied_minutes", "vacant_minutes", "occupied_share", "average", "min", "max", "peak_at",
	"capacity", "utilisation", "peak_utilisation", "over_capacity_minutes", "spells", "dwell_minutes", "turnover_per_day",
}

func figureCells(f usage.Figures, loc *time.Location) []any {
	var peak any
	if f.PeakAt != nil {
		peak = f.PeakAt.In(loc)
	}
	var capacity any
	if f.Capacity > 0 {
		capacity = f.Capacity
	}
	return []any{
		f.Minutes, f.KnownMinutes, f.UnknownMinutes, known(f.Coverage), f.OccupiedMinutes, f.VacantMinutes, known(f.OccupiedShare), known(f.Average),
		known(f.Min), known(f.Max), peak, capacity, known(f.Utilisation), known(f.PeakUtilisation), known(f.OverMinutes), f.Spells, known(f.DwellMinutes), known(f.TurnoverPerDay),
	}
}

// known is the value, or nil for what is not known.
func known[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

func (m *Module) summaryTable(ctx context.Context, q *question, group string, t *table) error {
	s, err := m.summarise(ctx, q, group)
	if err != nil {
		return err
	}
	t.Columns = append([]string{s.Group, "name", "kind", "spaces"}, figureColumns...)
	t.Columns = append(t.Columns, "open_minutes", "open_known_minutes", "open_occupied_minutes", "open_occupied_share", "open_average", "open_utilisation",
		"entries", "exits", "plans", "no_shows", "over_plan")
	for _, g := range s.Groups {
		row := append([]any{g.Group, g.Name, string(g.Kind), g.Spaces}, figureCells(g.Figures, q.Loc)...)
		if o := g.Opening; o != nil {
			row = append(row, o.Minutes, o.KnownMinutes, o.OccupiedMinutes, known(o.OccupiedShare), known(o.Average), known(o.Utilisation))
		} else {
			row = append(row, nil, nil, nil, nil, nil, nil)
		}
		row = append(row, known(g.Entries), known(g.Exits))
		if p := g.Plan; p != nil {
			row = append(row, p.Plans, p.NoShows, p.OverPlan)
		} else {
			row = append(row, nil, nil, nil)
		}
		t.Rows = append(t.Rows, row)
	}
	return nil
}

// stepsTable has a row per space and step of time, in the order that charts want.
func (m *Module) stepsTable(ctx context.Context, q *question, step func(time.Time) time.Time, t *table) error {
	heard, err := m.load(ctx, q.Site, q.Loc, q.Space, q.span().from, q.span().to)
	if err != nil {
		return err
	}
	spaces, err := q.spaces(heard)
	if err != nil {
		return err
	}
	t.Columns = append([]string{"from", "to", "space", "name"}, figureColumns...)
	for _, sp := range spaces {
		if err := m.stepRows(ctx, q, heard[sp.ID], sp, step, t); err != nil || len(t.Rows) > maxRows {
			return err
		}
	}
	return nil
}

func (m *Module) stepRows(ctx context.Context, q *question, s *series, sp edge.Space, step func(time.Time) time.Time, t *table) error {
	if s == nil {
		s = m.none(q.Site, q.Loc, sp.ID)
	}
	for at := q.From.In(q.Loc); at.Before(q.To) && at.UnixMilli() < s.now && len(t.Rows) <= maxRows; {
		next := step(at).In(q.Loc)
		if next.After(q.To) {
			next = q.To.In(q.Loc)
		}
		sum, err := s.sum(ctx, at.UnixMilli(), next.UnixMilli())
		if err != nil {
			return err
		}
		t.Rows = append(t.Rows, append([]any{at, next, sp.ID, sp.Name}, figureCells(sum.Figures(), q.Loc)...))
		at = next
	}
	return nil
}

func (m *Module) accessTable(ctx context.Context, q *question, t *table) error {
	a, err := m.accessOf(ctx, q)
	if err != nil {
		return err
	}
	t.Columns = []string{"from", "door", "granted", "denied", "denial_rate"}
	for _, d := range a.Doors {
		for _, h := range d.Hours {
			t.Rows = append(t.Rows, []any{h.From.In(q.Loc), d.Door, h.Granted, h.Denied, known(h.DenialRate)})
		}
	}
	return nil
}

func (m *Module) availabilityTable(ctx context.Context, q *question, t *table) error {
	a, err := m.availabilityOf(ctx, q)
	if err != nil {
		return err
	}
	t.Columns = []string{"what", "id", "name", "state", "up_minutes", "down_minutes", "availability", "outages"}
	add := func(what string, v Available) {
		t.Rows = append(t.Rows, []any{what, v.ID, v.Name, v.State, v.UpMinutes, v.DownMinutes, known(v.Availability), v.Outages})
	}
	add("hub", a.Hub)
	add("link", a.Link)
	for _, s := range a.Sensors {
		add("sensor", s)
	}
	return nil
}

func (m *Module) eventsTable(ctx context.Context, q *question, t *table) error {
	e, err := m.eventsOf(ctx, q)
	if err != nil {
		return err
	}
	t.Columns = []string{"type", "subject", "count"}
	for _, k := range e.Kinds {
		t.Rows = append(t.Rows, []any{k.Type, k.Subject, k.Count})
	}
	return nil
}
