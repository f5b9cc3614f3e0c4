// Package doors follows the doors of a site: who was let through, what stands open, what was
// forced.
//
// A [Machine] is a pure state machine: it is told readings and the time, and says which events
// follow and when it next cares. The same calls give the same events. It is not safe for
// concurrent use: it belongs to the engine.
//
// It guarantees that an access or alarm that a device reports becomes one event, with the time at
// which it happened, and that a door is never called forced or held open because of a time in which
// nobody listened. It refuses to guess: a contact that was not heard since then is unknown, and what
// is older than the newest word about a door changes nothing.
//
// An alarm of a door that stands open ends when it is closed; any other ends after [Latch].
package doors

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Grace is how long a grant may come after the opening that it is for: reader and contact may
// talk to the hub over different lines.
const Grace = 500 * time.Millisecond

// Latch is how long an alarm stands at a door that is not known to be open.
const Latch = 10 * time.Minute

// DeniedWindow is the time over which denied accesses are counted, at most MaxDenied of them.
const (
	DeniedWindow = 10 * time.Minute
	MaxDenied    = 100
)

// Machine follows the doors of one site.
type Machine struct {
	doors   []*door
	byID    map[string]*door
	sensors map[string]edge.Sensor // those at doors
	events  []edge.Event           // of the running call
}

// door is one door with all that was learnt of it.
type door struct {
	cfg edge.Door
	memory
	touched bool
}

// memory is what outlives the process of one door.
type memory struct {
	ID      string      `json:"id"`
	Heard   bool        `json:"heard,omitempty"` // anything at all
	State   string      `json:"state"`
	Since   time.Time   `json:"since,omitzero"`
	Newest  time.Time   `json:"newest,omitzero"`  // newest word of a contact
	Grant   time.Time   `json:"grant,omitzero"`   // newest access granted
	Suspect time.Time   `json:"suspect,omitzero"` // when the opening counts as forced, unless a grant comes
	HeldDue time.Time   `json:"held_due,omitzero"`
	Forced  bool        `json:"forced,omitempty"`
	Held    bool        `json:"held,omitempty"`
	Latched time.Time   `json:"latched,omitzero"` // when the alarms of a door that is not open end
	Denied  []time.Time `json:"denied,omitempty"`
}

// New makes a machine in which nothing is known of any door.
func New(site *edge.Site) *Machine {
	m := &Machine{byID: map[string]*door{}, sensors: map[string]edge.Sensor{}}
	for _, c := range site.Doors {
		d := &door{cfg: c, memory: memory{ID: c.ID, State: edge.DoorUnknown}}
		m.doors = append(m.doors, d)
		m.byID[c.ID] = d
	}
	for _, s := range site.Sensors {
		if m.byID[s.Door] != nil {
			m.sensors[s.ID] = s
		}
	}
	return m
}

// Observe takes in one reading whose times are fixed and whose sensor is resolved, at the engine's
// time now, and returns the events that follow. Readings of other sensors change nothing, nor does
// what a broker remembered.
func (m *Machine) Observe(r *edge.Reading, now time.Time) []edge.Event {
	s, ok := m.sensors[r.Sensor]
	if !ok || r.Quality == edge.RetainedStale {
		return nil
	}
	m.events = nil
	d, at := m.byID[s.Door], r.At
	if at.After(now) {
		at = now
	}
	if p, granted, ok := s.Passage(r); ok {
		m.access(d, p, granted, at, now)
	}
	for i := range r.Values {
		switch v := &r.Values[i]; {
		case v.Type != edge.Text:
		case v.Kind == edge.ContactKind:
			m.contact(d, s.ID, v.Text, at, now)
		case v.Kind == edge.DoorAlarm && v.Text == edge.Forced:
			m.force(d, edge.DoorChange{Sensor: s.ID, Cause: "reported"}, at, now)
		case v.Kind == edge.DoorAlarm && v.Text == edge.HeldOpen:
			m.hold(d, edge.DoorChange{Sensor: s.ID, Cause: "reported"}, at, now)
		}
	}
	return m.events
}

// access notes that somebody was let through, or was not.
func (m *Machine) access(d *door, p edge.Passage, granted bool, at, now time.Time) {
	d.touch()
	if !granted {
		m.emit(edge.AccessDenied, d.ID, at, p)
		if at.After(now.Add(-DeniedWindow)) {
			d.Denied = append(d.Denied, at)
			slices.SortFunc(d.Denied, time.Time.Compare)
			d.Denied = d.Denied[max(0, len(d.Denied)-MaxDenied):]
		}
		return
	}
	m.emit(edge.AccessGranted, d.ID, at, p)
	if at.After(d.Grant) {
		d.Grant = at
	}
	if !d.Suspect.IsZero() && d.granted(d.Since) {
		d.Suspect = time.Time{}
	}
}

