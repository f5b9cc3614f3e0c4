// Package store is the cloud tier's SQL database: marks, records, the twin's tables, alerts,
// the notification outbox.
//
// It guarantees that one [DB.Update] is one durable transaction (on SQLite: WAL with
// synchronous=FULL), that a record is stored once per (site, epoch, lane, seq), and that
// writers are serialised, so that what an Update reads nobody changes until it commits. It
// refuses a database whose schema is newer than itself, and it knows nothing of how records
// arrive or what they mean: that is for ingest and twin.
//
// The database is SQLite (a file) or PostgreSQL (a URL). What is particular to one of them stands
// in sqlite.go and postgres.go; the statements elsewhere, and the migrations but for the type
// AUTO_ID, are common to both, with "?" for parameters.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("not found")

// ErrConflict says that a mark is not where the caller believed it to be: somebody else has
// moved it. Read it again.
var ErrConflict = errors.New("the mark has moved")

// DB is an open database. Its methods may be called from many goroutines.
type DB struct {
	write  *sql.DB // one connection: writers queue here and not in the engine
	read   *sql.DB
	engine engine

	mu      sync.Mutex
	changed chan struct{} // closed when events were added
	newest  int64         // id of the newest event that Changed has told of
}

// Tx is a write transaction, valid within Update only and not for concurrent use.
type Tx struct {
	tx     *sql.Tx
	db     *DB
	events bool // events were added
}

// Update runs fn in one transaction and commits it when fn returns nil. When Update returns
// nil the transaction is durable.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	sqlTx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx := &Tx{tx: sqlTx, db: db}
	if err := db.engine.begin(sqlTx); err != nil {
		_ = sqlTx.Rollback()
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := fn(tx); err != nil {
		_ = sqlTx.Rollback() // the cause is what matters
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	if tx.events {
		db.announce()
	}
	return nil
}

// engine is what differs between the databases.
type engine struct {
	autoID string              // column type of AUTO_ID
	begin  func(*sql.Tx) error // what a write transaction begins with
}

// Open opens a database and brings its schema up to date: the SQLite file at a path, made with
// mode 0600 when it is missing, or a PostgreSQL database or schema by a URL that begins with
// "postgres://". It refuses a database that is another program's.
func Open(ctx context.Context, where string) (*DB, error) {
	var db *DB
	var err error
	if IsURL(where) {
		db, err = openPostgres(ctx, where)
	} else {
		db, err = openSQLite(ctx, where)
	}
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// migrate brings the base schema up to date.
func (db *DB) migrate(ctx context.Context) (err error) {
	if err := migrate(ctx, db, migrations, "migrations"); err != nil {
		return err
	}
	db.newest, err = db.NewestEvent(ctx)
	return err
}

// Close closes the database. Nothing may be under way.
func (db *DB) Close() error {
	return errors.Join(db.read.Close(), db.write.Close())
}

// Changed returns a channel that is closed when events are added after this call.
func (db *DB) Changed() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.changed
}

func (db *DB) announce() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.changed)
	db.changed = make(chan struct{})
}

// Watch looks every interval for events that another process has added and announces them
// through Changed. It returns when ctx ends.
func (db *DB) Watch(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		newest, err := db.NewestEvent(ctx)
		if err != nil {
			continue // whoever reads next reports it
		}
		db.mu.Lock()
		moved := newest > db.newest
		db.newest = newest
		db.mu.Unlock()
		if moved {
			db.announce()
		}
	}
}

// Ping tells whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// millis is the column form of a time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the inverse of millis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// collect reads all rows through scan.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
