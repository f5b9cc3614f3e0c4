package hub

import (
	"context"
	"encoding/json"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/sync/token"
)

// messages hands events of Socket.IO clients to the input that takes them.
type messages struct{ in *input }

// messages is what the configured input takes, nil when there is none.
func (h *Hub) messages() api.Messages {
	for _, in := range h.inputs {
		if _, ok := in.driver.(drivers.Messenger); ok {
			return messages{in}
		}
	}
	return nil
}

// driver is the one that runs at present: another configuration may have brought another.
func (m messages) driver() drivers.Messenger {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	return m.in.driver.(drivers.Messenger) // an input keeps its kind of driver
}

// Names is api.Messages.
func (m messages) Names() []string { return m.driver().Names() }

// Take is api.Messages.
func (m messages) Take(ctx context.Context, who *token.Identity, names []string, payloads []json.RawMessage) []any {
	return m.driver().Take(ctx, who, names, payloads)
}
