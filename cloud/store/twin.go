package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Space is the newest known occupancy of a space.
type Space struct {
	Space     string
	Occupancy json.RawMessage // edge.Occupancy
	Position  Position        // what it is known from
}

// PutSpace sets a space's occupancy unless a newer one is known.
func (tx *Tx) PutSpace(site int64, s Space) error {
	const upsert = `INSERT INTO spaces (site, space, occupancy, epoch, seq) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site, space) DO UPDATE SET occupancy = excluded.occupancy, epoch = excluded.epoch, seq = excluded.seq
		WHERE (spaces.epoch, spaces.seq) <= (excluded.epoch, excluded.seq)`
	_, err := tx.tx.Exec(upsert, site, s.Space, []byte(s.Occupancy), s.Position.Epoch, s.Position.Seq)
	return wrap("store occupancy", err)
}

// Spaces lists the occupancies of a site by space id.
func (db *DB) Spaces(ctx context.Context, site int64) ([]Space, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT space, occupancy, epoch, seq FROM spaces WHERE site = ? ORDER BY space`, site)
	return collect(rows, err, func(r *sql.Rows) (Space, error) {
		var s Space
		var doc []byte
		err := r.Scan(&s.Space, &doc, &s.Position.Epoch, &s.Position.Seq)
		s.Occupancy = doc
		return s, err
	})
}

// Sensor is the newest known status of a sensor.
type Sensor struct {
	Sensor   string
	Status   json.RawMessage // edge.SensorStatus
	Position Position        // what the status is known from
}

// Sensor reads one sensor within the transaction; ErrNotFound when it is not known.
func (tx *Tx) Sensor(site int64, sensor string) (Sensor, error) {
	s := Sensor{Sensor: sensor}
	var doc []byte
	const query = `SELECT status, epoch, seq FROM sensors WHERE site = ? AND sensor = ?`
	err := tx.tx.QueryRow(query, site, sensor).Scan(&doc, &s.Position.Epoch, &s.Position.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	s.Status = doc
	return s, wrap("read sensor", err)
}

// PutSensor sets what is known of a sensor.
func (tx *Tx) PutSensor(site int64, s Sensor) error {
	const upsert = `INSERT INTO sensors (site, sensor, status, epoch, seq) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site, sensor) DO UPDATE SET status = excluded.status, epoch = excluded.epoch, seq = excluded.seq`
	_, err := tx.tx.Exec(upsert, site, s.Sensor, []byte(s.Status), s.Position.Epoch, s.Position.Seq)
	return wrap("store sensor", err)
}

// Sensors lists the sensors of a site by id.
func (db *DB) Sensors(ctx context.Context, site int64) ([]Sensor, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT sensor, status, epoch, seq FROM sensors WHERE site = ? ORDER BY sensor`, site)
	return collect(rows, err, func(r *sql.Rows) (Sensor, error) {
		var s Sensor
		var doc []byte
		err := r.Scan(&s.Sensor, &doc, &s.Position.Epoch, &s.Position.Seq)
		s.Status = doc
		return s, err
	})
}

// ForgetExcept removes the spaces and sensors of a site that are not named: the site's model
// has changed. History stays.
func (tx *Tx) ForgetExcept(site int64, spaces, sensors []string) error {
	for _, t := range []struct {
		table, column string
		keep          []string
	}{{"spaces", "space", spaces}, {"sensors", "sensor", sensors}} {
		rows, err := tx.tx.Query(`SELECT `+t.column+` FROM `+t.table+` WHERE site = ?`, site)
		have, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
		if err != nil {
			return wrap("forget old "+t.table, err)
		}
		keep := make(map[string]bool, len(t.keep))
		for _, id := range t.keep {
			keep[id] = true
		}
		for _, id := range have {
			if keep[id] {
				continue
			}
			if _, err := tx.tx.Exec(`DELETE FROM `+t.table+` WHERE site = ? AND `+t.column+` = ?`, site, id); err != nil {
				return wrap("forget old "+t.table, err)
			}
		}
	}
	return nil
}

