package wire

import (
	"encoding/json"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// What comes down: the desired configuration, commands, and what a hub needs to know callers by.

// MaxLayer is the largest desired configuration in bytes.
const MaxLayer = 256 << 10

// ConfigRequest is the request of up.….config: the hub asks for the configuration that the cloud
// desires, and says what became of the last one.
type ConfigRequest struct {
	Version int      `json:"version"`
	Have    uint64   `json:"have_rev"`           // revision that runs; 0 = the hub's own file alone
	Refused uint64   `json:"refused,omitempty"`  // newest revision that does not run; 0 = none
	Reasons []string `json:"reasons,omitempty"`  // why it does not
	OnTrial bool     `json:"on_trial,omitempty"` // Have may still be taken back
}

// ConfigReply is the cloud's answer. Layer is the JSON object that is laid over the hub's own
// file; it is absent when Rev is what the hub has, or 0.
type ConfigReply struct {
	Version int             `json:"version"`
	Rev     uint64          `json:"rev"` // 0 = nothing is desired: the hub's own file alone
	Layer   json.RawMessage `json:"layer,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// ConfigNews is the body of the down.….config push.
type ConfigNews struct {
	Rev uint64 `json:"rev"`
}

// Command is the request of down.….cmd. By and Deadline of the edge.Command are set by the hub
// from the token and from Deadline.
type Command struct {
	Version  int          `json:"version"`
	Deadline time.Time    `json:"deadline"`        // the cloud's clock; refused when it arrives later
	Token    string       `json:"token,omitempty"` // JWT of the caller
	By       string       `json:"by"`              // the caller's name, for a hub that knows no tokens
	Command  edge.Command `json:"command"`
}

// Auth is the answer to up.….auth: by what the hub verifies tokens, and whom it belongs to.
type Auth struct {
	Version     int             `json:"version"`
	Revision    string          `json:"revision"`           // changes whenever anything of it does
	Issuer      string          `json:"issuer,omitempty"`   // empty: the cloud issues no tokens
	Audience    string          `json:"audience,omitempty"` //
	JWKS        json.RawMessage `json:"jwks,omitempty"`     // public keys (RFC 7517)
	Domains     []string        `json:"domains"`            // that the site belongs to
	Revocations json.RawMessage `json:"revocations"`        // [token.Revocation, …]
	Error       string          `json:"error,omitempty"`    //
}
