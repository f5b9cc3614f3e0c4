package workorders

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// patch is the body of PATCH /v1/work-orders/{id}: what is absent stays.
type patch struct {
	Title       *string   `json:"title"`
	Description *string   `json:"description"`
	Priority    *Priority `json:"priority"`
	Space       *string   `json:"space"`
	Assignee    *string   `json:"assignee"` // empty takes it from whoever has it
	Watchers    *[]string `json:"watchers"`
	Labels      *[]string `json:"labels"`
	AutoResolve *bool     `json:"auto_resolve"`
}

// on lays the patch over an order and returns what it changed.
func (p *patch) on(o *Order) (changed []string) {
	set := func(name string, different bool, apply func()) {
		if different {
			apply()
			changed = append(changed, name)
		}
	}
	if v := p.Title; v != nil {
		set("title", *v != o.Title, func() { o.Title = strings.TrimSpace(*v) })
	}
	if v := p.Description; v != nil {
		set("description", *v != o.Description, func() { o.Description = *v })
	}
	if v := p.Priority; v != nil {
		set("priority to "+string(*v), *v != o.Priority, func() { o.Priority = *v })
	}
	if v := p.Space; v != nil {
		set("space", *v != o.Space, func() { o.Space = *v })
	}
	if v := p.Assignee; v != nil {
		set("assignee to "+*v, *v != o.Assignee, func() { o.Assignee = *v })
	}
	if v := p.Watchers; v != nil {
		set("watchers", !slices.Equal(tidy(*v), o.Watchers), func() { o.Watchers = tidy(*v) })
	}
	if v := p.Labels; v != nil {
		set("labels", !slices.Equal(tidy(*v), o.Labels), func() { o.Labels = tidy(*v) })
	}
	if v := p.AutoResolve; v != nil {
		set("auto_resolve", *v != o.AutoResolve, func() { o.AutoResolve = *v })
	}
	return changed
}

// edit answers PATCH /v1/work-orders/{id}; it needs If-Match.
func (m *Module) edit(r *route.Request, o Order) (any, error) {
	var p patch
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if err := r.IfMatch(o.etag()); err != nil {
		return nil, err
	}
	want := o
	if len(p.on(&want)) == 0 {
		return m.answer(r, o)
	}
	if err := m.check(r.Context(), &want); err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	o, err := m.change(r.Context(), o.ID, o.Version, func(tx *store.Tx, o *Order) error { return m.alter(tx, o, p, by) })
	if err != nil {
		return nil, err
	}
	return m.answer(r, o)
}

// alter applies a checked patch. A new priority starts the clocks anew.
func (m *Module) alter(tx *store.Tx, o *Order, p patch, by actor) error {
	if o.State == Closed {
		return route.Problem(http.StatusConflict, "it is closed; reopen it first")
	}
	priority, assignee := o.Priority, o.Assignee
	changed := p.on(o)
	o.UpdatedAt = m.now()
	if o.Priority != priority && o.Deadlines != nil && !o.State.over() {
		m.reprioritise(o)
		if err := setClocks(tx, o); err != nil {
			return err
		}
	}
	if err := saveOrder(tx, o); err != nil {
		return err
	}
	if err := m.record(tx, o, by, Step{What: "changed", Why: strings.Join(changed, ", ")}, map[string]any{"fields": changed}); err != nil {
		return err
	}
	if o.Assignee == assignee {
		return nil
	}
	return m.notify(tx, o, by, []string{o.Assignee}, notice{kind: "assigned", text: "you are to take care of it"})
}

// reprioritise gives an order the deadlines of its new priority, counted from now.
func (m *Module) reprioritise(o *Order) {
	old := o.Deadlines
	d := newDeadlines(old.Template, o.Priority, m.now())
	if d == nil {
		d = &Deadlines{Template: old.Template}
	}
	d.RespondedAt, d.RespondBreached, d.ResolveBreached = old.RespondedAt, old.RespondBreached, old.ResolveBreached
	if !d.RespondedAt.IsZero() {
		d.RespondBy = time.Time{}
	}
	if !old.PausedAt.IsZero() {
		d.pause(m.now())
	}
	o.Deadlines = d
}

// moving is the body of POST /v1/work-orders/{id}/move.
type moving struct {
	To       State     `json:"to"`
	Reason   string    `json:"reason"`
	Until    time.Time `json:"until"`    // of a postponement
	Cost     string    `json:"cost"`     // of a request for approval
	Approver string    `json:"approver"` // of a request for approval
	Version  int64     `json:"version"`  // that the caller has seen; or send If-Match
}

