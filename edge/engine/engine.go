package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// ErrStopped is returned to callers when the engine no longer runs.
var ErrStopped = errors.New("the hub is stopping; nothing was taken in")

// Options of an Engine.
type Options struct {
	Journal *journal.Journal
	Setup   Setup
	Boot    Boot
	Now     func() time.Time // the trusted clock; never runs backwards
	Budget  *Budget          // nil = none
	Log     *slog.Logger

	// Hide makes a pseudonym of a badge, before anything is stored of it: always the same of the
	// same one. Without it badges are left out. It may be called from any goroutine.
	Hide func(badge string) string

	// Trace names the trace that a call belongs to, by its context; empty = none. Traced is told,
	// by the engine's goroutine after the sync, which records were written together with such
	// calls, and which events were written by themselves; it must not block. Both nil = nobody traces. Neither changes what is written.
	Trace  func(context.Context) string
	Traced func(Traced)
}

// Traced is what one commit wrote, and the traces of the calls in it; none when a timer was due.
type Traced struct {
	Traces           []string
	Epoch            string
	Events, Readings Run
}

// Run is a run of records of a lane; First is greater than Last when there is none.
type Run struct{ First, Last uint64 }

// Engine is the one goroutine that owns a core and writes the journal. All its methods but Run
// may be called from any goroutine.
type Engine struct {
	opts    Options
	j       *journal.Journal
	log     *slog.Logger
	core    *Core
	in      chan *request // no buffer: a caller that waits is the back-pressure
	stopped chan struct{}
	view    atomic.Pointer[View]
	changed atomic.Pointer[chan struct{}]
	dups    uint64
	commits uint64
	pack    packer
	drafts  []journal.Draft
	own     []input // the engine's own inputs for the next commit
	shown   time.Time
	unshown bool
	anew    bool // the next commit carries a checkpoint, as the state does not follow from what was before
	trimmed time.Time
}

// View is what the engine published after a commit: immutable, shared without locks.
type View struct {
	*edge.Snapshot
	Jobs    []Job
	Drivers []DriverStatus
	Link    Link
}

// request is what one caller wants taken in.
type request struct {
	readings []edge.Reading
	rejected *edge.Rejection
	input    *input
	setup    *Setup // of the input, which is taken only if it is possible
	epoch    string // reason to begin a new epoch
	trace    string
	reply    chan reply // size 1: the engine does not wait for a caller that went away
}

type reply struct {
	outcomes []edge.Outcome
	result   edge.CommandResult
	err      error
}

// Bounds of one commit, so that no caller waits long for another's flood.
const (
	maxGather    = 8192                   // readings
	showEvery    = 100 * time.Millisecond // a snapshot without news is published at most this often
	trimInterval = time.Minute
)

// maxPause is how far the clock may jump before the time between counts as one in which nobody
// listened. While the engine runs it looks at the clock at least every 30 s.
const maxPause = 5 * time.Minute

// Open restores the core from the journal: the newest checkpoint and all inputs after it. What
// cannot be used of them is no error: it is declared, and the hub goes on with the rest.
func Open(o Options) (*Engine, error) {
	core, flaw := Rebuild(o.Journal, o.Now())
	e := &Engine{opts: o, j: o.Journal, log: o.Log, core: core, in: make(chan *request), stopped: make(chan struct{})}
	ch := make(chan struct{})
	e.changed.Store(&ch)
	if flaw != nil {
		e.log.Error("the state before is not complete; the hub goes on with what could be restored", "err", flaw)
		e.note(TypeAnew, "hub", Anew{clip(flaw.Error(), maxDetail)})
		e.anew = true
	}
	if err := e.greet(); err != nil {
		return nil, err
	}
	return e, nil
}

