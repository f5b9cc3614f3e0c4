package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// Span is a duration as people write it, such as 4h30m.
type Span time.Duration

// MarshalText writes it as Go does.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText reads a positive duration such as 90m.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d <= 0 || d > horizon {
		return fmt.Errorf("%q is no positive duration; write for example 30m or 4h30m", b)
	}
	*s = Span(d)
	return nil
}

// Template is what an organisation promises: how soon an order is taken up and resolved, by
// priority, in the open time of a calendar.
type Template struct {
	Name     string            `json:"name"`
	Zone     string            `json:"zone,omitempty"`     // such as Europe/Oslo; UTC by default
	Hours    string            `json:"hours,omitempty"`    // such as "Mon-Fri 08:00-16:00"; around the clock by default
	Holidays []string          `json:"holidays,omitempty"` // local dates, closed
	Respond  map[Priority]Span `json:"respond,omitempty"`  // open time until somebody takes it up
	Resolve  map[Priority]Span `json:"resolve,omitempty"`  // open time until it is resolved
	Pause    []State           `json:"pause,omitempty"`    // states in which no time passes; postponed and waiting_approval by default
}

// defaultTemplate is the one for orders that name none.
const defaultTemplate = "default"

func (t *Template) check() error {
	cal, err := newCalendar(t.Zone, t.Hours, t.Holidays)
	if err != nil {
		return err
	}
	if len(t.Holidays) > 1000 {
		return errors.New("more than 1000 holidays")
	}
	for p := range merged(t.Respond, t.Resolve) {
		if !slices.Contains(priorities, p) {
			return fmt.Errorf("priority %q: want urgent, high, medium or low", p)
		}
		if r, ok := t.Respond[p]; ok && t.Resolve[p] != 0 && t.Resolve[p] < r {
			return fmt.Errorf("%s: it would have to be resolved before anybody responds", p)
		}
	}
	if len(t.Respond)+len(t.Resolve) > 0 && cal.add(time.Now(), time.Minute).IsZero() {
		return errors.New("hours never open, so no deadline would ever come")
	}
	for _, s := range t.Pause {
		if !slices.Contains([]State{Postponed, WaitingApproval}, s) {
			return fmt.Errorf("pause %q: want postponed or waiting_approval", s)
		}
	}
	return nil
}

func merged(a, b map[Priority]Span) map[Priority]bool {
	out := map[Priority]bool{}
	for p := range a {
		out[p] = true
	}
	for p := range b {
		out[p] = true
	}
	return out
}

func (t *Template) pauses(s State) bool {
	if t.Pause == nil {
		return s == Postponed || s == WaitingApproval
	}
	return slices.Contains(t.Pause, s)
}

// calendar of a template that was checked when it was stored.
func (t *Template) calendar() calendar {
	c, _ := newCalendar(t.Zone, t.Hours, t.Holidays)
	return c
}

// Deadlines are an order's own: the template as it was then, and when it is due. While they are
// paused the due times are zero and the open time that was left is kept.
type Deadlines struct {
	Template        Template  `json:"template"`
	RespondBy       time.Time `json:"respond_by,omitzero"`
	ResolveBy       time.Time `json:"resolve_by,omitzero"`
	RespondedAt     time.Time `json:"responded_at,omitzero"`
	RespondBreached bool      `json:"respond_breached"`
	ResolveBreached bool      `json:"resolve_breached"`
	PausedAt        time.Time `json:"paused_at,omitzero"`
	RespondLeft     Span      `json:"respond_left,omitzero"` // while paused
	ResolveLeft     Span      `json:"resolve_left,omitzero"` // while paused
}

