package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Error rates of the sensors; the estimator's defaults suppose the same.
type lineErrors struct{ missIn, missOut, false float64 }

var lineRates = map[edge.Class]lineErrors{
	edge.LineToF:        {.02, .03, .005},
	edge.LineStereo:     {.02, .03, .005},
	edge.LineThermopile: {.05, .06, .01},
	edge.LineBeam:       {.10, .12, .02},
}

// missed is the probability that one person of a group of size g is missed.
func missed(m float64, g int) float64 { return min(.5, m*(1+.15*float64(max(0, g-2)))) }

// pirSees is the probability that a motion detector fires within 30 s, with 0, 1, 2 and 3 or
// more persons in the room, as measured.
var pirSees = [4]float64{.002, .35, .61, .77}

const (
	radarSees, radarErrs = .97, .03 // mmWave: P(on) for one person, P(on) when empty
	deskSees, deskErrs   = .97, .01
	zoneBase, zoneEach   = .6, .08 // spread of a zone counter: base + each * people

	settle    = 300 * time.Millisecond // a counter waits so long for the rest of a group
	window    = 30 * time.Second       // presence detectors decide so often
	pirHold   = 60 * time.Second       // motion ends so long after the last detection
	heartbeat = 60 * time.Second       // counters report so often when nobody passes
	assurance = 10 * time.Minute       // presence detectors, when nothing changes
)

// Failure is a way in which a sensor fails.
type Failure string

// The ways to fail.
const (
	Working Failure = ""
	Silent  Failure = "silent"  // says nothing
	Stuck   Failure = "stuck"   // says what it said last, for ever
	Clock   Failure = "clock"   // its clock is a day ahead
	Garbled Failure = "garbled" // what it says cannot be understood
)

// Failures lists the ways to fail.
var Failures = []Failure{Silent, Stuck, Clock, Garbled}

// sensor is one sensor of the building. The building's lock guards it.
type sensor struct {
	edge.Sensor
	via     Via
	errors  Errors
	rng     *rand.Rand
	every   time.Duration // between two looks
	phase   time.Duration // of the first look
	failure Failure
	seq     uint64

	in, out  int // running totals
	waiting  bool
	on       bool
	seenAt   time.Time // last detection
	toldAt   time.Time
	lastTold []edge.Value
}

// reports is the longest time between two messages of a working sensor of class c. Counters
// report each interval, if one is given.
func reports(c edge.Class, interval time.Duration) time.Duration {
	if _, ok := lineRates[c]; ok {
		return cmp.Or(interval, heartbeat)
	}
	if c == edge.ZoneCount || c == edge.Camera {
		return cmp.Or(interval, window)
	}
	return assurance
}

func newSensor(s edge.Sensor, via Via, rng *rand.Rand, start time.Time, interval time.Duration) *sensor {
	every := reports(s.Class, interval)
	if s.Class == edge.PIR || s.Class == edge.MMWave || s.Class == edge.Desk {
		every = window
	}
	return &sensor{
		Sensor: s, via: via, rng: rng, every: every, phase: time.Duration(rng.Int64N(int64(min(every, 5*time.Second)))),
		in: rng.IntN(1000), out: rng.IntN(1000),
		// Numbers that go on above those of an earlier run, without a memory.
		seq: uint64(max(start.UnixMilli(), 0)) * 1000,
	}
}

// passage shows one person of a group of g to a counter; it tells whether a report is to follow.
func (s *sensor) passage(in bool, g int) (follow bool) {
	e := s.errors.line(lineRates[s.Class])
	m, total, other := e.missIn, &s.in, &s.out
	if !in {
		m, total, other = e.missOut, &s.out, &s.in
	}
	miss, ghost, back := s.rng.Float64() < missed(m, g), s.rng.Float64() < e.false, s.rng.Float64() < .5
	if s.failure == Stuck {
		return false
	}
	if !miss {
		*total++
	}
	if ghost && back {
		*other++
	} else if ghost {
		*total++
	}
	if follow = (!miss || ghost) && !s.waiting; follow {
		s.waiting = true
	}
	return follow
}

// follows is the share of people who go through behind somebody else, without a badge.
const follows = .05

// badge is what a reader says of a person who goes through; nil of one who shows no badge.
func (s *sensor) badge(now time.Time, who int, in bool) *Emission {
	if s.rng.Float64() < s.errors.missing(follows) {
		return nil
	}
	direction := edge.In
	if !in {
		direction = edge.Out
	}
	text := func(k edge.Kind, w string) edge.Value { return edge.TextValue(k, edge.PassageEvent, w) }
	return s.say(now, text(edge.Access, edge.Granted), text(edge.Direction, direction), text(edge.Method, "card"),
		text(edge.BadgeID, fmt.Sprintf("P%04d", who)))
}

