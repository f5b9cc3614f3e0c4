package edge

import (
	"encoding/json"
	"time"
)

// Snapshot is the whole present state of a site as the engine published it after a commit.
// It is immutable: readers share it without locks and must not change it.
type Snapshot struct {
	At      time.Time      `json:"at"`     // engine time
	Epoch   string         `json:"epoch"`  // of the journal
	Seq     uint64         `json:"seq"`    // newest sequence of the events lane that is included
	Commit  uint64         `json:"commit"` //
	Site    *Site          `json:"site"`   // the configured model plus approved devices
	Spaces  []Occupancy    `json:"spaces"` // one per space, in the order of Site.Spaces
	Alerts  []Alert        `json:"alerts"` // pending, firing and acknowledged ones, and those cleared last
	Sensors []SensorStatus `json:"sensors"`
	Devices []Device       `json:"devices"`
	Doors   []DoorStatus   `json:"doors,omitempty"` // those that were ever heard of
	Loss    []LossEntry    `json:"loss"`
	Counts  Counts         `json:"counts"`
}

// Counts are totals since the store began (Duplicates: since the process started, as a
// duplicate leaves nothing on disk).
type Counts struct {
	Readings   uint64 `json:"readings"`   // accepted and stored
	Pending    uint64 `json:"pending"`    // of those: stored under a device that no sensor names
	Duplicates uint64 `json:"duplicates"` //
	Rejected   uint64 `json:"rejected"`   // counted in the loss ledger
	Events     uint64 `json:"events"`     // outputs written
	Commits    uint64 `json:"commits"`
}

// SpaceView is a space with its present occupancy: one element of GET /v1/spaces.
type SpaceView struct {
	Space
	Occupancy Occupancy `json:"occupancy"`
}

// Views joins the site's spaces with their occupancies.
func (s *Snapshot) Views() []SpaceView {
	out := make([]SpaceView, len(s.Spaces))
	for i, o := range s.Spaces {
		out[i] = SpaceView{Space: s.Site.Spaces[i], Occupancy: o}
	}
	return out
}

// CommandKind names something a person or system asks the hub to do.
type CommandKind string

// The kinds of command with their Args.
const (
	AcknowledgeAlert CommandKind = "alert.acknowledge" // Subject: alert id; Args {"note"}
	ApproveDevice    CommandKind = "device.approve"    // Subject: address; Args: a Sensor (id and space or door; class or profile)
	IgnoreDevice     CommandKind = "device.ignore"     // Subject: address
	CorrectCount     CommandKind = "space.count"       // Subject: space; Args {"count": N, "reason"}
	DeniedCommand    CommandKind = "denied"            // a command whose caller may not give it; Args {"id", "kind", "reason"}; only noted
)

// Command asks the hub to do something. It is answered applied or refused, and audited.
type Command struct {
	ID       string          `json:"id"` // unique; a repeated id is answered again, not applied again
	Kind     CommandKind     `json:"kind"`
	Subject  string          `json:"subject"`
	By       string          `json:"by"`                // who asks
	Deadline time.Time       `json:"deadline,omitzero"` // refused when it arrives later
	Args     json.RawMessage `json:"args,omitempty"`
}

// CommandResult is the answer to a Command, given after the commit.
type CommandResult struct {
	ID      string `json:"id"`
	Applied bool   `json:"applied"`
	Reason  string `json:"reason,omitempty"` // why it was refused
	Code    string `json:"code,omitempty"`   // "not_found", "conflict", "invalid", "expired"
}