// Alert is an alert of a site, with the acknowledgement that was given here.
type Alert struct {
	Site     int64
	Alert    edge.Alert
	Cloud    bool // raised by the cloud itself
	Position Position
	AckAt    time.Time // acknowledged in the cloud; zero = not
	AckBy    string
	AckNote  string
}

// PutAlert sets what an alert's owner last told of it, unless something newer is known. An
// acknowledgement that was given here stays.
func (tx *Tx) PutAlert(a Alert) error {
	doc, err := json.Marshal(a.Alert)
	if err != nil {
		return wrap("encode alert", err)
	}
	const upsert = `INSERT INTO alerts (site, alert, rule, subject, cloud, open, raised, doc, epoch, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (site, alert) DO UPDATE SET open = excluded.open, doc = excluded.doc, epoch = excluded.epoch, seq = excluded.seq
		WHERE (alerts.epoch, alerts.seq) <= (excluded.epoch, excluded.seq)`
	raised := a.Alert.RaisedAt
	if raised.IsZero() {
		raised = a.Alert.Since
	}
	_, err = tx.tx.Exec(upsert, a.Site, a.Alert.ID, a.Alert.Rule, a.Alert.Subject, boolInt(a.Cloud),
		boolInt(a.Alert.State != edge.StateCleared), millis(raised), doc, a.Position.Epoch, a.Position.Seq)
	return wrap("store alert", err)
}

const alertColumns = `site, doc, cloud, epoch, seq, ack_at, ack_by, ack_note`

func scanAlert(r scanner) (Alert, error) {
	var a Alert
	var doc []byte
	var ack int64
	if err := r.Scan(&a.Site, &doc, &a.Cloud, &a.Position.Epoch, &a.Position.Seq, &ack, &a.AckBy, &a.AckNote); err != nil {
		return a, err
	}
	a.AckAt = fromMillis(ack)
	return a, json.Unmarshal(doc, &a.Alert)
}

// OpenAlerts lists the open alerts of a site within the transaction.
func (tx *Tx) OpenAlerts(site int64) ([]Alert, error) {
	rows, err := tx.tx.Query(`SELECT `+alertColumns+` FROM alerts WHERE site = ? AND open = 1 ORDER BY raised, alert`, site)
	return collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
}

// Alerts lists the open alerts of a site, oldest first, and after them at most cleared of the
// newest ones that are not.
func (db *DB) Alerts(ctx context.Context, site int64, cleared int) ([]Alert, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT `+alertColumns+` FROM alerts WHERE site = ? AND open = 1 ORDER BY raised, alert`, site)
	open, err := collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
	if err != nil || cleared == 0 {
		return open, wrap("read alerts", err)
	}
	rows, err = db.read.QueryContext(ctx, `SELECT `+alertColumns+` FROM alerts WHERE site = ? AND open = 0 ORDER BY raised DESC, alert LIMIT ?`, site, cleared)
	done, err := collect(rows, err, func(r *sql.Rows) (Alert, error) { return scanAlert(r) })
	return append(open, done...), wrap("read alerts", err)
}

// Alert reads one alert within the transaction; ErrNotFound when there is none.
func (tx *Tx) Alert(site int64, id string) (Alert, error) {
	a, err := scanAlert(tx.tx.QueryRow(`SELECT `+alertColumns+` FROM alerts WHERE site = ? AND alert = ?`, site, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return a, wrap("read alert", err)
}

// Acknowledge notes that somebody has acknowledged an alert in the cloud; the first one stays.
func (tx *Tx) Acknowledge(site int64, id, by, note string, at time.Time) error {
	const update = `UPDATE alerts SET ack_at = ?, ack_by = ?, ack_note = ? WHERE site = ? AND alert = ? AND ack_at = 0`
	_, err := tx.tx.Exec(update, millis(at), by, note, site, id)
	return wrap("acknowledge alert", err)
}

// CountOpenAlerts counts the open alerts of each site.
func (db *DB) CountOpenAlerts(ctx context.Context) (map[int64]int, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT site, count(*) FROM alerts WHERE open = 1 GROUP BY site`)
	counts := map[int64]int{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var site int64
		var n int
		err := r.Scan(&site, &n)
		counts[site] = n
		return struct{}{}, err
	})
	return counts, wrap("count alerts", err)
}

