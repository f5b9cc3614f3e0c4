package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
)

// ErrInUse says that another process works on the data directory.
var ErrInUse = errors.New("in use by another headcount-cloud")

// Lock is the right to work on a data directory. It ends with the process, however that ends.
type Lock struct {
	db   *sql.DB
	conn *sql.Conn
}

// Acquire takes the lock that the file at path stands for, or fails at once with an error that
// wraps ErrInUse. SQLite's own lock is used, as it is held and let go alike on every system.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(0)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, `BEGIN EXCLUSIVE`)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("lock %s: %w: %w", path, ErrInUse, err)
	}
	return &Lock{db: db, conn: conn}, nil
}

// Release lets the lock go.
func (l *Lock) Release() error {
	return errors.Join(l.conn.Close(), l.db.Close())
}
