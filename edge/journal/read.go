package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// Span is a run of consecutive records of one lane and epoch.
type Span struct {
	Epoch   string
	Lane    edge.Lane
	First   uint64   // sequence of Records[0]
	CRC     uint32   // chained CRC of the record before First, 0 at the start of an epoch
	Lost    uint64   // records directly before First that are not kept
	Records [][]byte // the caller's own
}

// Read returns the records after the cloud's mark, for the uplink: at most maxBytes of them with
// a byte between each two, but at least one. It is empty when there is nothing newer; then wait
// for Changed.
//
// An epoch that is over is read to its end, then the next one from its start, so Span.Epoch may
// be another one than after.Epoch. When after's epoch is not known here, the hub's own mark
// counts. Records after the mark that are no longer kept are counted in Lost.
func (j *Journal) Read(l edge.Lane, after Mark, maxBytes int) (Span, error) {
	lane := laneIndex(l)
	if lane < 0 {
		return Span{}, fmt.Errorf("read: no lane %q", l)
	}
	for {
		s, from, to := j.locate(lane, after)
		if s == nil {
			return Span{}, nil
		}
		span := Span{Epoch: s.Epoch, Lane: l, First: from}
		if s.Epoch == after.Epoch {
			span.Lost = from - 1 - after.Seq
		} else {
			span.Lost = from - 1
		}
		err := j.view(s, func(tx *bbolt.Tx) (err error) {
			span.Records, span.CRC, err = readRange(tx, s, lane, from, to, maxBytes)
			return err
		})
		if err == nil {
			return span, nil
		}
		if !j.retry(s, err) {
			return Span{}, fmt.Errorf("read %s from %d: %w", l, from, err)
		}
	}
}

// Records returns up to limit records of the lane in the present epoch, from the one after a
// sequence on, or from the oldest kept when that is gone.
func (j *Journal) Records(l edge.Lane, after uint64, limit int) (out []edge.Record, err error) {
	for epoch := j.Epoch(); len(out) < limit; {
		span, err := j.Read(l, Mark{Epoch: epoch, Seq: after}, chunkBytes)
		if err != nil || span.Epoch != epoch || len(span.Records) == 0 {
			return out, err
		}
		for _, b := range span.Records[:min(len(span.Records), limit-len(out))] {
			r, err := edge.ParseRecord(b)
			if err != nil {
				return out, err
			}
			out = append(out, r)
		}
		after = span.First + uint64(len(span.Records)) - 1
	}
	return out, nil
}

// locate finds the segment that holds the next records to send after a mark, and their range in
// it. It returns nil when there are none.
func (j *Journal) locate(lane int, after Mark) (s *segment, from, to uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	pos := j.order(after.Epoch)
	if pos < 0 {
		after = j.marks[lane]
		pos = j.order(after.Epoch)
	}
	for i, s := range j.segs {
		at := j.order(s.Epoch)
		if at < pos || !s.has(lane) {
			continue
		}
		from = s.Start.Heads[lane].Seq
		if at == pos {
			from = max(from, after.Seq)
		}
		to = j.sendable(s.Epoch, lane, endOf(j.segs, i, j.end).Heads[lane].Seq)
		if from < to {
			return s, from + 1, to
		}
	}
	return nil, 0, 0
}

// order is an epoch's place in time: an index in the epochs that are over, or their number for
// the present one. It is -1 for one that is not known.
func (j *Journal) order(epoch string) int {
	s := j.active()
	if epoch == s.Epoch {
		return len(s.Ends)
	}
	for i := len(s.Ends) - 1; i >= 0; i-- {
		if s.Ends[i].Epoch == epoch {
			return i
		}
	}
	return -1
}

// sendable bounds a sequence by what of the epoch can be sent.
func (j *Journal) sendable(epoch string, lane int, seq uint64) uint64 {
	s := j.active()
	if i := j.order(epoch); i >= 0 && i < len(s.Ends) {
		return min(seq, s.Ends[i].Heads[lane].Seq)
	}
	return seq
}

// retry decides what a failed read of a segment means. True: look again, the segment has left.
func (j *Journal) retry(s *segment, err error) bool {
	if errors.Is(err, errMoved) {
		return true
	}
	if !errors.Is(err, ErrDamaged) {
		return false
	}
	return j.setAside(s, err)
}

// readRange copies the records from..to of the lane out, at most maxBytes but at least one, and
// returns the CRC before the first. Each is checked against the one before.
func readRange(tx *bbolt.Tx, s *segment, lane int, from, to uint64, maxBytes int) (records [][]byte, before uint32, err error) {
	b := tx.Bucket(bucketLane[lane])
	if b == nil {
		return nil, 0, damaged("bucket %s is missing", bucketLane[lane])
	}
	start := s.Start.Heads[lane]
	c := b.Cursor()
	var k, v []byte
	if from == start.Seq+1 {
		before = start.CRC
		k, v = c.Seek(key(from))
	} else {
		k, v = c.Seek(key(from - 1))
		if len(k) != 8 || binary.BigEndian.Uint64(k) != from-1 || len(v) < 4 {
			return nil, 0, damaged("record %d is missing", from-1)
		}
		before = binary.BigEndian.Uint32(v)
		k, v = c.Next()
	}
	prev, buf, ends := before, []byte(nil), []int(nil)
	for seq := from; seq <= to; seq++ {
		if len(k) != 8 || binary.BigEndian.Uint64(k) != seq {
			return nil, 0, damaged("record %d is missing", seq)
		}
		record, crc, err := recordValue(v, prev)
		if err != nil {
			return nil, 0, fmt.Errorf("record %d: %w", seq, err)
		}
		if len(ends) > 0 && len(buf)+len(record)+len(ends) > maxBytes {
			break
		}
		buf, prev = append(buf, record...), crc
		ends = append(ends, len(buf))
		k, v = c.Next()
	}
	at := 0
	records = make([][]byte, len(ends))
	for i, end := range ends {
		records[i], at = buf[at:end:end], end
	}
	return records, before, nil
}
