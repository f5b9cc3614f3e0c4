package occupancy

import (
	"math"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// How people move, per hour (estimation.md, "Defaults").
const (
	arrivals   = .5       // groups that enter a space whose doors nobody counts
	unseenIn   = .5       // people who enter a counted space, times the line's miss rate
	leaving    = 1 / 1.5  // each person leaves after 90 min on average
	unseenOut  = .7       // share of the unseen exits that happen on their own
	emptying   = .2       // all leave at once
	calmWeight = 2        // of "nobody was seen leaving", as groups leave together
	nightLeak  = .02 / 10 // per tick (.02 in 5 min): a closed space empties
)

const ticksPerHour = 3600_000 / tickMillis

func freeFlow() flow {
	return flow{enter: arrivals / ticksPerHour, more: .5, leave: leaving / ticksPerHour, empty: emptying / ticksPerHour, calm: 1}
}

// countedFlow is what a line counter lets slip apart from the passages near those it sees,
// which the kernel accounts for.
func countedFlow(missIn, missOut float64) flow {
	return flow{
		enter: unseenIn * missIn / ticksPerHour, leave: unseenOut * leaving * missOut / ticksPerHour,
		empty: emptying * missOut * missOut / ticksPerHour, calm: math.Exp(-calmWeight * leaving * (1 - missOut) / ticksPerHour),
	}
}

// tick fires the tick of the present time: all filters predict, then take in what the silence
// of their sensors says.
func (m *Model) tick() {
	m.grid += tickMillis
	for i := range m.sensors {
		m.tickBursts(&m.sensors[i])
	}
	for i := range m.spaces {
		sp := &m.spaces[i]
		if sp.room != nil && len(sp.sources) > 0 {
			m.tickSpace(sp)
		}
		sp.pub.dirty = true
	}
}

func (m *Model) tickSpace(sp *space) {
	f := sp.free
	if m.allTrusted(sp.lines) {
		f = sp.counted
	}
	if !sp.isOpen(m.now) {
		f.empty = min(1, f.empty+nightLeak)
	}
	sp.room.step(f)
	for _, i := range sp.present {
		m.tickPresence(sp.room, &m.sensors[i])
	}
	sp.room.normalise()
}

func (m *Model) tickPresence(r *room, s *sensor) {
	if !s.trusted(m.now) {
		return
	}
	if l, ok := s.motion.tick(m.now, &s.params, &s.det); ok {
		r.weigh(l)
	}
	if l, ok := s.level.tick(m.now, &s.levels); ok {
		r.weigh(*l)
	}
	if s.abs.heard && m.now-s.abs.used >= 4*correlation {
		s.abs.used = m.now
		r.weighCount(s.abs.value, &s.params, 4)
	}
}

// exodus is what the end of a burst of exits says, per exit: gatherings end for all, so that
// few are more likely to have stayed behind than many.
const exodus = 1

// smallExodus is the number of exits below which a burst says nothing.
const smallExodus = 3

func (m *Model) tickBursts(s *sensor) {
	for direction, left := range [2]int{s.out, s.in} {
		n := s.counter.burst[direction].take(m.now)
		if n >= smallExodus && left >= 0 && m.spaces[left].room != nil {
			m.spaces[left].room.tilt(exodus * float64(n))
		}
	}
}

// allTrusted tells whether there are line counters and all of them work.
func (m *Model) allTrusted(lines []int) bool {
	for _, i := range lines {
		if !m.sensors[i].trusted(m.now) {
			return false
		}
	}
	return len(lines) > 0
}

func (sp *space) isOpen(now int64) bool {
	if sp.hours.Always() {
		return true
	}
	if now >= sp.turns {
		t := timeOf(now)
		sp.open = sp.hours.Open(t)
		sp.turns = now + 7*24*3600_000
		if next := sp.hours.Next(t); !next.IsZero() {
			sp.turns = millis(next)
		}
	}
	return sp.open
}

// stalePresence is the age beyond which a presence report only tells the state since, not
// what to think of the moment it arrives in.
const stalePresence = 5 * time.Minute

func (m *Model) observePresence(s *sensor, r *edge.Reading, t int64) {
	if s.Door != "" || s.in < 0 || m.spaces[s.in].room == nil {
		return
	}
	sp := &m.spaces[s.in]
	for _, v := range r.Values {
		l, said := m.presence(s, v, t, sp.room)
		if !said {
			continue
		}
		sp.room.known = true
		if m.now-t <= stalePresence.Milliseconds() {
			sp.room.weigh(l)
		}
	}
	sp.room.normalise()
}

// presence gives the likelihood of one value; said is false when it is not about presence.
func (m *Model) presence(s *sensor, v edge.Value, t int64, r *room) (l [classes]float64, said bool) {
	if !evidence(s.Class) || v.Type == edge.Text {
		return flat, false
	}
	switch v.Kind {
	case edge.Presence:
		if v.Semantics == edge.MotionState || s.Class == edge.PIR {
			return s.motion.observe(v.True(), t, &s.params, &s.det), true
		}
		return s.level.observe(v.True(), t, &s.levels), true
	case edge.MotionCount:
		if v.True() {
			return s.motion.observe(true, t, &s.params, &s.det), true
		}
		return flat, s.motion.heard
	case edge.CountAbs, edge.TargetCount:
		return flat, m.absoluteCount(s, v, t, r)
	}
	return flat, false
}

// absoluteCount takes in "so many people now".
func (m *Model) absoluteCount(s *sensor, v edge.Value, t int64, r *room) bool {
	if !(v.Num >= 0 && v.Num <= maxPersons) {
		m.fault(s, t, "not a count", "%s is %v", v.Kind, v.Num)
		return false
	}
	root := s.abs.weight(t, v.Num != s.abs.value)
	s.abs.heard, s.abs.value = true, v.Num
	if s.params.cap == 0 || v.Num < s.params.cap {
		r.grow(int(v.Num) + 8)
	}
	if root > 0 && m.now-t <= stalePresence.Milliseconds() {
		s.abs.used = t
		r.weighCount(v.Num, &s.params, root)
	}
	return true
}
