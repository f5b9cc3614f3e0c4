package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// history reads the site's past out of the journal.
type history struct{ j *journal.Journal }

// Every space is written anew at least every 15 minutes, so this much before a time there is
// the occupancy that held at it.
const repeatWithin = 16 * time.Minute

// Occupancy is api.History.
func (h history) Occupancy(ctx context.Context, space string, from, to time.Time, limit int) ([]edge.Occupancy, error) {
	var out []edge.Occupancy
	for r, err := range h.around(from.Add(-repeatWithin), to.Add(repeatWithin)) {
		if err != nil {
			return nil, fmt.Errorf("read history of %s: %w", space, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.Type != string(edge.OccupancyChanged) || r.Subject != space || r.At.After(to) {
			continue
		}
		var o edge.Occupancy
		if err := json.Unmarshal(r.Data, &o); err != nil {
			return nil, fmt.Errorf("record %s: %w", r.ID(), err)
		}
		if !r.At.After(from) {
			out = out[:0] // only the newest of those that held before from
		}
		if out = append(out, o); len(out) >= limit {
			break
		}
	}
	return out, nil
}

// Occupancies is api.History.
func (h history) Occupancies(ctx context.Context, from, to time.Time, see func(edge.Occupancy)) error {
	from = from.Add(-repeatWithin)
	for r, err := range h.around(from, to.Add(repeatWithin)) {
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.Type != string(edge.OccupancyChanged) || r.At.After(to) || r.At.Before(from) {
			continue
		}
		var o edge.Occupancy
		if err := json.Unmarshal(r.Data, &o); err != nil {
			return fmt.Errorf("record %s: %w", r.ID(), err)
		}
		see(o)
	}
	return nil
}

// around yields the events committed between two times and those of the first commit after: when
// the hub was off in between, that one says so of a time before it.
func (h history) around(from, to time.Time) iter.Seq2[edge.Record, error] {
	return func(yield func(edge.Record, error) bool) {
		for r, err := range h.j.Scan(edge.Events, from, to) {
			if !yield(r, err) {
				return
			}
		}
		var first time.Time
		for r, err := range h.j.Scan(edge.Events, to, to.AddDate(100, 0, 0)) {
			if first.IsZero() {
				first = r.Time
			}
			if !r.Time.Equal(first) || !yield(r, err) {
				return
			}
		}
	}
}

// Events is api.History.
func (h history) Events(_ context.Context, after uint64, limit int) ([]edge.Record, error) {
	records, err := h.j.Records(edge.Events, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read events after %d: %w", after, err)
	}
	if after > 0 && len(records) > 0 && records[0].Seq != after+1 {
		return nil, api.ErrGone
	}
	return records, nil
}

// lateness is how long after its event time a reading may have been taken in and still be
// found by Readings.
const lateness = 24 * time.Hour

// Readings is api.History.
func (h history) Readings(ctx context.Context, sensor string, from, to time.Time, limit int) ([]edge.Reading, error) {
	var out []edge.Reading
	for r, err := range h.j.Scan(edge.Readings, from.Add(-edge.MaxAhead), to.Add(lateness)) {
		if err != nil {
			return nil, fmt.Errorf("read readings of %s: %w", sensor, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.Type != engine.TypeReadings {
			continue
		}
		var rs []edge.Reading
		if err := json.Unmarshal(r.Data, &rs); err != nil {
			return nil, fmt.Errorf("record %s: %w", r.ID(), err)
		}
		for _, x := range rs {
			if x.Sensor == sensor && !x.At.Before(from) && !x.At.After(to) {
				out = append(out, x)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b edge.Reading) int { return a.At.Compare(b.At) })
	return out[:min(limit, len(out))], nil
}
