package edge

import "time"

// Outside is the id of the space beyond the site's outer doors. It always exists, has no
// capacity and its occupancy is never estimated.
const Outside = "outside"

// SpaceKind says what a space is in the hierarchy building > floor > room > zone.
type SpaceKind string

// The kinds of space.
const (
	Building SpaceKind = "building"
	Floor    SpaceKind = "floor"
	Room     SpaceKind = "room"
	Zone     SpaceKind = "zone"
)

// Site is a validated site model: what the configuration says is where. It is not changed
// after it was built, so it may be read from any goroutine.
type Site struct {
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
	Timezone string   `json:"timezone"` // IANA name; UTC when empty
	Spaces   []Space  `json:"spaces"`
	Doors    []Door   `json:"doors,omitempty"`
	Sensors  []Sensor `json:"sensors,omitempty"`
}

// Space is a place that holds people.
type Space struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Kind     SpaceKind `json:"kind"`
	Parent   string    `json:"parent,omitempty"`    // id of the enclosing space; empty at the top
	Capacity int       `json:"capacity,omitempty"`  // persons; 0 = not configured
	VolumeM3 float64   `json:"volume_m3,omitempty"` // cubic metres of air; 0 = not configured
	Hours    string    `json:"hours,omitempty"`     // opening hours in the site's zone, "Mon-Fri 07:00-19:00"; empty = always open
}

// Door joins two spaces. "In" is the direction from Between[0] towards Between[1].
type Door struct {
	ID      string    `json:"id"`
	Between [2]string `json:"between"`

	HeldOpenAfter time.Duration `json:"held_open_after,omitempty"` // open for longer is an alarm, nanoseconds; 0 = not watched
	GrantWithin   time.Duration `json:"grant_within,omitempty"`    // opened without an access granted within this before is an alarm; 0 = not watched
}

// Class gives the estimator its defaults for a sensor (error rates, hold, trust horizon).
type Class string

// The sensor classes.
const (
	LineToF        Class = "line-tof"
	LineStereo     Class = "line-stereo"
	LineThermopile Class = "line-thermopile"
	LineBeam       Class = "line-beam"
	PIR            Class = "pir"
	MMWave         Class = "mmwave"
	Desk           Class = "desk"
	ZoneCount      Class = "zone-count"
	CO2            Class = "co2"
	Contact        Class = "contact"
	WiFi           Class = "wifi"
	Badge          Class = "badge"  // a badge reader or door controller; one passage for one access granted
	Camera         Class = "camera" // a camera or vision box that says how many people it sees
	Environment    Class = "environment"
)

// Sensor is a place-bound point with an id of its own. The device that serves it may be
// swapped; the sensor keeps its history. Exactly one of Space and Door is set.
type Sensor struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Device   string `json:"device,omitempty"`  // address as the driver gives it; the sensor's id when empty
	Profile  string `json:"profile,omitempty"` // named sensor model
	Class    Class  `json:"class,omitempty"`
	Space    string `json:"space,omitempty"`
	Door     string `json:"door,omitempty"`
	Reversed bool   `json:"reversed,omitempty"` // the device's "in" is the door's "out"

	Direction string `json:"direction,omitempty"` // of a badge reader's passages that say none: "in" or "out"

	Horizon time.Duration      `json:"horizon,omitempty"` // longest normal silence, nanoseconds; 0 = the class's default
	Params  map[string]float64 `json:"params,omitempty"`  // estimator parameters that differ from the class's defaults
}

// Address returns the device address that readings for this sensor carry.
func (s Sensor) Address() string {
	if s.Device != "" {
		return s.Device
	}
	return s.ID
}

// Space returns the space with the given id.
func (s *Site) Space(id string) (Space, bool) {
	for _, sp := range s.Spaces {
		if sp.ID == id {
			return sp, true
		}
	}
	return Space{}, false
}

// Door returns the door with the given id.
func (s *Site) Door(id string) (Door, bool) {
	for _, d := range s.Doors {
		if d.ID == id {
			return d, true
		}
	}
	return Door{}, false
}

// Location returns the site's time zone, UTC when it is empty or not known to this machine.
func (s *Site) Location() *time.Location {
	loc, err := time.LoadLocation(s.Timezone)
	if err != nil {
		return time.UTC
	}
	return loc
}
