package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// The bounds of one look into the event table.
const (
	maxBatch  = 100  // events in one call
	pageSize  = 500  // rows read at once
	maxPages  = 10   // read for one batch; then where it is is noted
	saveAfter = 2000 // rows that were not for the target before that is noted, or
	saveLater = 10 * time.Second
)

// worker sends to one target.
type worker struct {
	f        *Forwarder
	target   target
	filter   filter
	sink     Sink
	batch    int
	mayPause bool

	replay   *replay // under way; nil = none
	resend   bool    // the next batch is the replay's: they take turns
	single   int64   // events up to this id go one by one: one of them was refused
	saved    int64   // position that the database has
	savedAt  time.Time
	leased   time.Time
	attempts int // of the batch under way
}

func (w *worker) log() *slog.Logger { return w.f.log.With("org", w.target.Org, "target", w.target.ID) }

// run sends until ctx ends, or the target is paused or taken over.
func (w *worker) run(ctx context.Context) {
	defer w.release()
	if closer, ok := w.sink.(*hook); ok { // others live as long as the process
		defer closer.Close()
	}
	w.filter.domains = func(e store.Event) ([]string, error) { return w.f.places.Of(ctx, e) }
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		changed := w.f.db.Changed()
		wait, again := w.step(ctx)
		if again {
			continue
		}
		timer.Reset(wait)
		if w.attempts > 0 { // it failed: news do not make it better
			changed = nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
	}
}

// idle is how long a target without news waits, with its lease still good.
const idle = leaseFor / 3

// step does one batch. again says that there may be more to do at once; otherwise wait.
func (w *worker) step(ctx context.Context) (wait time.Duration, again bool) {
	if w.leased.IsZero() || w.f.now().Sub(w.leased) > leaseFor/2 {
		mine, err := w.claim(ctx)
		if err != nil || !mine {
			w.leased = time.Time{}
			return w.problem(ctx, err), false
		}
	}
	r := w.turn()
	events, to, more, err := w.gather(ctx, r)
	if err != nil {
		return w.problem(ctx, err), false
	}
	if len(events) == 0 {
		return idle, w.skip(ctx, r, to, more)
	}
	began := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	sent, err := w.sink.Send(withReplay(callCtx, r), events)
	cancel()
	if ctx.Err() != nil { // cut off by us: sent again by whoever goes on
		return 0, false
	}
	w.attempts++
	return w.after(ctx, r, outcome{events, to, sent, err, time.Since(began)})
}

// problem logs trouble with the database and says when to try again.
func (w *worker) problem(ctx context.Context, err error) time.Duration {
	if err != nil && ctx.Err() == nil {
		w.log().Error("events not forwarded; tried again soon", "err", err)
	}
	return lookEvery
}

// turn chooses between news and a replay.
func (w *worker) turn() *replay {
	if w.replay == nil {
		return nil
	}
	if w.resend = !w.resend; w.resend {
		return w.replay
	}
	return nil
}

// gather reads the next batch behind a position; to is the last event that was looked at.
func (w *worker) gather(ctx context.Context, r *replay) (events []Event, to int64, more bool, err error) {
	f, to := w.filter, w.target.Position
	final, limit := int64(0), w.batch
	if r != nil {
		f.since, f.until, to, final = r.Since, r.Until, r.Position, r.Final
	}
	if to < w.single {
		limit = 1
	}
	for range maxPages {
		rows, err := w.f.db.EventsAfter(ctx, to, 0, pageSize)
		if err != nil {
			return nil, to, false, fmt.Errorf("read events: %w", err)
		}
		for _, row := range rows {
			if final > 0 && row.ID > final {
				return events, final, false, nil
			}
			to = row.ID
			if e, ok, err := w.take(&f, row); err != nil {
				return nil, to, false, err
			} else if ok {
				events = append(events, e)
			}
			if len(events) == limit {
				return events, to, true, nil
			}
		}
		if len(rows) < pageSize {
			if final > 0 {
				to = final
			}
			return events, to, false, nil
		}
	}
	return events, to, true, nil
}

// take turns a row into an event; false when it is not for the target. What cannot be read is
// left out and logged: it would hold up all that follows.
func (w *worker) take(f *filter, row store.Event) (e Event, ok bool, err error) {
	if ok, err = f.wants(row); err != nil || !ok {
		return e, false, err
	}
	if e, err = newEvent(row); err != nil {
		w.log().Error("event not forwarded", "err", err)
		return e, false, nil
	}
	return e, true, nil
}

// skip notes that there was nothing for the target up to an event.
func (w *worker) skip(ctx context.Context, r *replay, to int64, more bool) (again bool) {
	if r == nil && (to == w.saved || to-w.saved < saveAfter && w.f.now().Sub(w.savedAt) < saveLater) {
		w.target.Position = to
		return more || w.replay != nil
	}
	err := w.f.db.Update(ctx, func(tx *store.Tx) error { return w.move(tx, r, to, 0) })
	if err != nil {
		w.problem(ctx, err)
		return false
	}
	w.reached(r, to)
	return more || w.replay != nil || r != nil
}

// reached takes over what move has stored.
func (w *worker) reached(r *replay, to int64) {
	if r == nil {
		w.target.Position, w.saved, w.savedAt = to, to, w.f.now()
		return
	}
	if r.Position = to; to >= r.Final {
		w.replay, w.leased = nil, time.Time{} // there may be another one: claim reads it
	}
}

