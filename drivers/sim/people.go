package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// person is one of those who work in the building.
type person struct {
	home string // room of the work place
	at   string // space they are in
	to   string // space they are on the way to
	walk bool   // on the way

	booked bool // a visitor who is expected somewhere
}

// move is one entry of a person's day: at this time of day they set out for a space.
type move struct {
	at time.Duration // since midnight of the simulated day
	to string
}

// interval is a time of the day that is taken.
type interval struct{ from, to time.Duration }

func (i interval) free(busy []interval) bool {
	for _, b := range busy {
		if i.from < b.to && b.from < i.to {
			return false
		}
	}
	return true
}

// diary is what a person does on one day.
type diary struct {
	arrive, leave time.Duration
	busy          []interval
	moves         []move
}

const (
	firstArrival = 7*time.Hour + 30*time.Minute
	lastLeave    = 20 * time.Hour
	usualArrival = 8*time.Hour + 45*time.Minute
	usualStay    = 8*time.Hour + 30*time.Minute
)

// day makes everybody's diary of one day: who comes, lunch, meetings, breaks.
func (l *layout) day(people []person, rng *rand.Rand) [][]move {
	diaries := make([]diary, len(people))
	for i := range diaries {
		diaries[i] = l.workingDay(people[i], rng)
	}
	for _, room := range l.meeting {
		l.meetings(room, people, diaries, rng)
	}
	moves := make([][]move, len(people))
	for i := range diaries {
		d := &diaries[i]
		if d.leave > 0 {
			l.pauses(people[i], d, rng)
			d.moves = append(d.moves, move{d.leave, edge.Outside})
		}
		slices.SortStableFunc(d.moves, func(a, b move) int { return int(a.at - b.at) })
		moves[i] = d.moves
	}
	return moves
}

// workingDay is when a person comes, has lunch and leaves. One in ten stays at home.
func (l *layout) workingDay(p person, rng *rand.Rand) diary {
	var d diary
	if rng.Float64() < 0.1 {
		return d
	}
	d.arrive = between(normal(rng, l.arrive, 40*time.Minute), min(firstArrival, l.arrive), max(11*time.Hour, l.arrive))
	d.leave = between(d.arrive+normal(rng, l.stay, 45*time.Minute), d.arrive+min(4*time.Hour, l.stay), max(lastLeave, d.arrive+l.stay))
	d.moves = append(d.moves, move{d.arrive, p.home})
	start := between(normal(rng, 12*time.Hour+15*time.Minute, 25*time.Minute), 11*time.Hour+15*time.Minute, 13*time.Hour+30*time.Minute)
	lunch := interval{start, start + uniform(rng, 20*time.Minute, 45*time.Minute)}
	switch x := rng.Float64(); {
	case lunch.to > d.leave:
		return d
	case x < 0.75 && l.canteen != "":
		d.moves = append(d.moves, move{lunch.from, l.canteen}, move{lunch.to, p.home})
	case x < 0.9:
		d.moves = append(d.moves, move{lunch.from, edge.Outside}, move{lunch.to, p.home})
	}
	d.busy = append(d.busy, lunch)
	return d
}

// meetings fills a meeting room's day. The participants come and leave nearly together, which
// is what makes counters miss some.
func (l *layout) meetings(room edge.Space, people []person, diaries []diary, rng *rand.Rand) {
	for start := 9 * time.Hour; start < 17*time.Hour; {
		if rng.Float64() < 0.35 {
			start += 30 * time.Minute
			continue
		}
		m := interval{start, start + time.Duration(1+rng.IntN(3))*30*time.Minute}
		want := 2 + rng.IntN(room.Capacity-1)
		for _, i := range rng.Perm(len(people)) {
			d := &diaries[i]
			if d.leave == 0 || d.arrive > m.from-10*time.Minute || d.leave < m.to+10*time.Minute || !m.free(d.busy) {
				continue
			}
			d.busy = append(d.busy, m)
			d.moves = append(d.moves,
				move{m.from - uniform(rng, 0, 3*time.Minute), room.ID},
				move{m.to + uniform(rng, 0, 40*time.Second), people[i].home})
			if want--; want == 0 {
				break
			}
		}
		start = m.to
	}
}

// pauses are a person's short walks to the break room of their floor, about one in 90 minutes.
func (l *layout) pauses(p person, d *diary, rng *rand.Rand) {
	to := l.breaks[l.floorOf[p.home]]
	if to == "" {
		return
	}
	for at := d.arrive; ; {
		at += time.Duration(rng.ExpFloat64() * float64(90*time.Minute))
		pause := interval{at, at + uniform(rng, 3*time.Minute, 9*time.Minute)}
		if pause.to > d.leave-5*time.Minute {
			return
		}
		if (interval{pause.from - 5*time.Minute, pause.to + 5*time.Minute}).free(d.busy) {
			d.moves = append(d.moves, move{pause.from, to}, move{pause.to, p.home})
		}
		at = pause.to
	}
}

func normal(rng *rand.Rand, mean, sd time.Duration) time.Duration {
	return mean + time.Duration(rng.NormFloat64()*float64(sd))
}

func uniform(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Float64()*float64(to-from))
}

func between(x, lo, hi time.Duration) time.Duration { return min(max(x, lo), hi) }

// student4 draws from Student's t with 4 degrees of freedom.
func student4(rng *rand.Rand) float64 {
	chi := 0.0
	for range 4 {
		z := rng.NormFloat64()
		chi += z * z
	}
	return rng.NormFloat64() / math.Sqrt(chi/4)
}