// greet commits what every start begins with: what the store lost, the configuration if it is
// new, the boot.
func (e *Engine) greet() error {
	opened := e.j.Opened()
	e.declare(opened.Lost, opened.Reason)
	if !same(e.core.Setup(), e.opts.Setup) {
		in, err := setupInput(e.opts.Setup)
		if err != nil {
			return err
		}
		e.own = append(e.own, in)
	}
	boot := e.opts.Boot
	n, at := e.j.LastCommit()
	boot.First = n == 0 && at.IsZero() && !e.anew
	e.note(TypeBoot, "hub", boot)
	if err := e.commit(nil); err != nil {
		return fmt.Errorf("first commit: %w", err)
	}
	e.publish()
	return nil
}

// note queues an input of the engine's own for the next commit.
func (e *Engine) note(typ, subject string, v any) {
	in, err := newInput(typ, subject, v)
	if err != nil {
		panic(err) // our own types always encode
	}
	e.own = append(e.own, in)
}

// Run gathers and commits until ctx ends (then it returns nil) or a commit fails. After it has
// returned all callers get ErrStopped.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(e.untilDue())
		var batch []*request
		select {
		case <-ctx.Done():
			return nil
		case r := <-e.in:
			batch = e.gather(r)
		case <-timer.C:
		}
		e.housekeeping()
		if err := e.commit(batch); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
}

// untilDue is how long the engine may sleep.
func (e *Engine) untilDue() time.Duration {
	now := e.opts.Now()
	wait := e.core.Next().Sub(now)
	if e.unshown {
		wait = min(wait, e.shown.Add(showEvery).Sub(now))
	}
	return max(0, wait)
}

// gather takes whoever already waits. There is no timer: a lone caller pays one sync, and
// while the disk works the next batch comes together by itself. Only a flash-wear budget that
// is used up makes it wait.
func (e *Engine) gather(first *request) []*request {
	batch, n := []*request{first}, len(first.readings)
	var spaced <-chan time.Time
	if wait := e.opts.Budget.wait(e.opts.Now(), first); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		spaced = t.C
	}
	for n < maxGather {
		if spaced != nil {
			select {
			case r := <-e.in:
				batch, n = append(batch, r), n+len(r.readings)
				if r.input != nil {
					return batch
				}
				continue
			case <-spaced:
				spaced = nil
			}
		}
		select {
		case r := <-e.in:
			batch, n = append(batch, r), n+len(r.readings)
		default:
			return batch
		}
	}
	return batch
}

// commit takes a batch in: core, journal, snapshot, answers, in this order.
func (e *Engine) commit(batch []*request) error {
	replies := make([]reply, len(batch))
	now := e.opts.Now()
	for _, r := range batch {
		if r.epoch != "" {
			if err := e.newEpoch(r.epoch); err != nil {
				return err
			}
		}
	}
	err := e.step(now, batch, replies)
	if answerBeforeCommit && err == nil {
		answer(batch, replies)
		batch = nil
	}
	before := e.traced(batch)
	if err == nil {
		err = e.write()
	}
	if err == nil {
		e.tellTraced(before)
	}
	if err != nil {
		for _, r := range batch {
			r.reply <- reply{err: fmt.Errorf("not stored: %w", err)}
		}
		return err
	}
	e.show() // first: whoever has the answer can see the effect
	answer(batch, replies)
	return nil
}

func answer(batch []*request, replies []reply) {
	for i, r := range batch {
		r.reply <- replies[i]
	}
}

