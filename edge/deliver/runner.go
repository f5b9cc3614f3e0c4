package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Job is a message on its way to one channel. It stays in the queue until its result was stored.
type Job struct {
	ID      string
	Channel string    // name of the channel
	Order   string    // jobs of one channel with the same Order go one after the other; empty = any
	Created time.Time // its age counts from here
	Message Message
}

// Result ends a job.
type Result struct {
	Job       string
	Delivered bool   // otherwise given up
	Attempts  int    // in this process
	Error     string // why it was given up, or the last failure before it was delivered
}

// JobChannel is a Channel that wants to know the job besides its message, such as to claim it
// before it is sent. It is called instead of Deliver.
type JobChannel interface {
	Channel
	DeliverJob(ctx context.Context, j Job) error
}

// Queue is the durable queue. Its methods are called from one goroutine.
type Queue interface {
	// Pending returns the jobs without result, oldest first.
	Pending() []Job
	// Changed holds a token, or is closed, when Pending may have changed. It is asked for before
	// each look.
	Changed() <-chan struct{}
	// Done stores the result durably; the job then leaves Pending. After an error it is told
	// again; the message is not sent again.
	Done(ctx context.Context, r Result) error
}

// Options bound how long and how often is tried. Fields that are 0 get their default.
type Options struct {
	MaxAge      time.Duration // of a job: 24 h; then it is given up
	MaxAttempts int           // in one process; 0 = no limit but MaxAge
	FirstRetry  time.Duration // after the first failure, then doubling: 2 s
	LastRetry   time.Duration // 10 min
	Timeout     time.Duration // of one attempt: 15 s
	// A channel that has failed Breaker times in a row (5) is left alone for BreakFirst (60 s), then
	// tried with one message, and so on with doubling pauses up to BreakLast (10 min).
	Breaker    int
	BreakFirst time.Duration
	BreakLast  time.Duration
	// Find looks up channels that New was not given; nil when there is none of that name. It is
	// asked before each attempt, from the goroutine of Run, and must not block. A channel that
	// differs from the one before begins with a clean record.
	Find func(name string) Channel
	Log  *slog.Logger
}

