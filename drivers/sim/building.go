// Package sim is a simulated building: people with working days, doors, sensors with the error
// rates of real ones, and what they send over real MQTT, HTTP and serial lines.
//
// The building itself ([Building]) is pure: a function of its options and of the times it is
// told, the same for the same seed. [Run] sends what its sensors say, each reading again until
// it is acknowledged. It knows nothing of the hub but the configuration it writes for it.
//
// With a speed above 1 the people live faster, the sensors do not: their clocks, report
// intervals and error rates per time are those of the wall clock, so that the hub finds their
// times plausible and its estimator meets the sensors it knows, in a hectic building.
package sim

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Options of a building.
type Options struct {
	Seed     uint64
	Start    time.Time     // wall time at which it begins; zero = now, name one for the same run again
	DayStart time.Duration // what time of day it is for the people at Start; 0 = 07:15
	Speed    float64       // how many times faster than the wall clock the people live; 0 = 1
	People   int           // who work there; 0 = 200, at most the places there are (214)
	Nights   bool          // days last 24 h; otherwise the night is left out
	Access   bool          // with a badge reader at the entrance and a camera in the lobby
	Report   time.Duration // how often door and zone counters report when nothing happens; 0 = 60 s, 30 s
	Plan     *Plan         // another building than the built-in one; People is then taken as it is
}

const (
	morning   = 7*time.Hour + 15*time.Minute
	evening   = lastLeave + 45*time.Minute // everybody has left for sure
	missing   = 3                          // so many missing reports in a row make a sensor silent
	sameGroup = 2 * time.Second            // people at most so far apart pass a door as a group
)

// Building is the simulated building. Its methods may be called from any goroutine.
type Building struct {
	mu      sync.Mutex
	layout  *layout
	o       Options
	people  []person // the staff, then visitors
	staff   int
	count   map[string]int // truth: people in each space, outside too
	doors   map[string]*traffic
	sensors map[string]*sensor
	queue   queue
	serial  int // of events, for their order
	now     time.Time
	dayWall time.Time     // wall time that dayTime belongs to
	dayTime time.Duration // time of day of the people then
	day     uint64
	running bool // sensors see what happens; not while the first morning is made up
	out     []Emission
}

// traffic is who passed a door just now.
type traffic struct {
	last [2]time.Duration // people's time of the last passage in and out, since day 0
	size [2]int           // of the group that passes
}

// NewBuilding makes the building as it is at o.Start.
func NewBuilding(o Options) (*Building, error) {
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	o.Start = edge.Millis(o.Start)
	l, err := o.layout()
	if err != nil {
		return nil, err
	}
	o.DayStart, o.Speed = cmp.Or(o.DayStart, morning), cmp.Or(o.Speed, 1)
	if o.Plan == nil {
		o.People = cmp.Or(o.People, 200)
	}
	b := &Building{
		layout: l, o: o, now: o.Start,
		count: map[string]int{}, doors: map[string]*traffic{}, sensors: map[string]*sensor{},
	}
	switch {
	case o.Speed < 0.01 || o.Speed > 1000:
		return nil, fmt.Errorf("speed %g: want 0.01 to 1000", o.Speed)
	case o.People < 0 || o.People > len(b.layout.homes):
		return nil, fmt.Errorf("people %d: want 0 to %d, as there are so many work places", o.People, len(b.layout.homes))
	case o.Report < 0:
		return nil, errors.New("report: want a time of at least 0")
	case o.DayStart < 0 || o.DayStart >= 24*time.Hour:
		return nil, errors.New("day start: want a time of day")
	}
	for i := range b.layout.sensors {
		s := &b.layout.sensors[i]
		s.Horizon = missing * reports(s.Class, o.Report)
	}
	rng := b.rng("people")
	for _, i := range rng.Perm(len(b.layout.homes))[:o.People] {
		b.people = append(b.people, person{home: b.layout.homes[i], at: edge.Outside, to: edge.Outside})
	}
	b.staff = len(b.people)
	b.count[edge.Outside] = o.People
	for _, d := range b.layout.doors {
		b.doors[d.ID] = &traffic{last: [2]time.Duration{-time.Hour, -time.Hour}}
	}
	b.begin()
	return b, nil
}

// begin makes up the first morning unseen, then switches the sensors on.
func (b *Building) begin() {
	b.dayWall, b.dayTime = b.o.Start, b.o.DayStart
	for _, s := range b.layout.sensors {
		b.sensors[s.ID] = newSensor(s, b.layout.via[s.ID], b.rng("sensor "+s.ID), b.o.Start, b.o.Report)
		b.sensors[s.ID].errors = b.layout.errors[s.ID]
	}
	b.startDay()
	b.advance(b.o.Start)
	b.running = true
	for _, s := range b.layout.sensors {
		b.push(b.o.Start.Add(b.sensors[s.ID].phase), tick, 0, s.ID)
	}
}

// rng is the source of chance for one purpose, so that one sensor's fate does not change
// another's.
func (b *Building) rng(purpose string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(b.o.Seed, h.Sum64()))
}

// wall turns the people's time of the present day into wall time.
func (b *Building) wall(t time.Duration) time.Time {
	return b.dayWall.Add(time.Duration(float64(t-b.dayTime) / b.o.Speed))
}

// clock is the people's time of day at b.now.
func (b *Building) clock() time.Duration {
	return b.dayTime + time.Duration(float64(b.now.Sub(b.dayWall))*b.o.Speed)
}

