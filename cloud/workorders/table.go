package workorders

import "github.com/headcount-hub/headcount/sync/token"

// State is where an order is in its life.
type State string

// The states. A draft is its author's alone and has no number yet.
const (
	Draft           State = "draft"
	Opened          State = "open"
	Acknowledged    State = "acknowledged"
	InProgress      State = "in_progress"
	WaitingApproval State = "waiting_approval"
	Approved        State = "approved"
	Rejected        State = "rejected"
	Resolved        State = "resolved"
	Closed          State = "closed"
	Reopened        State = "reopened"
	Postponed       State = "postponed"
)

// States lists all states in the order in which a board shows them.
var States = []State{Draft, Opened, Acknowledged, InProgress, WaitingApproval, Approved, Rejected, Postponed, Reopened, Resolved, Closed}

// Transition is one allowed change of state.
type Transition struct {
	From, To State
	Least    token.Role // who may
	Reason   bool       // a reason must be given
}

// Transitions is the whole table: what is not in it is refused. Postponed goes back only to the state
// it came from; approved and rejected are reached by the decision of a second person.
var Transitions = []Transition{
	{Draft, Opened, token.Operator, false},

	{Opened, Acknowledged, token.Operator, false},
	{Opened, InProgress, token.Operator, false},
	{Opened, Resolved, token.Operator, true},
	{Acknowledged, InProgress, token.Operator, false},
	{Acknowledged, Resolved, token.Operator, true},
	{InProgress, WaitingApproval, token.Operator, true},
	{InProgress, Resolved, token.Operator, false},

	{WaitingApproval, Approved, token.Manager, false},
	{WaitingApproval, Rejected, token.Manager, true},
	{WaitingApproval, InProgress, token.Operator, true}, // withdrawn
	{Approved, InProgress, token.Operator, false},
	{Approved, Resolved, token.Operator, false},
	{Rejected, InProgress, token.Operator, false},
	{Rejected, Closed, token.Manager, true},

	{Resolved, Closed, token.Operator, false},
	{Resolved, Reopened, token.Operator, true},
	{Closed, Reopened, token.Operator, true},
	{Reopened, Acknowledged, token.Operator, false},
	{Reopened, InProgress, token.Operator, false},
	{Reopened, Resolved, token.Operator, true},

	{Opened, Postponed, token.Operator, true},
	{Acknowledged, Postponed, token.Operator, true},
	{InProgress, Postponed, token.Operator, true},
	{WaitingApproval, Postponed, token.Operator, true},
	{Approved, Postponed, token.Operator, true},
	{Rejected, Postponed, token.Operator, true},
	{Reopened, Postponed, token.Operator, true},
	{Postponed, Opened, token.Operator, false},
	{Postponed, Acknowledged, token.Operator, false},
	{Postponed, InProgress, token.Operator, false},
	{Postponed, WaitingApproval, token.Operator, false},
	{Postponed, Approved, token.Operator, false},
	{Postponed, Rejected, token.Operator, false},
	{Postponed, Reopened, token.Operator, false},
}

// findTransition looks an edge up in the table.
func findTransition(from, to State) (Transition, bool) {
	for _, e := range Transitions {
		if e.From == from && e.To == to {
			return e, true
		}
	}
	return Transition{}, false
}

// over tells whether the work is done, so that deadlines no longer count.
func (s State) over() bool { return s == Resolved || s == Closed || s == Draft }

// responded tells whether somebody has taken the order up.
func (s State) responded() bool { return s != Opened && s != Postponed && s != Draft }

// moves lists where an order can go from here with this role.
func (o *Order) moves(role token.Role) []State {
	out := []State{}
	for _, e := range Transitions {
		if e.From != o.State || role < e.Least || e.From == Postponed && e.To != o.PostponedFrom {
			continue
		}
		if e.To == Reopened && o.Reopens >= maxReopens {
			continue
		}
		out = append(out, e.To)
	}
	return out
}

// ticketNames are the states as help desks call them.
var ticketNames = map[State]string{
	Draft: "Draft", Opened: "Submitted", Acknowledged: "Acknowledged", InProgress: "In Progress", WaitingApproval: "Pending Approval",
	Approved: "Approved", Rejected: "Rejected", Resolved: "Resolved", Closed: "Closed", Reopened: "Reopened", Postponed: "Postponed",
}
