// Package publish tells systems outside about events by NATS: it follows the event table and puts
// each event into the stream EV, under ev.ORG.SITE.TYPE.
//
// It guarantees that an event is in the stream before the cursor moves past it, so that none is
// left out whatever crashes, and that one which is published twice has the same Nats-Msg-Id and
// the same bytes. The database stays the truth: the stream may be lost at any time. What is for
// one person only, and what is an input of a hub's engine, is not published.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// The headers of a message besides Nats-Msg-Id.
const (
	HeaderAudience = "Headcount-Audience" // role:NAME: for members with at least that role; absent = whoever may see the site
	HeaderEvent    = "Headcount-Event"    // the cursor of the event table, as in live streams
	HeaderTrace    = "Traceparent"        // W3C trace context, where there is one
)

// contentType is the body's: the event as one CloudEvents JSON object.
const contentType = "application/cloudevents+json; charset=utf-8"

// Options of New. DB, JetStream and Ensure are required.
type Options struct {
	DB        *store.DB
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Ensure    func(context.Context) error // makes the streams EV and DLQ, or brings them up to date
	Readings  bool                        // publish readings too, under ev.ORG.SITE.reading
	Trace     func(e store.Event) string  // the trace that an event belongs to; nil or "" = none
	Log       *slog.Logger                // nil = silent
}

// Publisher follows the event table. Its methods may be called from many goroutines.
type Publisher struct {
	o      Options
	stats  Stats
	mu     sync.Mutex // guards failed
	failed error
}

// Stats counts since the start. All fields may be read at any time.
type Stats struct {
	Events      atomic.Int64 // published
	Readings    atomic.Int64 // records published
	DeadLetters atomic.Int64 // messages that a consumer gave up
	Failures    atomic.Int64 // attempts that are made again
}

// The cursors of the publisher.
const (
	cursorEvents   = "publish"
	cursorReadings = "publish.readings"
)

// The pace and size of publishing.
const (
	page       = 256
	ackTimeout = 5 * time.Second
	again      = time.Second // after a failure, and to look for readings
)

// New makes a Publisher; Run starts it.
func New(o Options) *Publisher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Publisher{o: o}
}

// Stats returns the live counters.
func (p *Publisher) Stats() *Stats { return &p.stats }

// Err is nil while events go out, else why they wait.
func (p *Publisher) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// report notes that publishing fails, or with nil that it works.
func (p *Publisher) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	before := p.failed
	p.failed = err
	p.mu.Unlock()
	switch {
	case err != nil:
		p.stats.Failures.Add(1)
		if before == nil {
			p.o.Log.Error("events are not published to NATS; tried again", "err", err)
		}
	case before != nil:
		p.o.Log.Info("events are published to NATS again")
	}
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.catch(ctx) })
	ready := false
	for ctx.Err() == nil {
		changed := p.o.DB.Changed()
		more, err := false, error(nil)
		if !ready {
			err = p.o.Ensure(ctx)
			ready = err == nil
		}
		if err == nil {
			more, err = p.Step(ctx)
		}
		p.report(ctx, err)
		if more && err == nil {
			continue
		}
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			ready = false // the stream is gone
		}
		p.wait(ctx, changed, err != nil || p.o.Readings)
	}
	return nil
}

func (p *Publisher) wait(ctx context.Context, changed <-chan struct{}, soon bool) {
	var tick <-chan time.Time
	if soon {
		t := time.NewTimer(again)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-tick:
	}
}

// Lag is how many events, up to the one with the id newest, have not been looked at yet.
func (p *Publisher) Lag(ctx context.Context, newest int64) (int64, error) {
	at, err := p.o.DB.Cursor(ctx, cursorEvents)
	return max(0, newest-int64(at.Position)), err
}

// Step publishes one page of what is new and tells whether there may be more.
func (p *Publisher) Step(ctx context.Context) (more bool, err error) {
	more, err = p.events(ctx)
	if err != nil || !p.o.Readings {
		return more, err
	}
	moreReadings, err := p.readings(ctx)
	return more || moreReadings, err
}

func (p *Publisher) events(ctx context.Context) (more bool, err error) {
	at, err := p.o.DB.Cursor(ctx, cursorEvents)
	if err != nil {
		return false, err
	}
	events, err := p.o.DB.EventsAfter(ctx, int64(at.Position), 0, page)
	if err != nil || len(events) == 0 {
		return false, err
	}
	var out []*nats.Msg
	for _, e := range events {
		if m := p.message(e); m != nil {
			out = append(out, m)
		}
	}
	if err := p.send(ctx, out); err != nil {
		return false, err
	}
	p.stats.Events.Add(int64(len(out)))
	return len(events) == page, p.move(ctx, cursorEvents, at, uint64(events[len(events)-1].ID))
}

// message is an event as it is published; nil when it is not.
func (p *Publisher) message(e store.Event) *nats.Msg {
	if e.Input || e.Org == "" || strings.HasPrefix(e.Audience, "user:") {
		return nil
	}
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return nil // ingest has let it pass; nobody could read it
	}
	m := message(e.Org, e.SiteName, e.Type, rec.ID(), e.Body)
	m.Header.Set(HeaderEvent, strconv.FormatInt(e.ID, 10))
	if e.Audience != "" {
		m.Header.Set(HeaderAudience, e.Audience)
	}
	if p.o.Trace != nil {
		if trace := p.o.Trace(e); trace != "" {
			m.Header.Set(HeaderTrace, trace)
		}
	}
	return m
}

// message is one record under its subject. Its id is that of the record within its site, as
// those of the cloud's own events are unique within a site only.
func message(org, site, kind, id string, body []byte) *nats.Msg {
	return &nats.Msg{Subject: Subject(org, site, kind), Data: body, Header: nats.Header{
		"Content-Type": {contentType}, nats.MsgIdHdr: {org + "/" + site + "/" + id},
	}}
}

func (p *Publisher) readings(ctx context.Context) (more bool, err error) {
	at, err := p.o.DB.Cursor(ctx, cursorReadings)
	if err != nil {
		return false, err
	}
	records, last, err := p.o.DB.ReadingsAfter(ctx, int64(at.Position), page)
	if err != nil || len(records) == 0 {
		return false, err
	}
	out := make([]*nats.Msg, 0, len(records))
	for _, r := range records {
		rec, err := edge.ParseRecord(r.Body)
		if err == nil {
			out = append(out, message(r.Org, r.SiteName, "reading", rec.ID(), r.Body))
		}
	}
	if err := p.send(ctx, out); err != nil {
		return false, err
	}
	p.stats.Readings.Add(int64(len(out)))
	return len(records) == page, p.move(ctx, cursorReadings, at, uint64(last))
}

// send publishes all and waits until the stream has them.
func (p *Publisher) send(ctx context.Context, out []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, 0, len(out))
	for _, m := range out {
		f, err := p.o.JetStream.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		acks = append(acks, f)
	}
	for i, f := range acks {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("publish %s: %w", out[i].Subject, err)
		case <-ctx.Done():
			return fmt.Errorf("publish %s: the stream does not answer: %w", out[i].Subject, ctx.Err())
		}
	}
	return nil
}

// move moves a cursor unless another process has.
func (p *Publisher) move(ctx context.Context, name string, from store.Cursor, to uint64) error {
	return p.o.DB.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Cursor(name)
		if err != nil || now.Position != from.Position {
			return err
		}
		return tx.PutCursor(name, store.Cursor{Position: to})
	})
}

// Subject is where events of a kind are published.
func Subject(org, site, kind string) string { return "ev." + org + "." + site + "." + kind }
