package workorders

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// What the table alone does not say.
const (
	maxReopens    = 3
	closeAfter    = 3 * 24 * time.Hour // a resolved order closes by itself
	remindBefore  = 2 * 24 * time.Hour // that much before it does
	draftLife     = 7 * 24 * time.Hour
	maxReasonSize = 2000 // bytes
)

// move is a wanted change of state.
type move struct {
	to       State
	reason   string
	until    time.Time // of a postponement
	cost     string    // of a request for approval
	approver string    // of a request for approval; empty = any manager
	managers []Person  // who may approve; looked up before the transaction
	by       actor
}

// change does something to the newest version of an order, in one transaction. With a seen
// version other than 0 it must be the newest.
func (m *Module) change(ctx context.Context, id string, seen int64, fn func(*store.Tx, *Order) error) (Order, error) {
	var o Order
	err := m.db.Update(ctx, func(tx *store.Tx) (err error) {
		if o, err = readOrder(tx, id); err != nil {
			return err
		}
		if seen != 0 && seen != o.Version {
			return errMoved
		}
		return fn(tx, &o)
	})
	return o, err
}

// apply changes an order's state by the table and does what follows from it: clocks, timers,
// approvals, history, notices.
func (m *Module) apply(tx *store.Tx, o *Order, mv move) error {
	if err := m.allowed(tx, o, &mv); err != nil {
		return err
	}
	now, from := m.now(), o.State
	if err := m.enter(tx, o, mv, now); err != nil {
		return err
	}
	o.State, o.Reason, o.UpdatedAt = mv.to, mv.reason, now
	o.Deadlines.follow(mv.to, now)
	if err := errors.Join(setClocks(tx, o), setLife(tx, o, now)); err != nil {
		return err
	}
	if err := saveOrder(tx, o); err != nil {
		return err
	}
	what := "moved"
	if from == Draft {
		what = "opened"
	}
	if err := m.record(tx, o, mv.by, Step{What: what, From: from, To: mv.to, Why: mv.reason}, nil); err != nil {
		return err
	}
	text := fmt.Sprintf("%s is %s", o.Title, strings.ToLower(ticketNames[mv.to]))
	return m.notify(tx, o, mv.by, append([]string{o.Assignee, o.CreatedBy}, o.Watchers...), notice{kind: "moved", text: text + why(mv.reason)})
}

func why(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// allowed holds a move to the table.
func (m *Module) allowed(tx *store.Tx, o *Order, mv *move) error {
	mv.reason = strings.TrimSpace(mv.reason)
	t, ok := findTransition(o.State, mv.to)
	if !ok || o.State == Postponed && mv.to != o.PostponedFrom {
		return route.Problem(409, "it is %s and cannot become %s; from here it goes to: %s", o.State, mv.to, join(o.moves(mv.by.role)))
	}
	switch {
	case mv.by.role < t.Least:
		return route.Problem(403, "from %s to %s needs the role %s; yours is %s", o.State, mv.to, t.Least, mv.by.role)
	case t.Reason && mv.reason == "":
		return route.Problem(422, "say why: from %s to %s needs a reason", o.State, mv.to)
	case len(mv.reason) > maxReasonSize:
		return route.Problem(422, "the reason is longer than %d bytes", maxReasonSize)
	case mv.to == Reopened && o.Reopens >= maxReopens:
		return route.Problem(409, "it was reopened %d times already; open a new one", maxReopens)
	}
	if mv.to != Resolved && mv.to != Closed {
		return nil
	}
	left, err := openTasks(tx, o.ID)
	if err == nil && left > 0 {
		err = route.Problem(409, "%d sub-tasks are not done yet", left)
	}
	return err
}

func join(states []State) string {
	if len(states) == 0 {
		return "nowhere"
	}
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}

// enter does what belongs to the new state, while o still has the old one.
func (m *Module) enter(tx *store.Tx, o *Order, mv move, now time.Time) error {
	resumed := o.State == Postponed
	if resumed {
		o.PostponedFrom, o.PostponedUntil = "", time.Time{}
	}
	switch mv.to {
	case Postponed:
		if !mv.until.IsZero() && !mv.until.After(now) {
			return route.Problem(422, "until %s is past", mv.until.Format(time.RFC3339))
		}
		o.PostponedFrom, o.PostponedUntil = o.State, edge.Millis(mv.until)
	case WaitingApproval:
		if !resumed {
			return m.ask(tx, o, mv, now)
		}
	case Approved, Rejected:
		if !resumed {
			return m.decide(tx, o, mv, now)
		}
	case InProgress:
		if o.State == WaitingApproval {
			return m.withdraw(tx, o, mv, now)
		}
	case Resolved:
		o.ResolvedAt = now
	case Closed:
		o.ClosedAt = now
	case Reopened:
		o.Reopens++
		o.ResolvedAt, o.ClosedAt = time.Time{}, time.Time{}
		m.restart(o, now)
	case Opened:
		if o.State == Draft {
			return m.submit(tx, o, now)
		}
	}
	return nil
}

// restart gives a reopened order its whole time to be resolved again.
func (m *Module) restart(o *Order, now time.Time) {
	if d := o.Deadlines; d != nil {
		if s := d.Template.Resolve[o.Priority]; s > 0 {
			d.ResolveBy, d.ResolveBreached = d.Template.calendar().add(now, time.Duration(s)), false
		}
	}
}

// setLife writes the timers that belong to the state an order now has.
func setLife(tx *store.Tx, o *Order, now time.Time) error {
	var remind, closes time.Time
	if o.State == Resolved {
		remind, closes = now.Add(closeAfter-remindBefore), now.Add(closeAfter)
	}
	return errors.Join(
		setTimer(tx, o.ID, timerCloseReminder, remind, ""),
		setTimer(tx, o.ID, timerClose, closes, ""),
		setTimer(tx, o.ID, timerResume, o.PostponedUntil, ""),
		setTimer(tx, o.ID, timerDraft, o.ExpiresAt, ""),
	)
}

// submit makes a draft an order.
func (m *Module) submit(tx *store.Tx, o *Order, now time.Time) (err error) {
	template := ""
	if o.Deadlines != nil {
		template = o.Deadlines.Template.Name
	}
	o.ExpiresAt = time.Time{}
	if o.Number, err = m.number(tx, o.Org, now); err != nil {
		return err
	}
	o.Deadlines = nil
	return m.begin(tx, o, template, now)
}

// accounts tells whether users are known.
func (m *Module) accounts() bool {
	return m.o.People != nil && (m.o.Accounts == nil || m.o.Accounts())
}

// people lists who has at least this role in a domain; look it up before a transaction begins.
func (m *Module) people(ctx context.Context, domain string, least token.Role) ([]Person, error) {
	if !m.accounts() {
		return nil, nil
	}
	return m.o.People(ctx, domain, least)
}
