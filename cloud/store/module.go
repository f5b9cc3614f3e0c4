package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// A module is a part of the cloud with tables of its own: it brings its migrations and writes
// its statements through Tx and DB. Statements keep to what SQLite and PostgreSQL share: "?"
// parameters, ON CONFLICT, RETURNING, BIGINT times in milliseconds, TEXT, BYTEA; no functions of
// one engine, and no tables of another module.

// Migrate brings a module's tables up to date. files has NNNN_name.sql under dir; each is
// applied once, in a transaction of its own. The names of its tables begin with the module's.
func (db *DB) Migrate(ctx context.Context, module string, files fs.FS, dir string) error {
	steps, err := readMigrations(files, dir)
	if err != nil {
		return err
	}
	for _, m := range steps {
		if err := db.Update(ctx, func(tx *Tx) error { return tx.migrateModule(module, m) }); err != nil {
			return fmt.Errorf("migrate %s to %s: %w", module, m.name, err)
		}
	}
	var have int
	if err := db.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM module_versions WHERE module = ?`, module).Scan(&have); err != nil {
		return fmt.Errorf("read schema version of %s: %w", module, err)
	}
	if newest := steps[len(steps)-1].version; have > newest {
		return fmt.Errorf("schema version %d of %s is newer than this program's %d; run the newer headcount-cloud", have, module, newest)
	}
	return nil
}

func (tx *Tx) migrateModule(module string, m migration) error {
	var done int
	if err := tx.QueryRow(`SELECT count(*) FROM module_versions WHERE module = ? AND version = ?`, module, m.version).Scan(&done); err != nil || done > 0 {
		return err
	}
	if err := tx.define(m.sql); err != nil {
		return err
	}
	return tx.Exec(`INSERT INTO module_versions (module, version, name, applied) VALUES (?, ?, ?, ?)`, module, m.version, m.name, time.Now().UnixMilli())
}

// Exec runs a statement within the transaction.
func (tx *Tx) Exec(query string, args ...any) error {
	_, err := tx.tx.Exec(query, args...)
	return err
}

// ExecCount runs a statement and returns how many rows it changed.
func (tx *Tx) ExecCount(query string, args ...any) (int64, error) {
	res, err := tx.tx.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// QueryRow reads one row within the transaction. Its Scan returns sql.ErrNoRows when there is
// none.
func (tx *Tx) QueryRow(query string, args ...any) *sql.Row { return tx.tx.QueryRow(query, args...) }

// Query reads rows within the transaction; see Collect.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) { return tx.tx.Query(query, args...) }

// QueryRow reads one row of what is committed.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.read.QueryRowContext(ctx, query, args...)
}

// Query reads rows of what is committed; see Collect.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.read.QueryContext(ctx, query, args...)
}

// Collect reads all rows of a Query through scan: Collect(rows, err, scan).
func Collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	return collect(rows, err, scan)
}

// Millis is the column form of a time: milliseconds since 1970 UTC, 0 for the zero time.
func Millis(t time.Time) int64 { return millis(t) }

// FromMillis is the inverse of Millis.
func FromMillis(ms int64) time.Time { return fromMillis(ms) }

// OrgSite is the id of the site that stands for an organisation as a whole: its events are those
// that concern no site. It is not listed among the sites.
const OrgSite = "-"

// AddOrgEvent writes an event of the cloud's own that concerns an organisation and no site, or
// one for certain people only. audience is empty for everybody who may see the organisation, or
// such as "user:ID"; e.Data is a JSON object.
func (tx *Tx) AddOrgEvent(org, audience string, e edge.Event) error {
	site, err := tx.Site(org, OrgSite, e.At)
	if err != nil {
		return err
	}
	_, err = tx.addCloudEvent(site, audience, e)
	return err
}

// AddSiteEvent writes an event of the cloud's own about a site, for an audience as AddOrgEvent
// has it.
func (tx *Tx) AddSiteEvent(site Site, audience string, e edge.Event) error {
	_, err := tx.addCloudEvent(site, audience, e)
	return err
}

// EventOf makes an event of the cloud's own; data is encoded as JSON.
func EventOf(typ edge.EventType, subject string, at time.Time, data any) (edge.Event, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return edge.Event{}, fmt.Errorf("encode event %s: %w", typ, err)
	}
	return edge.Event{Type: typ, Subject: subject, At: edge.Millis(at), Data: b}, nil
}