func (o *Options) setDefaults() {
	setDefault(&o.MaxAge, 24*time.Hour)
	setDefault(&o.FirstRetry, 2*time.Second)
	setDefault(&o.LastRetry, 10*time.Minute)
	setDefault(&o.Timeout, 15*time.Second)
	setDefault(&o.Breaker, 5)
	setDefault(&o.BreakFirst, time.Minute)
	setDefault(&o.BreakLast, 10*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// longestWait bounds what a receiver may ask for with Retry-After.
const longestWait = time.Hour

// retryDone is the pause before a result is told again that the queue did not take.
const retryDone = time.Second

// Runner delivers what the queue holds: one message per channel at a time.
type Runner struct {
	queue Queue
	opts  Options

	mu       sync.Mutex // guards channels
	channels map[string]*channel

	jobs  map[string]*attempts // by job id
	ended chan outcome
	sends sync.WaitGroup
}

// channel is a channel and how it fares. mu guards what Status reads.
type channel struct {
	name string
	Channel
	given bool // to New

	mu       sync.Mutex
	busy     bool
	failures int       // in a row
	pausedTo time.Time // the breaker is open until then
	pause    time.Duration
	last     string
	lastOK   time.Time
}

// attempts is what became of a job so far.
type attempts struct {
	n      int
	next   time.Time // not before
	last   string
	flying bool
	result *Result
	told   bool // the queue has taken the result
}

// outcome is the end of an attempt.
type outcome struct {
	job     Job
	channel *channel
	err     error
}

// New makes a Runner for named channels; Run runs it.
func New(queue Queue, channels map[string]Channel, opts Options) *Runner {
	opts.setDefaults()
	r := &Runner{queue: queue, opts: opts, channels: map[string]*channel{}, jobs: map[string]*attempts{}, ended: make(chan outcome)}
	for name, c := range channels {
		r.channels[name] = &channel{name: name, Channel: c, given: true}
	}
	return r
}

// ChannelStatus is how a channel fares.
type ChannelStatus struct {
	Name      string    `json:"name"`
	Failures  int       `json:"failures"`             // in a row
	PausedTo  time.Time `json:"paused_to,omitzero"`   // it has failed too often and is left alone
	LastError string    `json:"last_error,omitempty"` // of the newest failure, empty after a success
	LastOK    time.Time `json:"last_ok,omitzero"`     // newest delivery of this process
	Breaker   Breaker   `json:"breaker"`
}

// Breaker is the state of a channel's circuit breaker.
type Breaker string

// The states of a breaker.
const (
	Closed   Breaker = "closed"    // messages pass
	Open     Breaker = "open"      // it has failed too often and is left alone
	HalfOpen Breaker = "half-open" // the pause is over: the next message decides
)

// breaker is the state at a time; the caller holds mu.
func (c *channel) breaker(now time.Time) Breaker {
	switch {
	case c.pausedTo.IsZero():
		return Closed
	case now.Before(c.pausedTo):
		return Open
	}
	return HalfOpen
}

// Status tells how the channels fare, by name. It may be called from any goroutine.
func (r *Runner) Status() []ChannelStatus {
	r.mu.Lock()
	channels := slices.Collect(maps.Values(r.channels))
	r.mu.Unlock()
	now := time.Now()
	out := make([]ChannelStatus, 0, len(channels))
	for _, c := range channels {
		c.mu.Lock()
		out = append(out, ChannelStatus{c.name, c.failures, c.pausedTo, c.last, c.lastOK, c.breaker(now)})
		c.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b ChannelStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// channel returns the channel of a name; nil when there is none.
func (r *Runner) channel(name string) *channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.channels[name]
	if r.opts.Find == nil || c != nil && c.given {
		return c
	}
	found := r.opts.Find(name)
	switch {
	case found == nil:
		delete(r.channels, name)
		return nil
	case c == nil || c.Channel != found:
		c = &channel{name: name, Channel: found}
		r.channels[name] = c
	}
	return c
}

// Run delivers until ctx ends; then it cuts off the attempts under way, waits for them, and
// returns nil. What they were sending is sent again by the next Run.
func (r *Runner) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer r.drain()
	for ctx.Err() == nil {
		changed := r.queue.Changed()
		if next := r.look(ctx, time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		case o := <-r.ended:
			r.end(ctx, o, time.Now())
		}
	}
	return nil
}

// drain waits for the attempts that ctx has cut off.
func (r *Runner) drain() {
	gone := make(chan struct{})
	go func() {
		r.sends.Wait()
		close(gone)
	}()
	for {
		select {
		case <-r.ended:
		case <-gone:
			return
		}
	}
}

// look starts what can be sent now and returns when to look again without an event; zero = never.
func (r *Runner) look(ctx context.Context, now time.Time) (next time.Time) {
	pending := r.queue.Pending()
	r.forget(pending)
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	waits := map[[2]string]bool{} // channel and order of jobs that are before
	for _, j := range pending {
		a := r.jobs[j.ID]
		if a == nil {
			a = &attempts{}
			r.jobs[j.ID] = a
		}
		c := r.channel(j.Channel)
		if a.result == nil && !a.flying {
			if why := r.hopeless(j, a, c, now); why != "" {
				r.giveUp(ctx, j, a, why, now)
			}
		}
		if a.result != nil {
			if !a.told && (now.Before(a.next) || !r.tell(ctx, a, now)) {
				soonest(a.next)
			}
			continue
		}
		order := [2]string{j.Channel, j.Order}
		first := j.Order == "" || !waits[order]
		waits[order] = true
		if a.flying {
			continue
		}
		soonest(j.Created.Add(r.opts.MaxAge))
		if !first {
			continue
		}
		if at, ok := c.free(a.next, now); ok {
			r.start(ctx, j, a, c)
		} else if !at.IsZero() {
			soonest(at)
		}
	}
	return next
}

// forget drops what is known of jobs that have left the queue.
func (r *Runner) forget(pending []Job) {
	if len(r.jobs) == 0 {
		return
	}
	there := make(map[string]bool, len(pending))
	for _, j := range pending {
		there[j.ID] = true
	}
	for id, a := range r.jobs {
		if !there[id] && !a.flying {
			delete(r.jobs, id)
		}
	}
}

// hopeless says why a job is not to be tried any more; empty when it is.
func (r *Runner) hopeless(j Job, a *attempts, c *channel, now time.Time) string {
	switch {
	case c == nil:
		return fmt.Sprintf("there is no channel %q in the configuration", j.Channel)
	case now.Sub(j.Created) >= r.opts.MaxAge:
		return fmt.Sprintf("not delivered within %v%s", r.opts.MaxAge, because(a.last))
	case r.opts.MaxAttempts > 0 && a.n >= r.opts.MaxAttempts:
		return fmt.Sprintf("not delivered in %d attempts%s", a.n, because(a.last))
	}
	return ""
}

func because(last string) string {
	if last == "" {
		return ""
	}
	return ": " + last
}

// free tells whether the channel can take a message that is due at the given time, or when.
func (c *channel) free(due, now time.Time) (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy { // the end of its attempt wakes us
		return time.Time{}, false
	}
	if c.pausedTo.After(due) {
		due = c.pausedTo
	}
	return due, !due.After(now)
}

func (r *Runner) start(ctx context.Context, j Job, a *attempts, c *channel) {
	a.flying = true
	a.n++
	c.mu.Lock()
	c.busy = true
	c.mu.Unlock()
	r.sends.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
		defer cancel()
		r.ended <- outcome{j, c, c.attempt(ctx, j)}
	})
}

