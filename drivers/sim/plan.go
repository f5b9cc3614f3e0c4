package sim

import (
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Plan is a building of one's own: rooms, each behind one door, seen from outside.
type Plan struct {
	Site    edge.Site          // spaces and doors; a door's second space is the deeper one
	Sensors map[string]Fitting // of the site's sensors by id
	Desks   map[string]int     // work places by room
	Meeting []string           // rooms where people meet
	Breaks  []string           // rooms where those of the same floor have a break
	Canteen string             // where people have lunch; empty = none
	Arrive  time.Duration      // when people come, on average; 0 = 08:45
	Stay    time.Duration      // how long they stay, on average; 0 = 8h30m
	Script  []Happening        // on every day
}

// Fitting is how a sensor of a plan is built in.
type Fitting struct {
	Via    Via
	Errors Errors
}

// Errors are the error rates of a sensor; nil = what is usual for its class.
type Errors struct {
	Missed *float64 // probability that a person or movement is missed
	False  *float64 // probability of a count or movement that there was not
	Spread *float64 // factor on the usual spread of a zone counter or camera
}

// Happening is an entry of the script: at a time of day one of the four.
type Happening struct {
	At     time.Duration
	Crowd  string  // so many visitors come to this space and leave after For
	People string  // so many people shall be in this space from now on
	Fail   string  // this sensor fails, for For; 0 = until it is mended
	Mend   string  // this sensor works again
	Count  int     // of Crowd and People
	How    Failure // of Fail
	For    time.Duration
}

func (e Errors) line(usual lineErrors) lineErrors {
	return lineErrors{e.missing(usual.missIn), e.missing(usual.missOut), e.ghosts(usual.false)}
}

func (e Errors) missing(usual float64) float64 {
	if e.Missed != nil {
		return *e.Missed
	}
	return usual
}

func (e Errors) sees(usual float64) float64 { return 1 - e.missing(1-usual) }

func (e Errors) ghosts(usual float64) float64 {
	if e.False != nil {
		return *e.False
	}
	return usual
}

func (e Errors) spread() float64 {
	if e.Spread != nil {
		return *e.Spread
	}
	return 1
}

// layout is the plan's, or the built-in building's.
func (o Options) layout() (*layout, error) {
	if o.Plan == nil {
		return newLayout(o.Access), nil
	}
	return o.Plan.layout()
}

func (p *Plan) layout() (*layout, error) {
	l := &layout{
		site: p.Site, canteen: p.Canteen, arrive: p.Arrive, stay: p.Stay, script: p.Script,
		spaces: p.Site.Spaces, doors: p.Site.Doors, via: map[string]Via{}, breaks: map[string]string{}, up: map[string]passage{},
		floorOf: map[string]string{}, depth: map[string]int{edge.Outside: 0}, at: map[string][]string{}, errors: map[string]Errors{},
	}
	if l.arrive == 0 {
		l.arrive = usualArrival
	}
	if l.stay == 0 {
		l.stay = usualStay
	}
	if err := l.join(); err != nil {
		return nil, err
	}
	spaces := map[string]edge.Space{}
	for _, s := range l.spaces {
		spaces[s.ID] = s
		l.floorOf[s.ID] = s.Parent
		for range p.Desks[s.ID] {
			l.homes = append(l.homes, s.ID)
		}
	}
	for _, id := range p.Meeting {
		l.meeting = append(l.meeting, spaces[id])
	}
	for _, id := range p.Breaks {
		l.breaks[spaces[id].Parent] = id
	}
	for _, s := range p.Site.Sensors {
		f := p.Sensors[s.ID]
		l.errors[s.ID] = f.Errors
		l.sensor(s, s.Door+s.Space, f.Via)
	}
	return l, nil
}

// join finds the way from every door's deeper side to outside.
func (l *layout) join() error {
	left := l.doors
	for len(left) > 0 {
		var later []edge.Door
		for _, d := range left {
			from, to := d.Between[0], d.Between[1]
			if _, reached := l.depth[from]; !reached {
				later = append(later, d)
				continue
			}
			if _, twice := l.depth[to]; twice {
				return fmt.Errorf("door %s leads to %s, to which there is a way already: each room of a simulated building is behind one door, the first space of which is nearer to outside", d.ID, to)
			}
			l.up[to], l.depth[to] = passage{d.ID, from}, l.depth[from]+1
		}
		if len(later) == len(left) {
			return fmt.Errorf("there is no way from outside to door %s", left[0].ID)
		}
		left = later
	}
	return nil
}
