package occupancy

import (
	"math"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// clustering is the share of a line's expected misses that happen near passages it does see;
// the rest happen on their own (countedFlow).
const clustering = .6

// atOnce is how many passages at once are believed at any time.
const atOnce = 20

// maxGap bounds the time since the last report over which passages may have accumulated.
const maxGap = 7 * 24 * time.Hour

// counts is what one reading says about passages: running totals or increments, -1 = nothing.
type counts struct {
	inTotal, outTotal int64
	in, out           int64 // increments
	daily             bool  // the totals restart at local midnight
}

func countsOf(r *edge.Reading) (c counts, bad edge.Kind) {
	c = counts{-1, -1, -1, -1, false}
	for _, v := range r.Values {
		if v.Kind != edge.CountIn && v.Kind != edge.CountOut || v.Type == edge.Text {
			continue
		}
		if !(v.Num >= 0 && v.Num < 1<<53) || v.Num != math.Trunc(v.Num) {
			return c, v.Kind
		}
		to := &c.in
		switch total := v.Semantics == edge.Cumulative || v.Semantics == edge.CumulativeToday; {
		case total && v.Kind == edge.CountIn:
			to = &c.inTotal
		case total:
			to = &c.outTotal
		case v.Kind == edge.CountOut:
			to = &c.out
		}
		*to = int64(v.Num)
		c.daily = c.daily || v.Semantics == edge.CumulativeToday
	}
	return c, ""
}

// observeCounts takes in what a line counter says.
func (m *Model) observeCounts(s *sensor, r *edge.Reading, t int64) {
	c, bad := countsOf(r)
	if bad != "" {
		m.fault(s, t, "not a count", "%s is not a whole number of people", bad)
		return
	}
	in, out := int64(0), int64(0)
	switch {
	case c.inTotal >= 0 || c.outTotal >= 0:
		s.counter.cum = true
		in, out = m.totals(s, &c, r, t)
	case (c.in >= 0 || c.out >= 0) && !s.counter.cum:
		in, out = m.increments(s, &c, r, t)
	default:
		m.badge(s, r, t)
		return
	}
	if s.Reversed {
		in, out = out, in
	}
	if in > 0 || out > 0 {
		m.pass(s, int(in), int(out), t)
	}
}

// badge takes in an access that was granted: one person goes through, with the miss rates of a
// badge reader, as people also go through behind one another or turn round. Denied accesses and
// those without a direction move nobody, nor do those at a door that has a line counter.
func (m *Model) badge(s *sensor, r *edge.Reading, t int64) {
	if s.Class != edge.Badge || s.covered {
		return
	}
	p, granted, ok := s.Passage(r)
	switch {
	case !ok || !granted:
	case p.Direction == edge.In:
		m.pass(s, 1, 0, t)
	case p.Direction == edge.Out:
		m.pass(s, 0, 1, t)
	}
}

// limit is the largest believable number of passages in one direction since ms ago.
func (s *sensor) limit(ms int64) int64 {
	ms = min(max(ms, 0), maxGap.Milliseconds())
	return atOnce + int64(s.params.rate*float64(ms)/1000)
}

func (m *Model) increments(s *sensor, c *counts, r *edge.Reading, t int64) (in, out int64) {
	since := s.counter.at
	if !r.From.IsZero() {
		since = millis(r.From)
	}
	s.counter.at = max(s.counter.at, t)
	in, out = max(c.in, 0), max(c.out, 0)
	if limit := s.limit(t - since); in > limit || out > limit {
		m.fault(s, t, "implausible jump", "%d in and %d out at once; not counted", in, out)
		return 0, 0
	}
	return in, out
}

// totals compares running totals with the last ones. In and out of one device step and reset
// together.
func (m *Model) totals(s *sensor, c *counts, r *edge.Reading, t int64) (in, out int64) {
	k := &s.counter
	if s.late(r, c, t) {
		return 0, 0
	}
	day := int64(0)
	if c.daily {
		day = m.localDay(t)
	}
	restart := c.daily && k.at != never && day != k.today
	limit := s.limit(t - k.at)
	if k.at == never {
		limit = 0
	}
	width := int(s.params.width)
	in, wi := judgeIf(&k.in, c.inTotal, limit, width, restart)
	out, wo := judgeIf(&k.out, c.outTotal, limit, width, restart)
	if wi == stale || wo == stale {
		if !k.confirm(c) {
			return 0, 0
		}
		in, out = 0, 0
		m.fault(s, t, "counter reset", "the totals fell to %d in and %d out and stay there; counting goes on from these", c.inTotal, c.outTotal)
	}
	if wi == reset != (wo == reset) && !restart {
		in, out = together(k, c, limit, in, out, wi, wo)
	}
	if wi == jump || wo == jump {
		m.fault(s, t, "implausible jump", "totals went from %d in, %d out to %d in, %d out since the last report; not counted", k.in.value, k.out.value, c.inTotal, c.outTotal)
		in, out = 0, 0
	}
	if (wi == reset || wo == reset) && !restart {
		m.fault(s, t, "counter reset", "totals went from %d in, %d out to %d in, %d out; counting goes on from zero", k.in.value, k.out.value, c.inTotal, c.outTotal)
	}
	k.take(c, t, day, seqOf(r))
	return in, out
}

func judgeIf(t *total, v, limit int64, width int, restart bool) (int64, verdict) {
	if v < 0 {
		return 0, normal
	}
	return t.judge(v, limit, width, restart)
}

// together settles a reset of one total when the other did not seem to fall: it began again
// as well (what looked like going round was not), so that its whole value is new, unless that
// is more than can have passed.
func together(k *counter, c *counts, limit, in, out int64, wi, wo verdict) (int64, int64) {
	if wi == reset && c.outTotal >= 0 && k.out.value > 0 {
		out = anew(c.outTotal, limit)
	}
	if wo == reset && c.inTotal >= 0 && k.in.value > 0 {
		in = anew(c.inTotal, limit)
	}
	return in, out
}

// anew is what a total that began again counts.
func anew(v, limit int64) int64 {
	if v > limit {
		return 0
	}
	return v
}

// late tells whether a report is older than the newest one: the newer total has it already.
func (s *sensor) late(r *edge.Reading, c *counts, t int64) bool {
	k := &s.counter
	if t < k.at {
		return true
	}
	seq := seqOf(r)
	if r.Timed || seq < 0 || k.seq < 0 || c.inTotal > k.in.value || c.outTotal > k.out.value {
		return false
	}
	size := int64(256)
	if k.seq >= 256 || seq >= 256 {
		size = 65536
	}
	behind := ((k.seq-seq)%size + size) % size
	return behind > 0 && behind <= 32
}

// confirm decides on totals somewhat below the last ones: they are a late report, unless
// further reports stay below and grow; then they are the new baseline.
func (k *counter) confirm(c *counts) bool {
	rising := k.suspects > 0 && c.inTotal >= k.in.low && c.outTotal >= k.out.low
	k.in.low, k.out.low = c.inTotal, c.outTotal
	if !rising {
		k.suspects = 1
		return false
	}
	k.suspects++
	return k.suspects >= 3
}

// take makes the totals of a report the last ones.
func (k *counter) take(c *counts, t, day, seq int64) {
	if c.inTotal >= 0 {
		k.in.known, k.in.value = true, c.inTotal
	}
	if c.outTotal >= 0 {
		k.out.known, k.out.value = true, c.outTotal
	}
	k.at, k.today, k.suspects = t, day, 0
	if seq >= 0 {
		k.seq = seq
	}
}

func seqOf(r *edge.Reading) int64 {
	n, err := strconv.ParseInt(r.Seq, 10, 32)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func (m *Model) localDay(t int64) int64 {
	local := timeOf(t).In(m.loc)
	return int64(local.Year())*366 + int64(local.YearDay())
}

// pass moves the two spaces of a line by a inwards and b outwards passages.
func (m *Model) pass(s *sensor, a, b int, t int64) {
	if !m.believable(s, a, b, t) {
		return
	}
	p := &s.params
	s.counter.burst[0].add(t, a)
	s.counter.burst[1].add(t, b)
	k := s.kernel(a, b, t)
	realIn, realOut := 1.0, 1.0
	if b == 0 {
		realIn = m.real(s.out, p.falseRate)
	}
	if a == 0 {
		realOut = m.real(s.in, p.falseRate)
	}
	m.move(s, s.in, k, a-b, realIn, t)
	if s.out >= 0 {
		mirrored := *k
		mirrored.mirror()
		m.move(s, s.out, &mirrored, b-a, realOut, t)
	}
}

// kernel is the distribution behind a inwards and b outwards passages at time t. Those made
// last are kept, as most passages are alike.
func (s *sensor) kernel(a, b int, t int64) *kernel {
	key := kernelKey{a, b, 0, 0}
	if a > 0 {
		key.in = s.counter.recent[0].add(t, a)
	}
	if b > 0 {
		key.out = s.counter.recent[1].add(t, b)
	}
	if s.kernels == nil {
		s.kernels = new([8]kernel)
	}
	at := &s.kernels[(a+3*b+key.in+5*key.out)%len(s.kernels)]
	if at.n == 0 || at.key != key {
		p := &s.params
		at.make(passage{
			enter: a, exit: b, falseRate: p.falseRate,
			missedEnter: missedMore(key.in, a, p.missIn, p.group), missedExit: missedMore(key.out, b, p.missOut, p.group),
		})
		at.key = key
	}
	return at
}

// missedMore is how many passages are expected to have slipped by with n counted ones, when
// before of the same group had been counted.
func missedMore(before, n int, rate, group float64) float64 {
	alone := float64(n) * rate / (1 - rate)
	return missed(float64(before+n), rate, group) - missed(float64(before), rate, group) - (1-clustering)*alone
}

// believable refuses crowds that a space cannot hold.
func (m *Model) believable(s *sensor, a, b int, t int64) bool {
	for _, at := range [2]int{s.in, s.out} {
		if at < 0 || m.spaces[at].room == nil {
			continue
		}
		net := a - b
		if at == s.out {
			net = -net
		}
		if most := max(3*m.spaces[at].Capacity, 200); net > most {
			m.fault(s, t, "implausible jump", "%d people more at once in %s; not counted", net, m.spaces[at].ID)
			return false
		}
	}
	return true
}

// real is the probability that a passage out of a space was made by somebody.
func (m *Model) real(from int, falseRate float64) float64 {
	if from < 0 || m.spaces[from].room == nil || !m.spaces[from].room.known {
		return 1
	}
	x := (1 - falseRate) * (1 - m.spaces[from].room.p[0])
	return x / (x + falseRate)
}

// impossible is the share of histories that must survive a passage; below it the filter and
// the line contradict each other.
const impossible = 1e-6

func (m *Model) move(s *sensor, at int, k *kernel, net int, real float64, t int64) {
	if at < 0 || m.spaces[at].room == nil {
		return
	}
	r := m.spaces[at].room
	if net > 0 && r.above(len(r.p)-1-net) > .02 {
		r.grow(len(r.p) - 1 + max(net, len(r.p)/2))
	}
	r.known = true
	if r.shift(k, real) < impossible {
		m.fault(s, t, "contradiction", "a change by %d is not possible in %s; its count begins anew", net, m.spaces[at].ID)
		r.prior()
		r.shift(k, 1)
	}
	m.markDirty(at)
}
