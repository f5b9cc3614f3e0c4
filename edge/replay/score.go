package replay

import (
	"math"

	"github.com/headcount-hub/headcount/edge"
)

// Figures judge a history against the truth.
type Figures struct {
	N                  int     `json:"n"`                   // truths compared
	MAE                float64 `json:"mae"`                 // of count, persons
	RMSE               float64 `json:"rmse"`                // of count, persons
	PresenceAccuracy   float64 `json:"presence_accuracy"`   // of p_occupied >= .5
	PresenceF1         float64 `json:"presence_f1"`         //
	Brier              float64 `json:"brier"`               // of p_occupied
	Coverage90         float64 `json:"coverage90"`          // share of truths within [low, high]
	Coverage90Occupied float64 `json:"coverage90_occupied"` // the same where somebody was there
	IntervalScore      float64 `json:"interval_score"`      // Gneiting and Raftery, 90 %; lower is better
}

// score adds up the comparison of estimates with truths.
//
// An unknown occupancy is no estimate. It is scored as what a reader without one would have to
// assume: count 0, presence .5 (which counts as "vacant"), interval from 0 to the capacity;
// unknown says how often that was.
type score struct {
	n, unknown                         int
	abs, square, brier, interval       float64
	right, truePos, falsePos, falseNeg int
	covered, occupied, occupiedCovered int
}

// assumedCapacity bounds an unknown space whose capacity is not configured.
const assumedCapacity = 20

func (s *score) add(o edge.Occupancy, count int) {
	est, low, high, p := 0, 0, o.Capacity, .5
	if o.Count == nil {
		s.unknown++
		if high == 0 {
			high = assumedCapacity
		}
	} else {
		est, low, high, p = *o.Count, *o.Low, *o.High, *o.POccupied
	}
	s.n++
	d := float64(est - count)
	s.abs += math.Abs(d)
	s.square += d * d
	s.addPresence(p, p >= .5 && o.Count != nil, count > 0)
	s.addInterval(low, high, count)
}

func (s *score) addPresence(p float64, said, is bool) {
	y := 0.0
	if is {
		y = 1
	}
	s.brier += (p - y) * (p - y)
	switch {
	case said && is:
		s.truePos++
	case said:
		s.falsePos++
	case is:
		s.falseNeg++
	}
	if said == is {
		s.right++
	}
}

// alpha is the probability that a 90 % interval misses.
const alpha = .1

func (s *score) addInterval(low, high, count int) {
	s.interval += float64(high-low) + 2/alpha*float64(max(low-count, 0)+max(count-high, 0))
	in := low <= count && count <= high
	if in {
		s.covered++
	}
	if count > 0 {
		s.occupied++
		if in {
			s.occupiedCovered++
		}
	}
}

func (s *score) figures() Figures {
	n := float64(s.n)
	return Figures{
		N: s.n, MAE: ratio(s.abs, n), RMSE: math.Sqrt(ratio(s.square, n)),
		PresenceAccuracy: ratio(float64(s.right), n),
		PresenceF1:       ratio(2*float64(s.truePos), float64(2*s.truePos+s.falsePos+s.falseNeg)),
		Brier:            ratio(s.brier, n), Coverage90: ratio(float64(s.covered), n),
		Coverage90Occupied: ratio(float64(s.occupiedCovered), float64(s.occupied)),
		IntervalScore:      ratio(s.interval, n),
	}
}

// ratio is a/b, and 0 where there is nothing to judge.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
