// Package analytics tells how spaces are used and how the site fares: totals per space and hour
// of the wall clock, alerts, deliveries, doors and availability, the typical week, reports, and
// planned beside measured occupancy.
//
// It guarantees that the numbers are a function of the events: it follows the event table by a
// cursor, moved in the transaction that writes what follows from them, and what arrives late or
// is revised has the hours concerned folded anew. Unknown is never zero: averages are over known
// time, and how much that was is always told. It refuses to answer with a number where there is
// too little to know it: that is null. Of calendars it keeps when and where, not what or who.
package analytics

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options is what the module works with. DB, OfSite and Domains are needed.
type Options struct {
	DB  *store.DB
	Log *slog.Logger     // nil = silent
	Now func() time.Time // nil = time.Now

	OfSite  func(*route.Request) ([]string, error) // policy of paths with {site}: leaves the store.Site in Found
	Domains func(store.Site) []string              // that own a site

	// Mail queues a mail as part of the transaction; nil = finished reports are not mailed.
	Mail func(tx *store.Tx, key, org, to, subject, text string) error
	// Deliveries counts what the cloud told whom about a site in [from, to), by state; nil = only
	// what hubs report of their own is counted.
	Deliveries func(ctx context.Context, site store.Site, from, to time.Time) (map[string]int, error)
	PublicURL  func() string // how links in mails begin; nil = they are paths
}

// Module is the analytics of a tier. Several processes may run one on the same database. Its
// methods may be called from many goroutines.
type Module struct {
	o     Options
	db    *store.DB
	log   *slog.Logger
	now   func() time.Time
	owner string
	work  chan struct{} // size 1: a token that says there is a report to make

	mu     sync.Mutex // guards what follows
	models map[int64]modelAt
}

// Open brings the module's tables up to date; Run starts it.
func Open(ctx context.Context, o Options) (*Module, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PublicURL == nil {
		o.PublicURL = func() string { return "" }
	}
	m := &Module{o: o, db: o.DB, log: o.Log, now: o.Now, owner: uuid.NewString(), work: make(chan struct{}, 1), models: map[int64]modelAt{}}
	return m, o.DB.Migrate(ctx, "analytics", migrations, "migrations")
}

// Run follows the events, makes reports and keeps schedules until ctx ends.
func (m *Module) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.makeReports(ctx) })
	wg.Go(func() { m.keepSchedules(ctx) })
	wg.Go(func() { m.follow(ctx, m.ProjectReadings) })
	m.follow(ctx, m.Project)
	return nil
}

// readingsAnyway is how often one looks without an event: readings come without.
const readingsAnyway = 10 * time.Second

// follow takes page after page until ctx ends.
func (m *Module) follow(ctx context.Context, project func(context.Context) (bool, error)) {
	tick := time.NewTicker(readingsAnyway)
	defer tick.Stop()
	for {
		changed := m.db.Changed()
		more, err := project(ctx)
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			m.log.Error("analytics wait; tried again soon", "err", err)
			again = time.After(time.Second)
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		case <-tick.C:
		}
	}
}

// Forget removes what is kept of a site that is deleted.
func Forget(tx *store.Tx, s store.Site) error {
	var errs []error
	for _, table := range []string{"spaces", "hours", "sites", "revisions", "counts", "alerts", "states", "settings", "reports", "schedules", "plans", "counters"} {
		errs = append(errs, tx.Exec(`DELETE FROM analytics_`+table+` WHERE site = ?`, s.ID))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("forget analytics of %s: %w", s.Site, err)
	}
	return nil
}
