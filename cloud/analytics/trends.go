package analytics

import (
	"context"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Trends is the answer of GET /v1/sites/{site}/analytics/trends.
type Trends struct {
	Site     string       `json:"site"`
	Org      string       `json:"org"`
	Space    string       `json:"space"`
	Timezone string       `json:"timezone"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Every    string       `json:"every"`
	Points   []TrendPoint `json:"points"`
	HeatMap  HeatMap      `json:"heat_map"`
}

// TrendPoint is an hour, day or week of the wall clock.
type TrendPoint struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	usage.Figures
}

// HeatMap is the mean count of each hour of the week, Monday 00:00 first.
type HeatMap struct {
	Days  []string        `json:"days"`
	Cells [7][24]HeatCell `json:"cells"` // by day and hour
}

// HeatCell is one hour of the week over all its weeks.
type HeatCell struct {
	Average  *float64 `json:"average"` // persons, over known time; null = not known
	Coverage *float64 `json:"coverage"`
	Hours    int      `json:"hours"` // that are in it
}

// maxPoints bounds an answer.
const maxPoints = 5000

var weekDays = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

func (m *Module) trends(r *route.Request) (any, error) {
	q, err := m.ask(r, 28)
	if err != nil {
		return nil, err
	}
	every := r.URL.Query().Get("every")
	if every == "" {
		every = "1d"
	}
	return m.trendsOf(r.Context(), q, every)
}

func (m *Module) trendsOf(ctx context.Context, q *question, every string) (*Trends, error) {
	step, ok := map[string]func(time.Time) time.Time{"1h": nextHour, "1d": nextDay, "1w": nextWeek}[every]
	if !ok {
		return nil, route.Problem(http.StatusBadRequest, "every %q: want 1h, 1d or 1w", every)
	}
	s, err := m.seriesOf(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &Trends{Site: q.Site.Site, Org: q.Site.Org, Space: q.Space, Timezone: q.Loc.String(), From: q.From, To: q.To, Every: every, Points: []TrendPoint{}}
	for at := q.From; at.Before(q.To); {
		next := step(at.In(q.Loc)).UTC()
		if next.After(q.To) {
			next = q.To
		}
		if len(out.Points) == maxPoints {
			return nil, route.Problem(http.StatusBadRequest, "every %s makes more than %d points; ask for a shorter time or larger steps", every, maxPoints)
		}
		t, err := s.sum(ctx, at.UnixMilli(), next.UnixMilli())
		if err != nil {
			return nil, err
		}
		out.Points = append(out.Points, TrendPoint{at, next, t.Figures()})
		at = next
	}
	out.HeatMap, err = s.heatMap(ctx, q.span())
	return out, err
}

// seriesOf loads the space of a question, the one around all others when it names none.
func (m *Module) seriesOf(ctx context.Context, q *question) (*series, error) {
	if err := q.whole(); err != nil {
		return nil, err
	}
	heard, err := m.load(ctx, q.Site, q.Loc, q.Space, q.span().from, q.span().to)
	if err != nil {
		return nil, err
	}
	if _, err := q.spaces(heard); err != nil {
		return nil, err
	}
	if s := heard[q.Space]; s != nil {
		return s, nil
	}
	return m.none(q.Site, q.Loc, q.Space), nil
}

// nextHour, nextDay and nextWeek are where the stretch in which t lies ends, by t's own zone.
func nextHour(t time.Time) time.Time {
	return time.UnixMilli(usage.NextHour(usage.Hour(t.UnixMilli(), t.Location()), t.Location()))
}

func nextDay(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
}

func nextWeek(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d+7-weekDay(t), 0, 0, 0, 0, t.Location())
}

// weekDay is 0 on Mondays.
func weekDay(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

// cell is the place of an hour in the week. An hour that is lived twice counts in the same cell.
func cell(hour int64, loc *time.Location) (day, h int) {
	t := time.UnixMilli(hour).In(loc)
	return weekDay(t), t.Hour()
}

func (s *series) heatMap(ctx context.Context, at span) (HeatMap, error) {
	out := HeatMap{Days: weekDays}
	var cells [7][24]usage.Totals
	to := min(at.to, s.now)
	for hour := usage.Hour(at.from, s.loc); hour < to; hour = usage.NextHour(hour, s.loc) {
		t, err := s.sum(ctx, max(hour, at.from), min(usage.NextHour(hour, s.loc), to))
		if err != nil {
			return out, err
		}
		day, h := cell(hour, s.loc)
		cells[day][h].Add(t)
		out.Cells[day][h].Hours++
	}
	for day := range cells {
		for h, t := range cells[day] {
			c := &out.Cells[day][h]
			c.Average, c.Coverage = usage.Share(t.Persons, t.Known), usage.Share(t.Known, t.Span)
		}
	}
	return out, nil
}
