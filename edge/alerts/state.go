package alerts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// state is what outlives the process. Facts are not in it: Restore asks for them.
type state struct {
	Hash    string       `json:"hash"`
	Now     time.Time    `json:"now"`
	Alerts  []savedAlert `json:"alerts,omitempty"`
	Cleared []cleared    `json:"cleared,omitempty"`
	Touched []touched    `json:"touched,omitempty"`
	Orphans []edge.Alert `json:"orphans,omitempty"`
}

type savedAlert struct {
	edge.Alert
	FireDue   time.Time `json:"fire_due,omitzero"`
	ClearDue  time.Time `json:"clear_due,omitzero"`
	UpdateDue time.Time `json:"update_due,omitzero"`
	Told      string    `json:"told,omitempty"`
	Present   string    `json:"present,omitempty"`
	Text      string    `json:"text,omitempty"`
}

// cleared names a watch whose last alert cleared in the millisecond of the state.
type cleared struct {
	Rule    string `json:"rule"`
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
}

type touched struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
}

// fingerprint identifies what decides how a state goes on.
func fingerprint(rules []Rule, site *edge.Site) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	_ = enc.Encode(rules) // plain data into a hash: neither can fail
	_ = enc.Encode(site)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// MarshalState returns the machine's state as JSON. The same state always gives the same
// bytes.
func (m *Machine) MarshalState() ([]byte, error) {
	s := state{Hash: m.hash, Now: m.now, Orphans: m.orphans}
	for _, w := range m.active {
		o := w.open
		s.Alerts = append(s.Alerts, savedAlert{o.alert, o.fireDue, o.clearDue, o.updateDue, o.told, o.now, o.message})
	}
	for _, sub := range m.subjects {
		if sub.touched {
			s.Touched = append(s.Touched, touched{sub.family(), sub.id})
		}
		for _, w := range sub.watches {
			if w.open == nil && !w.clearedAt.IsZero() && !w.clearedAt.Before(m.now) {
				s.Cleared = append(s.Cleared, cleared{w.rule.Name, sub.family(), sub.id})
			}
		}
	}
	return json.Marshal(s)
}

func (s *subject) family() string {
	if _, ok := s.facts.(*spaceSubject); ok {
		return "space"
	}
	return s.kind
}

// Restore replaces the state of a new machine by one that MarshalState wrote; src gives the
// facts of that moment. With the same rules and site the machine goes on as if it had never
// stopped. With others it looks at every subject again at the next Evaluate, which also
// clears the alerts whose rule or subject is gone.
func (m *Machine) Restore(b []byte, src Source) error {
	var s state
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return fmt.Errorf("restore alerts: %w", err)
	}
	m.now = edge.Millis(s.Now)
	m.orphans = s.Orphans
	for _, a := range s.Alerts {
		m.restoreAlert(a)
	}
	for _, c := range s.Cleared {
		if w := m.watch(c.Rule, subjectKey{c.Kind, c.Subject}); w != nil {
			w.clearedAt = m.now
		}
	}
	if s.Hash == m.hash {
		m.forgetTouches()
		for _, t := range s.Touched {
			if i, ok := m.index[subjectKey{t.Kind, t.Subject}]; ok {
				m.touch(m.subjects[i])
				m.subjects[i].fresh = true // the facts below may already be the new ones
			}
		}
	}
	for _, sub := range m.subjects {
		sub.facts.refresh(src, m.now)
	}
	m.plan()
	return nil
}

func (m *Machine) forgetTouches() {
	for _, s := range m.subjects {
		s.touched, s.fresh = false, false
	}
	m.touched = m.touched[:0]
}

func (m *Machine) watch(rule string, k subjectKey) *watch {
	i, ok := m.index[k]
	if !ok {
		return nil
	}
	for _, w := range m.subjects[i].watches {
		if w.rule.Name == rule {
			return w
		}
	}
	return nil
}

// restoreAlert reopens an alert; one whose rule or subject is gone is cleared later, or
// forgotten if it never fired.
func (m *Machine) restoreAlert(a savedAlert) {
	family := a.SubjectKind
	if family != "door" && family != "sensor" && family != "hub" {
		family = "space"
	}
	w := m.watch(a.Rule, subjectKey{family, a.Subject})
	if w == nil || w.open != nil {
		if a.State != edge.StatePending {
			m.orphans = append(m.orphans, a.Alert)
		}
		return
	}
	w.open = &open{a.Alert, a.FireDue, a.ClearDue, a.UpdateDue, a.Told, a.Present, a.Text}
	m.activate(w)
}
