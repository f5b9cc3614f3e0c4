package engine

import "github.com/headcount-hub/headcount/edge"

// traced notes, before the write, the traces of a batch and where the lanes stand.
func (e *Engine) traced(batch []*request) (t Traced) {
	if e.opts.Traced == nil {
		return t
	}
	for _, r := range batch {
		if r.trace != "" {
			t.Traces = append(t.Traces, r.trace)
		}
	}
	t.Epoch = e.j.Epoch()
	t.Events.First, t.Readings.First = e.j.Head(edge.Events).Seq+1, e.j.Head(edge.Readings).Seq+1
	return t
}

// tellTraced tells what was written since.
func (e *Engine) tellTraced(t Traced) {
	if e.opts.Traced == nil {
		return
	}
	t.Events.Last, t.Readings.Last = e.j.Head(edge.Events).Seq, e.j.Head(edge.Readings).Seq
	if len(t.Traces) > 0 || t.Events.First <= t.Events.Last {
		e.opts.Traced(t)
	}
}
