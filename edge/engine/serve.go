package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// Put takes readings in. It returns after the sync, with what became of each, in order. It
// keeps the readings' Values.
func (e *Engine) Put(ctx context.Context, rs ...edge.Reading) ([]edge.Outcome, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	var out []edge.Outcome
	for len(rs) > 0 { // a very large batch takes several commits, in order
		n := min(len(rs), maxGather)
		own := slices.Clone(rs[:n])
		e.hide(own)
		rep := e.ask(ctx, &request{readings: own})
		if rep.err != nil {
			return nil, rep.err
		}
		out, rs = append(out, rep.outcomes...), rs[n:]
	}
	return out, nil
}

// Reject counts what a driver could not understand, and returns after the sync.
func (e *Engine) Reject(ctx context.Context, r edge.Rejection) error {
	r.Driver, r.Device, r.Cause = clip(r.Driver, maxName), clip(r.Device, maxName), clip(r.Cause, maxName)
	r.Detail, r.Hash = clip(r.Detail, maxDetail), e.hideHash(clip(r.Hash, maxName))
	r.Count, r.At = max(1, r.Count), edge.Millis(r.At)
	if y := r.At.Year(); y < 1970 || y > 9999 { // JSON has no such year
		r.At = time.Time{}
	}
	return e.ask(ctx, &request{rejected: &r}).err
}

// Do carries a command out and returns after the sync.
func (e *Engine) Do(ctx context.Context, cmd edge.Command) (edge.CommandResult, error) {
	in, err := newInput(TypeCommand, cmd.Subject, cmd)
	if err != nil {
		return edge.CommandResult{}, err
	}
	if n := len(in.data); n > maxInput {
		return refused(cmd, "invalid", fmt.Sprintf("the command has %d bytes; at most %d are taken", n, maxInput)), nil
	}
	rep := e.ask(ctx, &request{input: &in})
	return rep.result, rep.err
}

// Delivered ends a delivery job.
func (e *Engine) Delivered(ctx context.Context, a ActionResult) error {
	a.Error = clip(a.Error, maxDetail)
	return e.tell(ctx, TypeAction, a.Job, a)
}

// Linked reports a change in the connection to the cloud.
func (e *Engine) Linked(ctx context.Context, l Link) error {
	l.Reason = clip(l.Reason, maxDetail)
	return e.tell(ctx, TypeLink, "hub", l)
}

// DriverChanged reports a change in a driver's connection.
func (e *Engine) DriverChanged(ctx context.Context, d DriverStatus) error {
	d.Detail = clip(d.Detail, maxDetail)
	return e.tell(ctx, TypeDriver, d.ID, d)
}

// DeclareLost counts records that will never be in the cloud.
func (e *Engine) DeclareLost(ctx context.Context, l Lost) error {
	return e.tell(ctx, TypeLost, string(l.Lane), l)
}

// ErrSetup is wrapped by what Configure says of a setup that cannot be.
var ErrSetup = errors.New("this configuration cannot run")

// Configure runs the site under another setup and returns after the sync. What spaces and
// sensors of the same ids knew is kept. When the error wraps ErrSetup nothing has changed.
func (e *Engine) Configure(ctx context.Context, s Setup) error {
	in, err := setupInput(s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSetup, err)
	}
	return e.ask(ctx, &request{input: &in, setup: &s}).err
}

// Refused records that a configuration from the cloud does not run.
func (e *Engine) Refused(ctx context.Context, r RefusedSetup) error {
	const most = 20
	r.Reasons = slices.Clone(r.Reasons[:min(len(r.Reasons), most)])
	for i := range r.Reasons {
		r.Reasons[i] = clip(r.Reasons[i], maxDetail)
	}
	return e.tell(ctx, TypeRefused, "hub", r)
}

// NewEpoch begins a new epoch of the journal, because the cloud refuses the present one's
// chain. What the old one holds and the cloud has not confirmed is declared.
func (e *Engine) NewEpoch(ctx context.Context, reason string) error {
	return e.ask(ctx, &request{epoch: reason}).err
}

