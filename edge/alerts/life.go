package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// open is an alert that is pending, firing or acknowledged.
type open struct {
	alert     edge.Alert
	fireDue   time.Time // pending: when it will fire
	clearDue  time.Time // when it will clear unless the clear condition ends; zero = it does not hold
	updateDue time.Time // when the update that waits will be told; zero = none
	told      string    // signature of the facts in the last event
	now       string    // signature of the facts now
	message   string    // of the facts now
}

// due returns the alert's earliest deadline, zero if it has none.
func (o *open) due() time.Time {
	if o.alert.State == edge.StatePending {
		return o.fireDue
	}
	if !o.clearDue.IsZero() && (o.updateDue.IsZero() || o.clearDue.Before(o.updateDue)) {
		return o.clearDue
	}
	return o.updateDue
}

// deadline does what fell due for w at t.
func (m *Machine) deadline(w *watch, t time.Time) {
	o := w.open
	due := func(d time.Time) bool { return !d.IsZero() && !d.After(t) }
	switch {
	case o == nil:
	case o.alert.State == edge.StatePending:
		if due(o.fireDue) {
			m.fire(w, o.fireDue)
		}
	case due(o.clearDue):
		m.clear(w, o.clearDue)
	case due(o.updateDue):
		m.update(w, o.updateDue)
	}
}

// step brings w in line with facts that hold from t on.
func (m *Machine) step(w *watch, env any, t time.Time) {
	yes := w.rule.yes.holds(&m.vm, env)
	if w.open == nil {
		if yes {
			m.begin(w, env, t)
		}
		return
	}
	o := w.open
	o.now, o.message = w.subject.facts.signature(), w.text(env)
	if o.alert.State == edge.StatePending {
		o.alert.Message = o.message
		if !yes {
			w.open = nil
			m.deactivate(w)
		}
		return
	}
	if yes || !m.mayClear(w, env) {
		o.clearDue = time.Time{}
	} else if o.clearDue.IsZero() {
		o.clearDue = t.Add(w.rule.KeepFor)
	}
	if !o.clearDue.IsZero() && !o.clearDue.After(t) {
		m.clear(w, t)
		return
	}
	m.planUpdate(w, t)
}

// mayClear tells whether the condition to clear is known to hold, given that the condition to
// raise is not known to.
func (m *Machine) mayClear(w *watch, env any) bool {
	if w.rule.Clear != "" {
		return w.rule.clear.holds(&m.vm, env)
	}
	return w.rule.no.holds(&m.vm, env)
}

// begin opens an alert as pending, and fires it at once if the rule does not wait. An alert
// raised in the very millisecond in which the last one cleared would have its id, so it waits
// a millisecond.
func (m *Machine) begin(w *watch, env any, t time.Time) {
	due := t.Add(w.rule.For)
	if !w.clearedAt.IsZero() && !due.After(w.clearedAt) {
		due = w.clearedAt.Add(time.Millisecond)
	}
	o := &open{fireDue: due, now: w.subject.facts.signature(), message: w.text(env)}
	o.alert = edge.Alert{
		ID: alertID(w.rule.Name, w.subject.id, due), Rule: w.rule.Name,
		Subject: w.subject.id, SubjectKind: w.subject.kind, Severity: w.rule.Severity,
		State: edge.StatePending, Message: o.message, Since: t, Actions: w.rule.Actions,
	}
	w.open = o
	m.activate(w)
	if !due.After(t) {
		m.fire(w, t)
	}
}

// alertID is rule.subject.time, which neither rule nor subject can contain a dot in.
func alertID(rule, subject string, raised time.Time) string {
	return fmt.Sprintf("%s.%s.%s%03dZ", rule, subject, raised.UTC().Format("20060102T150405"), raised.Nanosecond()/int(time.Millisecond))
}

func (m *Machine) fire(w *watch, at time.Time) {
	a := &w.open.alert
	a.State, a.RaisedAt = edge.StateFiring, at
	m.tell(w, edge.AlertRaised, at)
}

