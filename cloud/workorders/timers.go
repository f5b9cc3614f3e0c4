package workorders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// The kinds of timer. An order has at most one of each; a reminder's kind has its own id behind it.
const (
	timerRespond       = "respond"
	timerResolve       = "resolve"
	timerCloseReminder = "close_reminder"
	timerClose         = "close"
	timerResume        = "resume"
	timerDraft         = "draft"
	timerReminder      = "reminder:"
)

// maxWait is how often timers are looked for that another process has set.
const maxWait = time.Minute

// retryTimer is when a timer is tried again that could not fire.
const retryTimer = 5 * time.Minute

// timer is a row of workorders_timers.
type timer struct {
	order, kind, data string
	due               time.Time
}

// setTimer sets, moves or (with the zero time) removes a timer.
func setTimer(tx *store.Tx, order, kind string, due time.Time, data string) error {
	if due.IsZero() {
		return tx.Exec(`DELETE FROM workorders_timers WHERE workorder = ? AND kind = ?`, order, kind)
	}
	const upsert = `INSERT INTO workorders_timers (workorder, kind, due, data) VALUES (?, ?, ?, ?)
		ON CONFLICT (workorder, kind) DO UPDATE SET due = excluded.due, data = excluded.data`
	return tx.Exec(upsert, order, kind, store.Millis(due), data)
}

// runTimers fires what is due and waits for what is next: until it is due, until something
// changes, and at most maxWait.
func (m *Module) runTimers(ctx context.Context) {
	for ctx.Err() == nil {
		changed := m.db.Changed()
		next, err := m.fireDue(ctx)
		if err != nil && ctx.Err() == nil {
			m.o.Log.Error("work order timers", "err", err)
		}
		wait := maxWait
		if err == nil && !next.IsZero() {
			wait = min(max(next.Sub(m.now()), 0), maxWait)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// fireDue fires every timer that is due and returns when the next one is.
func (m *Module) fireDue(ctx context.Context) (next time.Time, err error) {
	for {
		const query = `SELECT workorder, kind, due, data FROM workorders_timers ORDER BY due, workorder, kind LIMIT 1`
		t, err := scanTimer(m.db.QueryRow(ctx, query))
		if errors.Is(err, sql.ErrNoRows) {
			return time.Time{}, nil
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("read timers: %w", err)
		}
		if t.due.After(m.now()) {
			return t.due, nil
		}
		if err := m.fire(ctx, t); err != nil {
			if err := m.later(ctx, t, err); err != nil {
				return time.Time{}, err
			}
		}
	}
}

// later puts a timer off that could not fire, so that it does not hold up the others.
func (m *Module) later(ctx context.Context, t timer, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.o.Log.Error("work order timer not fired, is tried again", "order", t.order, "kind", t.kind, "err", cause)
	return m.db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE workorders_timers SET due = ? WHERE workorder = ? AND kind = ? AND due = ?`
		return tx.Exec(update, store.Millis(m.now().Add(retryTimer)), t.order, t.kind, store.Millis(t.due))
	})
}

func scanTimer(row *sql.Row) (timer, error) {
	var t timer
	var due int64
	err := row.Scan(&t.order, &t.kind, &due, &t.data)
	t.due = store.FromMillis(due)
	return t, err
}

// fire takes a timer and does what it is for in one transaction; of several processes one takes it.
func (m *Module) fire(ctx context.Context, t timer) error {
	var told []Person
	if o, err := m.order(ctx, t.order); err == nil && (t.kind == timerRespond || t.kind == timerResolve) {
		if told, err = m.people(ctx, o.Domain, token.Manager); err != nil {
			m.o.Log.Warn("work order breached, managers not known", "order", o.Number, "err", err)
		}
	}
	return m.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.ExecCount(`DELETE FROM workorders_timers WHERE workorder = ? AND kind = ? AND due = ?`, t.order, t.kind, store.Millis(t.due))
		if err != nil || n == 0 {
			return err
		}
		o, err := readOrder(tx, t.order)
		if errors.Is(err, route.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return m.elapse(tx, &o, t, told)
	})
}

// elapse does what a timer is for.
func (m *Module) elapse(tx *store.Tx, o *Order, t timer, managers []Person) error {
	switch t.kind {
	case timerRespond, timerResolve:
		return m.breach(tx, o, t, managers)
	case timerCloseReminder:
		text := fmt.Sprintf("resolved; closes by itself on %s unless it is reopened", m.now().Add(remindBefore).In(m.zone(o.Org)).Format("2006-01-02 15:04"))
		return m.remind(tx, o, itself, []string{o.CreatedBy, o.Assignee}, text, t.kind)
	case timerClose:
		return m.applyQuietly(tx, o, move{to: Closed, reason: "resolved for 3 days", by: itself})
	case timerResume:
		return m.applyQuietly(tx, o, move{to: o.PostponedFrom, reason: "the time it was postponed to has come", by: itself})
	case timerDraft:
		return m.remove(tx, o, itself, "a draft of 7 days")
	}
	if user, text, ok := strings.Cut(t.data, "\n"); ok && strings.HasPrefix(t.kind, timerReminder) {
		return m.remind(tx, o, itself, []string{user}, text, t.kind)
	}
	return fmt.Errorf("timer of unknown kind %q", t.kind)
}

// applyQuietly moves an order by itself; what the table refuses meanwhile is left as it is.
func (m *Module) applyQuietly(tx *store.Tx, o *Order, mv move) error {
	if err := m.allowed(tx, o, &mv); err != nil {
		m.o.Log.Info("work order not moved by itself", "order", o.Number, "to", string(mv.to), "reason", err.Error())
		return addStep(tx, o, Step{At: m.now(), Name: itself.name, What: "not_moved", Why: err.Error()})
	}
	return m.apply(tx, o, mv)
}

// breach notes a missed deadline and tells those who are in charge.
func (m *Module) breach(tx *store.Tx, o *Order, t timer, managers []Person) error {
	d := o.Deadlines
	if d == nil || o.State.over() {
		return nil
	}
	text := "nobody has taken it up in time"
	if t.kind == timerRespond {
		d.RespondBreached = true
	} else {
		d.ResolveBreached = true
		text = "it was not resolved in time"
	}
	if err := saveOrder(tx, o); err != nil {
		return err
	}
	if err := m.record(tx, o, itself, Step{What: "breached", Why: text}, map[string]any{"deadline": t.kind, "due": t.due}); err != nil {
		return err
	}
	severity := edge.Warning
	if o.Priority == Urgent || o.Priority == High {
		severity = edge.Critical
	}
	return m.notify(tx, o, itself, append(ids(managers), o.Assignee), notice{kind: "breached", text: text, severity: severity, key: t.kind})
}

// remind tells people about an order once more.
func (m *Module) remind(tx *store.Tx, o *Order, by actor, users []string, text, key string) error {
	if err := m.record(tx, o, by, Step{What: "reminder", Why: text}, map[string]any{"users": users}); err != nil {
		return err
	}
	return m.notify(tx, o, actor{name: by.name}, users, notice{kind: "reminder", text: text, key: key})
}