// Ping passes through the engine's goroutine like any request, and returns when it had its
// turn: a sign that commits go on.
func (e *Engine) Ping(ctx context.Context) error { return e.ask(ctx, &request{}).err }

func (e *Engine) tell(ctx context.Context, typ, subject string, v any) error {
	in, err := newInput(typ, subject, v)
	if err != nil {
		return err
	}
	if n := len(in.data); n > maxInput {
		return fmt.Errorf("%s of %d bytes: at most %d are taken", typ, n, maxInput)
	}
	return e.ask(ctx, &request{input: &in}).err
}

// ask hands a request to the engine's goroutine and waits for its answer. When ctx ends
// while the commit is under way, what becomes of the request is not known to the caller.
func (e *Engine) ask(ctx context.Context, r *request) reply {
	r.reply = make(chan reply, 1)
	if e.opts.Trace != nil {
		r.trace = e.opts.Trace(ctx)
	}
	select {
	case e.in <- r:
	case <-ctx.Done():
		return reply{err: ctx.Err()}
	case <-e.stopped:
		return reply{err: ErrStopped}
	}
	select {
	case rep := <-r.reply:
		return rep
	case <-ctx.Done():
		return reply{err: ctx.Err()}
	case <-e.stopped:
		select {
		case rep := <-r.reply:
			return rep
		default:
			return reply{err: ErrStopped}
		}
	}
}

// View returns the state as it was last published, at most showEvery old.
func (e *Engine) View() *View { return e.view.Load() }

// Snapshot returns the site's state as it was last published.
func (e *Engine) Snapshot() *edge.Snapshot { return e.view.Load().Snapshot }

// Changed returns a channel that is closed at the next publication. Get it before reading.
func (e *Engine) Changed() <-chan struct{} { return *e.changed.Load() }

// show publishes what a commit changed: at once when it wrote events, else at most every
// showEvery.
func (e *Engine) show() {
	news := slices.ContainsFunc(e.drafts, func(d journal.Draft) bool { return d.Lane == edge.Events })
	now := e.opts.Now()
	switch {
	case news, now.Sub(e.shown) >= showEvery && (e.unshown || len(e.drafts) > 0):
		e.publish()
	case len(e.drafts) > 0:
		e.unshown = true
	}
}

func (e *Engine) publish() {
	s := e.core.Snapshot()
	s.Epoch, s.Seq = e.j.Epoch(), e.j.Head(edge.Events).Seq
	s.Commit, _ = e.j.LastCommit()
	s.Counts.Duplicates, s.Counts.Commits = e.dups, e.commits
	e.view.Store(&View{Snapshot: s, Jobs: e.core.Jobs(), Drivers: e.core.Drivers(), Link: e.core.Link()})
	next := make(chan struct{})
	close(*e.changed.Swap(&next))
	e.shown, e.unshown = e.opts.Now(), false
}

// housekeeping deletes what may go and queues what was lost by it for the next commit.
func (e *Engine) housekeeping() {
	now := e.opts.Now()
	if now.Sub(e.trimmed) < trimInterval {
		return
	}
	e.trimmed = now
	dropped, err := e.j.Trim(now)
	if err != nil {
		e.log.Error("trim the journal", "err", err)
	}
	e.declare(dropped, "")
}

// declare queues what is lost for the ledger.
func (e *Engine) declare(lost []journal.Lost, detail string) {
	for _, l := range lost {
		e.note(TypeLost, string(l.Lane), Lost{Lost: l, Detail: detail})
	}
}

// newEpoch begins a new epoch, whose first commit declares what the old one takes along and
// carries a checkpoint of the whole state.
func (e *Engine) newEpoch(reason string) error {
	lost, err := e.j.NewEpoch(reason)
	if err != nil {
		return fmt.Errorf("begin a new epoch: %w", err)
	}
	e.declare(lost, reason)
	e.log.Warn("the journal begins a new epoch", "reason", reason, "epoch", e.j.Epoch())
	return nil
}
