package doors

import (
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Touched returns and forgets the doors whose status may have changed since the last call.
func (m *Machine) Touched() []edge.DoorStatus {
	var out []edge.DoorStatus
	for _, d := range m.doors {
		if d.touched {
			d.touched = false
			out = append(out, d.status())
		}
	}
	return out
}

// Statuses tells what is known of every door of which anything was ever heard, in the site's order.
func (m *Machine) Statuses() []edge.DoorStatus {
	var out []edge.DoorStatus
	for _, d := range m.doors {
		if d.Heard {
			out = append(out, d.status())
		}
	}
	return out
}

func (d *door) status() edge.DoorStatus {
	return edge.DoorStatus{Door: d.ID, State: d.State, Since: d.Since, Forced: d.Forced, HeldOpen: d.Held, Denied: len(d.Denied)}
}

// State is what outlives the process: plain data, for JSON. It is nil where nothing was heard.
type State []memory

// State returns what was learnt; Restore goes on from it.
func (m *Machine) State() State {
	var out State
	for _, d := range m.doors {
		if d.Heard {
			s := d.memory
			s.Denied = slices.Clone(s.Denied)
			out = append(out, s)
		}
	}
	return out
}

// settle forgets deadlines that the door's configuration does not have any more.
func (d *door) settle() {
	if d.cfg.HeldOpenAfter == 0 {
		d.HeldDue = time.Time{}
	}
	if d.cfg.GrantWithin == 0 {
		d.Suspect = time.Time{}
	}
}

// Restore takes over the state of doors with the same ids; others begin anew.
func (m *Machine) Restore(state State) {
	for _, s := range state {
		if d := m.byID[s.ID]; d != nil {
			s.Denied = slices.Clone(s.Denied)
			d.memory = s
			d.settle()
		}
	}
}
