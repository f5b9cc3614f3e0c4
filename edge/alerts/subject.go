package alerts

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// facts are what is known of one subject. They are remembered, so that what falls due between
// two evaluations sees the facts of its own time.
type facts interface {
	// refresh takes over the facts of now and tells whether any differs.
	refresh(src Source, now time.Time) bool
	// env returns what conditions and templates run over at t; it is valid until the next call.
	env(t time.Time) any
	// summary and signature are of the facts that env returned last.
	summary() string
	signature() string
}

type spaceSubject struct {
	base    spaceFacts // what the site says
	cache   spaceFacts // with what the source said last
	scratch spaceFacts // with the growing ones
	hours   edge.Hours
	timed   bool // a rule names a growing fact
	opening bool // a rule names open_hours
}

func newSpace(sp edge.Space, h edge.Hours, timed, opening bool) *spaceSubject {
	f := spaceFacts{ID: sp.ID, Name: or(sp.Name, sp.ID), Kind: string(sp.Kind), OpenHours: true}
	f.Capacity, f.HasCapacity = float64(sp.Capacity), sp.Capacity > 0
	s := &spaceSubject{base: f, hours: h, timed: timed, opening: opening}
	s.cache = f
	s.cache.fill(edge.Occupancy{}, false)
	return s
}

func (s *spaceSubject) refresh(src Source, now time.Time) bool {
	f := s.base
	o, _ := src.Occupancy(f.ID)
	f.fill(o, s.timed)
	if s.opening {
		f.OpenHours = s.hours.Open(now)
	}
	changed := f != s.cache
	s.cache = f
	return changed
}

// reopen takes over the opening hours of t and tells whether they differ.
func (s *spaceSubject) reopen(t time.Time) bool {
	if !s.opening || s.cache.OpenHours == s.hours.Open(t) {
		return false
	}
	s.cache.OpenHours = !s.cache.OpenHours
	return true
}

func (s *spaceSubject) env(t time.Time) any {
	s.scratch = s.cache
	s.scratch.grow(t)
	return &s.scratch
}

func (s *spaceSubject) summary() string   { return s.scratch.summary() }
func (s *spaceSubject) signature() string { return s.scratch.signature() }

type sensorSubject struct {
	sensor         edge.Sensor
	cache, scratch sensorFacts
	timed          bool
}

func newSensor(se edge.Sensor, timed bool) *sensorSubject {
	s := &sensorSubject{sensor: se, timed: timed}
	s.cache.fill(edge.SensorStatus{Sensor: se}, false)
	return s
}

func (s *sensorSubject) refresh(src Source, _ time.Time) bool {
	st, ok := src.Sensor(s.sensor.ID)
	if !ok || st.ID == "" {
		st.Sensor = s.sensor
	}
	var f sensorFacts
	f.fill(st, s.timed)
	changed := f != s.cache
	s.cache = f
	return changed
}

func (s *sensorSubject) env(t time.Time) any {
	s.scratch = s.cache
	s.scratch.grow(t)
	return &s.scratch
}

func (s *sensorSubject) summary() string   { return s.scratch.summary() }
func (s *sensorSubject) signature() string { return s.scratch.signature() }

type doorSubject struct {
	id             string
	cache, scratch doorFacts
	timed          bool
}

func newDoor(id string, timed bool) *doorSubject {
	s := &doorSubject{id: id, timed: timed, cache: doorFacts{ID: id}}
	s.cache.fill(edge.DoorStatus{}, false)
	return s
}

func (s *doorSubject) refresh(src Source, _ time.Time) bool {
	d, _ := src.Door(s.id)
	f := doorFacts{ID: s.id}
	f.fill(d, s.timed)
	changed := f != s.cache
	s.cache = f
	return changed
}

func (s *doorSubject) env(t time.Time) any {
	s.scratch = s.cache
	s.scratch.grow(t)
	return &s.scratch
}

func (s *doorSubject) summary() string   { return s.scratch.summary() }
func (s *doorSubject) signature() string { return s.scratch.signature() }

type hubSubject struct {
	cache, scratch hubFacts
	timed          bool
}

func newHub(timed bool) *hubSubject {
	s := &hubSubject{timed: timed}
	s.cache.fill(Hub{}, false)
	return s
}

func (s *hubSubject) refresh(src Source, _ time.Time) bool {
	var f hubFacts
	f.fill(src.Hub(), s.timed)
	changed := f != s.cache
	s.cache = f
	return changed
}

func (s *hubSubject) env(t time.Time) any {
	s.scratch = s.cache
	s.scratch.grow(t)
	return &s.scratch
}

func (s *hubSubject) summary() string   { return s.scratch.summary() }
func (s *hubSubject) signature() string { return s.scratch.signature() }
