package analytics

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// fold takes the new steps of a space into its hours. Steps that are not newer than what is
// folded already have their hours folded anew.
func (p *pass) fold(w *siteWork, space string, steps []usage.Step) error {
	last, known, err := p.last(w.ID, space)
	if err != nil {
		return err
	}
	slices.SortStableFunc(steps, func(a, b usage.Step) int { return int(min(1, max(-1, a.At-b.At))) })
	fresh := steps
	for known && len(fresh) > 0 && fresh[0].At <= last.At {
		s := fresh[0]
		w.dirty[space] = w.dirty[space].join(span{s.At, s.Holds() + 1})
		fresh = fresh[1:]
	}
	if len(fresh) == 0 {
		return nil
	}
	fresh = usage.Chain(last, slices.Clone(fresh))
	f := usage.NewFolder(w.loc)
	if known {
		f.Add(last, last.At, fresh[0].At)
	}
	for i := 0; i+1 < len(fresh); i++ {
		f.Add(fresh[i], fresh[i].At, fresh[i+1].At)
	}
	for hour, t := range f.Hours {
		if err := p.addHour(w.ID, space, hour, *t); err != nil {
			return err
		}
	}
	return p.putLast(w.ID, space, fresh[len(fresh)-1])
}

// refoldChunk bounds how much is held in memory at once.
const refoldChunk = int64(7 * 24 * time.Hour / time.Millisecond)

// refold folds the hours of a stretch of time from the events, up to the newest step.
func (p *pass) refold(w *siteWork, space string, at span) error {
	last, known, err := p.last(w.ID, space)
	if err != nil || !known {
		return err
	}
	at.from = usage.Hour(at.from, w.loc)
	for at.from < at.to && at.from <= last.At {
		end := usage.Hour(min(at.to, at.from+refoldChunk)-1, w.loc)
		chunk := span{at.from, usage.NextHour(end, w.loc)}
		if err := p.refoldHours(w, space, chunk, &last); err != nil {
			return err
		}
		at.from = chunk.to
	}
	return nil
}

// refoldHours folds whole hours; last is replaced when another step of its time has come.
func (p *pass) refoldHours(w *siteWork, space string, at span, last *usage.Step) error {
	steps, err := p.m.steps(p.ctx, p.tx.Query, w.ID, space, at.from, min(at.to, last.At+1))
	if err != nil {
		return err
	}
	if err := p.tx.Exec(`DELETE FROM analytics_hours WHERE site = ? AND space = ? AND hour >= ? AND hour < ?`, w.ID, space, at.from, at.to); err != nil {
		return err
	}
	f := usage.NewFolder(w.loc)
	for i, s := range steps {
		until := min(at.to, last.At)
		if i+1 < len(steps) {
			until = min(until, steps[i+1].At)
		}
		if s.At != last.At {
			f.Add(s, max(s.At, at.from), until)
		}
	}
	for hour, t := range f.Hours {
		if err := p.addHour(w.ID, space, hour, *t); err != nil {
			return err
		}
	}
	if n := len(steps); n > 0 && steps[n-1].At == last.At {
		*last = steps[n-1]
		return p.putLast(w.ID, space, *last)
	}
	return nil
}

// steps reads the steps of a space that count in [from, to) out of the events: those that may
// be in force at from, and those that follow. What was revised is replaced; within a transaction,
// query is the transaction's, which knows of the newest revision.
func (m *Module) steps(ctx context.Context, query querier, site int64, space string, from, to int64) ([]usage.Step, error) {
	begin := from - int64(usage.Stale/time.Millisecond) - 1 // an older one does not hold any more
	revised, err := revisions(query, site, space, begin, to)
	if err != nil {
		return nil, err
	}
	end := to
	for _, r := range revised {
		begin, end = min(begin, r.from), max(end, r.to)
	}
	told, err := m.told(ctx, site, space, begin, end)
	if err != nil {
		return nil, err
	}
	for _, r := range revised {
		replaced := slices.ContainsFunc(told, func(s toldStep) bool { return r.within(s.At) && s.revision >= r.revision })
		told = slices.DeleteFunc(told, func(s toldStep) bool { return replaced && r.within(s.At) && s.revision < r.revision })
	}
	out := make([]usage.Step, 0, len(told))
	for _, s := range told {
		if s.At < to {
			out = append(out, s.Step)
		}
	}
	return usage.Chain(usage.Step{}, out), nil
}

// toldStep is a step as the hub told it in some revision of the past.
type toldStep struct {
	usage.Step
	revision int
}

// told reads all that was told of a space in [from, to), and what was in force before.
func (m *Module) told(ctx context.Context, site int64, space string, from, to int64) (out []toldStep, err error) {
	for size := 5000; ; {
		events, err := m.db.OccupancyEvents(ctx, site, space, time.UnixMilli(from), time.UnixMilli(to), size)
		if err != nil {
			return nil, err
		}
		for i := range events {
			if s, revision, ok := stepOf(&events[i]); ok {
				out = append(out, toldStep{s, revision})
			}
		}
		if len(events) < size {
			return out, nil
		}
		next := events[size-1].At.UnixMilli() // its instant comes again whole: Chain keeps one of each
		if next == from {
			size *= 2 // more than a page of one instant
		}
		from = next
	}
}

// revision is a stretch of the past that was told anew.
type revision struct {
	span
	revision int
}

