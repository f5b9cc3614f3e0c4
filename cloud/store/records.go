package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Event is a row of the events lane.
type Event struct {
	ID       int64 // the cursor; set by the store
	Site     int64
	Position Position
	Type     string
	Subject  string
	Time     time.Time       // when the hub committed it
	At       time.Time       // what it holds for
	Input    bool            // an input of the engine, not a fact for people
	Backfill bool            // older than a snapshot that was shown before
	Body     []byte          // the record's own bytes
	Data     json.RawMessage // the record's data, part of Body; not set by reads
	Fact     any             // Data decoded: edge.Occupancy, edge.Alert, edge.LossEntry or nil; not set by reads
	Org      string          // set by reads
	SiteName string          // id of the site; set by reads
	Audience string          // who it is for; empty = everybody who may see the site
}

// Reading is a row of the readings lane: one record of many readings.
type Reading struct {
	Site     int64
	Position Position
	Time     time.Time
	Body     []byte
	Sensors  []string // distinct ids of the sensors in it; devices without sensor are left out
}

// rowsPerInsert keeps one statement well below SQLite's limit of 32,766 parameters.
const rowsPerInsert = 64

// AddEvents stores events; a (epoch, seq) that is there already is an error.
func (tx *Tx) AddEvents(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	tx.events = true
	const columns = 11
	args := make([]any, 0, columns*min(len(events), rowsPerInsert))
	in := tx.inserter(`INSERT INTO events (site, epoch, seq, type, subject, time, at, input, backfill, body, audience) VALUES `, columns)
	for i := range events {
		e := &events[i]
		args = append(args, e.Site, e.Position.Epoch, e.Position.Seq, e.Type, e.Subject, millis(e.Time), millis(e.At),
			boolInt(e.Input), boolInt(e.Backfill), e.Body, e.Audience)
		if len(args) == cap(args) || i == len(events)-1 {
			if err := in.exec(args); err != nil {
				return wrap("store events", err)
			}
			args = args[:0]
		}
	}
	return nil
}

// AddReadings stores records of the readings lane and which sensors are in them.
func (tx *Tx) AddReadings(records []Reading) error {
	const columns, indexColumns = 5, 4
	args := make([]any, 0, columns*min(len(records), rowsPerInsert))
	in := tx.inserter(`INSERT INTO readings (site, epoch, seq, time, body) VALUES `, columns)
	index := make([]any, 0, indexColumns*rowsPerInsert)
	inIndex := tx.inserter(`INSERT INTO sensor_readings (site, sensor, epoch, seq) VALUES `, indexColumns)
	for i := range records {
		r := &records[i]
		args = append(args, r.Site, r.Position.Epoch, r.Position.Seq, millis(r.Time), r.Body)
		if len(args) == cap(args) || i == len(records)-1 {
			if err := in.exec(args); err != nil {
				return wrap("store readings", err)
			}
			args = args[:0]
		}
		for _, s := range r.Sensors {
			if index = append(index, r.Site, s, r.Position.Epoch, r.Position.Seq); len(index) == cap(index) {
				if err := inIndex.exec(index); err != nil {
					return wrap("index readings", err)
				}
				index = index[:0]
			}
		}
	}
	if len(index) == 0 {
		return nil
	}
	return wrap("index readings", inIndex.exec(index))
}

// inserter writes many rows with one statement.
type inserter struct {
	tx      *sql.Tx
	prefix  string
	columns int
}

func (tx *Tx) inserter(prefix string, columns int) inserter {
	return inserter{tx: tx.tx, prefix: prefix, columns: columns}
}

func (in inserter) exec(args []any) error {
	row := "(?" + strings.Repeat(", ?", in.columns-1) + ")"
	rows := len(args) / in.columns
	_, err := in.tx.Exec(in.prefix+row+strings.Repeat(", "+row, rows-1), args...)
	return err
}

// Unreadable is a record or message that could not be read.
type Unreadable struct {
	Site   int64
	Epoch  int64 // 0: a message whose header could not be read
	Lane   edge.Lane
	Seq    uint64 // of the record; for a message its place in the stream
	Reason string
	At     time.Time
	Body   []byte
}

// maxUnreadableMessages bounds the kept messages that could not be read, per site: a hub that
// sends nothing else must not fill the disk. Records are bounded by their sequence.
const maxUnreadableMessages = 100

// AddUnreadable keeps what could not be read. The same one again is not kept twice.
func (tx *Tx) AddUnreadable(u Unreadable) error {
	const insert = `INSERT INTO unreadable (site, epoch, lane, seq, reason, at, body) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	if _, err := tx.tx.Exec(insert, u.Site, u.Epoch, string(u.Lane), u.Seq, u.Reason, millis(u.At), u.Body); err != nil {
		return wrap("keep unreadable record", err)
	}
	if u.Epoch != 0 {
		return nil
	}
	const bound = `DELETE FROM unreadable WHERE site = ? AND epoch = 0 AND id NOT IN
		(SELECT id FROM unreadable WHERE site = ? AND epoch = 0 ORDER BY id DESC LIMIT ?)`
	_, err := tx.tx.Exec(bound, u.Site, u.Site, maxUnreadableMessages)
	return wrap("bound unreadable messages", err)
}

// AddLost notes that the hub declared first..last of a lane lost; crc is the chain's value
// after last.
func (tx *Tx) AddLost(epoch int64, lane edge.Lane, first, last uint64, crc uint32, at time.Time) error {
	const insert = `INSERT INTO lost (epoch, lane, first, last, crc, at) VALUES (?, ?, ?, ?, ?, ?)`
	_, err := tx.tx.Exec(insert, epoch, string(lane), first, last, crc, millis(at))
	return wrap("note lost records", err)
}

// NewestEvent is the id of the newest event; 0 when there is none.
func (db *DB) NewestEvent(ctx context.Context) (int64, error) {
	var id int64
	err := db.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM events`).Scan(&id)
	return id, wrap("read newest event", err)
}

