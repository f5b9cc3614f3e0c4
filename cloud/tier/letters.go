package tier

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/store"
)

// Letter is a notification that could not be delivered, or is kept for want of a mail server.
type Letter = notify.Letter

// DeadLetters lists them, newest first, of one organisation unless org is empty. As all commands
// on dead letters it works on the database, beside a running tier too, which looks at what was
// changed within seconds.
func DeadLetters(ctx context.Context, cfg Config, org string) (list []Letter, err error) {
	err = withLetters(ctx, cfg, func(db *store.DB) error {
		list, err = notify.Dead(ctx, db, org)
		return err
	})
	return list, err
}

// DeadLetter shows one in full.
func DeadLetter(ctx context.Context, cfg Config, id int64) (l Letter, err error) {
	err = withLetters(ctx, cfg, func(db *store.DB) error {
		l, err = notify.Show(ctx, db, id)
		return err
	})
	return l, err
}

// RetryDeadLetter makes one due again.
func RetryDeadLetter(ctx context.Context, cfg Config, id int64) error {
	return withLetters(ctx, cfg, func(db *store.DB) error { return notify.Retry(ctx, db, id) })
}

// DropDeadLetter dismisses one.
func DropDeadLetter(ctx context.Context, cfg Config, id int64) error {
	return withLetters(ctx, cfg, func(db *store.DB) error { return notify.Drop(ctx, db, id) })
}

// withLetters opens the database of a configuration.
func withLetters(ctx context.Context, cfg Config, do func(*store.DB) error) error {
	cfg.setDefaults()
	where, err := cfg.database()
	if err != nil {
		return err
	}
	if !store.IsURL(where) {
		if _, err := os.Stat(where); err != nil {
			return fmt.Errorf("dead letters: %w; name the data directory with --data", err)
		}
	}
	db, err := store.Open(ctx, where)
	if err != nil {
		return err
	}
	if _, err = notify.New(ctx, notify.Options{DB: db}); err == nil { // brings its tables up to date
		err = do(db)
	}
	return errors.Join(err, db.Close())
}
