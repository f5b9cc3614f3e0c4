package occupancy

import "math"

// room is the forward filter over the head count of one space.
type room struct {
	p, q    []float64 // P(n); beyond len(p) it is 0, cap(p) bounds the range; q is scratch of the same capacity
	known   bool      // there was evidence; before it the numbers are only the prior
	version uint64    // steps with every change
}

// Bounds of the head count's range.
const (
	defaultPersons = 20   // assumed capacity of a space that has none configured
	maxPersons     = 4096 // no space is followed beyond this
)

// tiny is the least probability of any count within the range that is followed: nothing is
// impossible, and no denormal slows the arithmetic down. The range ends where it is reached.
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
	r.p = r.p[:cap(r.p)]
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
	p := r.p
	sum := mass(p)
	if !(sum > 0) || sum > math.MaxFloat64 {
		r.prior()
		return 0
	}
	inv := 1 / sum
	last := 0
	for n, x := range p {
		x *= inv
		if x <= tiny {
			x = tiny
		} else {
			last = n
		}
		p[n] = x
	}
	r.p = p[:last+1]
	return sum
}

// mass adds up p in four strands, which the processor adds at the same time.
func mass(p []float64) float64 {
	var a, b, c, d float64
	for len(p) >= 4 {
		a += p[0]
		b += p[1]
		c += p[2]
		d += p[3]
		p = p[4:]
	}
	for _, x := range p {
		a += x
	}
	return (a + b) + (c + d)
}

// widen makes the range that is followed reach n, as far as there is room.
func (r *room) widen(n int) {
	for len(r.p) <= n && len(r.p) < cap(r.p) {
		r.p = append(r.p, tiny)
	}
}

// flow is how people come and go unseen within one tick.
type flow struct {
	enter float64 // probability that somebody enters
	more  float64 // of a further person with them (geometric group)
	leave float64 // per person: probability of leaving
	empty float64 // probability that all leave at once
	calm  float64 // likelihood of "nobody was seen leaving" per tick in an occupied space; 1 = not observed
}

// step advances the filter by one tick. People leave, an empty room does not: that nobody was
// seen leaving speaks for the latter. The number of people hardly matters, as groups leave
// together.
func (r *room) step(f flow) {
	if len(r.p) < cap(r.p) {
		r.p = append(r.p, 0)
	}
	p := r.p
	last := len(p) - 1
	prev, group, sum := 0.0, 0.0, 0.0
	x, goes := p[0], 0.0 // P(n), and the probability that one of n leaves
	for n := 0; n <= last; n++ {
		if f.more > 0 {
			group = f.more*group + (1-f.more)*prev
		} else {
			group = prev
		}
		next, leaves := 0.0, f.leave*float64(n+1)
		if leaves > .5 {
			leaves = .5
		}
		if n < last {
			next = p[n+1]
		}
		y := x*(1-f.enter-goes) + f.enter*group + next*leaves
		if n > 0 {
			y *= 1 - f.empty
		}
		sum += y
		p[n] = y * f.calm
		prev, x, goes = x, next, leaves
	}
	if len(p) == cap(p) { // nobody comes in beyond the range
		p[last] += prev * f.enter * f.calm
		sum += prev * f.enter
	}
	p[0] = p[0]/f.calm + 1 - sum
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
	p := r.p
	top := k.from + k.n - 1 // largest change
	n := min(max(len(p), len(p)+top), cap(p))
	q := r.q[:n]
	clear(q)
	if real < 1 {
		for i, x := range p {
			q[i] = x * (1 - real)
		}
	}
	for i := 0; i < k.n; i += 2 {
		accumulate(q, p, k.from+i, k.w[i]*real, k.w[i+1]*real)
	}
	r.p, r.q = q, p
	return r.normalise()
}

// accumulate adds to q what p becomes when it moves by d with weight w0 and by d+1 with w1. Two
// at a time halve the traffic to q.
func accumulate(q, p []float64, d int, w0, w1 float64) {
	if d >= 0 && d < len(q) {
		q[d] += w0 * p[0]
	}
	if e := len(p) + d; e >= 0 && e < len(q) {
		q[e] += w1 * p[len(p)-1]
	}
	from, to := max(0, d+1), min(len(p)+d, len(q))
	if from >= to {
		return
	}
	x := p[from-d : to-d]
	y := p[from-d-1:][:len(x)]
	out := q[from:][:len(x)]
	for j := range out {
		out[j] += w0*x[j] + w1*y[j]
	}
}

// above is P(count > n).
func (r *room) above(n int) float64 {
	if n+1 >= len(r.p) {
		return 0
	}
	return mass(r.p[max(0, n+1):])
}

// most is the largest count that can be followed.
func (r *room) most() int { return cap(r.p) - 1 }

// grow makes place for n persons.
func (r *room) grow(n int) {
	n = min(n, maxPersons)
	if n <= r.most() {
		return
	}
	p := make([]float64, n+1)
	r.p, r.q = p[:copy(p, r.p)], make([]float64, n+1)
}

// set makes the count n, nearly certain.
func (r *room) set(n int) {
	r.p = r.p[:n+1]
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
	sum := 0.0
	for n, x := range p {
		sum += x
		s.mean += float64(n) * x
		if s.count < 0 && sum >= .5 {
			s.count = n
		}
	}
	s.low, s.high = interval(p)
	s.count = min(max(s.count, s.low), s.high)
	return s
}

// confidence is the probability that the interval of an occupancy holds.
const confidence = .9

// interval is the shortest range that has the probability confidence, of several the likeliest;
// it is narrower than that of the quantiles, which matters for so few whole numbers.
func interval(p []float64) (low, high int) {
	low, high = 0, len(p)-1
	best, sum, from := 0.0, 0.0, 0
	for to, x := range p {
		sum += x
		for sum-p[from] >= confidence {
			sum -= p[from]
			from++
		}
		if width := to - from; sum >= confidence && (width < high-low || width == high-low && sum > best) {
			low, high, best = from, to, sum
		}
	}
	return low, high
}
