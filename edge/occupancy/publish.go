package occupancy

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Rules of publication (design, section 4).
const (
	minInterval = 5_000   // ms between two publications of a space
	maxInterval = 900_000 // ms after which it is published without change
	minDwell    = 30_000  // ms that a state lasts at least, unless the next one is certain
	occupiedAt  = .7      // P(occupied) above which a space becomes occupied
	vacantAt    = .3      // and below which it becomes vacant
	certain     = .05     // P of the contrary below which a state is certain: no "vacant" beside a count of 3
)

// publication is what readers know of a space.
type publication struct {
	state edge.OccupancyState // settled by hysteresis; may be newer than what was published
	since int64               // of state
	dirty bool                // something changed at the present time
	due   bool                // it was settled since the last look for publication
	at    int64               // last publication; never before the first
	shown shown               // what was published
}

// shown is the part of an occupancy whose change is published.
type shown struct {
	state            edge.OccupancyState
	quality          edge.OccupancyQuality
	count, low, high int // 0 while the state is unknown
}

// publish looks at what changed by now and appends the occupancies that readers must learn of.
// A sum is looked at, and its state settled, only when it may be published.
func (m *Model) publish(out []edge.Occupancy) []edge.Occupancy {
	for i := range m.spaces {
		p, sum := &m.spaces[i].pub, m.spaces[i].room == nil
		open := p.at+minInterval <= m.now
		if sum && !open { // it changes with each of its spaces, and costs as much as all of them
			p.due, p.dirty = p.due || p.dirty, false
			continue
		}
		if !p.dirty && !(p.due && open) {
			continue
		}
		v := m.view(i)
		if p.dirty || sum {
			p.settle(v, m.now)
		}
		p.dirty, p.due = false, !open
		if !open {
			continue
		}
		if now := show(p.state, v); now != p.shown || m.now >= p.at+maxInterval {
			p.shown, p.at = now, m.now
			out = append(out, m.occupancy(i))
		}
	}
	return out
}

func show(state edge.OccupancyState, v view) shown {
	if state == edge.Unknown {
		return shown{state: state, quality: v.quality}
	}
	return shown{state, v.quality, v.count, v.low, v.high}
}

// settle moves the state with hysteresis. A space turns unknown again when its sensors are
// dead and the probability has drifted to where it says nothing.
func (p *publication) settle(v view, now int64) {
	to := p.state
	switch {
	case v.quality == edge.QualityNone:
		to = edge.Unknown
	case v.occupied > occupiedAt:
		to = edge.Occupied
	case v.partial:
		to = edge.Unknown
	case v.occupied < vacantAt:
		to = edge.Vacant
	case v.quality == edge.QualityStale:
		to = edge.Unknown
	}
	doubtful := v.occupied > certain && v.occupied < 1-certain
	if to == p.state || to != edge.Unknown && p.state != edge.Unknown && doubtful && now-p.since < minDwell {
		return
	}
	p.state, p.since = to, now
}

// Occupancies describes all spaces at the present time, in the order of the site's spaces.
func (m *Model) Occupancies() []edge.Occupancy {
	out := make([]edge.Occupancy, len(m.spaces))
	for i := range out {
		out[i] = m.occupancy(i)
	}
	return out
}

func (m *Model) occupancy(i int) edge.Occupancy {
	sp, v := &m.spaces[i], m.view(i)
	o := edge.Occupancy{
		Space: sp.ID, State: sp.pub.state, Quality: v.quality, AsOf: timeOf(m.now), Since: timeOf(sp.pub.since),
		Capacity: sp.Capacity, Sources: m.sources(sp),
	}
	if o.State == edge.Unknown {
		return o
	}
	o.Count, o.Low, o.High, o.Mean, o.POccupied = &v.count, &v.low, &v.high, &v.mean, &v.occupied
	if sp.Capacity > 0 {
		u := float64(v.count) / float64(sp.Capacity)
		o.Utilisation = &u
	}
	return o
}

// sources names the sensors whose evidence is in the space's own filter.
func (m *Model) sources(sp *space) []string {
	var ids []string
	for _, i := range sp.sources {
		if s := &m.sensors[i]; s.trusted(m.now) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// quality judges a space by the sensors that observe it.
func (m *Model) quality(sp *space) edge.OccupancyQuality {
	if !sp.room.known {
		return edge.QualityNone
	}
	good := 0
	for _, i := range sp.sources {
		if s := &m.sensors[i]; s.trusted(m.now) && !s.isStuck(m.now) {
			good++
		}
	}
	switch good {
	case len(sp.sources):
		return edge.QualityGood
	case 0:
		return edge.QualityStale
	}
	return edge.QualityDegraded
}

// floorTick is the newest tick of the grid at or before t.
func floorTick(t int64) int64 {
	f := t - t%tickMillis
	if f > t {
		f -= tickMillis
	}
	return f
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
