package analytics

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/usage"
)

// series is the hours of one space as far as they are known now.
type series struct {
	m     *Module
	site  int64
	space string
	loc   *time.Location
	now   int64
	asOf  int64 // the newest step
	hours map[int64]usage.Totals
}

// load reads the hours of a site's spaces that lie in [from, to), of all of them when space is
// empty. One statement reads hours and newest steps, so that they fit together.
func (m *Module) load(ctx context.Context, s store.Site, loc *time.Location, space string, from, to int64) (map[string]*series, error) {
	totals := "coalesce(h." + strings.ReplaceAll(hourColumns, ", ", ", 0), coalesce(h.") + ", 0)"
	query := `SELECT s.space, s.at, s.state, s.persons, s.capacity, s.begins, coalesce(h.hour, 0), ` + totals + `
		FROM analytics_spaces s LEFT JOIN analytics_hours h ON h.site = s.site AND h.space = s.space AND h.hour >= ? AND h.hour < ?
		WHERE s.site = ? AND (s.space = ? OR ? = '')`
	out, newest := map[string]*series{}, map[string]usage.Step{}
	rows, err := m.db.Query(ctx, query, usage.Hour(from, loc), to, s.ID, space, space)
	_, err = store.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var id string
		var last usage.Step
		var begins, hour int64
		var t usage.Totals
		if err := r.Scan(append([]any{&id, &last.At, &last.State, &last.Count, &last.Capacity, &begins, &hour}, hourFields(&t)...)...); err != nil {
			return struct{}{}, err
		}
		if out[id] == nil {
			last.Begins = begins == 1
			newest[id] = last
			out[id] = &series{m: m, site: s.ID, space: id, loc: loc, now: m.now().UnixMilli(), asOf: last.At, hours: map[int64]usage.Totals{}}
		}
		out[id].hours[hour] = t
		return struct{}{}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read hours of %s: %w", s.Site, err)
	}
	for id, last := range newest {
		out[id].hold(last)
	}
	return out, nil
}

// hold adds the newest step, which holds until now unless it is stale.
func (s *series) hold(last usage.Step) {
	f := usage.NewFolder(s.loc)
	f.Add(last, last.At, s.now)
	for hour, t := range f.Hours {
		sum := s.hours[hour]
		sum.Add(*t)
		s.hours[hour] = sum
	}
}

// sum is the totals of [from, to) as far as that is past. Hours that lie in it in part are folded
// from the events.
func (s *series) sum(ctx context.Context, from, to int64) (usage.Totals, error) {
	var out usage.Totals
	to = min(to, s.now)
	for hour := usage.Hour(from, s.loc); hour < to; {
		next := usage.NextHour(hour, s.loc)
		begin, end := max(hour, from), min(next, to)
		var t usage.Totals
		if hour >= from && (next <= to || to == s.now) {
			t = s.hours[hour]
		} else if h, ok := s.hours[hour]; ok && (h.Known > 0 || h.Spells > 0) {
			steps, err := s.m.steps(ctx, s.m.reading(ctx), s.site, s.space, begin, end)
			if err != nil {
				return out, err
			}
			t = usage.Fold(steps, begin, end)
		}
		t.Span = end - begin
		out.Add(t)
		hour = next
	}
	return out, nil
}

// sums is sum over several stretches.
func (s *series) sums(ctx context.Context, spans []span) (out usage.Totals, err error) {
	for _, x := range spans {
		t, err := s.sum(ctx, x.from, x.to)
		if err != nil {
			return out, err
		}
		out.Add(t)
	}
	return out, nil
}

// none is the series of a space of which nothing was ever heard.
func (m *Module) none(s store.Site, loc *time.Location, space string) *series {
	return &series{m: m, site: s.ID, space: space, loc: loc, now: m.now().UnixMilli()}
}
