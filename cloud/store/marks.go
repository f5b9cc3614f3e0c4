package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Mark is how far one lane of one epoch is applied.
type Mark struct {
	Epoch    int64
	Lane     edge.Lane
	Seq      uint64
	CRC      uint32
	Current  bool   // no newer epoch was seen in this lane
	Conflict string // why the chain of this epoch is refused; empty = it is not
	Known    bool   // there is a row; otherwise nothing of this lane was applied
}

// Mark reads a mark within the transaction.
func (tx *Tx) Mark(epoch int64, lane edge.Lane) (Mark, error) {
	m := Mark{Epoch: epoch, Lane: lane, Known: true}
	const query = `SELECT seq, crc, current, conflict FROM marks WHERE epoch = ? AND lane = ?`
	err := tx.tx.QueryRow(query, epoch, string(lane)).Scan(&m.Seq, &m.CRC, &m.Current, &m.Conflict)
	if errors.Is(err, sql.ErrNoRows) {
		return Mark{Epoch: epoch, Lane: lane}, nil
	}
	return m, wrap("read mark", err)
}

// NewMark begins a mark at 0 as the current one of the site's lane; the marks of older epochs
// stay.
func (tx *Tx) NewMark(site, epoch int64, lane edge.Lane, now time.Time) (Mark, error) {
	const old = `UPDATE marks SET current = 0 WHERE lane = ? AND current = 1 AND epoch IN (SELECT id FROM epochs WHERE site = ?)`
	if _, err := tx.tx.Exec(old, string(lane), site); err != nil {
		return Mark{}, wrap("begin mark", err)
	}
	const insert = `INSERT INTO marks (epoch, lane, seq, crc, current, updated) VALUES (?, ?, 0, 0, 1, ?)`
	_, err := tx.tx.Exec(insert, epoch, string(lane), millis(now))
	return Mark{Epoch: epoch, Lane: lane, Current: true, Known: true}, wrap("begin mark", err)
}

// MoveMark moves a mark from where the caller read it; ErrConflict when it is not there.
func (tx *Tx) MoveMark(from, to Mark, now time.Time) error {
	const update = `UPDATE marks SET seq = ?, crc = ?, conflict = ?, updated = ? WHERE epoch = ? AND lane = ? AND seq = ? AND crc = ?`
	res, err := tx.tx.Exec(update, to.Seq, to.CRC, to.Conflict, millis(now), from.Epoch, string(from.Lane), from.Seq, from.CRC)
	if err != nil {
		return wrap("move mark", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("move mark of %s to %d: %w", to.Lane, to.Seq, errors.Join(ErrConflict, err))
	}
	return nil
}

// Marks returns what the hub is told about one epoch of its journal. A site or epoch that is
// not known has marks at 0.
func (db *DB) Marks(ctx context.Context, org, site, epoch string) (wire.Marks, error) {
	out := wire.Marks{Events: wire.Mark{Epoch: epoch}, Readings: wire.Mark{Epoch: epoch}}
	const query = `SELECT m.lane, m.seq, m.crc, m.conflict FROM marks m
		JOIN epochs e ON e.id = m.epoch JOIN sites s ON s.id = e.site
		WHERE s.org = ? AND s.site = ? AND e.epoch = ?`
	rows, err := db.read.QueryContext(ctx, query, org, site, epoch)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var lane, conflict string
		m := wire.Mark{Epoch: epoch}
		if err := r.Scan(&lane, &m.Seq, &m.CRC, &conflict); err != nil {
			return struct{}{}, err
		}
		if edge.Lane(lane) == edge.Events {
			out.Events = m
		} else {
			out.Readings = m
		}
		if conflict != "" {
			out.Conflict = conflict
		}
		return struct{}{}, nil
	})
	return out, wrap("read marks", err)
}

// Current returns the marks of the epoch that each lane of a site is in now; zero marks when
// there is none.
func (db *DB) Current(ctx context.Context, site int64) (wire.Marks, error) {
	var out wire.Marks
	const query = `SELECT m.lane, e.epoch, m.seq, m.crc, m.conflict FROM marks m JOIN epochs e ON e.id = m.epoch
		WHERE e.site = ? AND m.current = 1`
	rows, err := db.read.QueryContext(ctx, query, site)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var lane, conflict string
		var m wire.Mark
		if err := r.Scan(&lane, &m.Epoch, &m.Seq, &m.CRC, &conflict); err != nil {
			return struct{}{}, err
		}
		if edge.Lane(lane) == edge.Events {
			out.Events = m
		} else {
			out.Readings = m
		}
		if conflict != "" {
			out.Conflict = conflict
		}
		return struct{}{}, nil
	})
	return out, wrap("read marks", err)
}

// Cursor is how far a follower has come. Tag identifies what it follows.
type Cursor struct {
	Position uint64
	Tag      string
}

// Cursor reads a follower's place; the zero Cursor when it has none.
func (db *DB) Cursor(ctx context.Context, name string) (Cursor, error) {
	return readCursor(db.read.QueryRowContext(ctx, cursorQuery, name))
}

// Cursor reads a follower's place within the transaction.
func (tx *Tx) Cursor(name string) (Cursor, error) {
	return readCursor(tx.tx.QueryRow(cursorQuery, name))
}

const cursorQuery = `SELECT position, tag FROM cursors WHERE name = ?`

func readCursor(row *sql.Row) (Cursor, error) {
	var c Cursor
	err := row.Scan(&c.Position, &c.Tag)
	if errors.Is(err, sql.ErrNoRows) {
		return Cursor{}, nil
	}
	return c, wrap("read cursor", err)
}

// PutCursor moves a follower.
func (tx *Tx) PutCursor(name string, c Cursor) error {
	const upsert = `INSERT INTO cursors (name, position, tag) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET position = excluded.position, tag = excluded.tag`
	_, err := tx.tx.Exec(upsert, name, c.Position, c.Tag)
	return wrap("move cursor", err)
}
