package journal

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// Mark is up to where the cloud is known to have applied the lane. It is stored with the next
// commit; an older one after a crash only means that some records are kept longer.
func (j *Journal) Mark(l edge.Lane) Mark {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if i := laneIndex(l); i >= 0 {
		return j.marks[i]
	}
	return Mark{}
}

// Release tells the journal that the cloud has applied the lane up to m. A mark without a sequence
// changes nothing. One behind the known mark says that the cloud has gone back: Mark stays, but
// what is still kept after m is not deleted before the cloud has it again. A mark that does not
// lie on this journal's chain is ErrConflict: the cloud has applied records under our ids that are not ours
// (a clone, a restored store); the engine then calls NewEpoch.
func (j *Journal) Release(l edge.Lane, m Mark) error {
	lane := laneIndex(l)
	if lane < 0 {
		return fmt.Errorf("release: no lane %q", l)
	}
	if m.Seq == 0 {
		return nil
	}
	for {
		s, cut, err := j.place(lane, m)
		if err != nil {
			return err
		}
		if s != nil {
			var crc uint32
			err := j.view(s, func(tx *bbolt.Tx) (err error) {
				crc, err = chainAt(tx, s, lane, m.Seq)
				return err
			})
			if err != nil && j.retry(s, err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("release %s %d: %w", l, m.Seq, err)
			}
			if crc != m.CRC {
				return conflict(l, m, fmt.Sprintf("its CRC is %08x here", crc))
			}
		}
		j.advance(lane, cut)
		return nil
	}
}

func conflict(l edge.Lane, m Mark, why string) error {
	return fmt.Errorf("%w: %s %d of epoch %s with CRC %08x: %s", ErrConflict, l, m.Seq, m.Epoch, m.CRC, why)
}

// place checks a mark against what is known without reading. It returns the segment whose record
// is to be compared, nil when that is not needed or not possible, and the mark cut to where the
// epoch ends here.
func (j *Journal) place(lane int, m Mark) (s *segment, cut Mark, err error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	pos, l := j.order(m.Epoch), edge.Lanes[lane]
	if pos < 0 {
		return nil, m, conflict(l, m, "the epoch is not of this journal")
	}
	head := j.end.Heads[lane]
	if ends := j.active().Ends; pos < len(ends) {
		if head = ends[pos].Heads[lane]; m.Seq > head.Seq { // of an epoch whose end was lost here
			return nil, Mark{m.Epoch, head.Seq, head.CRC}, nil
		}
	}
	switch {
	case m.Seq > head.Seq:
		return nil, m, conflict(l, m, fmt.Sprintf("only %d were written here", head.Seq))
	case m.Seq == head.Seq && m.CRC != head.CRC:
		return nil, m, conflict(l, m, fmt.Sprintf("its CRC is %08x here", head.CRC))
	case m.Seq == head.Seq:
		return nil, m, nil
	}
	for i, s := range j.segs {
		if s.Epoch == m.Epoch && s.has(lane) && m.Seq > s.Start.Heads[lane].Seq && m.Seq <= endOf(j.segs, i, j.end).Heads[lane].Seq {
			return s, m, nil
		}
	}
	return nil, m, nil
}

// chainAt is the stored CRC of a record, which the records around it prove.
func chainAt(tx *bbolt.Tx, s *segment, lane int, seq uint64) (uint32, error) {
	if _, _, err := readRange(tx, s, lane, seq, seq, 0); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(tx.Bucket(bucketLane[lane]).Get(key(seq))), nil
}

// advance moves the lane's mark on to m, if that is on.
func (j *Journal) advance(lane int, m Mark) {
	j.mu.Lock()
	pos, old := j.order(m.Epoch), j.marks[lane]
	at := j.order(old.Epoch)
	if j.again[lane] = (Mark{}); pos < at || (pos == at && m.Seq <= old.Seq) {
		if m != old {
			j.again[lane] = m
		}
		j.mu.Unlock()
		return
	}
	if pos > at { // the cloud went on without the end of an older epoch
		for _, l := range j.unsent(lane, "skipped") {
			if j.order(l.Epoch) < pos {
				j.pending = append(j.pending, l)
			}
		}
	}
	j.marks[lane] = m
	j.mu.Unlock()
	j.findOldest(lane, m)
}

// unsent returns the kept ranges of the lane after its mark that can still be sent.
func (j *Journal) unsent(lane int, cause string) []Lost {
	var out []Lost
	for i := range j.segs {
		from, to := j.unsentOf(i, lane)
		if from >= to {
			continue
		}
		epoch := j.segs[i].Epoch
		if n := len(out); n > 0 && out[n-1].Epoch == epoch && out[n-1].To == from {
			out[n-1] = lost(epoch, lane, out[n-1].From-1, to, cause)
			continue
		}
		out = append(out, lost(epoch, lane, from, to, cause))
	}
	return out
}

// unsentOf is the range (from, to] of segment i that its lane's mark has not passed; empty when
// from >= to.
func (j *Journal) unsentOf(i, lane int) (from, to uint64) { return j.after(i, lane, j.marks[lane]) }

// after is the range (from, to] of segment i that lies after a mark and can be sent.
func (j *Journal) after(i, lane int, m Mark) (from, to uint64) {
	s := j.segs[i]
	pos, at := j.order(s.Epoch), j.order(m.Epoch)
	if pos < at || !s.has(lane) {
		return 0, 0
	}
	from = s.Start.Heads[lane].Seq
	if pos == at {
		from = max(from, m.Seq)
	}
	return from, j.sendable(s.Epoch, lane, endOf(j.segs, i, j.end).Heads[lane].Seq)
}

// findOldest settles the time of the oldest record after the lane's mark, which is m.
func (j *Journal) findOldest(lane int, m Mark) {
	for {
		s, seq, _ := j.locate(lane, m)
		j.mu.Lock()
		if j.marks[lane] != m {
			j.mu.Unlock()
			return
		}
		if s == nil {
			if len(j.unsent(lane, "")) > 0 { // a commit came between
				j.mu.Unlock()
				continue
			}
			j.oldest[lane] = time.Time{}
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		at, err := j.timeOf(s, lane, seq)
		if err != nil && j.retry(s, err) {
			continue
		}
		j.mu.Lock()
		if err == nil && j.marks[lane] == m {
			j.oldest[lane] = at
		}
		j.mu.Unlock()
		return
	}
}

func (j *Journal) timeOf(s *segment, lane int, seq uint64) (time.Time, error) {
	var records [][]byte
	err := j.view(s, func(tx *bbolt.Tx) (err error) {
		records, _, err = readRange(tx, s, lane, seq, seq, 0)
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	r, err := edge.ParseRecord(records[0])
	return r.Time, err
}
