package occupancy

import "math"

// kernel is the distribution of the true net change behind what a line counted: w[i] is the
// probability of a change by from+i.
type kernel struct {
	from, n int
	w       [maxTaps]float64
	key     kernelKey
}

// kernelKey is what a line's kernel depends on: passages counted now, and in the group before.
type kernelKey struct{ a, b, in, out int }

const (
	maxTail = 20 // a Poisson tail is followed this far
	maxTaps = 2*maxTail + 2
	tail    = 1e-6 // and no further than down to this probability
)

// passage is what a line counted at once, seen from one of its two spaces.
type passage struct {
	enter, exit             int     // counted
	missedEnter, missedExit float64 // expected and not counted
	falseRate               float64
}

// make fills k: net change = enter - exit + U - V, where U are missed entries and false exits,
// V missed exits and false entries, both Poisson.
func (k *kernel) make(c passage) {
	var up, down [maxTail + 1]float64
	nu := poisson(&up, c.missedEnter+c.falseRate*float64(c.exit))
	nd := poisson(&down, c.missedExit+c.falseRate*float64(c.enter))
	k.from = c.enter - c.exit - (nd - 1)
	k.n = nu + nd - 1
	clear(k.w[:k.n+1]) // shift takes the taps in pairs
	for i := 0; i < nu; i++ {
		for j := 0; j < nd; j++ {
			k.w[i+nd-1-j] += up[i] * down[j]
		}
	}
}

// poisson fills w with the probabilities of 0, 1, … and returns how many matter. Means that are
// too large for the table keep their shape as far as it goes.
func poisson(w *[maxTail + 1]float64, mean float64) int {
	mean = math.Min(mean, maxTail/2)
	x, sum := math.Exp(-mean), 0.0
	n := 0
	for ; n <= maxTail; n++ {
		w[n] = x
		sum += x
		if 1-sum < tail {
			n++
			break
		}
		x *= mean / float64(n+1)
	}
	n = min(n, maxTail+1)
	for i := 0; i < n; i++ {
		w[i] /= sum
	}
	return n
}

// mirror turns the kernel round: the change of the space on the other side.
func (k *kernel) mirror() {
	k.from = -(k.from + k.n - 1)
	for i, j := 0, k.n-1; i < j; i, j = i+1, j-1 {
		k.w[i], k.w[j] = k.w[j], k.w[i]
	}
}
