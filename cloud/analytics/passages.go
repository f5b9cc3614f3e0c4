package analytics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// The kinds of count of passages through a door, whose subject is the door.
const (
	counted = "counted." // by a line counter
	granted = "granted." // by a badge reader
)

// readingsCursor names the module among the followers of the readings.
const readingsCursor = "analytics-readings"

const pageReadings = 500 // records, of some dozens of readings each

// readingsRow is a record of the readings lane.
type readingsRow struct {
	id, site  int64
	org, name string
	body      []byte
}

// ProjectReadings takes the passages of one page of new readings and tells whether there may be
// more.
func (m *Module) ProjectReadings(ctx context.Context) (more bool, err error) {
	at, err := m.db.Cursor(ctx, readingsCursor)
	if err != nil {
		return false, err
	}
	const query = `SELECT r.id, r.site, s.org, s.site, r.body FROM readings r JOIN sites s ON s.id = r.site WHERE r.id > ? ORDER BY r.id LIMIT ?`
	rows, err := m.db.Query(ctx, query, int64(at.Position), pageReadings)
	page, err := store.Collect(rows, err, func(r *sql.Rows) (x readingsRow, err error) {
		return x, r.Scan(&x.id, &x.site, &x.org, &x.name, &x.body)
	})
	if err != nil || len(page) == 0 {
		return false, err
	}
	err = m.db.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Cursor(readingsCursor)
		if err != nil || now.Position != at.Position { // another process was faster
			return err
		}
		p := pass{m: m, ctx: ctx, tx: tx, sites: map[int64]*siteWork{}}
		for _, row := range page {
			if err := p.readings(row); err != nil {
				return fmt.Errorf("readings %d: %w", row.id, err)
			}
		}
		if err := p.write(); err != nil {
			return err
		}
		return tx.PutCursor(readingsCursor, store.Cursor{Position: uint64(page[len(page)-1].id)})
	})
	return err == nil && len(page) == pageReadings, err
}