// attempt sends once; a channel that panics has failed.
func (c *channel) attempt(ctx context.Context, j Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: channel %s panicked: %v", ErrRefused, c.name, p)
		}
	}()
	if by, ok := c.Channel.(JobChannel); ok {
		return by.DeliverJob(ctx, j)
	}
	return c.Deliver(ctx, j.Message)
}

// end takes the outcome of an attempt.
func (r *Runner) end(ctx context.Context, o outcome, now time.Time) {
	a, c := r.jobs[o.job.ID], o.channel
	a.flying = false
	if ctx.Err() != nil { // cut off by us: says nothing of the channel
		return
	}
	log := r.opts.Log.With("channel", c.name, "job", o.job.ID, "attempt", a.n)
	refused := errors.Is(o.err, ErrRefused)
	c.note(o.err, refused, r.opts, now)
	switch {
	case o.err == nil:
		log.Info("delivered", "type", o.job.Message.Type)
		a.result = &Result{Job: o.job.ID, Delivered: true, Attempts: a.n, Error: a.last}
		r.tell(ctx, a, now)
		return
	case refused:
		r.giveUp(ctx, o.job, a, o.err.Error(), now)
		return
	}
	a.last = o.err.Error()
	wait := backoff(a.n, r.opts.FirstRetry, r.opts.LastRetry)
	var asked *RetryAfter
	if errors.As(o.err, &asked) {
		wait = max(wait, min(asked.Wait, longestWait))
	}
	a.next = now.Add(wait)
	log.Warn("not delivered, tried again later", "in", wait.Round(time.Millisecond), "error", o.err)
}

// note keeps count of the channel's failures. A refusal is an answer: the channel works.
func (c *channel) note(err error, refused bool, o Options, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if err == nil || refused {
		c.failures, c.pause, c.pausedTo, c.last = 0, 0, time.Time{}, ""
		if err == nil {
			c.lastOK = now
		} else {
			c.last = err.Error()
		}
		return
	}
	c.failures++
	c.last = err.Error()
	if c.failures >= o.Breaker {
		c.pause = min(max(2*c.pause, o.BreakFirst), o.BreakLast)
		c.pausedTo = now.Add(c.pause)
	}
}

// giveUp ends a job that was not delivered.
func (r *Runner) giveUp(ctx context.Context, j Job, a *attempts, why string, now time.Time) {
	r.opts.Log.Error("delivery given up", "channel", j.Channel, "job", j.ID, "attempts", a.n, "error", why)
	a.result = &Result{Job: j.ID, Attempts: a.n, Error: why}
	r.tell(ctx, a, now)
}

// tell gives the result to the queue; after an error it is told again.
func (r *Runner) tell(ctx context.Context, a *attempts, now time.Time) bool {
	if err := r.queue.Done(ctx, *a.result); err != nil {
		r.opts.Log.Error("result of a delivery not stored, told again", "job", a.result.Job, "error", err)
		a.next = now.Add(retryDone)
		return false
	}
	a.told = true
	return true
}

// backoff doubles with each attempt up to last and is spread by a quarter, so that many senders
// do not come back at once.
func backoff(attempt int, first, last time.Duration) time.Duration {
	d := last
	if attempt < 32 && first<<(attempt-1) < last && first<<(attempt-1) > 0 {
		d = first << (attempt - 1)
	}
	return d*3/4 + rand.N(d/2+1)
}
