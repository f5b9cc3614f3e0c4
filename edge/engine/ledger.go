package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// ledger counts what did not become an accepted reading, or was dropped later, by cause and
// source. It is bounded: beyond maxLoss lines further sources are counted under "others".
//
// The first loss of a line is told at once, further ones on the next tick of the grid, so that
// a flood of bad messages is no flood of events.
type ledger struct {
	lines map[lossKey]*edge.LossEntry
	dirty map[lossKey]bool // counted, but not told yet
}

type lossKey struct{ cause, source string }

const maxLoss = 2000

// add counts n losses; first tells that they begin a line.
func (l *ledger) add(cause, source, detail string, n uint64, at time.Time) (e *edge.LossEntry, first bool) {
	if l.lines == nil {
		l.restore(nil, nil)
	}
	k := lossKey{cause, source}
	e = l.lines[k]
	if e == nil && len(l.lines) >= maxLoss {
		k.source = "others"
		e = l.lines[k]
	}
	if first = e == nil; first {
		e = &edge.LossEntry{Cause: cause, Source: k.source, First: at}
		l.lines[k] = e
	} else {
		l.dirty[k] = true
	}
	e.Last, e.Count, e.Detail = at, e.Count+n, detail
	return e, first
}

// untold returns the lines that grew since they were last told, sorted, and counts them told.
func (l *ledger) untold() []edge.LossEntry {
	out := make([]edge.LossEntry, 0, len(l.dirty))
	for k := range l.dirty {
		out = append(out, *l.lines[k])
	}
	clear(l.dirty)
	sortLoss(out)
	return out
}

// entries lists the ledger, sorted by source and cause.
func (l *ledger) entries() []edge.LossEntry {
	out := make([]edge.LossEntry, 0, len(l.lines))
	for _, e := range l.lines {
		out = append(out, *e)
	}
	sortLoss(out)
	return out
}

func sortLoss(es []edge.LossEntry) {
	slices.SortFunc(es, func(a, b edge.LossEntry) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Cause, b.Cause))
	})
}

func (l *ledger) restore(es []edge.LossEntry, untold []edge.LossEntry) {
	l.lines, l.dirty = make(map[lossKey]*edge.LossEntry, len(es)), map[lossKey]bool{}
	for _, e := range es {
		l.lines[lossKey{e.Cause, e.Source}] = &e
	}
	for _, e := range untold {
		l.dirty[lossKey{e.Cause, e.Source}] = true
	}
}
