package occupancy

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// How long, in ticks, nobody may have looked before nothing is known of a space any more, and
// how far the drift of a counted one is followed.
const (
	forgotten = 3600_000 / tickMillis
	maxDrift  = 8 * 3600_000 / tickMillis
)

// Skip passes over a time in which nobody listened: the hub was off, or its clock was set
// forward. The silence of that time is no evidence, and going through it costs no more than
// a few hours of ticks, however long it was.
//
// All spaces are unknown while nobody looks; that is what it returns, as of the present time.
// After it they are what they were, with the drift of that time; after an hour only those are
// known whose doors are all counted by running totals, which tell what passed. A sensor that
// might have spoken in that time gets another horizon to be heard before it counts as silent.
func (m *Model) Skip(to time.Time) (changed []edge.Occupancy) {
	t := millis(to)
	if t <= m.now {
		return nil
	}
	ticks := (t - m.grid) / tickMillis
	for i := range m.spaces {
		p := &m.spaces[i].pub
		if p.state != edge.Unknown || p.shown.state != edge.Unknown {
			p.state, p.since, p.at, p.shown = edge.Unknown, m.now, m.now, shown{state: edge.Unknown, quality: edge.QualityNone}
			o := m.occupancy(i)
			o.Quality, o.Sources = edge.QualityNone, nil
			changed = append(changed, o)
		}
		p.dirty = true
	}
	for i := range m.spaces {
		m.drift(&m.spaces[i], ticks)
	}
	if ticks > forgotten {
		for i := range m.sensors {
			s := &m.sensors[i]
			s.motion.heard, s.level.heard, s.abs.heard = false, false, false // what they said last was long ago
		}
	}
	m.paused, m.resumed = m.now, t
	m.now, m.grid = t, floorTick(t)
	return changed
}

// drift lets people come and go unseen for a number of ticks.
func (m *Model) drift(sp *space, ticks int64) {
	if sp.room == nil || len(sp.sources) == 0 {
		return
	}
	f, most := sp.free, int64(forgotten)
	if m.totalled(sp.lines) {
		f, most = sp.counted, maxDrift
	} else if ticks > forgotten {
		sp.room.prior()
		sp.room.known = false
		return
	}
	f.calm = 1 // nobody looked
	for range min(ticks, most) {
		sp.room.step(f)
	}
	sp.room.normalise()
}

// totalled tells whether all lines of a space work and send running totals.
func (m *Model) totalled(lines []int) bool {
	for _, i := range lines {
		if !m.sensors[i].counter.cum {
			return false
		}
	}
	return m.allTrusted(lines)
}
