package occupancy

import "github.com/headcount-hub/headcount/edge"

// view is what is known of a space now, before hysteresis.
type view struct {
	summary
	quality edge.OccupancyQuality
	partial bool // it is a sum and nothing is known of some of its parts
}

// view describes a space: by its own filter, or as the sum of the observed rooms in it.
func (m *Model) view(i int) view {
	sp := &m.spaces[i]
	if sp.room != nil {
		return view{summary: sp.room.summary(), quality: m.quality(sp)}
	}
	return m.total(sp)
}

// total sums independent rooms. What a room that nothing is known of may hold widens the upper
// bound.
func (m *Model) total(sp *space) view {
	v := view{quality: edge.QualityGood}
	version, known, stale, more := uint64(0), 0, 0, 0
	for _, l := range sp.leaves {
		leaf := &m.spaces[l]
		version += leaf.room.version
		switch q := m.quality(leaf); q {
		case edge.QualityNone:
			v.partial, v.quality = true, edge.QualityDegraded
			more += max(leaf.Capacity, 1)
			continue
		case edge.QualityStale:
			stale++
			v.quality = edge.QualityDegraded
		case edge.QualityDegraded:
			v.quality = edge.QualityDegraded
		}
		known++
	}
	if known == 0 {
		v.quality = edge.QualityNone
		return v
	}
	if stale == len(sp.leaves) {
		v.quality = edge.QualityStale
	}
	if sp.sumOf != version {
		sp.sumOf, sp.sum = version, m.sum(sp.leaves)
	}
	v.summary = sp.sum
	v.high += more
	return v
}

// sum is the distribution of the sum of the known rooms, by convolution.
func (m *Model) sum(leaves []int) summary {
	p, from := append(m.scratch[0][:0], 1), 0
	q := m.scratch[1]
	empty := 1.0
	for _, l := range leaves {
		r := m.spaces[l].room
		if !r.known {
			continue
		}
		empty *= r.p[0]
		lo, hi := support(r.p)
		q = convolve(q[:0], p, r.p[lo:hi])
		p, q = q, p
		a, b := support(p)
		p, from = append(p[:0], p[a:b]...), from+lo+a
	}
	m.scratch = [2][]float64{p, q}
	s := summarise(p)
	s.count, s.low, s.high, s.mean = s.count+from, s.low+from, s.high+from, s.mean+float64(from)
	s.occupied = 1 - empty
	return s
}

// support is the range of p outside of which there is nothing to speak of.
func support(p []float64) (lo, hi int) {
	const little = 1e-9
	hi = len(p)
	for lo < hi-1 && p[lo] < little {
		lo++
	}
	for hi > lo+1 && p[hi-1] < little {
		hi--
	}
	return lo, hi
}

// convolve appends the distribution of the sum of a and b to dst, which is empty.
func convolve(dst, a, b []float64) []float64 {
	for range len(a) + len(b) - 1 {
		dst = append(dst, 0)
	}
	for i, x := range a {
		at := dst[i : i+len(b)]
		for j, y := range b {
			at[j] += x * y
		}
	}
	return dst
}