func (r revision) within(at int64) bool { return r.from <= at && at < r.to }

// querier reads rows.
type querier func(query string, args ...any) (*sql.Rows, error)

// reading is the querier of what is committed.
func (m *Module) reading(ctx context.Context) querier {
	return func(query string, args ...any) (*sql.Rows, error) { return m.db.Query(ctx, query, args...) }
}

func revisions(query querier, site int64, space string, from, to int64) ([]revision, error) {
	const overlapping = `SELECT begins, ends, revision FROM analytics_revisions WHERE site = ? AND space = ? AND begins < ? AND ends > ? ORDER BY revision`
	rows, err := query(overlapping, site, space, to, from)
	return store.Collect(rows, err, func(r *sql.Rows) (v revision, err error) { return v, r.Scan(&v.from, &v.to, &v.revision) })
}

func (p *pass) last(site int64, space string) (s usage.Step, known bool, err error) {
	const query = `SELECT at, state, persons, capacity, begins FROM analytics_spaces WHERE site = ? AND space = ?`
	var begins int
	err = p.tx.QueryRow(query, site, space).Scan(&s.At, &s.State, &s.Count, &s.Capacity, &begins)
	if errors.Is(err, sql.ErrNoRows) {
		return usage.Step{}, false, nil
	}
	s.Begins = begins == 1
	return s, true, err
}

func (p *pass) putLast(site int64, space string, s usage.Step) error {
	const upsert = `INSERT INTO analytics_spaces (site, space, at, state, persons, capacity, begins) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (site, space) DO UPDATE SET at = excluded.at, state = excluded.state, persons = excluded.persons, capacity = excluded.capacity, begins = excluded.begins`
	begins := 0
	if s.Begins {
		begins = 1
	}
	return p.tx.Exec(upsert, site, space, s.At, string(s.State), s.Count, s.Capacity, begins)
}

const hourColumns = `known, vacant, occupied, over_cap, rated, persons, seated, seats, low, high, high_at, spells, capacity`

// hourFields are the places of hourColumns.
func hourFields(t *usage.Totals) []any {
	return []any{&t.Known, &t.Vacant, &t.Occupied, &t.Over, &t.Rated, &t.Persons, &t.Seated, &t.Seats, &t.Min, &t.Max, &t.PeakAt, &t.Spells, &t.Capacity}
}

// addHour adds totals to the row of an hour.
func (p *pass) addHour(site int64, space string, hour int64, t usage.Totals) error {
	const query = `SELECT ` + hourColumns + ` FROM analytics_hours WHERE site = ? AND space = ? AND hour = ?`
	const upsert = `INSERT INTO analytics_hours (site, space, hour, ` + hourColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (site, space, hour) DO UPDATE SET known = excluded.known, vacant = excluded.vacant, occupied = excluded.occupied,
		over_cap = excluded.over_cap, rated = excluded.rated, persons = excluded.persons, seated = excluded.seated, seats = excluded.seats,
		low = excluded.low, high = excluded.high, high_at = excluded.high_at, spells = excluded.spells, capacity = excluded.capacity`
	var have usage.Totals
	if err := p.tx.QueryRow(query, site, space, hour).Scan(hourFields(&have)...); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	have.Add(t)
	return p.tx.Exec(upsert, site, space, hour, have.Known, have.Vacant, have.Occupied, have.Over, have.Rated, have.Persons, have.Seated, have.Seats,
		have.Min, have.Max, have.PeakAt, have.Spells, have.Capacity)
}

// regrid folds a site's hours anew when its zone has become one in which hours begin at other
// times.
func (p *pass) regrid(w *siteWork) error {
	var zone string
	err := p.tx.QueryRow(`SELECT zone FROM analytics_sites WHERE site = ?`, w.ID).Scan(&zone)
	fresh := errors.Is(err, sql.ErrNoRows)
	if err != nil && !fresh || zone == w.loc.String() && !fresh {
		return err
	}
	const upsert = `INSERT INTO analytics_sites (site, zone) VALUES (?, ?) ON CONFLICT (site) DO UPDATE SET zone = excluded.zone`
	if err := p.tx.Exec(upsert, w.ID, w.loc.String()); err != nil || fresh {
		return err
	}
	was := edge.Site{Timezone: zone}
	rows, err := p.tx.Query(`SELECT space, min(hour), max(hour) FROM analytics_hours WHERE site = ? GROUP BY space`, w.ID)
	type extent struct {
		space string
		span
	}
	spaces, err := store.Collect(rows, err, func(r *sql.Rows) (x extent, err error) { return x, r.Scan(&x.space, &x.from, &x.to) })
	if err != nil {
		return err
	}
	for _, x := range spaces {
		if !sameGrid(x.span, was.Location(), w.loc) {
			x.to = usage.NextHour(x.to, was.Location())
			if err := p.tx.Exec(`DELETE FROM analytics_hours WHERE site = ? AND space = ?`, w.ID, x.space); err != nil {
				return err
			}
			w.dirty[x.space] = w.dirty[x.space].join(x.span)
		}
	}
	return nil
}

// sameGrid tells whether the hours of two zones begin at the same instants.
func sameGrid(at span, a, b *time.Location) bool {
	for h := usage.Hour(at.from, a); h <= at.to; h = usage.NextHour(h, a) {
		if usage.Hour(h, b) != h {
			return false
		}
	}
	return true
}
