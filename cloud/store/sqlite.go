package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// applicationID marks our files in SQLite's header, so that a foreign database is refused.
const applicationID = 0x48445354 // "HDST"

// openSQLite opens the file at path, which it makes with mode 0600, and checks that it is ours.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite itself would make it 0644
	if err != nil {
		return nil, fmt.Errorf("open database: %w; check that %s is a writable file", err, path)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
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
	db := &DB{write: write, read: read, changed: make(chan struct{}), engine: engine{
		autoID: "INTEGER PRIMARY KEY AUTOINCREMENT",
		begin:  func(*sql.Tx) error { return nil }, // _txlock=immediate has taken the lock
	}}
	if err := db.ownFile(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("database %s: %w", filepath.Base(path), err)
	}
	return db, nil
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

// ownFile checks whose file it is and marks it as ours.
func (db *DB) ownFile(ctx context.Context) error {
	var id, tables int
	if err := db.write.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return fmt.Errorf("read header: %w; is it a database of headcount-cloud?", err)
	}
	if err := db.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if id == applicationID {
		return nil
	}
	if id != 0 || tables > 0 {
		return fmt.Errorf("belongs to another program (application id %#x); name another data directory", id)
	}
	if _, err := db.write.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID)); err != nil {
		return fmt.Errorf("mark database: %w", err)
	}
	return nil
}
