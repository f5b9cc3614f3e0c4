package replay

import (
	"cmp"
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
		cmp.Compare(a.Quality, b.Quality),
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

// shuffleRounds is how often each reading is offered another's slot.
const shuffleRounds = 4

// shuffle re-assigns the times of receipt at random, so that no reading is delivered later
// than maxLate after its event time, unless it was. (As there is one slot for each reading,
// for one to be late another must come before its event.)
//
// Readings swap slots at random wherever both allow it; the order in which they are offered
// depends on nothing but the seed and the readings.
func shuffle(rs []edge.Reading, seed int64) {
	rnd := rand.New(rand.NewPCG(uint64(seed), 0x6865616463))
	order := live(rs)
	due := make([]time.Time, len(order))
	slots := make([]time.Time, len(order))
	for i, r := range order {
		due[i], slots[i] = later(r.Received, r.At.Add(maxLate)), r.Received
	}
	at := make([]int, len(order)) // which reading has the slot
	for i := range at {
		at[i] = i
	}
	for range shuffleRounds {
		reach := 0 // slots within maxLate of the present one end here
		for i := range slots {
			for reach < len(slots) && !slots[reach].After(slots[i].Add(maxLate)) {
				reach++
			}
			j := i + rnd.IntN(reach-i)
			if !slots[j].After(due[at[i]]) && !slots[i].After(due[at[j]]) {
				at[i], at[j] = at[j], at[i]
			}
		}
	}
	for i, r := range at {
		order[r].Received = slots[i]
	}
}
