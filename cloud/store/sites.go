package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// CloudEpoch is the epoch of the events that the cloud writes itself.
const CloudEpoch = "cloud"

// Site is a site as the cloud knows it.
type Site struct {
	ID            int64
	Org, Name     string // Name is what people call it; may be empty
	Site          string // id within the organisation
	FirstSeen     time.Time
	LastHeartbeat time.Time       // the cloud's clock; zero = never
	Heartbeat     json.RawMessage // wire.Heartbeat, the newest; nil = none
	Model         json.RawMessage // edge.Site of the newest snapshot; nil = none
	Snapshot      Position        // what the newest snapshot includes
	SnapshotAt    time.Time       // the hub's clock
	Domains       []string        // whom it belongs to: the owner first, then those it is shared with; never empty
}

// Owner is the domain that may change whom the site belongs to.
func (s Site) Owner() string { return s.Domains[0] }

// Position orders everything a site ever sent: epochs are numbered in order of first sight.
type Position struct {
	Epoch int64
	Seq   uint64
}

// Before tells whether p is older than q.
func (p Position) Before(q Position) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

const siteColumns = `id, org, site, name, first_seen, last_heartbeat, heartbeat, model, snapshot_epoch, snapshot_seq, snapshot_at, domains`

type scanner interface{ Scan(...any) error }

func scanSite(row scanner) (Site, error) {
	var s Site
	var first, beat, at int64
	var heartbeat, model []byte
	var domains string
	err := row.Scan(&s.ID, &s.Org, &s.Site, &s.Name, &first, &beat, &heartbeat, &model, &s.Snapshot.Epoch, &s.Snapshot.Seq, &at, &domains)
	s.FirstSeen, s.LastHeartbeat, s.SnapshotAt = fromMillis(first), fromMillis(beat), fromMillis(at)
	s.Heartbeat, s.Model = heartbeat, model
	if s.Domains = strings.Fields(domains); len(s.Domains) == 0 {
		s.Domains = []string{s.Org}
	}
	return s, err
}

// Sites lists all sites by organisation and id.
func (db *DB) Sites(ctx context.Context) ([]Site, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT `+siteColumns+` FROM sites WHERE site <> '-' AND org <> '' ORDER BY org, site`)
	return collect(rows, err, func(r *sql.Rows) (Site, error) { return scanSite(r) })
}

// FindSites lists the sites with this id; org narrows it to one organisation unless empty.
func (db *DB) FindSites(ctx context.Context, org, site string) ([]Site, error) {
	const query = `SELECT ` + siteColumns + ` FROM sites WHERE site = ? AND site <> '-' AND org <> '' AND (org = ? OR ? = '') ORDER BY org`
	rows, err := db.read.QueryContext(ctx, query, site, org, org)
	return collect(rows, err, func(r *sql.Rows) (Site, error) { return scanSite(r) })
}

// Site returns the site, which it makes at first sight.
func (tx *Tx) Site(org, site string, now time.Time) (Site, error) {
	const insert = `INSERT INTO sites (org, site, first_seen) VALUES (?, ?, ?) ON CONFLICT (org, site) DO NOTHING`
	const query = `SELECT ` + siteColumns + ` FROM sites WHERE org = ? AND site = ?`
	s, err := scanSite(tx.tx.QueryRow(query, org, site))
	if !errors.Is(err, sql.ErrNoRows) {
		return s, wrap("read site", err)
	}
	if _, err := tx.tx.Exec(insert, org, site, millis(now)); err != nil {
		return Site{}, fmt.Errorf("add site %s: %w", site, err)
	}
	s, err = scanSite(tx.tx.QueryRow(query, org, site))
	return s, wrap("read site", err)
}

// Epoch returns the number of a site's epoch, which it gives at first sight. fresh tells that
// it did.
func (tx *Tx) Epoch(site int64, epoch string, now time.Time) (id int64, fresh bool, err error) {
	const query = `SELECT id FROM epochs WHERE site = ? AND epoch = ?`
	err = tx.tx.QueryRow(query, site, epoch).Scan(&id)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return id, false, wrap("read epoch", err)
	}
	const insert = `INSERT INTO epochs (site, epoch, first_seen) VALUES (?, ?, ?) RETURNING id`
	err = tx.tx.QueryRow(insert, site, epoch, millis(now)).Scan(&id)
	return id, true, wrap("add epoch", err)
}

// Beat notes a heartbeat that came at now. name is kept when it is empty.
func (tx *Tx) Beat(site int64, name string, heartbeat []byte, now time.Time) error {
	const update = `UPDATE sites SET last_heartbeat = CASE WHEN last_heartbeat > ? THEN last_heartbeat ELSE ? END, heartbeat = ?,
		name = CASE WHEN ? = '' THEN name ELSE ? END WHERE id = ?`
	_, err := tx.tx.Exec(update, millis(now), millis(now), heartbeat, name, name, site)
	return wrap("note heartbeat", err)
}

// PutModel notes the snapshot that the site's twin was set to.
func (tx *Tx) PutModel(site int64, name string, model []byte, p Position, at time.Time) error {
	const update = `UPDATE sites SET model = ?, snapshot_epoch = ?, snapshot_seq = ?, snapshot_at = ?,
		name = CASE WHEN ? = '' THEN name ELSE ? END WHERE id = ?`
	_, err := tx.tx.Exec(update, model, p.Epoch, p.Seq, millis(at), name, name, site)
	return wrap("note snapshot", err)
}

// PutDomains sets the domains that a site belongs to, the owner first.
func (tx *Tx) PutDomains(site int64, domains []string) error {
	_, err := tx.tx.Exec(`UPDATE sites SET domains = ? WHERE id = ?`, strings.Join(domains, " "), site)
	return wrap("set domains", err)
}

// DeleteSite removes a site with everything it sent and everything derived from that: records,
// marks, twin, alerts, notifications. What modules keep about it is theirs to remove.
func (tx *Tx) DeleteSite(site int64) error {
	for _, query := range []string{
		`DELETE FROM marks WHERE epoch IN (SELECT id FROM epochs WHERE site = ?)`,
		`DELETE FROM lost WHERE epoch IN (SELECT id FROM epochs WHERE site = ?)`,
		`DELETE FROM events WHERE site = ?`, `DELETE FROM readings WHERE site = ?`, `DELETE FROM sensor_readings WHERE site = ?`,
		`DELETE FROM unreadable WHERE site = ?`, `DELETE FROM spaces WHERE site = ?`, `DELETE FROM sensors WHERE site = ?`,
		`DELETE FROM alerts WHERE site = ?`, `DELETE FROM loss WHERE site = ?`, `DELETE FROM outbox WHERE site = ?`,
		`DELETE FROM epochs WHERE site = ?`,
		// An empty row stays, so that its number is never given to another site.
		`UPDATE sites SET org = '', site = CAST(id AS TEXT), name = '', last_heartbeat = 0, heartbeat = NULL, model = NULL, domains = '' WHERE id = ?`,
	} {
		if _, err := tx.tx.Exec(query, site); err != nil {
			return wrap("delete site", err)
		}
	}
	return nil
}

// wrap adds what was being done to an error, if there is one.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
