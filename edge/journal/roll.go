package journal

import (
	"slices"
	"time"
)

// openHoles drops the holes that the marks have passed, and joins neighbours.
func (j *Journal) openHoles(holes []Lost) (out []Lost) {
	for _, h := range holes {
		m := j.marks[laneIndex(h.Lane)]
		if pos, at := j.order(h.Epoch), j.order(m.Epoch); pos < at || (pos == at && h.To <= m.Seq) {
			continue
		}
		i := slices.IndexFunc(out, func(o Lost) bool { return o.Epoch == h.Epoch && o.Lane == h.Lane && o.To+1 == h.From })
		if i >= 0 && h.To > 0 {
			out[i].To, out[i].Count = h.To, out[i].Count+h.Count
			continue
		}
		out = append(out, h)
	}
	return out
}

// rollIfDue begins a new segment of the same epoch.
func (j *Journal) rollIfDue() error {
	j.mu.RLock()
	bad := j.suspect
	j.mu.RUnlock()
	if !j.roll && bad == nil {
		return nil
	}
	old := j.active()
	h := header{Format: format, Number: old.Number + 1, Source: j.opts.Source, Epoch: old.Epoch, Start: j.end, Ends: old.Ends}
	h.Start.FirstAt, h.Start.Bytes = time.Time{}, [lanes]int64{}
	if err := j.begin(h); err != nil {
		return err
	}
	if bad != nil {
		j.bad = old
	}
	return nil
}

// begin seals the segment being written and goes on in a new one.
func (j *Journal) begin(h header) error {
	s, err := createSegment(j.opts.Dir, h)
	if err != nil {
		return err
	}
	if err := j.openActive(s); err != nil {
		return err
	}
	j.mu.Lock()
	var old *segment
	if len(j.segs) > 0 {
		old = j.active()
		old.end = j.end
	}
	j.segs = append(j.segs[:len(j.segs):len(j.segs)], s)
	j.end, j.suspect = s.end, nil
	j.mu.Unlock()
	j.roll, j.saved = false, [lanes]Mark{}
	if old != nil {
		old.writable = false
		if err := old.close(false); err != nil {
			return err
		}
		j.mu.Lock()
		old.size = fileSize(old.path)
		j.mu.Unlock()
	}
	return j.writeAnchor()
}

func (j *Journal) openActive(s *segment) (err error) {
	size := int(min(j.opts.SegmentSize, 1<<30))
	s.db, err = openDB(s.path, true, size+size/8, min(max(size/16, pageSize*16), growStep))
	s.writable = err == nil
	return err
}
