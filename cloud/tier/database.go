package tier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/headcount-hub/headcount/cloud/store"
)

// database is where the tier's database is, for store.Open: a URL or a path.
func (c *Config) database() (string, error) {
	if c.DatabaseFile != "" {
		url, err := readFile(c.DatabaseFile)
		if err == nil && !store.IsURL(url) {
			err = fmt.Errorf("%s has no URL that begins with postgres://", c.DatabaseFile)
		}
		if err != nil {
			return "", fmt.Errorf("%w: database_file: %w", ErrConfig, err)
		}
		return url, nil
	}
	if c.Database != "" {
		return c.Database, nil
	}
	return filepath.Join(c.Data, databaseFile), nil
}

func (c *Config) checkDatabase(bad func(string, ...any)) {
	if c.Database != "" && c.DatabaseFile != "" {
		bad("database and database_file: give one of them")
	}
	if c.Database != "" && !store.IsURL(c.Database) {
		bad("database: want a URL such as postgres://USER@HOST:5432/DATABASE; leave it out for SQLite in the data directory")
	}
}

// readFile reads a short file that others of this machine must not read.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s is open to every user of this machine (%04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// openData locks the data directory and opens the database.
func openData(ctx context.Context, cfg Config) (*store.Lock, *store.DB, error) {
	where, err := cfg.database()
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, nil, fmt.Errorf("data directory: %w; name another one with --data", err)
	}
	lock, err := store.Acquire(ctx, filepath.Join(cfg.Data, lockFile))
	if err != nil {
		return nil, nil, fmt.Errorf("data directory %s: %w", cfg.Data, err)
	}
	db, err := store.Open(ctx, where)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Release())
	}
	return lock, db, nil
}
