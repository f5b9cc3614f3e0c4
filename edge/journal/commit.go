package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// Draft is one record to be. Data is JSON without a line break, and is not kept.
type Draft struct {
	Lane    edge.Lane
	Input   bool
	Type    string
	Subject string
	At      time.Time // when the fact became true; zero = the commit's time
	Data    json.RawMessage
}

// value is a record as it is stored, in buf[from:to].
type value struct {
	lane     int
	seq      uint64
	from, to int
}

// maxKeptBuffer is the size up to which the buffer of a commit is kept for the next one.
const maxKeptBuffer = 4 << 20

// NeedCheckpoint says that the next Commit is to carry a checkpoint: it begins a segment, or
// enough has been written since the newest one.
func (j *Journal) NeedCheckpoint() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.roll || j.suspect != nil || j.end.Commit == j.active().Start.Commit ||
		j.ckptBytes >= checkpointBytes || j.end.LastAt.Sub(j.ckptAt) >= checkpointAge
}

// Commit stores the drafts, in order within each lane, and the checkpoint, which is the domain
// state after this commit and may be nil, in one transaction. When it returns they are on the
// disk. at is the engine's time, to the millisecond, and never before that of the commit before.
//
// A draft that cannot be a record is refused with nothing written. Any other error wraps
// ErrFatal.
func (j *Journal) Commit(at time.Time, ds []Draft, checkpoint []byte) (commit uint64, err error) {
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.writableErr(); err != nil {
		return 0, err
	}
	at = edge.Millis(at)
	if at.Before(j.end.LastAt) {
		return 0, fmt.Errorf("commit at %v: the commit before is of %v", at, j.end.LastAt)
	}
	if err := j.rollIfDue(); err != nil {
		return 0, j.fail(err)
	}
	end, err := j.build(at, ds)
	if err != nil {
		return 0, err
	}
	if err := j.store(end, checkpoint); err != nil {
		return 0, j.fail(err)
	}
	j.publish(end)
	j.followUp(end, checkpoint != nil)
	return end.Commit, nil
}

func (j *Journal) writableErr() error {
	if j.closed {
		return ErrClosed
	}
	return j.fatal
}

// fail makes an error the journal's last.
func (j *Journal) fail(err error) error {
	j.fatal = fmt.Errorf("%w: %w", ErrFatal, err)
	return j.fatal
}

// build lays the records' bytes out in j.buf and returns where the journal then ends.
func (j *Journal) build(at time.Time, ds []Draft) (extent, error) {
	end := j.end
	end.Commit++
	end.LastAt = at
	if end.FirstAt.IsZero() {
		end.FirstAt = at
	}
	j.values = j.values[:0]
	if j.buf = j.buf[:0]; cap(j.buf) > maxKeptBuffer {
		j.buf = nil
	}
	s := j.active()
	for i := range ds {
		d := &ds[i]
		lane := laneIndex(d.Lane)
		if lane < 0 {
			return end, fmt.Errorf("draft %d: no lane %q", i, d.Lane)
		}
		h := &end.Heads[lane]
		h.Seq++
		r := edge.Record{Epoch: s.Epoch, Lane: d.Lane, Seq: h.Seq, Commit: end.Commit, Input: d.Input,
			Source: j.opts.Source, Type: d.Type, Subject: d.Subject, Time: at, At: d.At, Data: d.Data}
		from := len(j.buf)
		j.buf = r.AppendJSON(append(j.buf, 0, 0, 0, 0))
		record := j.buf[from+4:]
		if len(record) > edge.MaxRecordHard {
			return end, fmt.Errorf("draft %d (%s): %d bytes, a record has at most %d", i, d.Type, len(record), edge.MaxRecordHard)
		}
		if bytes.IndexByte(record, '\n') >= 0 {
			return end, fmt.Errorf("draft %d (%s): data has a line break", i, d.Type)
		}
		h.CRC = edge.Chain(h.CRC, record)
		binary.BigEndian.PutUint32(j.buf[from:], h.CRC)
		end.Bytes[lane] += int64(len(record))
		j.values = append(j.values, value{lane, h.Seq, from, len(j.buf)})
	}
	return end, nil
}