// readings takes the passages of a record's readings.
func (p *pass) readings(row readingsRow) error {
	var body struct {
		Type string         `json:"type"`
		Data []edge.Reading `json:"data"`
	}
	if row.org == "" || json.Unmarshal(row.body, &body) != nil || body.Type != "readings" {
		return nil
	}
	w, err := p.site(&store.Event{Site: row.site, Org: row.org, SiteName: row.name})
	if err != nil || w == nil {
		return err
	}
	for i := range body.Data {
		r := &body.Data[i]
		sensor, ok := lineCounter(w.model, r.Sensor)
		if !ok {
			continue
		}
		for _, kind := range []edge.Kind{edge.CountIn, edge.CountOut} {
			if err := p.passed(w, sensor, r, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// isLine tells whether a sensor counts who crosses a line.
func isLine(s edge.Sensor) bool {
	return slices.Contains([]edge.Class{edge.LineToF, edge.LineStereo, edge.LineThermopile, edge.LineBeam}, s.Class)
}

// lineCounter finds the sensor if it is the one that counts its door: of several the first.
func lineCounter(model *edge.Site, id string) (edge.Sensor, bool) {
	i := slices.IndexFunc(model.Sensors, func(s edge.Sensor) bool { return s.ID == id })
	if i < 0 || model.Sensors[i].Door == "" || !isLine(model.Sensors[i]) {
		return edge.Sensor{}, false
	}
	s := model.Sensors[i]
	first := slices.IndexFunc(model.Sensors, func(o edge.Sensor) bool { return o.Door == s.Door && isLine(o) })
	return s, first == i
}

// passed counts the passages that a reading tells in one direction.
func (p *pass) passed(w *siteWork, s edge.Sensor, r *edge.Reading, kind edge.Kind) error {
	var n int64
	for _, v := range r.Values {
		if v.Kind != kind || v.Type != edge.Number || v.Num < 0 {
			continue
		}
		switch v.Semantics {
		case edge.Cumulative, edge.CumulativeToday:
			since, err := p.since(w, s.ID, r.At, v)
			if err != nil {
				return err
			}
			w.through(counted, s, kind, r.At, since)
			return nil
		case edge.Delta, edge.PassageEvent:
			n += int64(v.Num)
		}
	}
	if n == 0 {
		return nil
	}
	var totals int // of a counter that sends totals too, deltas are in them
	err := p.tx.QueryRow(`SELECT count(*) FROM analytics_counters WHERE site = ? AND sensor = ? AND kind = ?`, w.ID, s.ID, string(kind)).Scan(&totals)
	if err == nil && totals == 0 {
		w.through(counted, s, kind, r.At, n)
	}
	return err
}

// through counts passages at the door of a sensor.
func (w *siteWork) through(by string, s edge.Sensor, kind edge.Kind, at time.Time, n int64) {
	direction := edge.In
	if (kind == edge.CountOut) != s.Reversed {
		direction = edge.Out
	}
	if n > 0 {
		w.addN(by+direction, s.Door, at, n, 0)
	}
}

// maxPerSecond bounds what is believed of a counter's step: a larger one is a new beginning.
const maxPerSecond = 5

// since is how far a total has risen. The first one, one that fell, and one that rose more than
// people can walk is a new beginning; one that came late is in a later one already.
func (p *pass) since(w *siteWork, sensor string, at time.Time, v edge.Value) (int64, error) {
	var was, wasAt int64
	err := p.tx.QueryRow(`SELECT total, at FROM analytics_counters WHERE site = ? AND sensor = ? AND kind = ?`, w.ID, sensor, string(v.Kind)).Scan(&was, &wasAt)
	fresh := errors.Is(err, sql.ErrNoRows)
	if err != nil && !fresh {
		return 0, err
	}
	ms, total := at.UnixMilli(), int64(v.Num)
	if !fresh && ms < wasAt {
		return 0, nil
	}
	const upsert = `INSERT INTO analytics_counters (site, sensor, kind, at, total) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site, sensor, kind) DO UPDATE SET at = excluded.at, total = excluded.total`
	if err := p.tx.Exec(upsert, w.ID, sensor, string(v.Kind), ms, total); err != nil {
		return 0, err
	}
	rise := total - was
	if v.Semantics == edge.CumulativeToday && total < was {
		rise = total // midnight has passed
	}
	if fresh || rise < 0 || rise > maxPerSecond*((ms-wasAt)/1000+60) {
		return 0, nil
	}
	return rise, nil
}

// crossing is who came and went; nil = a door of the space is not counted.
type crossing struct{ entries, exits *int64 }

// crossed tells who came into spaces and went out of them, by the doors around them: by their
// line counters, or else their badge readers.
func (m *Module) crossed(ctx context.Context, q *question) (map[string]crossing, error) {
	rows, err := m.counted(ctx, q)
	if err != nil {
		return nil, err
	}
	sums := map[string]int64{}
	for _, c := range rows {
		sums[c.kind+"/"+c.subject] = c.n
	}
	out, blind := map[string]crossing{}, map[string]bool{}
	add := func(space string, in, gone int64) {
		x, ok := out[space]
		if !ok {
			x = crossing{new(int64), new(int64)}
			out[space] = x
		}
		*x.entries += in
		*x.exits += gone
	}
	for _, d := range q.Model.Doors {
		by := countsBy(q.Model, d.ID)
		if by == "" {
			blind[d.Between[0]], blind[d.Between[1]] = true, true
			continue
		}
		in, gone := sums[by+edge.In+"/"+d.ID], sums[by+edge.Out+"/"+d.ID]
		add(d.Between[1], in, gone)
		add(d.Between[0], gone, in)
	}
	for space := range blind {
		delete(out, space)
	}
	return out, nil
}

// countsBy is how passages through a door are counted; empty when they are not.
func countsBy(model *edge.Site, door string) string {
	at := func(is func(edge.Sensor) bool) bool {
		return slices.ContainsFunc(model.Sensors, func(s edge.Sensor) bool { return s.Door == door && is(s) })
	}
	switch {
	case at(isLine):
		return counted
	case at(func(s edge.Sensor) bool { return s.Class == edge.Badge }):
		return granted
	}
	return ""
}
