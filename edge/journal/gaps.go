package journal

import (
	"slices"

	"github.com/headcount-hub/headcount/edge"
)

// tail is what is lost at the end of the newest epoch that is over.
func (f *found) tail(ends []epochEnd) (out []Lost) {
	if len(ends) == 0 {
		return nil
	}
	last, cause := ends[len(ends)-1], "damaged"
	if f.anchor != nil && !f.anchor.Restored.IsZero() {
		cause = "restored"
	}
	for lane := range lanes {
		after, claim := last.Heads[lane].Seq, f.claims[last.Epoch][lane]
		if a := f.anchor; a != nil {
			if a.Epoch == last.Epoch {
				claim = max(claim, a.Heads[lane].Seq)
			}
			if a.Marks[lane].Epoch == last.Epoch {
				after = max(after, a.Marks[lane].Seq)
			}
		}
		if claim > after {
			out = append(out, lost(last.Epoch, lane, after, claim, cause))
			continue
		}
		out = append(out, Lost{Epoch: last.Epoch, Lane: edge.Lanes[lane], From: after + 1, Cause: cause})
	}
	return out
}

// gaps are the ranges after the marks that are not kept and were not declared.
func (j *Journal) gaps() (out []Lost) {
	active := j.active()
	for lane := range lanes {
		m := j.marks[lane]
		for pos := max(0, j.order(m.Epoch)); pos <= len(active.Ends); pos++ {
			epoch, to := active.Epoch, j.end.Heads[lane].Seq
			if pos < len(active.Ends) {
				epoch, to = active.Ends[pos].Epoch, active.Ends[pos].Heads[lane].Seq
			}
			at := uint64(0)
			if epoch == m.Epoch {
				at = m.Seq
			}
			for i, s := range j.segs {
				if s.Epoch != epoch || !s.has(lane) {
					continue
				}
				if start := min(s.Start.Heads[lane].Seq, to); start > at {
					out = append(out, j.undeclared(epoch, lane, at, start)...)
				}
				at = max(at, endOf(j.segs, i, j.end).Heads[lane].Seq)
			}
			if at < to {
				out = append(out, j.undeclared(epoch, lane, at, to)...)
			}
		}
	}
	return out
}

// undeclared is (after, to] without the holes that are known.
func (j *Journal) undeclared(epoch string, lane int, after, to uint64) (out []Lost) {
	known := slices.DeleteFunc(slices.Clone(j.holes), func(h Lost) bool { return h.Epoch != epoch || h.Lane != edge.Lanes[lane] })
	slices.SortFunc(known, func(a, b Lost) int { return int(int64(a.From) - int64(b.From)) })
	for _, h := range known {
		if h.From > after+1 && h.From <= to {
			out = append(out, lost(epoch, lane, after, h.From-1, "missing"))
		}
		after = max(after, min(h.To, to))
	}
	if after < to {
		out = append(out, lost(epoch, lane, after, to, "missing"))
	}
	return out
}
