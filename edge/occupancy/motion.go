package occupancy

import "math"

// slot is the time unit of motion evidence in ms: detection probabilities are per slot.
const slot = tickMillis

// Times of motion sensors, ms.
const (
	maxSlots   = 10              // longest hold that is followed, in slots
	blind      = 90_000          // a sensor that sends no "off" is blind for so long after a pulse
	noOffAfter = 300_000         // on for so long and never an "off": it sends none
	minHold    = 10_000          // shorter on-times say nothing about the hold
	never      = int64(-1 << 62) // before all times
)

// detection is the probability that a motion sensor detects something within one slot, by
// number of people.
type detection [classes]float64

func detections(p *params) detection {
	rate := p.kappa / 2
	return detection{p.phi, 1 - math.Exp(-rate), 1 - math.Exp(-2.1*rate), 1 - math.Exp(-3.4*rate)}
}

// motion follows one motion sensor. While it is off, each slot without detection is evidence.
// While it is on, each slot beyond the hold is: a sensor that re-triggers goes off exactly one
// hold after its last detection, so its staying on tells that detections go on. The chain
// since[c][j] is the probability, given c people, that the last detection was j slots ago.
type motion struct {
	heard, on bool
	sendsOff  bool
	rise      int64 // when it went on
	last      int64 // last "on"
	acc       int64 // evidence is accounted until here
	shortest  int64 // shortest on-time seen = the hold; 0 = none yet
	chain     [classes][maxSlots]float64
	factor    [classes]float64 // likelihood of the slot accounted last
}

// holdSlots is the sensor's hold in slots, 0 while it is not known.
func (s *motion) holdSlots(p *params) int {
	ms := p.hold * 1000
	if p.hold == 0 {
		ms = float64(s.shortest)
	}
	if ms == 0 {
		return 0
	}
	return min(max(1, int(ms/slot+.5)), maxSlots)
}

// tick accounts the evidence of the slots that ended by now; ok is false when there is none.
func (s *motion) tick(now int64, p *params, d *detection) (l [classes]float64, ok bool) {
	l = flat
	if !s.heard {
		return l, false
	}
	if s.on && !s.sendsOff {
		s.expire(now)
	}
	if s.on && now-s.rise > int64(p.stuck*1000) {
		return l, false
	}
	for n := 0; s.acc+slot <= now; n++ {
		if n == 4 { // it was not listened to in between
			s.acc = now
			break
		}
		s.acc += slot
		if s.account(p, d) {
			multiply(&l, &s.factor)
			ok = true
		}
	}
	return l, ok
}

// expire ends the pulse of a sensor that sends no "off".
func (s *motion) expire(now int64) {
	if now-s.last < noOffAfter && s.shortest != noOff {
		return
	}
	if now-s.last < blind {
		return
	}
	s.on, s.shortest, s.acc, s.factor = false, noOff, now-slot, flat
}

// noOff in motion.shortest marks a sensor that was found to send no "off".
const noOff = -1

// account takes in the slot that ends at s.acc: nothing changed in it.
func (s *motion) account(p *params, d *detection) bool {
	if !s.on {
		for c := range s.factor {
			s.factor[c] = 1 - d[c]
		}
		return true
	}
	hold := s.holdSlots(p)
	if !s.sendsOff || hold == 0 {
		s.factor = flat
		return false
	}
	for c := range s.factor {
		s.factor[c] = s.survive(c, hold, d[c])
	}
	return true
}

// survive steps the chain of class c by one slot in which the sensor stayed on and returns the
// probability of that.
func (s *motion) survive(c, hold int, d float64) float64 {
	v := &s.chain[c]
	sum := 0.0
	for j := range v {
		sum += v[j]
	}
	on := sum * d
	for j := hold - 1; j > 0; j-- {
		v[j] = v[j-1] * (1 - d)
		on += v[j]
	}
	for j := hold; j < maxSlots; j++ {
		v[j] = 0
	}
	v[0] = sum * d
	if on <= 0 {
		v[0], on = 1, tiny
	}
	for j := 0; j < hold; j++ {
		v[j] /= on
	}
	return on
}

// observe takes in what the sensor says at time t and returns the likelihood.
func (s *motion) observe(on bool, t int64, p *params, d *detection) [classes]float64 {
	if on {
		return s.observeOn(t, d)
	}
	return s.observeOff(t, p, d)
}

func (s *motion) observeOn(t int64, d *detection) [classes]float64 {
	if s.on {
		again := !s.sendsOff && t-s.last >= slot
		s.last = t
		if again {
			return *d
		}
		return flat
	}
	l := [classes]float64(*d)
	if s.heard && t <= s.acc { // the slot just accounted as quiet was not
		for c := range l {
			l[c] /= math.Max(s.factor[c], tiny)
		}
	}
	s.heard, s.on, s.rise, s.last, s.acc = true, true, t, t, t
	for c := range s.chain {
		s.chain[c] = [maxSlots]float64{1}
	}
	s.factor = flat
	return l
}

func (s *motion) observeOff(t int64, p *params, d *detection) [classes]float64 {
	was, first := s.on, !s.heard
	s.heard, s.on = true, false
	if first {
		s.acc = t
	}
	if !was {
		s.sendsOff = true
		return flat
	}
	l := s.endOfMotion(t, p, d)
	if t-s.rise >= minHold && (s.shortest <= 0 || t-s.rise < s.shortest) {
		s.shortest = t - s.rise
	}
	s.sendsOff, s.acc, s.factor = true, t, flat
	return l
}

// endOfMotion is the likelihood of going off in the slot that ends at t.
func (s *motion) endOfMotion(t int64, p *params, d *detection) [classes]float64 {
	hold := s.holdSlots(p)
	if !s.sendsOff || hold == 0 || t-s.rise > int64(p.stuck*1000) {
		return quiet(d, max(1, hold))
	}
	l := s.factor
	undo := t-s.acc < slot/2 && s.acc > s.rise
	if !undo {
		for c := range l {
			l[c] = s.survive(c, hold, d[c])
		}
	}
	best := 0.0
	for c := range l {
		off := math.Max(1-l[c], 0)
		if undo {
			off /= math.Max(l[c], tiny)
		}
		l[c] = off
		best = math.Max(best, off)
	}
	if best < 1e-9 { // off earlier than the hold allows
		return flat
	}
	return l
}

// quiet is the likelihood of n slots without detection.
func quiet(d *detection, n int) [classes]float64 {
	l := flat
	for c := range l {
		for range n {
			l[c] *= 1 - d[c]
		}
	}
	return l
}

var flat = [classes]float64{1, 1, 1, 1}

func multiply(l, f *[classes]float64) {
	for c := range l {
		l[c] *= f[c]
	}
}
