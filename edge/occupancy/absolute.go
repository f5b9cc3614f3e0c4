package occupancy

import "math"

// absolute follows one sensor that tells how many people it sees.
type absolute struct {
	heard bool
	value float64
	used  int64 // time up to which its evidence is used, ms
}

// An absolute count is used once per correlation time; more often it counts for less, by the
// square root (half) or its square root (quarter).
func (s *absolute) weight(at int64, changed bool) int {
	switch dt := at - s.used; {
	case !s.heard || dt >= correlation:
		return 1
	case dt >= correlation/2 || changed && dt >= correlation/6:
		return 2
	case dt >= correlation/4:
		return 4
	}
	return 0
}

// weighCount multiplies the likelihood of seeing y people onto the filter: Student's t with
// 4 degrees of freedom, to the power 1/root (1, 2 or 4).
func (r *room) weighCount(y float64, p *params, root int) {
	r.widen(int(y) + 8)
	for n := range r.p {
		expected := float64(n)
		if p.cap > 0 {
			expected = math.Min(expected, p.cap)
		}
		z := (y - expected) / (p.sd + p.sdPer*expected)
		z = 1 + z*z/4
		l := 1 / (z * z * math.Sqrt(z))
		for k := root; k > 1; k /= 2 {
			l = math.Sqrt(l)
		}
		r.p[n] *= l
	}
}