// transfer answers POST /v1/work-orders/{id}/move: of two who have seen the same version one
// is refused, with 409 when it named the version in the body and 412 when as If-Match.
func (m *Module) transfer(r *route.Request, o Order) (any, error) {
	var in moving
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Version == 0 {
		if err := r.IfMatch(o.etag()); err != nil {
			return nil, err
		}
		in.Version = o.Version
	}
	mv := move{to: in.To, reason: in.Reason, until: in.Until, cost: in.Cost, approver: in.Approver, by: actorOf(r, o.Domain)}
	if err := m.findApprovers(r.Context(), &o, &mv); err != nil {
		return nil, err
	}
	o, err := m.change(r.Context(), o.ID, in.Version, func(tx *store.Tx, o *Order) error { return m.apply(tx, o, mv) })
	if err != nil {
		return nil, err
	}
	return m.answer(r, o)
}

// reminding is the body of POST /v1/work-orders/{id}/reminders.
type reminding struct {
	At   time.Time `json:"at"`   // now by default
	User string    `json:"user"` // the assignee by default
	Text string    `json:"text"`
}

// remindLater answers POST /v1/work-orders/{id}/reminders.
func (m *Module) remindLater(r *route.Request, o Order) (any, error) {
	var in reminding
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.User == "" {
		in.User = o.Assignee
	}
	in.Text = strings.TrimSpace(in.Text)
	switch {
	case in.User == "":
		return nil, route.Problem(http.StatusUnprocessableEntity, "nobody is assigned; say whom to remind with user")
	case in.Text == "" || len(in.Text) > maxReasonSize || strings.Contains(in.User, "\n"):
		return nil, route.Problem(http.StatusUnprocessableEntity, "text: want 1 to %d bytes", maxReasonSize)
	case !in.At.IsZero() && in.At.After(m.now().AddDate(2, 0, 0)):
		return nil, route.Problem(http.StatusUnprocessableEntity, "at %s is more than two years away", in.At.Format(time.RFC3339))
	}
	if err := m.canSee(r.Context(), o.Domain, []string{in.User}); err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		if !in.At.After(m.now()) {
			return m.remind(tx, o, by, []string{in.User}, in.Text, newID())
		}
		n, err := countReminders(tx, o.ID)
		if err != nil {
			return err
		}
		if n >= maxList {
			return route.Problem(http.StatusConflict, "%d reminders wait already", n)
		}
		return setTimer(tx, o.ID, timerReminder+newID(), in.At, in.User+"\n"+in.Text)
	})
	if err != nil {
		return nil, err
	}
	return &route.Response{Status: http.StatusAccepted, Body: map[string]any{"user": in.User, "at": in.At, "text": in.Text}}, nil
}

func countReminders(tx *store.Tx, id string) (n int, err error) {
	const query = `SELECT count(*) FROM workorders_timers WHERE workorder = ? AND substr(kind, 1, ?) = ?`
	return n, tx.QueryRow(query, id, len(timerReminder), timerReminder).Scan(&n)
}

// erase answers DELETE /v1/work-orders/{id}.
func (m *Module) erase(r *route.Request, o Order) (any, error) {
	if err := r.IfMatch(o.etag()); err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	files, err := m.attachments(r.Context(), o.ID)
	if err != nil {
		return nil, err
	}
	_, err = m.change(r.Context(), o.ID, o.Version, func(tx *store.Tx, o *Order) error { return m.remove(tx, o, by, "deleted by hand") })
	if err != nil {
		return nil, err
	}
	for _, a := range files {
		m.files.remove(a.ID)
	}
	return nil, nil
}

// parts are the tables of what belongs to orders.
var parts = []string{"history", "timers", "tasks", "approvals", "notes", "notelog", "guests", "attachments"}

// Forget removes the work orders of a site that is deleted, with all that belongs to them; the sweep
// removes the files.
func Forget(tx *store.Tx, s store.Site) error {
	for _, table := range parts {
		const of = ` WHERE workorder IN (SELECT id FROM workorders_orders WHERE org = ? AND site = ?)`
		if err := tx.Exec(`DELETE FROM workorders_`+table+of, s.Org, s.Site); err != nil {
			return fmt.Errorf("forget site in workorders_%s: %w", table, err)
		}
	}
	if err := tx.Exec(`DELETE FROM workorders_orders WHERE org = ? AND site = ?`, s.Org, s.Site); err != nil {
		return fmt.Errorf("forget site in workorders_orders: %w", err)
	}
	return nil
}

// remove forgets an order with all that belongs to it; the event that tells of it stays.
func (m *Module) remove(tx *store.Tx, o *Order, by actor, reason string) error {
	if err := m.tell(tx, o, "deleted", by, Change{Why: reason}); err != nil {
		return err
	}
	for _, table := range parts {
		if err := tx.Exec(`DELETE FROM workorders_`+table+` WHERE workorder = ?`, o.ID); err != nil {
			return err
		}
	}
	return tx.Exec(`DELETE FROM workorders_orders WHERE id = ?`, o.ID)
}
