// Package notify tells people and systems: organisations' channels, persons' inboxes, mail and
// browsers. It follows the event table by a cursor; what it decides about an event stands in
// its queue in the same transaction that moves the cursor, so a step of an alert is decided
// once, whatever crashes. Timers of escalation stand in tables too.
//
// It guarantees that a receiver gets the steps of an alert in order, each at least once and with
// the same key when again; that what is not sent is recorded with the reason: too late (the hub
// was offline when it happened: nobody is woken on Monday for Saturday's crowd), silenced,
// inhibited, or the hub's own to deliver; and that what could not be sent becomes a dead letter
// that can be listed and tried again. It takes over a hub's channel only after the hub reported
// failure or fell silent.
//
// It refuses to follow redirects, to call private addresses unless that is allowed, and to show
// secrets it was given.
package notify

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// DefaultMaxAge is how old an event may be on arrival to be told.
const DefaultMaxAge = 15 * time.Minute

// Webhook is one configured channel of one organisation; it is told every alert.
type Webhook struct {
	Org         string
	Name        string // an alert that names it among its actions is the hub's to deliver here
	MinSeverity edge.Severity
	MaxAge      time.Duration // an event older than this on arrival is recorded, not sent; 0 = DefaultMaxAge
	Channel     deliver.Channel
}

// Options are what a Notifier needs. DB is required.
type Options struct {
	DB       *store.DB
	Webhooks []Webhook
	Mail     deliver.Channel // sends a message to its addresses; nil = no mail server: mails are kept
	Push     *deliver.Push   // nil = no Web Push
	Public   func() string   // URL of the page, such as https://headcount.example.org, without a slash at its end; nil = no links
	Private  bool            // channels and push endpoints may be on private addresses

	// Members lists the persons with at least a role in a domain, User finds one by id
	// (store.ErrNotFound or route.ErrNotFound); nil = there are no persons. Both are called within transactions and
	// must not write.
	Members func(ctx context.Context, domain string, least token.Role) ([]Person, error)
	User    func(ctx context.Context, id string) (Person, error)
	// Domains lists the domains that own a site; nil = its organisation.
	Domains func(store.Site) []string
	// Acknowledge notes that somebody takes care of an alert; nil = links to acknowledge are not made.
	Acknowledge func(ctx context.Context, site store.Site, alert, by string) error

	// Trace is the W3C traceparent that an event belongs to; empty = none. Span begins a step of it,
	// an attempt to deliver, and returns the traceparent to hand on. Both nil = nobody traces.
	Trace func(store.Event) string
	Span  func(channel, parent string) (next string, end func(error))

	Log *slog.Logger // nil = silent
}

//go:embed migrations/*.sql
var migrations embed.FS

// Notifier decides and sends. Several processes may run one on the same database. Its methods may
// be called from many goroutines.
type Notifier struct {
	o      Options
	db     *store.DB
	log    *slog.Logger
	hooks  []Webhook
	now    func() time.Time
	queue  *queue
	opts   deliver.Options
	timers chan struct{} // size 1: a token that says look at the timers again

	mu       sync.Mutex // guards what follows
	channels map[string]*sender
	runner   *deliver.Runner
}

// New makes a Notifier and brings its tables up to date; Run starts it.
func New(ctx context.Context, o Options) (*Notifier, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Domains == nil {
		o.Domains = func(s store.Site) []string { return []string{s.Org} }
	}
	n := &Notifier{o: o, db: o.DB, log: o.Log, hooks: slices.Clone(o.Webhooks), now: time.Now,
		opts: deliver.Options{Log: o.Log}, timers: make(chan struct{}, 1), channels: map[string]*sender{}}
	for i := range n.hooks {
		if h := &n.hooks[i]; h.MaxAge <= 0 {
			h.MaxAge = DefaultMaxAge
		}
	}
	n.queue = newQueue(n)
	if err := o.DB.Migrate(ctx, "notify", migrations, "migrations"); err != nil {
		return nil, err
	}
	return n, errors.Join(n.reload(ctx), n.release(ctx))
}