// outcome is what became of a batch: sent of its events arrived.
type outcome struct {
	events []Event
	to     int64
	sent   int
	err    error
	took   time.Duration
}

// after stores the outcome of a call and says how to go on.
func (w *worker) after(ctx context.Context, r *replay, o outcome) (wait time.Duration, again bool) {
	refused := errors.Is(o.err, deliver.ErrRefused)
	done, to := o.events[:o.sent], o.to
	if o.err != nil && o.sent > 0 {
		to = done[o.sent-1].ID
	}
	switch {
	case o.err == nil:
		done = o.events
	case refused && len(o.events)-o.sent > 1 && o.sent == 0 && w.batch > 1 && o.events[0].ID > w.single:
		w.single = o.events[len(o.events)-1].ID // which of them it was shows one by one
		return 0, true
	case o.sent > 0: // some arrived: note them; what failed is tried next
	case refused:
		return w.bury(ctx, r, o)
	default:
		return w.failed(ctx, o.err)
	}
	if err := w.note(ctx, r, delivered, done, to, o.took, ""); err != nil {
		return w.lost(ctx, err)
	}
	w.attempts, w.target.Failures = 0, 0
	w.reached(r, to)
	return 0, true
}

// lost is what follows when the outcome could not be stored: it is sent again.
func (w *worker) lost(ctx context.Context, err error) (time.Duration, bool) {
	w.leased = time.Time{}
	return w.problem(ctx, err), false
}

// bury keeps the first event as a dead letter and goes on behind it.
func (w *worker) bury(ctx context.Context, r *replay, o outcome) (time.Duration, bool) {
	to := o.events[0].ID
	if err := w.note(ctx, r, dead, o.events[:1], to, o.took, o.err.Error()); err != nil {
		return w.lost(ctx, err)
	}
	w.log().Warn("event refused", "event", to, "type", o.events[0].Type, "err", o.err)
	w.attempts, w.target.Failures = 0, 0
	w.reached(r, to)
	return 0, true
}

// note stores a delivery and where the target is, at once.
func (w *worker) note(ctx context.Context, r *replay, state string, events []Event, to int64, took time.Duration, why string) error {
	d := Delivery{State: state, Events: len(events), Attempts: w.attempts, Error: why, At: w.f.now(), TookMS: took.Milliseconds()}
	if r != nil {
		d.Replay = r.ID
	}
	return w.f.db.Update(ctx, func(tx *store.Tx) error {
		if err := w.move(tx, r, to, len(events)); err != nil {
			return err
		}
		return addDelivery(tx, w.target.ID, d, events[0].ID, events[len(events)-1].ID)
	})
}

// failed counts a failure and says when to try again; a webhook with too many is paused.
func (w *worker) failed(ctx context.Context, cause error) (time.Duration, bool) {
	w.target.Failures++
	pause := w.mayPause && w.target.Failures >= w.f.o.MaxFailures
	wait := backoff(w.target.Failures, w.f.o.FirstRetry, w.f.o.LastRetry)
	var asked *deliver.RetryAfter
	if errors.As(cause, &asked) {
		wait = max(wait, min(asked.Wait, time.Hour))
	}
	err := w.f.db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE forward_targets SET failures = ?, error = ? WHERE id = ? AND owner = ?`
		n, err := tx.ExecCount(update, w.target.Failures, cause.Error(), w.target.ID, w.f.owner)
		if err != nil || n == 0 || !pause {
			return err
		}
		return w.f.pause(tx, w.target, cause, w.f.now())
	})
	w.leased = time.Time{} // it may be long: others may try, and we ask again
	if err != nil {
		return w.problem(ctx, err), false
	}
	if pause {
		w.log().Warn("webhook paused", "failures", w.target.Failures, "err", cause)
		w.f.look()
		return leaseFor, false
	}
	w.log().Warn("not forwarded, tried again later", "in", wait.Round(time.Millisecond), "failures", w.target.Failures, "err", cause)
	return wait, false
}

// PausedEvent is the type of the event that says that a webhook was paused; for admins.
const PausedEvent edge.EventType = "webhook.paused"

// pause leaves a webhook alone and tells the organisation's admins.
func (f *Forwarder) pause(tx *store.Tx, t target, cause error, now time.Time) error {
	if err := tx.Exec(`UPDATE forward_targets SET paused = ?, owner = '', lease = 0 WHERE id = ?`, store.Millis(now), t.ID); err != nil {
		return err
	}
	e, err := store.EventOf(PausedEvent, t.ID, now, map[string]any{"webhook": t.ID, "name": t.Spec.Name, "failures": t.Failures, "error": cause.Error()})
	if err != nil {
		return err
	}
	if err := tx.AddOrgEvent(t.Org, "role:admin", e); err != nil {
		return err
	}
	if f.o.Tell == nil {
		return nil
	}
	title := fmt.Sprintf("Webhook %s is paused", t.Spec.Name)
	text := fmt.Sprintf("It has failed %d times in a row, the last time with: %v. Nothing is lost: once its receiver works again, resume it, and it goes on where it was.", t.Failures, cause)
	return f.o.Tell(tx, t.Org, fmt.Sprintf("webhook-paused/%s/%d", t.ID, now.UnixMilli()), title, text, "/v1/orgs/"+t.Org+"/webhooks/"+t.ID)
}

// backoff doubles from first to last, with jitter so that targets do not move in step.
func backoff(n int, first, last time.Duration) time.Duration {
	d := first << min(n-1, 20)
	if d > last || d <= 0 {
		d = last
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}
