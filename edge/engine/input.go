package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/journal"
)

// The record types of inputs. Readings have their own lane; all others stand in the events
// lane. Within a commit the latter are taken first.
const (
	TypeReadings = "readings"       // [edge.Reading, …]
	TypeBoot     = "input.boot"     // Boot
	TypeConfig   = "input.config"   // Setup
	TypeCommand  = "input.command"  // edge.Command
	TypeRejected = "input.rejected" // edge.Rejection
	TypeDriver   = "input.driver"   // DriverStatus
	TypeLink     = "input.link"     // Link
	TypeAction   = "input.action"   // ActionResult
	TypeLost     = "input.lost"     // Lost
	TypePause    = "input.pause"    // Pause; taken before all others
	TypeAnew     = "input.anew"     // Anew
	TypeRefused  = "input.refused"  // RefusedSetup
)

// Boot is the input that every start of the process writes first.
type Boot struct {
	ID      string `json:"id"` // random per start
	Version string `json:"version"`
	Clock   string `json:"clock"`
	Uplink  bool   `json:"uplink,omitempty"` // whether there is a cloud to send to
	First   bool   `json:"first,omitempty"`  // set by the engine: there was nothing before it
}

// Setup is everything in the configuration that decides what the core answers.
type Setup struct {
	Hash  string        `json:"hash"`
	Site  edge.Site     `json:"site"`
	Rules []alerts.Rule `json:"rules"`

	Revision uint64 `json:"revision,omitempty"` // of the cloud's part of it; 0 = none
}

// RefusedSetup says that a configuration from the cloud does not run, and why.
type RefusedSetup struct {
	Revision uint64   `json:"revision"`
	Reasons  []string `json:"reasons"`
	Runs     uint64   `json:"runs"` // the revision that runs instead; 0 = the hub's own file alone
}

// DriverStatus is a change in a driver's connection.
type DriverStatus struct {
	ID     string    `json:"id"`
	Driver string    `json:"driver"`
	Up     bool      `json:"up"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Link is a change in the connection to the cloud.
type Link struct {
	Configured    bool      `json:"configured"`
	Connected     bool      `json:"connected"`
	Reason        string    `json:"reason,omitempty"`
	UnsyncedSince time.Time `json:"unsynced_since,omitzero"` // zero = in sync
	Since         time.Time `json:"since,omitzero"`          // set by the core: when Connected became so
	Backlog       uint64    `json:"backlog,omitempty"`       // records the cloud has not applied
	Clock         string    `json:"clock,omitempty"`         // state of the trusted clock
}

// ActionResult is what became of a delivery job: delivered or given up.
type ActionResult struct {
	Job       string `json:"job"`
	Delivered bool   `json:"delivered"`
	Attempts  int    `json:"attempts"`
	Error     string `json:"error,omitempty"`
}

// Lost declares a range of records that will never reach the cloud.
type Lost struct {
	journal.Lost
	Detail string `json:"detail,omitempty"` // for people
}

// Pause says that nobody listened from Since until the commit's time: the hub was off, or its
// clock was set forward.
type Pause struct {
	Since time.Time `json:"since"`
}

// Anew says that the state does not follow from the inputs before: they, or the checkpoint,
// could not be used. The commit carries a checkpoint of the state that the hub went on with.
type Anew struct {
	Reason string `json:"reason"`
}

// input is one non-reading input with its bytes as they are recorded.
type input struct {
	typ     string
	subject string
	data    json.RawMessage
}

func newInput(typ, subject string, v any) (input, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return input{}, fmt.Errorf("encode %s: %w", typ, err)
	}
	return input{typ, subject, b}, nil
}

// decode reads the input's data into a T; a failure means that the journal was written by a
// newer version.
func decode[T any](in input) (T, error) {
	var v T
	if err := json.Unmarshal(in.data, &v); err != nil {
		return v, fmt.Errorf("input %s: %w", in.typ, err)
	}
	return v, nil
}