// planUpdate tells of changed facts, at most every UpdateEvery.
func (m *Machine) planUpdate(w *watch, t time.Time) {
	o := w.open
	if o.now == o.told {
		o.updateDue = time.Time{}
		return
	}
	if !o.updateDue.IsZero() {
		return
	}
	last := o.alert.RaisedAt
	if o.alert.UpdatedAt.After(last) {
		last = o.alert.UpdatedAt
	}
	o.updateDue = last.Add(UpdateEvery)
	if !o.updateDue.After(t) {
		m.update(w, t)
	}
}

func (m *Machine) update(w *watch, at time.Time) {
	w.open.alert.UpdatedAt = at
	w.open.updateDue = time.Time{}
	m.tell(w, edge.AlertUpdated, at)
}

func (m *Machine) clear(w *watch, at time.Time) {
	w.open.alert.State, w.open.alert.ClearedAt = edge.StateCleared, at
	m.tell(w, edge.AlertCleared, at)
	w.open, w.clearedAt = nil, at
	m.deactivate(w)
}

// tell emits an event about w's alert with the message of its present facts.
func (m *Machine) tell(w *watch, typ edge.EventType, at time.Time) {
	o := w.open
	o.alert.Message, o.told = o.message, o.now
	m.emit(typ, o.alert, at)
}

func (m *Machine) emit(typ edge.EventType, data any, at time.Time) {
	b, err := json.Marshal(data)
	if err != nil {
		panic("alerts: an alert that JSON cannot say: " + err.Error()) // strings and times only
	}
	var id string
	switch d := data.(type) {
	case edge.Alert:
		id = d.ID
	case Acknowledged:
		id = d.ID
	}
	m.events = append(m.events, edge.Event{Type: typ, Subject: id, At: at, Data: b})
}

// text is the alert's message for the given facts.
func (w *watch) text(env any) string {
	if w.rule.message == nil {
		return w.subject.facts.summary()
	}
	return w.rule.message.render(env)
}

// Acknowledged is the data of an alert.acknowledged event.
type Acknowledged struct {
	edge.Alert
	Note string `json:"note,omitempty"`
}

// The reasons why an alert cannot be acknowledged.
var (
	ErrNotFound = errors.New("no such open alert")
	ErrConflict = errors.New("the alert is not firing")
)

// Acknowledge notes that somebody takes care of a firing alert. The first acknowledgement
// wins: a second one is an ErrConflict, an alert that is not open an ErrNotFound. The events
// are what fell due until at, then the acknowledgement; those due are returned with an error
// too.
func (m *Machine) Acknowledge(id, by, note string, at time.Time) ([]edge.Event, error) {
	at = edge.Millis(at)
	if at.Before(m.now) {
		at = m.now
	}
	m.events = nil
	m.runTimers(at)
	for _, w := range m.active {
		if w.open.alert.ID != id {
			continue
		}
		a := &w.open.alert
		switch a.State {
		case edge.StateAcknowledged:
			return m.events, fmt.Errorf("acknowledge %s: already acknowledged by %s: %w", id, a.AcknowledgedBy, ErrConflict)
		case edge.StatePending:
			return m.events, fmt.Errorf("acknowledge %s: it is still pending: %w", id, ErrConflict)
		}
		a.State, a.AcknowledgedAt, a.AcknowledgedBy = edge.StateAcknowledged, at, by
		m.emit(edge.AlertAcknowledged, Acknowledged{*a, note}, at)
		return m.events, nil
	}
	return m.events, fmt.Errorf("acknowledge %s: %w", id, ErrNotFound)
}

// Open returns the pending, firing and acknowledged alerts in order of rule and subject. The
// caller must not change their Actions.
func (m *Machine) Open() []edge.Alert {
	out := make([]edge.Alert, len(m.active))
	for i, w := range m.active {
		out[i] = w.open.alert
	}
	return out
}

// clearOrphans clears restored alerts whose rule or subject is gone.
func (m *Machine) clearOrphans(now time.Time) {
	for _, a := range m.orphans {
		a.State, a.ClearedAt = edge.StateCleared, now
		m.emit(edge.AlertCleared, a, now)
	}
	m.orphans = nil
}
