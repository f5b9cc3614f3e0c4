// Package forward sends the events of an organisation to systems outside, in the order of the
// event table: to webhooks that its admins set up by the API, and to the sinks of the
// configuration (an MQTT broker, NATS, AWS SNS).
//
// It guarantees that each target follows the table by a cursor of its own, which moves when the
// receiver has taken an event or has refused it for good, so that every event comes at least
// once, in order, across restarts, with the same id each time. What is refused is kept as a dead
// letter. Who sends is agreed upon between processes in the database. A webhook that fails too
// often in a row is paused and its admins are told; nothing is lost meanwhile. It refuses to send
// what only certain persons may see, and inputs of a hub's engine.
package forward

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options is what the module works with. DB and Domains are needed.
type Options struct {
	DB      *store.DB
	Domains func(store.Site) []string // that own a site
	Sinks   []SinkConfig
	Private bool // webhooks may call addresses that are not on the internet
	Alone   bool // no other process works on this database
	// Tell tells an organisation's admins, as part of the transaction; nil = only the log does.
	Tell func(tx *store.Tx, org, key, title, text, link string) error
	Log  *slog.Logger // nil = silent
	Now  func() time.Time

	// Fields that are 0 get their default.
	FirstRetry  time.Duration // after the first failure, then doubling: 2 s
	LastRetry   time.Duration // 10 min
	MaxFailures int           // of a webhook in a row before it is paused: 20, some two hours
}

// The pace of a target.
const (
	callTimeout = 15 * time.Second // of one call
	leaseFor    = time.Minute      // longer than a call; another process goes on after that
	lookEvery   = 2 * time.Second  // for changes that another process has made
)

// Forwarder is the module of a tier. Its methods may be called from many goroutines.
type Forwarder struct {
	o      Options
	db     *store.DB
	log    *slog.Logger
	now    func() time.Time
	owner  string
	places *store.Places
	kick   chan struct{} // size 1: a token that says look at the targets again

	mu    sync.Mutex      // guards sinks
	sinks map[string]Sink // opened ones by name
}

// Sink takes events. Send returns how many of them, from the first, the receiver has; an error
// that wraps deliver.ErrRefused says that it will never take the next one. It is called from one
// goroutine at a time.
type Sink interface {
	Send(ctx context.Context, events []Event) (sent int, err error)
	Close()
}

// Open brings the module's tables up to date. Sinks that are new begin with what happens from
// now on.
func Open(ctx context.Context, o Options) (*Forwarder, error) {
	f := &Forwarder{o: o, db: o.DB, log: o.Log, now: o.Now, owner: rand.Text(), kick: make(chan struct{}, 1), sinks: map[string]Sink{}}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if f.now == nil {
		f.now = time.Now
	}
	setDefault(&f.o.FirstRetry, 2*time.Second)
	setDefault(&f.o.LastRetry, 10*time.Minute)
	setDefault(&f.o.MaxFailures, 20)
	f.places = store.NewPlaces(o.DB, o.Domains)
	if err := o.DB.Migrate(ctx, "forward", migrations, "migrations"); err != nil {
		return nil, err
	}
	if err := f.enter(ctx); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	for _, s := range o.Sinks {
		sink, err := s.open()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		f.sinks[s.Name] = sink
	}
	return f, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Close closes the sinks. Run must have returned.
func (f *Forwarder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sinks {
		s.Close()
	}
}

// sinkPrefix begins the ids of sinks' targets.
const sinkPrefix = "sink:"

// enter makes rows for new sinks. Who is alone takes over what a crashed process has held.
func (f *Forwarder) enter(ctx context.Context) error {
	newest, err := f.db.NewestEvent(ctx)
	if err != nil {
		return err
	}
	return f.db.Update(ctx, func(tx *store.Tx) error {
		for _, s := range f.o.Sinks {
			const insert = `INSERT INTO forward_targets (id, org, spec, position, created, changed) VALUES (?, ?, '', ?, ?, '')
				ON CONFLICT (id) DO UPDATE SET org = excluded.org`
			if err := tx.Exec(insert, sinkPrefix+s.Name, s.Org, newest, store.Millis(f.now())); err != nil {
				return err
			}
		}
		if !f.o.Alone {
			return nil
		}
		return tx.Exec(`UPDATE forward_targets SET owner = '', lease = 0`)
	})
}

// look makes Run look at the targets now.
func (f *Forwarder) look() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends; it returns when all its senders have ended.
func (f *Forwarder) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	running := map[string]*running{}
	defer func() {
		for _, r := range running {
			r.stop()
		}
	}()
	for {
		targets, err := f.targets(ctx, "")
		if err != nil && ctx.Err() == nil {
			f.log.Error("webhooks not read; looked at again soon", "err", err)
		}
		if err == nil {
			f.arrange(ctx, running, targets)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.kick:
		}
	}
}

// running is a sender under way.
type running struct {
	changed string // of the target that it was started for
	cancel  context.CancelFunc
	done    chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// arrange stops the senders of targets that have changed or gone, and starts those that are
// missing.
func (f *Forwarder) arrange(ctx context.Context, have map[string]*running, targets []target) {
	wanted := map[string]target{}
	for _, t := range targets {
		if t.Active && t.Paused.IsZero() {
			wanted[t.ID] = t
		}
	}
	for id, r := range have {
		if t, ok := wanted[id]; !ok || t.changed != r.changed {
			r.stop()
			delete(have, id)
		}
	}
	for id, t := range wanted {
		if have[id] != nil {
			continue
		}
		w, err := f.newWorker(t)
		if err != nil {
			f.log.Error("target not usable", "org", t.Org, "target", t.ID, "err", err)
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r := &running{t.changed, cancel, make(chan struct{})}
		have[id] = r
		go func() {
			defer close(r.done)
			w.run(ctx)
		}()
	}
}

// newWorker makes the sender of a target.
func (f *Forwarder) newWorker(t target) (*worker, error) {
	w := &worker{f: f, target: t, filter: filter{org: t.Org}, batch: maxBatch}
	name, isSink := strings.CutPrefix(t.ID, sinkPrefix)
	if !isSink {
		h, err := f.newHook(t.Spec)
		w.sink, w.filter.types, w.filter.sites, w.batch, w.mayPause = h, t.Spec.Types, t.Spec.Sites, max(t.Spec.Batch, 1), true
		return w, err
	}
	for _, s := range f.o.Sinks {
		if s.Name == name {
			f.mu.Lock()
			defer f.mu.Unlock()
			w.sink, w.filter.types, w.filter.sites = f.sinks[name], s.Types, s.Sites
			return w, nil
		}
	}
	return nil, fmt.Errorf("%w: it is not configured any more", deliver.ErrRefused)
}
