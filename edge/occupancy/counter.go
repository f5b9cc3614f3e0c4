package occupancy

import "math"

// groupWindow is the time within which passages in one direction count as one group, and
// groupBins its resolution.
const (
	groupBins   = 10
	groupWindow = groupBins * tickMillis
)

// counter follows the running totals of one line counter.
type counter struct {
	in, out  total
	at       int64     // event time of the newest report, ms; never before the first
	today    int64     // local day of at, for totals that restart at midnight
	seq      int64     // newest sequence number, -1 none
	cum      bool      // it sends running totals, so its deltas are not needed
	recent   [2]window // passages inwards and outwards
	burst    [2]burst
	suspects int // reports below the total, in a row
}

// total is one running total; known is false before the baseline.
type total struct {
	known bool
	value int64
	low   int64 // a lower value that may be a late report or a new baseline; -1 none
}

// window counts passages of the last groupWindow.
type window struct {
	bin   int64 // number of the newest bin since 1970
	count [groupBins]uint16
}

// add counts n passages at time t and returns how many were in the window before.
func (w *window) add(t int64, n int) int {
	bin := t / tickMillis
	if bin-groupBins >= w.bin {
		w.count = [groupBins]uint16{}
		w.bin = bin
	}
	for w.bin < bin {
		w.bin++
		*w.at(w.bin) = 0
	}
	sum := 0
	for _, c := range w.count {
		sum += int(c)
	}
	newest := w.at(w.bin)
	*newest = uint16(min(int(*newest)+n, math.MaxUint16))
	return sum
}

// at is the count of a bin.
func (w *window) at(bin int64) *uint16 {
	return &w.count[(bin%groupBins+groupBins)%groupBins]
}

// verdict is what a new value of a running total means.
type verdict uint8

const (
	normal   verdict = iota // delta counts
	baseline                // the first value
	rolled                  // the total went round; delta counts
	reset                   // it began again; delta counts what came since
	stale                   // an older value that arrived late; ignored
	jump                    // more people than can have passed; not counted
)

// judge compares a new value with the total. limit is the largest believable number of
// passages since the last report.
func (t *total) judge(v, limit int64, width int, restart bool) (delta int64, what verdict) {
	switch {
	case !t.known:
		return 0, baseline
	case restart:
		return v, plausible(v, limit, reset)
	case v >= t.value:
		return v - t.value, plausible(v-t.value, limit, normal)
	}
	if size := rollover(t.value, v, width); size > 0 && size-t.value+v <= limit {
		return size - t.value + v, rolled
	}
	if t.value >= 20 && v > t.value/2 {
		return 0, stale
	}
	if v <= limit {
		return v, reset
	}
	return 0, reset
}

func plausible(delta, limit int64, what verdict) verdict {
	if delta > limit {
		return jump
	}
	return what
}

// rollover is the size of the counter if it can have gone round from last to v, else 0.
func rollover(last, v int64, width int) int64 {
	if width > 0 {
		size := int64(1) << min(width, 62)
		if near(last, v, size) {
			return size
		}
		return 0
	}
	for _, bits := range [...]int{16, 32, 24} {
		if size := int64(1) << bits; near(last, v, size) {
			return size
		}
	}
	return 0
}

// near tells whether last lies just below size and v just above zero.
func near(last, v, size int64) bool {
	return last < size && last > size-size/10 && v < size/10
}

// burst is a run of passages in one direction without a pause.
type burst struct {
	n    int   // passages counted in it; 0 when there is none or it was taken
	last int64 // time of the newest
}

// burstPause is the time without a passage that ends a burst, ms.
const burstPause = 120_000

func (b *burst) add(t int64, n int) {
	if n == 0 {
		return
	}
	if t-b.last > burstPause {
		b.n = 0
	}
	b.n, b.last = b.n+n, t
}

// take returns the passages of a burst that has ended by now, once.
func (b *burst) take(now int64) int {
	if b.n == 0 || now-b.last < burstPause {
		return 0
	}
	n := b.n
	b.n = 0
	return n
}
