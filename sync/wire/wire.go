// Package wire is the language between hub and cloud: batches of journal records, marks,
// heartbeats, snapshots, subjects. FORMAT.md beside this file is its specification; golden
// files in testdata pin it. Old formats are decoded for ever.
package wire

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Version of the format, sent in every batch header and heartbeat.
const Version = 1

// MaxBatch is the largest size in bytes of a batch's records before compression.
const MaxBatch = 256 << 10

// Batch is a run of consecutive records of one lane, as one message.
type Batch struct {
	Epoch   string
	Lane    edge.Lane
	First   uint64   // sequence of Records[0]
	CRC     uint32   // chained CRC of the record before First; 0 at the start of an epoch
	Lost    uint64   // records directly before First that the hub declares lost (never to be sent)
	Records [][]byte // the journal's bytes, one CloudEvents JSON object each, no newline inside
}

// Mark is how far the cloud has applied one lane of one site: the only cursor.
type Mark struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"` // of the last record applied; 0 = none
	CRC   uint32 `json:"crc"` // chained CRC of that record
}

// Marks are the marks of both lanes. It is the body of the down.….mark push.
type Marks struct {
	Events   Mark   `json:"events"`
	Readings Mark   `json:"readings"`
	Conflict string `json:"conflict,omitempty"` // why the cloud refuses the hub's chain of the epoch the marks name; the hub then begins a new epoch

	// Resend names the lane of which a batch was refused because it did not follow the mark
	// (ErrGap): the hub need not wait before it sends from the mark again. Only in pushes.
	Resend edge.Lane `json:"resend,omitempty"`
}

// Position is where the hub's journal stands in one lane.
type Position struct {
	Head         uint64    `json:"head"`                   // newest sequence written
	Mark         uint64    `json:"mark"`                   // newest sequence the hub knows applied
	OldestUnsent time.Time `json:"oldest_unsent,omitzero"` // engine time of the oldest record after Mark
}

// Heartbeat is the request of up.….heartbeat, every 15 s and on connecting.
type Heartbeat struct {
	Version    int       `json:"version"`
	Site       string    `json:"site"`
	Name       string    `json:"name,omitempty"`
	Epoch      string    `json:"epoch"`
	Boot       string    `json:"boot"`  // random per process start
	Time       time.Time `json:"time"`  // the hub's clock
	Clock      string    `json:"clock"` // unsynced, holdover, synced
	Software   string    `json:"software"`
	StartedAt  time.Time `json:"started_at"`
	Events     Position  `json:"events"`
	Readings   Position  `json:"readings"`
	ConfigRev  string    `json:"config_rev"`          // hash of the configuration that runs
	LayerRev   uint64    `json:"layer_rev,omitempty"` // revision of the cloud's part of it; 0 = none
	HorizonSec int64     `json:"horizon_s,omitempty"` // how long the hub can stay offline at the present rate
}

// HeartbeatReply is the cloud's answer.
type HeartbeatReply struct {
	Version   int       `json:"version"`
	Marks     Marks     `json:"marks"`
	Time      time.Time `json:"time"`                 // the cloud's clock
	ConfigRev string    `json:"config_rev,omitempty"` // revision of the configuration the cloud desires
	AuthRev   string    `json:"auth_rev,omitempty"`   // revision of Auth
	Error     string    `json:"error,omitempty"`      // why the request was refused
}

// Snapshot is the request of up.….snapshot: the present state of everything, so that
// dashboards are right at once while history catches up. It is no journal record and moves no
// mark. The reply is empty, or {"error": "…"}.
type Snapshot struct {
	Version int                 `json:"version"`
	Epoch   string              `json:"epoch"`
	Seq     uint64              `json:"seq"` // newest sequence of the events lane that it includes
	Time    time.Time           `json:"time"`
	Site    edge.Site           `json:"model"`
	Spaces  []edge.Occupancy    `json:"spaces"`
	Alerts  []edge.Alert        `json:"alerts"` // open ones
	Sensors []edge.SensorStatus `json:"sensors"`
}

// Headers of a batch message on NATS.
const (
	HeaderVersion  = "Headcount-Version"
	HeaderEpoch    = "Headcount-Epoch"
	HeaderLane     = "Headcount-Lane"
	HeaderFirst    = "Headcount-First"    // decimal
	HeaderCount    = "Headcount-Count"    // decimal number of records
	HeaderCRC      = "Headcount-CRC"      // CRC before First, 8 hex digits
	HeaderLost     = "Headcount-Lost"     // decimal; absent = 0
	HeaderEncoding = "Headcount-Encoding" // "zstd"; absent = plain
)

// Subject names. org and site are single NATS tokens: [a-z0-9_-]{1,64}.
func UpSubject(org, site, what string) string   { return "up." + org + "." + site + "." + what }
func DownSubject(org, site, what string) string { return "down." + org + "." + site + "." + what }

// InboxPrefix is the reply prefix of a site's hub, the only one it may subscribe. The organisation
// is in it, as two organisations may have a site of the same name.
func InboxPrefix(org, site string) string { return "_INBOX_" + org + "." + site }

// StreamName is the JetStream stream that stores an organisation's batches.
func StreamName(org string) string { return "UP_" + org }
