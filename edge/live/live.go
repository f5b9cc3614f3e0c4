// Package live fans events out to browsers and other clients as they happen: Server-Sent
// Events ([SSE]) and WebSocket ([WebSocket]) over one [Source]. Hub and cloud use the same.
//
// It guarantees that a client sees every event of its filter once and in order from the
// moment it connects, and again from its last event id when it comes back; a new client, and
// one whose id is unknown or too old, first gets the present state as an event of type
// "snapshot". It holds no queue: every client pulls from the Source by its own cursor, so a
// slow client costs nothing but its connection and is dropped when one write takes too long.
// The number of clients is bounded ([Clients]).
//
// It refuses to know who may see what: the Filter that Options.Filter makes from a request is
// all a Source gets.
package live

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Snapshot and Heartbeat are the event types that live itself adds to those of the Source. A
// heartbeat is sent over WebSocket only (Server-Sent Events have comments for it); its id is
// the cursor to resume from.
const (
	SnapshotType  = "snapshot"
	HeartbeatType = "heartbeat"
)

// Event is one event on its way to a client.
type Event struct {
	ID   string // resume id: printable ASCII without spaces, at most 128 bytes
	Type string // one word, as edge.EventType
	Data []byte // a JSON object; see Entry for what hub and cloud send

	// The following is for those who translate events; snapshots have none of it.
	Entry     Entry    // what Data says
	Domains   []string // whom the site belongs to, where there are several sites
	Addressed bool     // for the caller, or its role; not for everybody who may see the site
}

// Page is what After found.
type Page struct {
	Events []Event
	Next   string // the cursor after all that was looked at, whether it passed the filter or not; empty: as before
	More   bool   // there may be further events already; ask again at once
	Reset  bool   // the id is unknown or too old: begin anew with a snapshot; nothing else is set
}

// Source is where events come from. Its methods may be called from many goroutines.
type Source interface {
	// After returns at most limit events of f that follow the resume id, oldest first.
	After(ctx context.Context, id string, f Filter, limit int) (Page, error)

	// Changed returns a channel that is closed when there are events newer than at the time of
	// this call. Callers take the channel first, then call After, then wait.
	Changed() <-chan struct{}

	// Snapshot returns the present state that f may see as a JSON object (see State), and the
	// id from which After goes on without gap.
	Snapshot(ctx context.Context, f Filter) (data []byte, id string, err error)
}

// Filter says what a client wants and may see. An empty list means everything.
type Filter struct {
	Sites  []string // ids of sites; a hub has only one and ignores it
	Types  []string // event types; one that ends in ".*" stands for all with that prefix
	Spaces []string // ids of spaces; events whose subject is another space are left out
	Org    string   // organisation, where several have a site of that id; empty = all; a hub ignores it
	Scope  any      // what the caller's Options.Filter wants to tell its own Source, such as an identity
}

// WantsType tells whether events of type t pass the filter.
func (f Filter) WantsType(t string) bool {
	if len(f.Types) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Types, func(want string) bool {
		if prefix, ok := strings.CutSuffix(want, "*"); ok {
			return strings.HasPrefix(t, prefix)
		}
		return t == want
	})
}

// WantsSpace tells whether what concerns the space with this id passes the filter.
func (f Filter) WantsSpace(id string) bool {
	return len(f.Spaces) == 0 || slices.Contains(f.Spaces, id)
}

// WantsSite tells whether what concerns the site with this id passes the filter.
func (f Filter) WantsSite(id string) bool {
	return len(f.Sites) == 0 || slices.Contains(f.Sites, id)
}

// Wants tells whether an event passes the filter. The space filter applies to events about
// occupancy, whose subject is a space.
func (f Filter) Wants(eventType, subject string) bool {
	if !f.WantsType(eventType) {
		return false
	}
	about := strings.HasPrefix(eventType, "occupancy.") || eventType == string(edge.Correction)
	return !about || f.WantsSpace(subject)
}

// ParseFilter makes a Filter from ?type=, ?space= and ?site=, each given any number of times or
// with commas. It is the default of Options.Filter.
func ParseFilter(r *http.Request) (Filter, error) {
	q := r.URL.Query()
	return Filter{Sites: list(q["site"]), Types: list(q["type"]), Spaces: list(q["space"])}, nil
}

func list(values []string) []string {
	var out []string
	for _, v := range values {
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

// Entry is the Data of an event of hub and cloud, and one element of GET /v1/events.
type Entry struct {
	ID      string          `json:"id"`
	Site    string          `json:"site,omitempty"` // set by the cloud only
	Type    string          `json:"type"`
	Subject string          `json:"subject,omitempty"` // id of the space, sensor, device or alert
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data,omitempty"`

	Org      string `json:"org,omitempty"`      // set by the cloud only
	Backfill bool   `json:"backfill,omitempty"` // arrived after a newer state was shown: history, not news
}

// EntryOf makes the Entry of a record of the events lane.
func EntryOf(r *edge.Record) Entry {
	at := r.At
	if at.IsZero() {
		at = r.Time
	}
	return Entry{ID: r.ID(), Type: r.Type, Subject: r.Subject, At: edge.Millis(at), Data: r.Data}
}

// Event packs e for the stream.
func (e Entry) Event() (Event, error) {
	data, err := json.Marshal(e)
	return Event{ID: e.ID, Type: e.Type, Data: data, Entry: e}, err
}

// State is the Data of a snapshot event of one site.
type State struct {
	Org     string              `json:"org,omitempty"` // set by the cloud only
	Site    string              `json:"site"`
	Name    string              `json:"name,omitempty"`
	AsOf    time.Time           `json:"as_of"`
	Spaces  []edge.SpaceView    `json:"spaces"`
	Doors   []edge.Door         `json:"doors,omitempty"`
	Alerts  []edge.Alert        `json:"alerts"`
	Sensors []edge.SensorStatus `json:"sensors"`
	Devices []edge.Device       `json:"devices,omitempty"`
}

// Signal tells any number of waiters that something has changed: the Changed of a Source. The
// zero value is ready.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // closed by the next Notify; made by the first Changed after one
}

// Changed returns a channel that the next Notify closes.
func (s *Signal) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Notify wakes everyone who waits. It never blocks and costs nothing while nobody does.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
