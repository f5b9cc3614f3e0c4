package replay

import (
	"cmp"
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// byEvent orders readings by event time, sensor, sequence and content: an order that depends
// on nothing but the readings themselves.
func byEvent(a, b *edge.Reading) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(a.Sensor, b.Sensor),
		compareSeq(a.Seq, b.Seq),
		a.From.Compare(b.From),
		slices.CompareFunc(a.Values, b.Values, compareValue),
	)
}

// compareSeq orders numbers by size, before all other sequences.
func compareSeq(a, b string) int {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil && x != y:
		return cmp.Compare(x, y)
	case errA == nil && errB != nil:
		return -1
	case errA != nil && errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

func compareValue(a, b edge.Value) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Semantics, b.Semantics), cmp.Compare(a.Type, b.Type),
		cmp.Compare(math.Float64bits(a.Num), math.Float64bits(b.Num)), cmp.Compare(a.Text, b.Text),
	)
}

// revised gives the readings once each in the order of byEvent.
func revised(rs []edge.Reading) []*edge.Reading {
	out := make([]*edge.Reading, len(rs))
	for i := range rs {
		out[i] = &rs[i]
	}
	slices.SortStableFunc(out, byEvent)
	return slices.CompactFunc(out, func(a, b *edge.Reading) bool { return byEvent(a, b) == 0 })
}

// live gives all readings in the order of receipt; those received at once in that of the file.
func live(rs []edge.Reading) []*edge.Reading {
	out := make([]*edge.Reading, len(rs))
	for i := range rs {
		out[i] = &rs[i]
	}
	slices.SortStableFunc(out, func(a, b *edge.Reading) int { return a.Received.Compare(b.Received) })
	return out
}

// maxLate is how late after its event time a shuffled reading may be delivered.
const maxLate = 24 * time.Hour

// shuffle re-assigns the times of receipt at random: no reading arrives before it did, and
// none later than maxLate after its event time (unless it did).
//
// Each reading draws a deadline between its own time of receipt and the latest allowed; each
// slot goes to the reading with the earliest deadline among those that exist by then. As the
// original assignment meets all deadlines, this one does.
func shuffle(rs []edge.Reading, seed int64) {
	rnd := rand.New(rand.NewPCG(uint64(seed), 0x6865616463))
	order := live(rs)
	slots := make([]time.Time, len(order))
	for i, r := range order {
		slots[i] = r.Received
	}
	var waiting deadlines
	for i, next := 0, 0; i < len(slots); i++ {
		for ; next < len(order) && !order[next].Received.After(slots[i]); next++ {
			due := order[next].Received
			if room := order[next].At.Add(maxLate).Sub(due); room > 0 {
				due = due.Add(time.Duration(rnd.Int64N(int64(room) + 1)))
			}
			heap.Push(&waiting, deadline{due, next})
		}
		order[heap.Pop(&waiting).(deadline).index].Received = slots[i]
	}
}

type deadline struct {
	at    time.Time
	index int
}

// deadlines is a heap, earliest first.
type deadlines []deadline

func (d deadlines) Len() int      { return len(d) }
func (d deadlines) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)   { *d = append(*d, x.(deadline)) }
func (d deadlines) Less(i, j int) bool {
	return cmp.Or(d[i].at.Compare(d[j].at), cmp.Compare(d[i].index, d[j].index)) < 0
}
func (d *deadlines) Pop() any {
	x := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return x
}
