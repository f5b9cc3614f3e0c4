package socket

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
)

// row is an event of the table and what is sent of it, which is the same for all clients.
type row struct {
	stored store.Event
	event  live.Event // without what depends on the site's domains
	wrong  error      // the record cannot be read
}

func newRow(e store.Event) row {
	r := row{stored: e, event: live.Event{ID: strconv.FormatInt(e.ID, 10)}}
	if e.Input {
		return r
	}
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		r.wrong = fmt.Errorf("event %d: %w", e.ID, err)
		return r
	}
	entry := live.Entry{
		ID: r.event.ID, Site: e.SiteName, Type: e.Type, Subject: e.Subject, At: e.At, Data: rec.Data, Org: e.Org, Backfill: e.Backfill,
	}
	if r.event, r.wrong = entry.Event(); e.Backfill {
		r.event.Type = BackfillType
	}
	r.stored.Body = nil // it is in the event
	return r
}

// maxTail is how many of the newest events are kept in memory.
const maxTail = 2048

// tail is the end of the event table, read once for all clients that follow it.
type tail struct {
	source *Source
	most   int // rows

	mu      sync.Mutex // guards what follows
	changed <-chan struct{}
	floor   int64 // all events with a higher id are in rows
	rows    []row
}

// after lists at most limit rows behind an id; false when the tail does not go back so far, or
// the id is not of this table.
func (t *tail) after(ctx context.Context, id int64, limit int) ([]row, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.grow(ctx); err != nil {
		return nil, false, err
	}
	if id < t.floor || id > t.newest() {
		return nil, false, nil
	}
	from, _ := slices.BinarySearchFunc(t.rows, id+1, func(r row, id int64) int { return cmp.Compare(r.stored.ID, id) })
	return slices.Clone(t.rows[from:min(len(t.rows), from+limit)]), true, nil
}

func (t *tail) newest() int64 {
	if len(t.rows) == 0 {
		return t.floor
	}
	return t.rows[len(t.rows)-1].stored.ID
}

// grow reads what is new, when something is.
func (t *tail) grow(ctx context.Context) error {
	select {
	case <-t.changed: // never when it is nil
	default:
		if t.changed != nil {
			return nil
		}
		newest, err := t.source.db.NewestEvent(ctx)
		if err != nil {
			return err
		}
		t.floor = newest
	}
	changed := t.source.db.Changed() // before reading, or an event between the two would wait for the next one
	for {
		stored, err := t.source.db.EventsAfter(ctx, t.newest(), 0, t.most)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		for _, e := range stored {
			t.rows = append(t.rows, newRow(e))
		}
		if over := len(t.rows) - t.most; over > 0 {
			t.floor = t.rows[over-1].stored.ID
			t.rows = slices.Clone(t.rows[over:])
		}
		if len(stored) < t.most {
			t.changed = changed
			return nil
		}
	}
}