// startDay writes everybody's diary for the day that begins at dayWall.
func (b *Building) startDay() {
	for who, moves := range b.layout.day(b.people[:b.staff], b.rng(fmt.Sprint("day ", b.day))) {
		for _, m := range moves {
			b.push(b.wall(m.at), setOut, who, m.to)
		}
	}
	b.planScript()
	end := evening
	if b.o.Nights || b.dayTime >= evening {
		end = 24 * time.Hour
	}
	b.push(b.wall(end), nextDay, 0, "")
}

func (b *Building) newDay() {
	b.day++
	b.dayWall, b.dayTime = b.now, morning
	if b.o.Nights {
		b.dayTime = 0
	}
	b.startDay()
}

// Step lets the building live until now and returns what its sensors say meanwhile, in order of
// time. A time before the last one changes nothing.
func (b *Building) Step(now time.Time) []Emission {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	out := b.out
	b.out = nil
	return out
}

func (b *Building) advance(now time.Time) {
	for len(b.queue) > 0 && !b.queue[0].at.After(now) {
		e := heap.Pop(&b.queue).(event)
		b.now = e.at
		switch e.do {
		case setOut:
			b.setOut(e.who, e.to)
		case goHome:
			b.people[e.who].booked = false
			b.setOut(e.who, edge.Outside)
		case happen:
			b.happen(b.layout.script[e.who])
		case mend:
			b.sensors[e.to].failure = Working
		case pass:
			b.pass(e.who)
		case nextDay:
			b.newDay()
		case tick:
			b.emit(b.sensors[e.to].tick(b.now, b.count))
			b.push(b.now.Add(b.sensors[e.to].every), tick, 0, e.to)
		case report:
			b.emit(b.sensors[e.to].report(b.now))
		}
	}
	if now.After(b.now) {
		b.now = now
	}
}

// setOut turns a person towards a space; one who is on the way already changes direction at the
// next door.
func (b *Building) setOut(who int, to string) {
	p := &b.people[who]
	if p.to = to; !p.walk && p.at != to {
		p.walk = true
		b.walk(who)
	}
}

// walk takes a person to the next door: 4 to 14 s.
func (b *Building) walk(who int) {
	d := 4*time.Second + time.Duration(b.chance(who)*float64(10*time.Second))
	b.push(b.now.Add(time.Duration(float64(d)/b.o.Speed)), pass, who, "")
}

// chance is a number in [0,1) that depends on nothing but the seed, the person and the event.
func (b *Building) chance(who int) float64 {
	return rand.New(rand.NewPCG(b.o.Seed^uint64(who)<<32, uint64(b.serial))).Float64()
}

// pass takes a person through the next door.
func (b *Building) pass(who int) {
	p := &b.people[who]
	if p.at == p.to {
		p.walk = false
		return
	}
	way := b.layout.next(p.at, p.to)
	in := b.layout.depth[way.to] > b.layout.depth[p.at] // a door's second space is the deeper one
	b.count[p.at]--
	b.count[way.to]++
	p.at = way.to
	b.notice(who, way.door, in)
	if p.at == p.to {
		p.walk = false
		return
	}
	b.walk(who)
}

// notice shows a passage to the counter and the badge reader of the door, if it has them.
func (b *Building) notice(who int, door string, in bool) {
	t, dir := b.doors[door], 0
	if !in {
		dir = 1
	}
	now := b.clock() + time.Duration(b.day)*24*time.Hour
	if now-t.last[dir] > sameGroup {
		t.size[dir] = 0
	}
	t.last[dir] = now
	t.size[dir]++
	if !b.running {
		return
	}
	for _, id := range b.layout.at[door] {
		if s := b.sensors[id]; s.Class == edge.Badge {
			b.emit(s.badge(b.now, who, in))
		} else if s.passage(in, t.size[dir]) {
			b.push(b.now.Add(settle), report, 0, id)
		}
	}
}

// Truth tells how many people are in each space, floors and the building summed up.
func (b *Building) Truth() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	truth, parent := make(map[string]int, len(b.layout.spaces)), map[string]string{}
	for _, s := range b.layout.spaces {
		parent[s.ID] = s.Parent
	}
	for _, s := range b.layout.spaces {
		for at := s.ID; at != ""; at = parent[at] {
			truth[at] += b.count[s.ID]
		}
	}
	return truth
}

// Now is the time of day of the people, and which day it is, from 0.
func (b *Building) Now() (day int, clock time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.day), b.clock()
}

// Site is the building as the hub's model of a site.
func (b *Building) Site() edge.Site {
	l := b.layout
	s := l.site
	s.Spaces, s.Doors, s.Sensors = l.spaces, l.doors, l.sensors
	return s
}

// SiteID is the id of the simulated site.
const SiteID = "demo"

// What happens in a building.
type happening uint8

const (
	setOut  happening = iota // a person sets out for a space
	pass                     // a person on the way reaches a door
	nextDay                  //
	tick                     // a sensor looks
	report                   // a counter tells what passed
	goHome                   // a visitor sets out for outside
	happen                   // an entry of the plan's script
	mend                     // a sensor works again
)

type event struct {
	at     time.Time
	serial int
	do     happening
	who    int
	to     string // space, or sensor
}

// queue is a heap of events by time, then by the order in which they were planned.
type queue []event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(e any)   { *q = append(*q, e.(event)) }
func (q queue) Less(i, j int) bool {
	if c := q[i].at.Compare(q[j].at); c != 0 {
		return c < 0
	}
	return q[i].serial < q[j].serial
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (b *Building) push(at time.Time, do happening, who int, to string) {
	b.serial++
	heap.Push(&b.queue, event{at, b.serial, do, who, to})
}