// step feeds the core and lays the drafts of the commit's records out.
func (e *Engine) step(now time.Time, batch []*request, replies []reply) error {
	e.drafts = e.drafts[:0]
	e.pack.reset()
	if since := e.core.now; now.Sub(since) > maxPause {
		e.core.Begin(since)
		e.core.Skip(now)
		e.note(TypePause, "hub", Pause{since})
	}
	e.core.Begin(now)
	for _, in := range e.own {
		if _, err := e.apply(in); err != nil {
			return err
		}
	}
	e.own = e.own[:0]
	for i, r := range batch {
		if r.input == nil {
			continue
		}
		if r.setup != nil {
			if err := e.core.possible(*r.setup); err != nil {
				replies[i].err = fmt.Errorf("%w: %w", ErrSetup, err)
				continue
			}
		}
		res, err := e.apply(*r.input)
		if err != nil {
			return err
		}
		replies[i].result = res
	}
	if err := e.refuse(batch, replies); err != nil {
		return err
	}
	for i, r := range batch {
		e.take(r.readings, replies[i].outcomes)
	}
	for _, ev := range e.core.End() {
		e.drafts = append(e.drafts, journal.Draft{Lane: edge.Events, Type: string(ev.Type), Subject: ev.Subject, At: ev.At, Data: ev.Data})
	}
	for _, data := range e.pack.records() {
		e.drafts = append(e.drafts, journal.Draft{Lane: edge.Readings, Input: true, Type: TypeReadings, Data: data})
	}
	return nil
}

func (e *Engine) apply(in input) (edge.CommandResult, error) {
	res, err := e.core.Apply(in)
	if err != nil {
		return res, err
	}
	e.drafts = append(e.drafts, journal.Draft{Lane: edge.Events, Input: true, Type: in.typ, Subject: in.subject, Data: in.data})
	return res, nil
}

// refuse fixes the readings' times, and counts in the ledger those that are not to be taken and
// what drivers rejected. What is rejected for one cause of one device is one record in a commit.
func (e *Engine) refuse(batch []*request, replies []reply) error {
	var all rejections
	for i, r := range batch {
		if r.rejected != nil {
			all.add(*r.rejected)
		}
		if len(r.readings) == 0 {
			continue
		}
		replies[i].outcomes = make([]edge.Outcome, len(r.readings))
		for k := range r.readings {
			reading := &r.readings[k]
			e.received(reading)
			why := admit(reading)
			if why == "" {
				why = e.core.Refuse(reading)
			}
			if why == "" {
				continue
			}
			device := clip(reading.Device, maxName)
			replies[i].outcomes[k] = edge.Outcome{Status: edge.Rejected, Reason: "device " + device + ": " + why}
			all.add(edge.Rejection{Driver: "hub", Device: device, Cause: why, Count: 1, At: e.core.now})
		}
	}
	for _, r := range all.list {
		in, err := newInput(TypeRejected, r.Device, r)
		if err != nil {
			return err
		}
		if _, err := e.apply(in); err != nil {
			return err
		}
	}
	return nil
}

// received settles when the hub took a reading in: the driver's time, unless its clock and the
// trusted one disagree.
func (e *Engine) received(r *edge.Reading) {
	const disagree = 10 * time.Second
	if d := e.core.now.Sub(r.Received); r.Received.IsZero() || d < 0 || d > disagree {
		r.Received = e.core.now
	}
	r.Fix()
}

func (e *Engine) take(rs []edge.Reading, outcomes []edge.Outcome) {
	for i := range rs {
		if outcomes[i].Status == edge.Rejected {
			continue
		}
		outcomes[i] = e.core.Take(&rs[i])
		if outcomes[i].Status == edge.Duplicate {
			e.dups++
			continue
		}
		e.pack.add(&rs[i])
	}
}

// write commits the drafts. Without any there is nothing to sync: all were duplicates, or a
// timer found nothing to say.
func (e *Engine) write() error {
	if len(e.drafts) == 0 {
		return nil
	}
	var checkpoint []byte
	if e.anew || e.j.NeedCheckpoint() {
		var err error
		if checkpoint, err = e.core.Marshal(); err != nil {
			return err
		}
	}
	before := e.j.Stats().BytesWritten
	if _, err := e.j.Commit(e.core.now, e.drafts, checkpoint); err != nil {
		return err
	}
	e.commits++
	e.anew = false
	e.opts.Budget.spent(e.core.now, e.j.Stats().BytesWritten-before)
	return nil
}
