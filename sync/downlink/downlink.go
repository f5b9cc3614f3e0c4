// Package downlink is the hub's side of what comes down from the cloud: desired configuration,
// commands, and the keys and revocations by which the hub verifies callers itself.
//
// Everything is pulled; a push only says that there is something new, and the answer to each
// heartbeat says so again, so that no lost message matters. A configuration is laid over the
// hub's own file as a whole, or refused with all reasons while the last good one goes on. One
// that was taken is on trial until the cloud has answered under it and the site works as it did
// before; if that does not come about in time, or the hub does not survive it, the last good one
// runs again, and the cloud is told why. A command is carried out when its caller's token allows
// it here, whatever the cloud believes; each is answered applied or refused.
//
// It knows nothing of NATS and nothing of what a configuration means.
package downlink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Link carries messages from and to the cloud. It reconnects by itself.
type Link interface {
	// Request asks the cloud: up.….<what>.
	Request(ctx context.Context, what string, body []byte) (reply []byte, err error)
	// Receive calls f, one call at a time, for each push of down.….<what> until stop is called.
	Receive(what string, f func(body []byte)) (stop func(), err error)
	// Serve calls f, one call at a time, for each request of down.….<what>, and sends back what it
	// returns, until stop is called.
	Serve(what string, f func(body []byte) []byte) (stop func(), err error)
}

// Site is the hub that is steered. Its methods are called from the downlink's goroutine, Do from
// another.
type Site interface {
	// Lay runs the site under the hub's own file with a layer over it; a layer without a document
	// is none. After an error, whose lines are the reasons, nothing has changed.
	Lay(ctx context.Context, l Layer) error
	// Well says why the site does not work as it did before the last Lay; nil when it does.
	Well(ctx context.Context) error
	// Refused notes for good that a revision does not run, and which one does instead.
	Refused(ctx context.Context, rev uint64, reasons []string, runs uint64)
	// Do carries out a command and returns after its commit.
	Do(ctx context.Context, cmd edge.Command) (edge.CommandResult, error)
}

// Options of New. Link, Site, Kept and Auth are required.
type Options struct {
	Link   Link
	Site   Site
	Kept   *Kept
	Auth   *Auth
	Now    func() time.Time // the trusted clock
	Timing Timing
	Log    *slog.Logger
}

// Timing are the downlink's times. Fields that are 0 get their default.
type Timing struct {
	Reply  time.Duration // for an answer of the cloud: 10 s
	Settle time.Duration // that a new configuration must have run before it can be good: 1 s
	Trial  time.Duration // in which it must prove to be: 60 s
	Look   time.Duration // between looks at a trial: 500 ms
}

func (t *Timing) setDefaults() {
	t.Reply = cmp.Or(t.Reply, 10*time.Second)
	t.Settle = cmp.Or(t.Settle, time.Second)
	t.Trial = cmp.Or(t.Trial, time.Minute)
	t.Look = cmp.Or(t.Look, 500*time.Millisecond)
}

// Downlink steers one hub.
type Downlink struct {
	opts   Options
	config chan struct{} // size 1: ask for the configuration
	auth   chan struct{} // size 1: ask for keys and revocations

	mu       sync.Mutex
	reported bool // the cloud knows what became of the configuration
}

// New makes a downlink.
func New(o Options) *Downlink {
	o.Timing.setDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Downlink{opts: o, config: make(chan struct{}, 1), auth: make(chan struct{}, 1)}
}

// Heard takes the answer to a heartbeat: what it says is newer than what is here is asked for.
// It does not wait.
func (d *Downlink) Heard(r wire.HeartbeatReply) {
	if r.Error != "" {
		return
	}
	d.mu.Lock()
	reported := d.reported
	d.mu.Unlock()
	rev, err := strconv.ParseUint(r.ConfigRev, 10, 64)
	if k := d.opts.Kept; !reported || err == nil && rev != k.Runs().Rev && rev != k.RefusedRev() {
		poke(d.config)
	}
	if r.AuthRev != "" && r.AuthRev != d.opts.Auth.Revision() {
		poke(d.auth)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run listens and steers until ctx ends. An error means that the link cannot be listened to.
func (d *Downlink) Run(ctx context.Context) error {
	stop, err := d.listen(ctx)
	defer stop()
	if err != nil {
		return err
	}
	if d.opts.Kept.OnTrial() { // the process ended during the trial
		d.prove(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.auth:
			d.pullAuth(ctx)
		case <-d.config:
			d.follow(ctx)
		}
	}
}

// listen subscribes to all that comes down.
func (d *Downlink) listen(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	add := func(f func(), e error) {
		if e != nil {
			err = errors.Join(err, e)
			return
		}
		stops = append(stops, f)
	}
	add(d.opts.Link.Receive(wire.DownConfigNew, func([]byte) { poke(d.config) }))
	add(d.opts.Link.Receive(wire.DownAuthNew, func([]byte) { poke(d.auth) }))
	add(d.opts.Link.Serve(wire.DownCommand, func(body []byte) []byte { return d.command(ctx, body) }))
	return stop, err
}

// request asks and decodes the answer.
func (d *Downlink) request(ctx context.Context, what string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timing.Reply)
	defer cancel()
	answer, err := d.opts.Link.Request(ctx, what, b)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", what, err)
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("read answer to %s: %w", what, err)
	}
	return nil
}

// pullAuth fetches keys, domains and revocations.
func (d *Downlink) pullAuth(ctx context.Context) {
	var a wire.Auth
	err := d.request(ctx, wire.UpAuth, struct{}{}, &a)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err == nil {
		err = d.opts.Auth.Take(a)
	}
	if err != nil && ctx.Err() == nil {
		d.opts.Log.Warn("keys and revocations are not up to date; asked for again with the next heartbeat", "err", err)
	}
}
