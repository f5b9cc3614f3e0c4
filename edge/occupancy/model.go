package occupancy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Model is the estimator of one site. It is not safe for concurrent use.
type Model struct {
	spaces  []space
	sensors []sensor
	byID    map[string]int // sensor id -> index; looked up only, never ranged over
	now     int64          // ms since 1970
	grid    int64          // the tick fired last
	paused  int64          // the newest time in which nobody listened began
	resumed int64          // and ended; never if there was none
	faults  []Fault
	loc     *time.Location
	scratch [2][]float64 // of sums
}

// Fault is something implausible that the estimator kept out of the count, or a count that it
// had to begin anew.
type Fault struct {
	Sensor string    `json:"sensor"`
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"` // short and constant: "implausible jump", "counter reset", "contradiction", "not a count"
	Detail string    `json:"detail"`
}

// maxFaults bounds the faults that wait to be taken by Faults; the oldest are kept.
const maxFaults = 64

// tickMillis is the grid of the filter's ticks.
const tickMillis = 30_000

// space is one space with its filter; a space that nothing observes directly has none and is
// the sum of its children.
type space struct {
	edge.Space
	room    *room
	leaves  []int   // observed spaces with a filter that add up to it; only without room
	above   []int   // spaces that are sums with it in them
	sumOf   uint64  // versions of the leaves that sum is of
	sum     summary // cached
	lines   []int   // line counters of its doors
	present []int   // sensors inside it
	sources []int   // both, in order of sensor id
	counted flow    // unseen movement while all its doors are counted
	free    flow    // the same while they are not
	hours   edge.Hours
	open    bool
	turns   int64 // when open changes next, ms
	pub     publication
}

// sensor is one sensor with all that was learnt from it.
type sensor struct {
	edge.Sensor
	params  params
	det     detection
	levels  levelTable
	in, out int   // space that "in" leads to, space that it leads from; -1 = none that is estimated
	seen    int64 // engine time when it was heard last
	newest  int64 // newest event time
	offline bool
	covered bool // a badge reader whose door has a line counter, which counts better
	counter counter
	kernels *[8]kernel // made last; nothing that must be kept; nil before the first passage
	motion  motion
	level   level
	abs     absolute
}

// New makes a model in which nothing is known yet. It refuses parameters that it does not know
// and opening hours that it cannot read.
func New(site *edge.Site, start time.Time) (*Model, error) {
	m := &Model{byID: make(map[string]int, len(site.Sensors)), now: millis(start), paused: never, resumed: never, loc: site.Location()}
	m.grid = floorTick(m.now)
	if err := m.addSpaces(site); err != nil {
		return nil, err
	}
	if err := m.addSensors(site); err != nil {
		return nil, err
	}
	m.arrange()
	return m, nil
}

func (m *Model) addSpaces(site *edge.Site) error {
	m.spaces = make([]space, len(site.Spaces))
	for i, s := range site.Spaces {
		hours, err := edge.ParseHours(s.Hours, m.loc)
		if err != nil {
			return fmt.Errorf("space %s: %w", s.ID, err)
		}
		m.spaces[i] = space{Space: s, hours: hours, turns: never, pub: publication{state: edge.Unknown, at: never, since: m.now}}
	}
	return nil
}

func (m *Model) addSensors(site *edge.Site) error {
	m.sensors = make([]sensor, len(site.Sensors))
	for i, c := range site.Sensors {
		p, err := paramsOf(c)
		if err != nil {
			return err
		}
		s := sensor{Sensor: c, params: p, det: detections(&p), levels: levels(&p), in: -1, out: -1, seen: never, newest: never}
		s.counter.at, s.counter.seq = never, -1
		s.covered = c.Class == edge.Badge && hasCounter(site, c.Door)
		if c.Door != "" {
			d, ok := site.Door(c.Door)
			if !ok {
				return fmt.Errorf("sensor %s: there is no door %q", c.ID, c.Door)
			}
			s.out, s.in = m.spaceIndex(d.Between[0]), m.spaceIndex(d.Between[1])
		} else {
			s.in = m.spaceIndex(c.Space)
		}
		if s.in < 0 && s.out < 0 {
			return fmt.Errorf("sensor %s: it observes no space of the site", c.ID)
		}
		m.sensors[i] = s
		m.byID[c.ID] = i
	}
	return nil
}

// hasCounter tells whether a door has a line counter that is no badge reader.
func hasCounter(site *edge.Site, door string) bool {
	return slices.ContainsFunc(site.Sensors, func(s edge.Sensor) bool {
		return door != "" && s.Door == door && isLine(s.Class) && s.Class != edge.Badge
	})
}

// spaceIndex finds a space; -1 for the outside and for what does not exist.
func (m *Model) spaceIndex(id string) int {
	return slices.IndexFunc(m.spaces, func(s space) bool { return s.ID == id })
}

// arrange links spaces with the sensors that observe them and with their children.
func (m *Model) arrange() {
	order := make([]int, len(m.sensors))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(m.sensors[a].ID, m.sensors[b].ID) })
	for _, i := range order {
		s := &m.sensors[i]
		if !evidence(s.Class) || s.covered {
			continue
		}
		for _, at := range [2]int{s.in, s.out} {
			if at < 0 {
				continue
			}
			sp := &m.spaces[at]
			sp.sources = append(sp.sources, i)
			if s.Door != "" || isLine(s.Class) {
				sp.lines = append(sp.lines, i)
			} else {
				sp.present = append(sp.present, i)
			}
		}
	}
	for i := range m.spaces {
		if !m.isSum(i) {
			m.equip(&m.spaces[i])
		}
	}
	for i := range m.spaces {
		if sp := &m.spaces[i]; len(sp.sources) > 0 {
			m.addToParents(i)
		}
	}
}

