// Package ingest takes what hubs send into the database: batches from the organisations'
// streams, heartbeats and snapshots as requests.
//
// It guarantees that a record is applied once per (site, epoch, lane, seq) and in order, with
// its projection to the twin and the mark in one transaction; the hub is told the mark only
// after the commit. Its place in a stream is stored in that same transaction, so a crash, a
// second replica, a restored database or a lost stream can neither apply twice nor skip: what
// the stream no longer has, the hub sends again from its mark.
//
// It refuses batches that leave a gap or do not continue the applied chain, and it never trusts
// a body about its site: that is the subject's.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Projector keeps what is derived from records, within the transaction that stores them. An
// error rolls all of it back.
type Projector interface {
	// Events projects events of one site that were just stored, in order.
	Events(tx *store.Tx, site store.Site, events []store.Event) error
	// Readings projects the newest reading of each sensor in records that were just stored.
	Readings(tx *store.Tx, site store.Site, newest map[string]edge.Reading) error
	// Snapshot projects the whole present state of a site; epoch is the number of s.Epoch.
	Snapshot(tx *store.Tx, site store.Site, epoch int64, s wire.Snapshot) error
	// Beat notes a heartbeat that came at now.
	Beat(tx *store.Tx, site store.Site, h wire.Heartbeat, now time.Time) error
}

// Config is what an Ingest needs.
type Config struct {
	DB        *store.DB
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Projector Projector
	Log       *slog.Logger // nil = silent

	// Complete adds to the answer to a heartbeat of a site; nil = nothing.
	Complete func(ctx context.Context, org, site string, h *wire.HeartbeatReply)

	// Begin is told of each batch before it is applied, and what became of it by the function that
	// it returns, which may be nil. Nil = nobody traces.
	Begin func(org, site string, header map[string][]string, b *wire.Batch) (end func(error))

	// MakeStream makes the stream of an organisation anew when it is gone, because the NATS server
	// lost its store; hubs wait until there is one. Nil = somebody else does.
	MakeStream func(ctx context.Context, org string) error

	// Discover is how often new organisations' streams are looked for; 0 = 5 s. A stream that
	// is lost and made anew is noticed within the same time.
	Discover time.Duration
}

// Ingest is one ingesting process. Several may run on one database.
type Ingest struct {
	cfg   Config
	stats Stats
	now   func() time.Time
	wake  chan struct{} // size 1: a token that says look for streams

	mu      sync.Mutex // guards failing
	failing map[string]error
}

// Stats counts since the start. All fields may be read at any time.
type Stats struct {
	Batches    atomic.Int64 // taken from streams
	Groups     atomic.Int64 // transactions
	Events     atomic.Int64 // records applied
	Readings   atomic.Int64 // records applied
	Duplicates atomic.Int64 // records that were applied before
	Gaps       atomic.Int64 // batches refused
	Conflicts  atomic.Int64 // batches refused
	Unreadable atomic.Int64 // records and messages
	Lost       atomic.Int64 // records declared lost
	Heartbeats atomic.Int64
	Snapshots  atomic.Int64
	Failures   atomic.Int64 // transactions and connections that had to be tried again
}

// New makes an Ingest; Run starts it.
func New(cfg Config) *Ingest {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Discover <= 0 {
		cfg.Discover = 5 * time.Second
	}
	return &Ingest{cfg: cfg, now: time.Now, wake: make(chan struct{}, 1), failing: map[string]error{}}
}

// Look makes Run look for new streams now and not only within Config.Discover.
func (in *Ingest) Look() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// Stats returns the live counters.
func (in *Ingest) Stats() *Stats { return &in.stats }

// Err is nil while everything is taken in, else why some of it waits.
func (in *Ingest) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	var errs []error
	for what, err := range in.failing {
		errs = append(errs, fmt.Errorf("%s: %w", what, err))
	}
	return errors.Join(errs...)
}

// report notes that what fails, or with a nil error that it works again.
func (in *Ingest) report(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	in.mu.Lock()
	before := in.failing[what]
	if err == nil {
		delete(in.failing, what)
	} else {
		in.failing[what] = err
	}
	in.mu.Unlock()
	switch {
	case err != nil:
		in.stats.Failures.Add(1)
		in.cfg.Log.Error("ingest waits and tries again", "what", what, "err", err)
	case before != nil:
		in.cfg.Log.Info("ingest goes on", "what", what)
	}
}

// Run takes in until ctx ends. It returns an error only when it cannot begin.
func (in *Ingest) Run(ctx context.Context) error {
	requests, stop, err := in.subscribe()
	if err != nil {
		return err
	}
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { in.answer(ctx, requests) })
	following := map[string]bool{}
	tick := time.NewTicker(in.cfg.Discover)
	defer tick.Stop()
	for {
		orgs, err := in.streams(ctx)
		in.report(ctx, "list of streams", err)
		for _, org := range orgs {
			if !following[org] {
				following[org] = true
				wg.Go(func() { in.follow(ctx, org) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-in.wake:
		}
	}
}

// streams lists the organisations that have a stream.
func (in *Ingest) streams(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	names := in.cfg.JetStream.StreamNames(ctx)
	prefix := wire.StreamName("")
	var orgs []string
	for name := range names.Name() {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix && wire.ValidToken(name[len(prefix):]) {
			orgs = append(orgs, name[len(prefix):])
		}
	}
	return orgs, names.Err()
}

// pause waits before another attempt; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