// granted tells whether an access was granted for an opening at a time.
func (d *door) granted(opened time.Time) bool {
	return !d.Grant.Before(opened.Add(-d.cfg.GrantWithin)) && !d.Grant.After(opened.Add(Grace))
}

// contact takes in the state of the door. One that was not known before is no opening without a
// grant: it may have been open for long.
func (m *Machine) contact(d *door, sensor, state string, at, now time.Time) {
	if state != edge.DoorOpen && state != edge.DoorShut || at.Before(d.Newest) {
		return
	}
	d.Newest = at
	was := d.State
	if was == state {
		return
	}
	c := edge.DoorChange{Door: d.ID, Sensor: sensor}
	if was == edge.DoorOpen {
		c.OpenS = at.Sub(d.Since).Seconds()
	}
	d.State, d.Since = state, at
	d.touch()
	if state == edge.DoorShut {
		m.emit(edge.DoorClosed, d.ID, at, c)
		d.Forced, d.Held, d.HeldDue, d.Latched = false, false, time.Time{}, time.Time{}
		return
	}
	m.emit(edge.DoorOpened, d.ID, at, c)
	if d.cfg.HeldOpenAfter > 0 {
		d.HeldDue = at.Add(d.cfg.HeldOpenAfter)
	}
	if d.cfg.GrantWithin > 0 && was == edge.DoorShut && !d.granted(at) {
		d.Suspect = now.Add(Grace)
	}
}

// force raises the alarm of a forced door, once until it ends.
func (m *Machine) force(d *door, c edge.DoorChange, at, now time.Time) {
	d.Suspect = time.Time{}
	if m.alarm(d, &d.Forced, now) {
		c.Door = d.ID
		m.emit(edge.DoorForced, d.ID, at, c)
	}
}

// hold raises the alarm of a door that is open for too long, once until it ends.
func (m *Machine) hold(d *door, c edge.DoorChange, at, now time.Time) {
	d.HeldDue = time.Time{}
	if m.alarm(d, &d.Held, now) {
		c.Door = d.ID
		if d.State == edge.DoorOpen {
			c.OpenS = at.Sub(d.Since).Seconds()
		}
		m.emit(edge.DoorHeldOpen, d.ID, at, c)
	}
}

// alarm sets one of the door's alarms; first tells that it was not set.
func (m *Machine) alarm(d *door, to *bool, now time.Time) (first bool) {
	first = !*to
	*to = true
	d.touch()
	if d.State != edge.DoorOpen {
		d.Latched = now.Add(Latch)
	}
	return first
}

// Advance lets everything happen that is due by now, each at its own due time.
func (m *Machine) Advance(now time.Time) []edge.Event {
	m.events = nil
	for {
		due := m.Next()
		if due.IsZero() || due.After(now) {
			return m.events
		}
		for _, d := range m.doors {
			m.fall(d, due)
		}
	}
}

// fall does what is due at the door at a time.
func (m *Machine) fall(d *door, t time.Time) {
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(t) }
	if due(d.Suspect) {
		m.force(d, edge.DoorChange{Cause: "no grant"}, t, t)
	}
	if due(d.HeldDue) {
		m.hold(d, edge.DoorChange{Cause: "open too long"}, t, t)
	}
	if due(d.Latched) {
		d.Forced, d.Held, d.Latched = false, false, time.Time{}
		d.touch()
	}
	for len(d.Denied) > 0 && due(d.Denied[0].Add(DeniedWindow)) {
		d.Denied = d.Denied[1:]
		d.touch()
	}
}

// Next is when the machine next has something to do by itself; the zero time if never.
func (m *Machine) Next() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, d := range m.doors {
		sooner(d.Suspect)
		sooner(d.HeldDue)
		sooner(d.Latched)
		if len(d.Denied) > 0 {
			sooner(d.Denied[0].Add(DeniedWindow))
		}
	}
	return next
}

// Skip passes over a time in which nobody listened: what stood open may be closed by now, so that
// no alarm falls due. Alarms that stand go on until the door is known to be closed.
func (m *Machine) Skip() {
	for _, d := range m.doors {
		if d.State != edge.DoorUnknown {
			d.State, d.Since = edge.DoorUnknown, time.Time{}
			d.touch()
		}
		d.Suspect, d.HeldDue = time.Time{}, time.Time{}
	}
}

func (d *door) touch() { d.touched, d.Heard = true, true }

func (m *Machine) emit(typ edge.EventType, id string, at time.Time, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("doors: encode %s: %v", typ, err)) // only our own types come here
	}
	m.events = append(m.events, edge.Event{Type: typ, Subject: id, At: at, Data: b})
}
