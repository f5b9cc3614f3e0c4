package occupancy

import "math"

// correlation is the time in ms within which a presence sensor's states are one observation,
// not many.
const correlation = 60_000

// maxWeights bounds what an unchanged state of a presence sensor can ever say, in full
// observations: a sensor that is blind to somebody stays so.
const maxWeights = 5

// level follows one presence sensor that reports a state (mmWave, desk, thermal).
type level struct {
	heard, on bool
	edge      int64   // last full observation
	acc       int64   // evidence is accounted until here
	weights   float64 // observations counted since the last change
}

// levelTable is the likelihood of a state by number of people: full, and for one tick.
type levelTable struct{ full, tick [2][classes]float64 }

func levels(p *params) levelTable {
	var t levelTable
	t.full[0][0], t.full[1][0] = 1-p.falseOn, p.falseOn
	for c := 1; c < classes; c++ {
		off := math.Pow(1-p.sensitivity, float64(c))
		t.full[0][c], t.full[1][c] = off, 1-off
	}
	for on := range t.full {
		for c, l := range t.full[on] {
			t.tick[on][c] = math.Sqrt(l) // half a correlation time
		}
	}
	return t
}

func (s *level) tick(now int64, t *levelTable) (*[classes]float64, bool) {
	if !s.heard || s.acc+tickMillis > now || s.weights >= maxWeights {
		return nil, false
	}
	s.acc = now
	s.weights += .5
	return &t.tick[index(s.on)], true
}

func (s *level) observe(on bool, at int64, t *levelTable) [classes]float64 {
	if s.heard && s.on == on {
		return flat
	}
	fresh := !s.heard || at-s.edge >= correlation
	s.heard, s.on, s.acc, s.weights = true, on, at, 0
	if !fresh {
		return flat
	}
	s.edge, s.weights = at, 1
	return t.full[index(on)]
}

func index(on bool) int {
	if on {
		return 1
	}
	return 0
}
