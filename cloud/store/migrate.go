package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// migration is one step of the schema; its version is the number its file name begins with.
type migration struct {
	version int
	name    string
	sql     string
}

// migrate applies what is missing, each step in a transaction of its own together with its
// version. A schema with a version that is not known here is refused and left alone.
func migrate(ctx context.Context, db *sql.DB, files fs.FS, dir string) error {
	steps, err := readMigrations(files, dir)
	if err != nil {
		return err
	}
	const table = `CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied INTEGER NOT NULL)`
	if _, err := db.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	var have int
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_versions`).Scan(&have); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if newest := steps[len(steps)-1].version; have > newest {
		return fmt.Errorf("schema version %d is newer than this program's %d; run the newer headcount-cloud, or restore a backup from before the upgrade", have, newest)
	}
	for _, m := range steps {
		if m.version <= have {
			continue
		}
		if err := apply(ctx, db, m); err != nil {
			return fmt.Errorf("migrate schema to %s: %w", m.name, err)
		}
	}
	return nil
}

// apply runs one step unless another process was faster.
func apply(ctx context.Context, db *sql.DB, m migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	var done int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM schema_versions WHERE version = ?`, m.version).Scan(&done); err != nil {
		return err
	}
	if done > 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	const note = `INSERT INTO schema_versions (version, name, applied) VALUES (?, ?, ?)`
	if _, err := tx.ExecContext(ctx, note, m.version, m.name, time.Now().UnixMilli()); err != nil {
		return err
	}
	return tx.Commit()
}

// readMigrations lists the steps in order of their names, which begin with four digits.
func readMigrations(files fs.FS, dir string) ([]migration, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var steps []migration
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		v, err := strconv.Atoi(number)
		if err != nil || v != len(steps)+1 {
			return nil, fmt.Errorf("migration %s: want number %d at its beginning", e.Name(), len(steps)+1)
		}
		b, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		steps = append(steps, migration{version: v, name: strings.TrimSuffix(e.Name(), ".sql"), sql: string(b)})
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("no migrations in %s", dir)
	}
	return steps, nil
}