// newDeadlines starts the clocks of an order; nil when its priority has none.
func newDeadlines(t Template, p Priority, from time.Time) *Deadlines {
	d := &Deadlines{Template: t}
	cal := t.calendar()
	if s := t.Respond[p]; s > 0 {
		d.RespondBy = cal.add(from, time.Duration(s))
	}
	if s := t.Resolve[p]; s > 0 {
		d.ResolveBy = cal.add(from, time.Duration(s))
	}
	if d.RespondBy.IsZero() && d.ResolveBy.IsZero() {
		return nil
	}
	return d
}

// follow lets the clocks follow a change of state at now.
func (d *Deadlines) follow(to State, now time.Time) {
	if d == nil {
		return
	}
	if to.responded() && d.RespondedAt.IsZero() {
		d.RespondedAt, d.RespondBy, d.RespondLeft = now, time.Time{}, 0
	}
	switch paused := d.Template.pauses(to); {
	case to.over():
		d.ResolveBy, d.ResolveLeft, d.PausedAt = time.Time{}, 0, time.Time{}
	case paused && d.PausedAt.IsZero():
		d.pause(now)
	case !paused && !d.PausedAt.IsZero():
		d.resume(now)
	}
}

func (d *Deadlines) pause(now time.Time) {
	cal := d.Template.calendar()
	d.PausedAt = now
	d.RespondLeft, d.RespondBy = left(cal, now, d.RespondBy), time.Time{}
	d.ResolveLeft, d.ResolveBy = left(cal, now, d.ResolveBy), time.Time{}
}

// left is the open time that is left; a deadline that has just been reached keeps a moment, so
// that it is not forgotten.
func left(cal calendar, now, due time.Time) Span {
	if due.IsZero() {
		return 0
	}
	return Span(max(cal.between(now, due), time.Millisecond))
}

func (d *Deadlines) resume(now time.Time) {
	cal := d.Template.calendar()
	d.PausedAt = time.Time{}
	if d.RespondLeft > 0 {
		d.RespondBy = cal.add(now, time.Duration(d.RespondLeft))
	}
	if d.ResolveLeft > 0 {
		d.ResolveBy = cal.add(now, time.Duration(d.ResolveLeft))
	}
	d.RespondLeft, d.ResolveLeft = 0, 0
}

// begin starts the clocks of an order by the organisation's template of that name.
func (m *Module) begin(tx *store.Tx, o *Order, name string, from time.Time) error {
	byDefault := name == ""
	if byDefault {
		name = defaultTemplate
	}
	t, err := readTemplate(tx, o.Org, name)
	if errors.Is(err, sql.ErrNoRows) {
		if byDefault {
			return nil
		}
		return route.Problem(422, "there is no SLA template %q in %s", name, o.Org)
	}
	if err != nil {
		return fmt.Errorf("read SLA template: %w", err)
	}
	o.Deadlines = newDeadlines(t, o.Priority, from)
	return nil
}

func readTemplate(tx *store.Tx, org, name string) (Template, error) {
	return decode[Template](tx.QueryRow(`SELECT doc FROM workorders_templates WHERE org = ? AND name = ?`, org, name))
}

// decode reads one row that is a JSON document.
func decode[T any](row interface{ Scan(...any) error }) (T, error) {
	var v T
	var doc string
	if err := row.Scan(&doc); err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(doc), &v)
}

func (m *Module) templates(ctx context.Context, org string) ([]Template, error) {
	rows, err := m.db.Query(ctx, `SELECT doc FROM workorders_templates WHERE org = ? ORDER BY name`, org)
	return store.Collect(rows, err, func(r *sql.Rows) (Template, error) { return decode[Template](r) })
}

// setClocks writes the timers of an order's deadlines as they are now.
func setClocks(tx *store.Tx, o *Order) error {
	var respond, resolve time.Time
	if d := o.Deadlines; d != nil {
		if !d.RespondBreached {
			respond = d.RespondBy
		}
		if !d.ResolveBreached {
			resolve = d.ResolveBy
		}
	}
	return errors.Join(setTimer(tx, o.ID, timerRespond, respond, ""), setTimer(tx, o.ID, timerResolve, resolve, ""))
}