// store writes what build laid out.
func (j *Journal) store(end extent, checkpoint []byte) error {
	s := j.active()
	before := s.db.Stats().TxStats
	marks := j.currentMarks()
	size := int64(0)
	j.stuck = true
	err := guard(func() error {
		err := s.db.Update(func(tx *bbolt.Tx) error {
			size = tx.Size()
			if err := j.put(tx, end); err != nil {
				return err
			}
			if checkpoint != nil {
				if err := putCheckpoint(tx, end, checkpoint); err != nil {
					return err
				}
			}
			return j.putMarks(tx, marks)
		})
		j.stuck = false
		return err
	})
	if err != nil {
		return fmt.Errorf("write segment %s: %w", s.path, err)
	}
	j.saved = marks
	after := s.db.Stats().TxStats
	j.mu.Lock()
	s.size = size
	j.stats.Commits++
	j.stats.BytesWritten += after.GetPageAlloc() - before.GetPageAlloc() + pageSize // and the meta page
	j.mu.Unlock()
	return nil
}

func (j *Journal) put(tx *bbolt.Tx, end extent) error {
	var buckets [lanes]*bbolt.Bucket
	e := commitEntry{at: end.LastAt.UnixMilli()}
	for i := range buckets {
		buckets[i] = tx.Bucket(bucketLane[i])
		buckets[i].FillPercent = 1 // keys only ever go to the end
		e.last[i] = end.Heads[i].Seq
		e.n[i] = uint32(end.Heads[i].Seq - j.end.Heads[i].Seq)
		e.bytes[i] = uint64(end.Bytes[i])
	}
	var k [8]byte
	for _, v := range j.values {
		binary.BigEndian.PutUint64(k[:], v.seq)
		if err := buckets[v.lane].Put(k[:], j.buf[v.from:v.to:v.to]); err != nil {
			return err
		}
	}
	commits := tx.Bucket(bucketCommits)
	commits.FillPercent = 1
	return commits.Put(key(end.Commit), e.append(nil))
}

func (j *Journal) currentMarks() [lanes]Mark {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.marks
}

func (j *Journal) putMarks(tx *bbolt.Tx, marks [lanes]Mark) error {
	if marks == j.saved {
		return nil
	}
	b, err := seal(marks)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMarks).Put(keyOnly, b)
}

// publish shows readers what is durable now. Not earlier: bbolt lets a reader see a transaction
// before its sync, and what has been sent must not be lost by a power cut.
func (j *Journal) publish(end extent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range lanes {
		if end.Heads[i].Seq == j.end.Heads[i].Seq {
			continue
		}
		if j.oldest[i].IsZero() {
			j.oldest[i] = end.LastAt
		}
		close(j.changed[i])
		j.changed[i] = make(chan struct{})
	}
	j.ckptBytes += end.Bytes[readingsLane] - j.end.Bytes[readingsLane]
	for i := range lanes {
		j.stats.RecordBytes += end.Bytes[i] - j.end.Bytes[i]
	}
	j.end = end
}

// followUp does what a commit makes due. None of it decides whether the commit holds.
func (j *Journal) followUp(end extent, checkpointed bool) {
	if j.bad != nil { // what replaces its checkpoint is stored now
		j.setAside(j.bad, errSuspect)
		j.bad = nil
	}
	s := j.active()
	if s.size >= j.opts.SegmentSize || end.LastAt.Sub(end.FirstAt) >= j.opts.SegmentAge {
		j.roll = true
	}
	if checkpointed {
		j.ckptAt, j.ckptBytes = end.LastAt, 0
	}
	if len(j.told) > 0 {
		j.mu.Lock()
		j.holes = j.openHoles(append(slices.Clone(j.holes), j.told...))
		j.told = nil
		j.mu.Unlock()
	} else if !checkpointed || end.LastAt.Sub(j.anchored) < time.Minute {
		return
	}
	if err := j.writeAnchor(); err != nil {
		j.opts.Log.Warn("the journal's high-water mark is not recorded", "err", err)
	}
}
