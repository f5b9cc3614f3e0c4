package edge

import "time"

// The kinds of value that a badge reader, a door controller or a vision box reports beside those
// of other sensors. An access ([Access], "granted" or "denied") may come with the others.
const (
	Direction    Kind = "direction"  // of the passage as the reader sees it: "in", "out" or "none"
	Method       Kind = "method"     // "card", "pin", "mobile" or "remote"
	AccessReason Kind = "reason"     // why it was denied, in the controller's words
	BadgeID      Kind = "badge"      // who: never stored as it came, only as a keyed hash
	DoorAlarm    Kind = "door_alarm" // "forced" or "held_open", as a controller noticed it
)

// The words of the kinds above.
const (
	Granted  = "granted"
	Denied   = "denied"
	In       = "in"
	Out      = "out"
	Forced   = "forced"
	HeldOpen = "held_open"
)

// The types of event of doors and cameras. Their subject is the door or the sensor.
const (
	AccessGranted  EventType = "access.granted"  // Passage
	AccessDenied   EventType = "access.denied"   // Passage
	DoorOpened     EventType = "door.opened"     // DoorChange
	DoorClosed     EventType = "door.closed"     // DoorChange
	DoorForced     EventType = "door.forced"     // DoorChange
	DoorHeldOpen   EventType = "door.held_open"  // DoorChange
	CameraOffline  EventType = "camera.offline"  // CameraChange
	CameraOnline   EventType = "camera.online"   // CameraChange
	PersonDetected EventType = "person.detected" // CameraSight
	MotionDetected EventType = "motion.detected" // CameraSight
)

// Passage is the data of access events: somebody was let through a door, or was not.
type Passage struct {
	Door      string `json:"door"`
	Sensor    string `json:"sensor"`
	Direction string `json:"direction"` // "in", "out" or "none": as the door's sides are configured
	Method    string `json:"method,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Badge     string `json:"badge,omitempty"` // keyed hash; the same badge gives the same one on one site
	Backfill  bool   `json:"backfill,omitempty"`
}

// DoorChange is the data of door events.
type DoorChange struct {
	Door   string  `json:"door"`
	Sensor string  `json:"sensor,omitempty"`   // who reported it; empty when the hub concluded it
	Cause  string  `json:"cause,omitempty"`    // of alarms: "reported", "no grant" or "open too long"
	OpenS  float64 `json:"open_for,omitempty"` // seconds since it was opened, where that is known
}

// CameraChange is the data of camera.offline and camera.online.
type CameraChange struct {
	Camera   string    `json:"camera"`
	Space    string    `json:"space,omitempty"`
	Cause    string    `json:"cause,omitempty"` // of offline: "reported" or "silent"
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// CameraSight is the data of person.detected and motion.detected.
type CameraSight struct {
	Camera string `json:"camera"`
	Space  string `json:"space,omitempty"`
	Count  int    `json:"count,omitempty"` // persons, of person.detected
}

// The states of a door's contact.
const (
	DoorUnknown = "unknown"
	DoorOpen    = "open"
	DoorShut    = "closed"
)

// DoorStatus is what is known of a door now.
type DoorStatus struct {
	Door     string    `json:"door"`
	State    string    `json:"state"`          // "unknown", "open" or "closed"
	Since    time.Time `json:"since,omitzero"` // when it became so
	Forced   bool      `json:"forced"`         // opened by force, and not closed since
	HeldOpen bool      `json:"held_open"`      // open for too long
	Denied   int       `json:"denied"`         // refused accesses of the last 10 minutes
}

// Passage is what a reading of the sensor says about an access at its door, with the direction of
// the door's own sides; granted is false for a denied one, ok when it says nothing about an access.
func (s *Sensor) Passage(r *Reading) (p Passage, granted, ok bool) {
	p = Passage{Door: s.Door, Sensor: s.ID, Direction: s.Direction, Backfill: r.Backfill}
	for i := range r.Values {
		v := &r.Values[i]
		if v.Type != Text {
			continue
		}
		switch v.Kind {
		case Access:
			granted, ok = v.Text == Granted, v.Text == Granted || v.Text == Denied
		case Direction:
			p.Direction = v.Text
		case Method:
			p.Method = v.Text
		case AccessReason:
			p.Reason = v.Text
		case BadgeID:
			p.Badge = v.Text
		}
	}
	switch {
	case p.Direction != In && p.Direction != Out:
		p.Direction = "none"
	case s.Reversed:
		p.Direction = map[string]string{In: Out, Out: In}[p.Direction]
	}
	return p, granted, ok
}
