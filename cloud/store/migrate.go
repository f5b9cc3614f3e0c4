package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migration is one step of the schema; its version is the number its file name begins with.
type migration struct {
	version int
	name    string
	sql     string
}

// migrate applies what is missing, each step in a transaction of its own together with its
// version. A schema with a version that is not known here is refused and left alone.
func migrate(ctx context.Context, db *DB, files fs.FS, dir string) error {
	steps, err := readMigrations(files, dir)
	if err != nil {
		return err
	}
	const table = `CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)`
	if err := db.Update(ctx, func(tx *Tx) error { return tx.Exec(table) }); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	var have int
	if err := db.write.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_versions`).Scan(&have); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if newest := steps[len(steps)-1].version; have > newest {
		return fmt.Errorf("schema version %d is newer than this program's %d; run the newer headcount-cloud, or restore a backup from before the upgrade", have, newest)
	}
	for _, m := range steps {
		if m.version <= have {
			continue
		}
		if err := db.Update(ctx, func(tx *Tx) error { return tx.migrate(m) }); err != nil {
			return fmt.Errorf("migrate schema to %s: %w", m.name, err)
		}
	}
	return nil
}

// migrate runs one step unless another process was faster.
func (tx *Tx) migrate(m migration) error {
	var done int
	if err := tx.QueryRow(`SELECT count(*) FROM schema_versions WHERE version = ?`, m.version).Scan(&done); err != nil || done > 0 {
		return err
	}
	if err := tx.define(m.sql); err != nil {
		return err
	}
	return tx.Exec(`INSERT INTO schema_versions (version, name, applied) VALUES (?, ?, ?)`, m.version, m.name, time.Now().UnixMilli())
}

// autoID is what a migration writes for the type of a column that numbers its table's rows.
const autoID = "AUTO_ID"

// define runs the statements of a migration.
func (tx *Tx) define(statements string) error {
	return tx.Exec(strings.ReplaceAll(statements, autoID, tx.db.engine.autoID))
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