// OldestEvent is the id of the oldest event that is kept; 0 when there is none.
func (db *DB) OldestEvent(ctx context.Context) (int64, error) {
	var id int64
	err := db.read.QueryRowContext(ctx, `SELECT coalesce(min(id), 0) FROM events`).Scan(&id)
	return id, wrap("read oldest event", err)
}

const eventColumns = `e.id, e.site, e.epoch, e.seq, e.type, e.subject, e.time, e.at, e.input, e.backfill, e.body, e.audience, s.org, s.site`

func scanEvent(r *sql.Rows) (Event, error) {
	var e Event
	var t, at int64
	err := r.Scan(&e.ID, &e.Site, &e.Position.Epoch, &e.Position.Seq, &e.Type, &e.Subject, &t, &at, &e.Input, &e.Backfill, &e.Body, &e.Audience, &e.Org, &e.SiteName)
	e.Time, e.At = fromMillis(t), fromMillis(at)
	return e, err
}

// EventsAfter lists at most limit events with a higher id than after, oldest first; site 0 is
// all sites.
func (db *DB) EventsAfter(ctx context.Context, after int64, site int64, limit int) ([]Event, error) {
	if site == 0 {
		const all = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site WHERE e.id > ? ORDER BY e.id LIMIT ?`
		rows, err := db.read.QueryContext(ctx, all, after, limit)
		return collect(rows, err, scanEvent)
	}
	const one = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site WHERE e.site = ? AND e.id > ? ORDER BY e.id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, one, site, after, limit)
	return collect(rows, err, scanEvent)
}

// notifyEvents has the condition of the index events_alerts, word for word: the few events among
// millions that notifications follow are found by it.
const notifyEvents = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site
	WHERE e.id > ? AND e.type IN ('alert.raised', 'alert.acknowledged', 'alert.cleared', 'action.delivered', 'action.failed') ORDER BY e.id LIMIT ?`

// NotifyEvents lists at most limit events with a higher id than after that notifications follow
// from: alerts raised, acknowledged and cleared, and what became of the hub's own actions.
func (db *DB) NotifyEvents(ctx context.Context, after int64, limit int) ([]Event, error) {
	rows, err := db.read.QueryContext(ctx, notifyEvents, after, limit)
	return collect(rows, err, scanEvent)
}

// Event returns one event.
func (db *DB) Event(ctx context.Context, id int64) (Event, error) {
	const query = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site WHERE e.id = ?`
	rows, err := db.read.QueryContext(ctx, query, id)
	found, err := collect(rows, err, scanEvent)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Event{}, wrap("read event", err)
	}
	return found[0], nil
}

// OccupancyEvents lists the occupancy.changed events of a space that hold for times in
// [from, to), and before them the one that was in force at from, oldest first, at most limit.
func (db *DB) OccupancyEvents(ctx context.Context, site int64, space string, from, to time.Time, limit int) ([]Event, error) {
	const query = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site
		WHERE e.site = ? AND e.subject = ? AND e.type = 'occupancy.changed' AND e.at < ? AND e.at >= coalesce(
			(SELECT max(at) FROM events WHERE site = ? AND subject = ? AND type = 'occupancy.changed' AND at <= ?), ?)
		ORDER BY e.at, e.id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, query, site, space, millis(to), site, space, millis(from), millis(from), limit)
	return collect(rows, err, scanEvent)
}

// ReadingRecords lists the newest limit records of the readings lane, newest first; sensor
// narrows them to those in which it occurs.
func (db *DB) ReadingRecords(ctx context.Context, site int64, sensor string, limit int) ([]Reading, error) {
	scan := func(r *sql.Rows) (Reading, error) {
		rec := Reading{Site: site}
		var t int64
		err := r.Scan(&rec.Position.Epoch, &rec.Position.Seq, &t, &rec.Body)
		rec.Time = fromMillis(t)
		return rec, err
	}
	if sensor == "" {
		// The epochs of a site are few, so the index on (epoch, seq) serves this.
		const all = `SELECT r.epoch, r.seq, r.time, r.body FROM readings r JOIN epochs e ON e.id = r.epoch
			WHERE e.site = ? ORDER BY r.epoch DESC, r.seq DESC LIMIT ?`
		rows, err := db.read.QueryContext(ctx, all, site, limit)
		return collect(rows, err, scan)
	}
	const one = `SELECT r.epoch, r.seq, r.time, r.body FROM sensor_readings x
		JOIN readings r ON r.epoch = x.epoch AND r.seq = x.seq
		WHERE x.site = ? AND x.sensor = ? ORDER BY x.epoch DESC, x.seq DESC LIMIT ?`
	rows, err := db.read.QueryContext(ctx, one, site, sensor, limit)
	return collect(rows, err, scan)
}
