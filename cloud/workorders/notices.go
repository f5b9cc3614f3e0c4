package workorders

import (
	"fmt"
	"slices"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// notice is what some people are told about an order.
type notice struct {
	kind     string // assigned, moved, mention, approval, breached, reminder
	text     string
	link     string // empty = the order's own
	severity edge.Severity
	key      string // tells apart notices of one kind and version; may be empty
}

// notify tells each of these people once, but not whoever did it.
func (m *Module) notify(tx *store.Tx, o *Order, by actor, users []string, n notice) error {
	if m.o.Tell == nil || o.State == Draft {
		return nil
	}
	if n.link == "" {
		n.link = m.o.PublicURL() + "/v1/work-orders/" + o.ID
	}
	if n.severity == "" {
		n.severity = edge.Info
	}
	slices.Sort(users)
	for _, user := range slices.Compact(users) {
		if user == "" || user == by.id {
			continue
		}
		err := m.o.Tell(tx, Notice{
			Key: fmt.Sprintf("workorder:%s:%s:%d:%s:%s", o.ID, n.kind, o.Version, n.key, user), Org: o.Org, User: user, Kind: "workorder." + n.kind,
			Title: o.Number + " " + o.Title, Text: n.text, Link: n.link, Severity: n.severity, At: m.now(),
		})
		if err != nil {
			return fmt.Errorf("tell %s: %w", n.kind, err)
		}
	}
	return nil
}

func ids(people []Person) []string {
	out := make([]string, len(people))
	for i, p := range people {
		out[i] = p.ID
	}
	return out
}