// isSum tells whether a space is not observed itself but contains others.
func (m *Model) isSum(i int) bool {
	if len(m.spaces[i].sources) > 0 {
		return false
	}
	for j := range m.spaces {
		if j != i && m.spaces[j].Parent == m.spaces[i].ID {
			return true
		}
	}
	return false
}

// equip gives a space its filter.
func (m *Model) equip(sp *space) {
	sp.room = newRoom(sp.Capacity)
	missIn, missOut := 0.0, 0.0
	for _, l := range sp.lines {
		share := 1.0
		if m.sensors[l].Class == edge.Badge {
			share = badgeAlone
		}
		missIn = max(missIn, share*m.sensors[l].params.missIn)
		missOut = max(missOut, share*m.sensors[l].params.missOut)
	}
	sp.counted, sp.free = countedFlow(missIn, missOut), freeFlow()
}

// badgeAlone is the share of the usual unseen movement at a door with a badge reader: who shows no
// badge follows somebody who does, which the kernel accounts for.
const badgeAlone = .2

// addToParents makes an observed space count into the sums above it, up to the first space
// that is observed itself.
func (m *Model) addToParents(i int) {
	at := i
	for range m.spaces { // a cycle of parents ends
		at = m.spaceIndex(m.spaces[at].Parent)
		if at < 0 || m.spaces[at].room != nil {
			return
		}
		m.spaces[at].leaves = append(m.spaces[at].leaves, i)
		m.spaces[i].above = append(m.spaces[i].above, at)
	}
}

// Advance brings the model to now: every tick and publication that is due by then happens at
// its own due time. It returns the occupancies to be published, in order of due time and, at
// one time, of the site's spaces. A now before the present time changes nothing but what is due.
func (m *Model) Advance(now time.Time) (changed []edge.Occupancy) {
	t := millis(now)
	changed = m.publish(changed)
	for next := m.next(); next <= t; next = m.next() {
		m.now = next
		if next == m.grid+tickMillis {
			m.tick()
		}
		changed = m.publish(changed)
	}
	m.now = max(m.now, t)
	return changed
}

// Next is when the model next has something to do by itself.
func (m *Model) Next() time.Time { return timeOf(m.next()) }

func (m *Model) next() int64 {
	next := m.grid + tickMillis
	for i := range m.spaces {
		switch p := &m.spaces[i].pub; {
		case p.dirty:
			return m.now
		case p.due:
			next = min(next, p.at+minInterval)
		}
	}
	return next
}

// Observe takes in one reading whose times are fixed and whose sensor is resolved; the engine
// has advanced the model to its own time before. Readings of sensors that the model does not
// know and values that it does not use change nothing. Any reading is safe.
func (m *Model) Observe(r edge.Reading) {
	i, ok := m.byID[r.Sensor]
	if !ok {
		return
	}
	s := &m.sensors[i]
	m.heard(s, &r)
	if r.Quality == edge.RetainedStale {
		return
	}
	t := m.now
	if !r.At.IsZero() {
		t = min(t, millis(r.At))
	}
	m.observeCounts(s, &r, t)
	if t >= s.newest {
		m.observePresence(s, &r, t)
		s.newest = t
	}
}

// heard settles what the reading says about the sensor itself: a retained message is a
// broker's memory and no sign of life, but its "offline" counts.
func (m *Model) heard(s *sensor, r *edge.Reading) {
	offline, said := false, false
	for _, v := range r.Values {
		if o, ok := health(v); ok {
			offline, said = o, true
		}
	}
	switch {
	case said:
		s.offline = offline
	case r.Quality != edge.RetainedStale:
		s.offline = false
	}
	if r.Quality != edge.RetainedStale && !offline {
		s.seen = m.now
	}
	m.touch(s)
}

// touch marks the sensor's spaces as changed.
func (m *Model) touch(s *sensor) {
	m.markDirty(s.in)
	m.markDirty(s.out)
}

// markDirty marks a space and the sums above it as changed.
func (m *Model) markDirty(at int) {
	if at < 0 {
		return
	}
	m.spaces[at].pub.dirty = true
	for _, up := range m.spaces[at].above {
		m.spaces[up].pub.dirty = true
	}
}

// Correct sets the count of a space that somebody has counted by hand. It refuses counts
// below 0 or beyond the space's range and spaces that are sums of others.
func (m *Model) Correct(id string, count int, at time.Time) (before edge.Occupancy, err error) {
	i := m.spaceIndex(id)
	if i < 0 {
		return before, fmt.Errorf("there is no space %q", id)
	}
	sp := &m.spaces[i]
	before = m.occupancy(i)
	switch {
	case sp.room == nil:
		return before, fmt.Errorf("space %s is the sum of the spaces in it; correct those", id)
	case count < 0 || count >= maxPersons:
		return before, fmt.Errorf("a count of %d is not possible; give 0 to %d", count, maxPersons-1)
	}
	sp.room.grow(count)
	sp.room.set(count)
	m.markDirty(i)
	return before, nil
}

// Faults returns and forgets what was found implausible since the last call.
func (m *Model) Faults() []Fault {
	f := m.faults
	m.faults = nil
	return f
}

func (m *Model) fault(s *sensor, t int64, cause, format string, args ...any) {
	if len(m.faults) < maxFaults {
		m.faults = append(m.faults, Fault{s.ID, timeOf(t), cause, fmt.Sprintf(format, args...)})
	}
}
