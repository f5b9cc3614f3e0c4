package occupancy

import "math"

// room is the forward filter over the head count of one space.
type room struct {
	p, q    []float64 // P(n), n = 0..len-1; q is scratch of the same length
	known   bool      // there was evidence; before it the numbers are only the prior
	version uint64    // steps with every change
}

// Bounds of the head count's range.
const (
	defaultPersons = 20   // assumed capacity of a space that has none configured
	maxPersons     = 4096 // no space is followed beyond this
)

// tiny is the least probability of any count: nothing is impossible, and no denormal slows the
// arithmetic down.
const tiny = 1e-12

// The prior of a space that nothing is known of: empty with priorEmpty, else a geometric
// number of people.
const (
	priorEmpty = .6
	priorMore  = .7 // P(at least n+1 | at least n)
)

// newRoom makes the filter of a space for capacity persons, with head room, since a room may
// hold more people than it should.
func newRoom(capacity int) *room {
	if capacity <= 0 {
		capacity = defaultPersons
	}
	n := min(capacity+max(4, capacity/4), maxPersons)
	r := &room{p: make([]float64, n+1), q: make([]float64, n+1)}
	r.prior()
	return r
}

func (r *room) prior() {
	r.p[0] = priorEmpty
	x := (1 - priorEmpty) * (1 - priorMore)
	for n := 1; n < len(r.p); n++ {
		r.p[n] = x
		x *= priorMore
	}
	r.normalise()
}

// normalise makes the probabilities add up to 1 and returns what they added up to.
func (r *room) normalise() float64 {
	r.version++
	sum := 0.0
	for _, x := range r.p {
		sum += x
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		r.prior()
		return 0
	}
	inv := 1 / sum
	for n, x := range r.p {
		x *= inv
		if x < tiny {
			x = tiny
		}
		r.p[n] = x
	}
	return sum
}

// flow is how people come and go unseen within one tick.
type flow struct {
	enter float64 // probability that somebody enters
	more  float64 // of a further person with them (geometric group)
	leave float64 // per person: probability of leaving
	empty float64 // probability that all leave at once
	calm  float64 // weight of "nobody was seen leaving" per tick; 0 = not observed
}

// step advances the filter by one tick.
func (r *room) step(f flow) {
	p := r.p
	last := len(p) - 1
	prev, group, sum := 0.0, 0.0, 0.0
	for n := 0; n <= last; n++ {
		x := p[n]
		group = f.more*group + (1-f.more)*prev // P of what enters to make n
		stay := 1 - f.enter - math.Min(.5, f.leave*float64(n))
		if n == last {
			stay += f.enter
		}
		y := x*stay + f.enter*group
		if n < last {
			y += p[n+1] * math.Min(.5, f.leave*float64(n+1))
		}
		if n > 0 {
			y *= (1 - f.empty)
		}
		p[n] = y
		sum += y
		prev = x
	}
	p[0] += 1 - sum
	if f.calm > 0 {
		r.calm(f.calm)
	}
}

// calm weighs the evidence that nobody was seen leaving: people leave, an empty room does
// not. The number of people hardly matters, as groups leave together.
func (r *room) calm(w float64) {
	f := math.Exp(-w)
	for n := 1; n < len(r.p); n++ {
		r.p[n] *= f
	}
}

// tilt weighs that few are left: each further person is half as likely as the one before, where
// weight is the odds of that against no such knowledge.
func (r *room) tilt(weight float64) {
	for n := 0; n < len(r.p) && weight > 1e-3; n++ {
		r.p[n] *= 1 + weight
		weight /= 2
	}
	r.normalise()
}

// classes is how many head counts a presence sensor can tell apart: none, 1, 2, 3 or more.
const classes = 4

// weigh multiplies the likelihood of an observation onto the filter, without normalising.
func (r *room) weigh(l [classes]float64) {
	p := r.p
	for n := 0; n < classes-1 && n < len(p); n++ {
		p[n] *= l[n]
	}
	for n := classes - 1; n < len(p); n++ {
		p[n] *= l[classes-1]
	}
}

// shift moves the filter by a kernel: with probability k.w[i] the count changes by k.from+i.
// Mass that falls below 0 or above the range is dropped: an impossible history is evidence.
// real is the probability that the passage happened at all; otherwise the count stays. It
// returns the mass that was left.
func (r *room) shift(k *kernel, real float64) float64 {
	p, q := r.p, r.q
	for n := range q {
		q[n] = p[n] * (1 - real)
	}
	for i := 0; i < k.n; i++ {
		w, d := k.w[i]*real, k.from+i
		from, to := max(0, -d), min(len(p), len(p)-d)
		if from >= to {
			continue
		}
		src := p[from:to]
		dst := q[from+d : to+d]
		for j, x := range src {
			dst[j] += w * x
		}
	}
	r.p, r.q = q, p
	return r.normalise()
}

// above is P(count > n).
func (r *room) above(n int) float64 {
	sum := 0.0
	for i := len(r.p) - 1; i > n && i >= 0; i-- {
		sum += r.p[i]
	}
	return sum
}

// grow makes place for n persons.
func (r *room) grow(n int) {
	n = min(n, maxPersons)
	if n < len(r.p) {
		return
	}
	p := make([]float64, n+1)
	copy(p, r.p)
	for i := len(r.p); i <= n; i++ {
		p[i] = tiny
	}
	r.p, r.q = p, make([]float64, n+1)
}

// set makes the count n, nearly certain.
func (r *room) set(n int) {
	for i := range r.p {
		r.p[i] = tiny
	}
	r.p[n] = 1
	r.known = true
	r.normalise()
}

// summary is what the filter says in few numbers.
type summary struct {
	count, low, high int // median and 90 % interval
	mean, occupied   float64
}

func (r *room) summary() summary { return summarise(r.p) }

func summarise(p []float64) summary {
	s := summary{count: -1, occupied: 1 - p[0]}
	sum, mode := 0.0, 0
	for n, x := range p {
		sum += x
		s.mean += float64(n) * x
		if s.count < 0 && sum >= .5 {
			s.count = n
		}
		if x > p[mode] {
			mode = n
		}
	}
	s.low, s.high = interval(p, mode)
	s.count = min(max(s.count, s.low), s.high)
	return s
}

// confidence is the probability that the interval of an occupancy holds.
const confidence = .9

// interval is the shortest range around the mode that has the probability confidence; it is
// narrower than that of the quantiles, which matters for so few whole numbers.
func interval(p []float64, mode int) (low, high int) {
	low, high = mode, mode
	for sum := p[mode]; sum < confidence && (low > 0 || high < len(p)-1); {
		below, above := -1.0, -1.0
		if low > 0 {
			below = p[low-1]
		}
		if high < len(p)-1 {
			above = p[high+1]
		}
		if below > above {
			low--
			sum += below
		} else {
			high++
			sum += above
		}
	}
	return low, high
}