// release lets mails go that were kept for want of a mail server, unless they are a day old.
func (n *Notifier) release(ctx context.Context) error {
	if n.o.Mail == nil {
		return nil
	}
	const update = `UPDATE notify_deliveries SET state = 'due', reason = '', updated = ? WHERE state = 'held' AND updated > ?`
	now := n.now()
	return n.db.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(update, store.Millis(now), store.Millis(now.Add(-24*time.Hour)))
	})
}

// cursor names the notifier among the followers of the event table.
const cursor = "notify"

const pageEvents = 256

// Run decides and sends until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.send(ctx) })
	wg.Go(func() { n.clock(ctx) })
	wg.Go(func() { n.sweep(ctx) })
	for {
		changed := n.db.Changed()
		more, err := n.Decide(ctx)
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			n.log.Error("notifications wait; tried again soon", "err", err)
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
		}
	}
}

// Decide takes one page of new events and tells whether there may be more.
func (n *Notifier) Decide(ctx context.Context) (more bool, err error) {
	at, err := n.db.Cursor(ctx, cursor)
	if err != nil {
		return false, err
	}
	events, err := n.db.NotifyEvents(ctx, int64(at.Position), pageEvents)
	if err != nil || len(events) == 0 {
		return false, err
	}
	err = n.db.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Cursor(cursor)
		if err != nil || now.Position != at.Position { // another process was faster
			return err
		}
		for _, e := range events {
			if err := n.decide(ctx, tx, e); err != nil {
				return fmt.Errorf("event %d: %w", e.ID, err)
			}
		}
		return tx.PutCursor(cursor, store.Cursor{Position: uint64(events[len(events)-1].ID)})
	})
	if err != nil {
		return false, err
	}
	n.queue.kick()
	n.wake()
	return len(events) == pageEvents, nil
}

// How long things stay: ended deliveries and read notices, and notices that nobody reads.
const (
	keep       = 90 * 24 * time.Hour
	keepUnread = 180 * 24 * time.Hour
)

// maxInbox bounds the notices of one person; the oldest go.
const maxInbox = 2000

// Forget removes what is kept of a site that is deleted. What stands in inboxes stays, because it
// was told.
func Forget(tx *store.Tx, s store.Site) error {
	for _, table := range []string{"notify_alerts", "notify_timers", "notify_told", "notify_acks", "notify_deliveries"} {
		if err := tx.Exec(`DELETE FROM `+table+` WHERE org = ? AND site = ?`, s.Org, s.Site); err != nil {
			return fmt.Errorf("forget site in %s: %w", table, err)
		}
	}
	elsewhere := (&fact{Event: store.Event{Org: s.Org, SiteName: s.Site}}).place() // as those know it with whom it was shared
	if err := tx.Exec(`DELETE FROM notify_deliveries WHERE site = ?`, elsewhere); err != nil {
		return fmt.Errorf("forget site in notify_deliveries: %w", err)
	}
	return nil
}

// sweep deletes what has ended long ago, now and then.
func (n *Notifier) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := n.clean(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Error("old notifications not deleted", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// clean deletes what sweep is for.
func (n *Notifier) clean(ctx context.Context) error {
	const surplus = `DELETE FROM notify_inbox WHERE id IN (SELECT id FROM
		(SELECT id, ROW_NUMBER() OVER (PARTITION BY person ORDER BY id DESC) AS nth FROM notify_inbox) AS ranked WHERE nth > ?)`
	old, older := store.Millis(n.now().Add(-keep)), store.Millis(n.now().Add(-keepUnread))
	return n.db.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(
			tx.Exec(`DELETE FROM notify_deliveries WHERE updated < ? AND state <> 'due'`, old),
			tx.Exec(`DELETE FROM notify_inbox WHERE seen > 0 AND seen < ?`, old),
			tx.Exec(`DELETE FROM notify_inbox WHERE seen = 0 AND at < ?`, older),
			tx.Exec(surplus, maxInbox),
			tx.Exec(`DELETE FROM notify_acks WHERE expires < ?`, old),
			tx.Exec(`DELETE FROM notify_silences WHERE ends > 0 AND ends < ?`, old))
	})
}

func rank(s edge.Severity) int {
	return slices.Index([]edge.Severity{edge.Info, edge.Warning, edge.Critical}, s)
}
