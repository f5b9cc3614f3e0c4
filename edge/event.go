package edge

import (
	"encoding/json"
	"time"
)

// EventType names a kind of fact worth keeping; it is the CloudEvents type on the wire.
type EventType string

// The types of event.
const (
	OccupancyChanged  EventType = "occupancy.changed"
	OccupancyRevised  EventType = "occupancy.revised"
	AlertRaised       EventType = "alert.raised"
	AlertUpdated      EventType = "alert.updated"
	AlertAcknowledged EventType = "alert.acknowledged"
	AlertCleared      EventType = "alert.cleared"
	ActionDelivered   EventType = "action.delivered"
	ActionFailed      EventType = "action.failed"
	Correction        EventType = "correction"
	SensorStatusEvent EventType = "sensor.status"
	DeviceStatusEvent EventType = "device.status"
	HubStatus         EventType = "hub.status"
	Loss              EventType = "loss"
	ConfigApplied     EventType = "config.applied"
	ConfigRefused     EventType = "config.refused"
	Audit             EventType = "audit"
)

// Event is one fact worth keeping. Data is a JSON object with its details.
type Event struct {
	Type    EventType       `json:"type"`
	Subject string          `json:"subject,omitempty"` // id of the space, door, sensor, device or alert
	At      time.Time       `json:"at"`                // when it became true
	Data    json.RawMessage `json:"data,omitempty"`
}

// Severity ranks alerts.
type Severity string

// The severities, mildest first.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// AlertState is where an alert is in its life.
type AlertState string

// The life of an alert: pending while its condition holds for less than the rule's "for",
// then firing, acknowledged by somebody, cleared when the clear condition holds.
const (
	StatePending      AlertState = "pending"
	StateFiring       AlertState = "firing"
	StateAcknowledged AlertState = "acknowledged"
	StateCleared      AlertState = "cleared"
)

// Alert is one occurrence of a rule's condition on one subject. At most one per (Rule,
// Subject) is open.
type Alert struct {
	ID             string     `json:"id"` // rule, subject and raise time; unique on the site
	Rule           string     `json:"rule"`
	Subject        string     `json:"subject"`      // id of the space, door, sensor or "hub"
	SubjectKind    string     `json:"subject_kind"` // "building", "floor", "room", "zone", "door", "sensor", "hub"
	Severity       Severity   `json:"severity"`
	State          AlertState `json:"state"`
	Message        string     `json:"message"`
	Since          time.Time  `json:"since"`                     // when the condition began to hold
	RaisedAt       time.Time  `json:"raised_at,omitzero"`        // when it fired
	UpdatedAt      time.Time  `json:"updated_at,omitzero"`       //
	AcknowledgedAt time.Time  `json:"acknowledged_at,omitzero"`  //
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"` //
	ClearedAt      time.Time  `json:"cleared_at,omitzero"`       //
	Actions        []string   `json:"actions,omitempty"`         // channels the hub will try itself
}

// SensorStatus is what the hub knows of a sensor now.
type SensorStatus struct {
	Sensor
	Status   string    `json:"status"` // "waiting" (never heard), "ok", "silent", "offline"
	LastSeen time.Time `json:"last_seen,omitzero"`
	LastAt   time.Time `json:"last_at,omitzero"` // newest event time
	Readings uint64    `json:"readings"`         // taken in since the store began
	Last     []Value   `json:"last,omitempty"`   // newest value of each kind
	Reason   string    `json:"reason,omitempty"` // why it is not ok
}

// DeviceState says what the hub does with a device's readings.
type DeviceState string

// The states of a device.
const (
	DevicePending  DeviceState = "pending"  // heard, but no sensor names it
	DeviceApproved DeviceState = "approved" // serves a sensor
	DeviceIgnored  DeviceState = "ignored"  // known and not wanted; its readings are counted only
)

// Device is hardware that the hub has heard from.
type Device struct {
	Address  string      `json:"address"`
	Driver   string      `json:"driver,omitempty"`
	State    DeviceState `json:"state"`
	Sensor   string      `json:"sensor,omitempty"`
	First    time.Time   `json:"first_seen,omitzero"`
	LastSeen time.Time   `json:"last_seen,omitzero"`
	Readings uint64      `json:"readings"`
	Last     []Value     `json:"last,omitempty"` // newest decoded values
}

// LossEntry is one line of the loss ledger: what did not become an accepted reading, or was
// dropped later, and why.
type LossEntry struct {
	Cause  string    `json:"cause"`
	Source string    `json:"source"` // driver and device, or the lane
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  uint64    `json:"count"`
	Detail string    `json:"detail,omitempty"` // of the newest one
}
