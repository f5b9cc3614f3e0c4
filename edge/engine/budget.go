package engine

import "time"

// Budget spares a flash card: a token bucket of bytes that may be written. It is budgetDepth
// deep, so a burst is never slowed; when a sustained load has used it up, commits are spaced
// by budgetSpacing. Commands and other inputs never wait. A nil Budget never waits.
type Budget struct {
	perDay float64
	tokens float64
	last   time.Time // of the newest spending
}

const (
	budgetDepth   = 6 * time.Hour
	budgetSpacing = time.Second
)

// NewBudget allows bytesPerDay to be written.
func NewBudget(bytesPerDay int64) *Budget {
	perDay := float64(bytesPerDay)
	return &Budget{perDay: perDay, tokens: perDay * budgetDepth.Hours() / 24}
}

// spent takes the bytes of a commit at now out of the bucket.
func (b *Budget) spent(now time.Time, bytes int64) {
	if b == nil {
		return
	}
	if !b.last.IsZero() {
		b.tokens += b.perDay * now.Sub(b.last).Hours() / 24
	}
	b.tokens = min(b.tokens, b.perDay*budgetDepth.Hours()/24) - float64(bytes)
	b.last = now
}

// wait is how long the commit of r shall be put off so that others can join it.
func (b *Budget) wait(now time.Time, r *request) time.Duration {
	if b == nil || r.input != nil || b.tokens > 0 {
		return 0
	}
	return min(budgetSpacing, b.last.Add(budgetSpacing).Sub(now))
}