// report is what a counter says after people passed.
func (s *sensor) report(now time.Time) *Emission {
	s.waiting = false
	return s.say(now,
		edge.NumberValue(edge.CountIn, edge.Cumulative, float64(s.in)),
		edge.NumberValue(edge.CountOut, edge.Cumulative, float64(s.out)))
}

// tick lets the sensor look; nil when it has nothing to say.
func (s *sensor) tick(now time.Time, people map[string]int) *Emission {
	n := people[s.Space]
	switch s.Class {
	case edge.PIR:
		return s.motion(now, n)
	case edge.MMWave:
		return s.presence(now, n, s.errors.sees(radarSees), s.errors.ghosts(radarErrs))
	case edge.Desk:
		return s.presence(now, n, s.errors.sees(deskSees), s.errors.ghosts(deskErrs))
	case edge.Badge:
		return s.say(now, edge.TextValue(edge.Health, edge.State, "online"))
	case edge.ZoneCount, edge.Camera:
		y := math.Round(float64(n) + student4(s.rng)*s.errors.spread()*(zoneBase+zoneEach*float64(n)))
		return s.say(now, edge.NumberValue(edge.CountAbs, edge.Absolute, max(0, y)))
	}
	if now.Sub(s.toldAt) < s.every/2 {
		return nil
	}
	return s.report(now)
}

// motion is a detector as Zigbee2MQTT shows it: on at a detection and again at later ones, at
// most once a minute; off when there was none for a minute.
func (s *sensor) motion(now time.Time, n int) *Emission {
	p := s.errors.ghosts(pirSees[0])
	if n > 0 {
		p = s.errors.sees(pirSees[min(n, 3)])
	}
	sees := s.rng.Float64() < p
	if sees {
		s.seenAt = now
	}
	on := now.Sub(s.seenAt) < pirHold
	v := edge.BoolValue(edge.Presence, edge.MotionState, on)
	if sees && now.Sub(s.toldAt) >= pirHold {
		s.on = on
		return s.say(now, v)
	}
	return s.level(now, on, v)
}

func (s *sensor) presence(now time.Time, n int, sees, errs float64) *Emission {
	p := errs
	if n > 0 {
		p = 1 - math.Pow(1-sees, float64(min(n, 3)))
	}
	on := s.rng.Float64() < p
	return s.level(now, on, edge.BoolValue(edge.Presence, edge.State, on))
}

// level says a state when it changes, and now and then otherwise.
func (s *sensor) level(now time.Time, on bool, v edge.Value) *Emission {
	if on == s.on && now.Sub(s.toldAt) < assurance {
		return nil
	}
	s.on = on
	return s.say(now, v)
}

func (s *sensor) say(now time.Time, values ...edge.Value) *Emission {
	if s.failure == Silent {
		return nil
	}
	if s.failure == Stuck && s.lastTold != nil {
		values = s.lastTold
	}
	s.toldAt, s.lastTold = now, values
	s.seq++
	e := &Emission{Sensor: s.ID, Device: s.Address(), Via: s.via, At: edge.Millis(now), Seq: s.seq, Values: slices.Clone(values)}
	switch s.failure {
	case Clock:
		e.At = e.At.Add(24 * time.Hour)
	case Garbled:
		e.Garbled = true
	}
	return e
}

func (b *Building) emit(e *Emission) {
	if e != nil {
		b.out = append(b.out, *e)
	}
}

// FailSensor makes a sensor fail from now on.
func (b *Building) FailSensor(id string, how Failure) error {
	if !slices.Contains(Failures, how) {
		return fmt.Errorf("failure %q: want one of %v", how, Failures)
	}
	return b.setFailure(id, how)
}

// RestoreSensor mends a sensor. What a counter missed meanwhile stays missed.
func (b *Building) RestoreSensor(id string) error { return b.setFailure(id, Working) }

func (b *Building) setFailure(id string, how Failure) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sensors[id]
	if !ok {
		return fmt.Errorf("the building has no sensor %q", id)
	}
	s.failure = how
	return nil
}

// Failed lists the sensors that fail now, and how.
func (b *Building) Failed() map[string]Failure {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := map[string]Failure{}
	for id, s := range b.sensors {
		if s.failure != Working {
			failed[id] = s.failure
		}
	}
	return failed
}
