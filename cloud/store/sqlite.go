package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

// applicationID marks our files in SQLite's header, so that a foreign database is refused.
const applicationID = 0x48445354 // "HDST"

// Open opens the SQLite database file at path, makes it with mode 0600 when it is missing, and
// brings its schema up to date.
func Open(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite itself would make it 0644
	if err != nil {
		return nil, fmt.Errorf("open database: %w; check that %s is a writable file", err, path)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db, err := openSQLite(path)
	if err != nil {
		return nil, err
	}
	if err := db.prepare(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("database %s: %w", filepath.Base(path), err)
	}
	return db, nil
}

func openSQLite(path string) (*DB, error) {
	write, err := sql.Open("sqlite", sqliteDSN(path, "immediate"))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, "deferred")+"&_pragma=query_only(1)")
	if err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	write.SetMaxOpenConns(1)
	write.SetMaxIdleConns(1)
	readers := max(4, runtime.GOMAXPROCS(0))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &DB{write: write, read: read, changed: make(chan struct{})}, nil
}

// sqliteDSN sets what every connection needs: a commit is durable when it returns (FULL), a
// second process is waited for, the log is cut at 16 MiB after a checkpoint.
func sqliteDSN(path, txlock string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	q := url.Values{"_txlock": {txlock}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-16384)", "journal_size_limit(16777216)", "wal_autocheckpoint(4000)",
	}}
	u.RawQuery = q.Encode()
	return u.String()
}

// prepare checks whose file it is and migrates it.
func (db *DB) prepare(ctx context.Context) error {
	var id, tables int
	if err := db.write.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return fmt.Errorf("read header: %w; is it a database of headcount-cloud?", err)
	}
	if err := db.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if id != applicationID && (id != 0 || tables > 0) {
		return fmt.Errorf("belongs to another program (application id %#x); name another data directory", id)
	}
	if err := migrate(ctx, db.write, sqliteMigrations, "migrations/sqlite"); err != nil {
		return err
	}
	_, err := db.write.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
	if err != nil {
		return fmt.Errorf("mark database: %w", err)
	}
	db.newest, err = db.NewestEvent(ctx)
	return err
}
