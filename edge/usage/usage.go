// Package usage is the arithmetic of how spaces are used: it folds the step function of a
// space's occupancy into totals per stretch of time, and cuts time into the hours of a clock on
// the wall.
//
// It guarantees that totals add up: those of the hours of a span are those of the span, to the
// millisecond, on days of 23 and 25 hours too. It refuses to take what is not known for zero:
// averages are over known time, and how much that was stands beside them. An occupancy holds
// until the next one, but not longer than Stale: the hub repeats it every 15 minutes, so after
// that nobody knows. All of it is pure; values may be copied and used from any goroutine.
package usage

import (
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Stale is how long an occupancy is believed when nothing follows it.
const Stale = 20 * time.Minute

const stale = int64(Stale / time.Millisecond)

// Step is an occupancy from one instant on. Times are milliseconds since 1970.
type Step struct {
	At       int64
	State    edge.OccupancyState
	Count    int  // persons, while State is known
	Capacity int  // persons; 0 = not configured
	Begins   bool // people came into an empty or unknown space; see Chain
}

// StepOf is the step of an occupancy that holds from at on. Without a count it is unknown.
func StepOf(o edge.Occupancy, at time.Time) Step {
	s := Step{At: at.UnixMilli(), State: o.State, Capacity: o.Capacity}
	if o.Count == nil || o.State != edge.Vacant && o.State != edge.Occupied {
		s.State = edge.Unknown
		return s
	}
	s.Count = *o.Count
	return s
}

// Holds tells how long the step holds at most.
func (s Step) Holds() int64 { return s.At + stale }

// Chain orders steps by time, keeps the last one of each instant, and marks where spells of
// being occupied begin; before is the step in force before the first, the zero Step when there is
// none.
func Chain(before Step, steps []Step) []Step {
	slices.SortStableFunc(steps, func(a, b Step) int { return int(min(1, max(-1, a.At-b.At))) })
	out := steps[:0]
	for i, s := range steps {
		if i+1 < len(steps) && steps[i+1].At == s.At {
			continue
		}
		s.Begins = s.State == edge.Occupied && !(before.State == edge.Occupied && before.Holds() >= s.At)
		out, before = append(out, s), s
	}
	return out
}

// Totals are what adds up over time and spaces. Times are milliseconds.
type Totals struct {
	Span     int64 // that was looked at; the rest of it, beside Known, is unknown
	Known    int64
	Vacant   int64
	Occupied int64
	Over     int64 // more people than the capacity
	Rated    int64 // known, with a capacity
	Persons  int64 // persons times known time
	Seated   int64 // persons times rated time
	Seats    int64 // capacity times rated time
	Min, Max int   // persons; of no meaning without Known
	PeakAt   int64 // when Max was reached first
	Spells   int64 // of being occupied that began
	Capacity int   // the largest that was in force; 0 = none
}

// hold adds a step's stretch [from, to).
func (t *Totals) hold(s Step, from, to int64) {
	d := to - from
	if d <= 0 || s.State != edge.Vacant && s.State != edge.Occupied {
		return
	}
	piece := Totals{Known: d, Persons: int64(s.Count) * d, Min: s.Count, Max: s.Count, PeakAt: from, Capacity: s.Capacity}
	if s.State == edge.Occupied {
		piece.Occupied = d
	} else {
		piece.Vacant = d
	}
	if s.Capacity > 0 {
		piece.Rated, piece.Seated, piece.Seats = d, piece.Persons, int64(s.Capacity)*d
		if s.Count > s.Capacity {
			piece.Over = d
		}
	}
	t.Add(piece)
}

// Add adds what was found elsewhere or at another time.
func (t *Totals) Add(u Totals) {
	switch {
	case u.Known == 0:
	case t.Known == 0:
		t.Min, t.Max, t.PeakAt = u.Min, u.Max, u.PeakAt
	default:
		t.Min = min(t.Min, u.Min)
		if u.Max > t.Max || u.Max == t.Max && u.PeakAt < t.PeakAt {
			t.Max, t.PeakAt = u.Max, u.PeakAt
		}
	}
	t.Span += u.Span
	t.Known += u.Known
	t.Vacant += u.Vacant
	t.Occupied += u.Occupied
	t.Over += u.Over
	t.Rated += u.Rated
	t.Persons += u.Persons
	t.Seated += u.Seated
	t.Seats += u.Seats
	t.Spells += u.Spells
	t.Capacity = max(t.Capacity, u.Capacity)
}

// Fold is the totals of [from, to); steps are as Chain leaves them, the one in force at from
// among them.
func Fold(steps []Step, from, to int64) Totals {
	t := Totals{Span: max(0, to-from)}
	for i, s := range steps {
		end := min(s.Holds(), to)
		if i+1 < len(steps) {
			end = min(end, steps[i+1].At)
		}
		t.hold(s, max(s.At, from), end)
		if s.Begins && s.At >= from && s.At < to {
			t.Spells++
		}
	}
	return t
}

// Folder folds steps into the hours of a zone. Span is left to the reader.
type Folder struct {
	Hours map[int64]*Totals // by the hour's beginning

	loc        *time.Location
	start, end int64 // the hour that was looked at last
}

// NewFolder makes a Folder of a zone.
func NewFolder(loc *time.Location) *Folder { return &Folder{Hours: map[int64]*Totals{}, loc: loc} }

// Add adds a step that holds in [from, until), but not longer than steps do. Its spell, if one
// begins, is counted when from is its own beginning.
func (f *Folder) Add(s Step, from, until int64) {
	until = min(until, s.Holds())
	if s.Begins && from == s.At {
		f.at(s.At).Spells++
	}
	for from < until {
		t := f.at(from)
		end := min(until, f.end)
		t.hold(s, from, end)
		from = end
	}
}

func (f *Folder) at(ms int64) *Totals {
	if ms < f.start || ms >= f.end {
		f.start = Hour(ms, f.loc)
		f.end = NextHour(f.start, f.loc)
	}
	t := f.Hours[f.start]
	if t == nil {
		t = &Totals{}
		f.Hours[f.start] = t
	}
	return t
}

// Hour is the beginning of the hour on the wall in which an instant lies. A change of the clocks
// begins an hour too.
func Hour(ms int64, loc *time.Location) int64 {
	t := time.UnixMilli(ms).In(loc)
	into := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	start := t.Add(-into)
	if change, _ := t.ZoneBounds(); change.After(start) {
		start = change
	}
	return start.UnixMilli()
}

// NextHour is the end of the hour that begins at start.
func NextHour(start int64, loc *time.Location) int64 {
	t := time.UnixMilli(start).In(loc)
	into := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	next := t.Add(time.Hour - into)
	if _, change := t.ZoneBounds(); !change.IsZero() && change.After(t) && change.Before(next) {
		next = change
	}
	return next.UnixMilli()
}