// AddCloudEvent writes an event of the cloud's own about a site, with the next sequence of the
// site's cloud epoch, and returns its place.
func (tx *Tx) AddCloudEvent(site Site, e edge.Event) (Position, error) {
	return tx.addCloudEvent(site, "", e)
}

func (tx *Tx) addCloudEvent(site Site, audience string, e edge.Event) (Position, error) {
	epoch, _, err := tx.Epoch(site.ID, CloudEpoch, e.At)
	if err != nil {
		return Position{}, err
	}
	var seq uint64
	if err := tx.tx.QueryRow(`SELECT coalesce(max(seq), 0) + 1 FROM events WHERE epoch = ?`, epoch).Scan(&seq); err != nil {
		return Position{}, wrap("number cloud event", err)
	}
	rec := edge.Record{
		Epoch: CloudEpoch, Lane: edge.Events, Seq: seq, Commit: seq, Source: site.Site,
		Type: string(e.Type), Subject: e.Subject, Time: e.At, Data: e.Data,
	}
	p := Position{Epoch: epoch, Seq: seq}
	return p, tx.AddEvents([]Event{{
		Site: site.ID, Position: p, Type: rec.Type, Subject: rec.Subject, Time: e.At, At: e.At, Body: rec.AppendJSON(nil), Audience: audience,
	}})
}

// PutLoss sets an entry of the hub's loss ledger unless a newer one is known.
func (tx *Tx) PutLoss(site int64, l edge.LossEntry, p Position) error {
	const upsert = `INSERT INTO loss (site, cause, source, first, last, count, detail, epoch, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (site, cause, source) DO UPDATE SET first = excluded.first, last = excluded.last, count = excluded.count,
			detail = excluded.detail, epoch = excluded.epoch, seq = excluded.seq
		WHERE (loss.epoch, loss.seq) < (excluded.epoch, excluded.seq)`
	_, err := tx.tx.Exec(upsert, site, l.Cause, l.Source, millis(l.First), millis(l.Last), int64(l.Count), l.Detail, p.Epoch, p.Seq)
	return wrap("store loss", err)
}

// LossLedger is what did not arrive: the hub's own ledger, then per lane what it declared lost
// on the way up, then what arrived and could not be read.
func (db *DB) LossLedger(ctx context.Context, site int64) ([]edge.LossEntry, error) {
	const query = `
		SELECT 0 AS part, cause, source, first, last, count, detail FROM loss WHERE site = ?
		UNION ALL
		SELECT 1, 'declared lost by the hub', 'lane ' || l.lane, min(l.at), max(l.at), sum(l.last - l.first + 1), ''
			FROM lost l JOIN epochs e ON e.id = l.epoch WHERE e.site = ? GROUP BY l.lane
		UNION ALL
		SELECT 2, 'unreadable in the cloud', 'lane ' || lane, min(at), max(at), count(*), max(reason)
			FROM unreadable WHERE site = ? GROUP BY lane
		ORDER BY 1, 2, 3`
	rows, err := db.read.QueryContext(ctx, query, site, site, site)
	out, err := collect(rows, err, func(r *sql.Rows) (edge.LossEntry, error) {
		var l edge.LossEntry
		var part int
		var first, last, count int64
		err := r.Scan(&part, &l.Cause, &l.Source, &first, &last, &count, &l.Detail)
		l.First, l.Last, l.Count = fromMillis(first), fromMillis(last), uint64(count)
		return l, err
	})
	return out, wrap("read loss", err)
}
