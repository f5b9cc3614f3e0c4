package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// Trim deletes what may go by engine time now: segments whose records the cloud has confirmed and
// that are older than History. When more than MaxSize is used, confirmed ones go at any age, then
// the oldest readings that are not confirmed. Events that are not confirmed never go: their
// segment is written anew without its readings.
//
// It returns what was lost since the last call, also by damage that readers met. The caller
// stores it with the next commit; if it does not come to that, Open returns it again.
func (j *Journal) Trim(now time.Time) ([]Lost, error) {
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.writableErr(); err != nil {
		return nil, err
	}
	var err error
	if j.end.Commit > j.active().Start.Commit { // else the state is rebuilt from older segments
		err = j.trim(now)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := j.pending
	j.pending = nil
	j.told = append(j.told, lost...)
	return lost, err
}

func (j *Journal) trim(now time.Time) error {
	segs, _ := j.snapshot()
	anchored := false
	drop := func(s *segment) error {
		if !anchored { // so that what is gone is known to be confirmed
			if err := j.writeAnchor(); err != nil {
				j.opts.Log.Warn("trim without recording the marks", "err", err) // the disk may be full
			}
			anchored = true
		}
		return j.remove(s)
	}
	for _, s := range segs[:len(segs)-1] {
		if j.released(s) && now.Sub(s.end.LastAt) >= j.opts.History {
			if err := drop(s); err != nil {
				return err
			}
		}
	}
	for _, sacrifice := range []func(*segment) (bool, error){
		func(s *segment) (bool, error) { return j.released(s), nil },
		j.dropReadings,
	} {
		segs, _ := j.snapshot()
		for _, s := range segs[:len(segs)-1] {
			if j.opts.MaxSize <= 0 || j.size() <= j.opts.MaxSize {
				return nil
			}
			whole, err := sacrifice(s)
			if err == nil && whole {
				err = drop(s)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// size is the bytes of all segments.
func (j *Journal) size() (n int64) {
	segs, _ := j.snapshot()
	for _, s := range segs {
		n += s.size
	}
	return n
}

// released says whether nothing of a sealed segment is left to send, or to send again.
func (j *Journal) released(s *segment) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for i := range j.segs {
		for lane := range lanes {
			if j.segs[i] != s {
				continue
			}
			if from, to := j.after(i, lane, j.marks[lane]); from < to {
				return false
			}
			if from, to := j.after(i, lane, j.again[lane]); from < to && j.again[lane].Epoch != "" {
				return false
			}
		}
	}
	return true
}

// remove deletes a sealed segment. What of it was not confirmed is counted as lost.
func (j *Journal) remove(s *segment) error {
	if !j.take(s, nil, "quota") {
		return nil
	}
	err := s.close(true)
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	return errors.Join(err, syncDir(j.opts.Dir))
}

// take removes a sealed segment from the list, or puts another in its place, and counts what
// cannot be sent any more as lost. It is false when the segment is not there.
func (j *Journal) take(s, by *segment, cause string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.segs {
		if j.segs[i] != s || s == j.active() {
			continue
		}
		for lane := range lanes {
			if from, to := j.unsentOf(i, lane); from < to && (by == nil || !by.has(lane)) {
				j.pending = append(j.pending, lost(s.Epoch, lane, from, to, cause))
			}
		}
		return j.replaceSegment(s, by)
	}
	return false
}

// dropReadings writes a sealed segment anew without its readings. whole says that nothing else
// was in it, so that it may go altogether.
func (j *Journal) dropReadings(s *segment) (whole bool, err error) {
	if s.Slim != nil {
		return false, nil
	}
	if s.end.Heads[0].Seq == s.Start.Heads[0].Seq {
		return true, nil
	}
	by := &segment{header: s.header, path: s.path, end: s.end, marks: s.marks}
	by.end.Bytes[readingsLane] = 0
	by.Slim = &by.end
	temp := s.path + tempSuffix
	err = buildSegment(temp, by.header, func(db *bbolt.DB) error { return j.copyEvents(s, db) })
	if err != nil {
		_ = os.Remove(temp)
		if j.retry(s, err) {
			return false, nil
		}
		return false, fmt.Errorf("drop readings of %s: %w", s.path, err)
	}
	by.size = fileSize(temp)
	if !j.take(s, by, "quota") {
		return false, os.Remove(temp)
	}
	err = s.close(true)
	if err := os.Rename(temp, s.path); err != nil {
		return false, fmt.Errorf("drop readings: %w", err)
	}
	return false, errors.Join(err, syncDir(filepath.Dir(s.path)))
}

// copyEvents copies the events and the index of a segment, checked, in small transactions.
func (j *Journal) copyEvents(s *segment, db *bbolt.DB) error {
	for next := s.Start.Commit + 1; next <= s.end.Commit; {
		var chunk []rawCommit
		var entries [][]byte
		err := j.view(s, func(tx *bbolt.Tx) (err error) {
			chunk, err = readCommits(tx, s, next, s.end, time.Time{}, 0)
			for _, c := range chunk {
				entries = append(entries, append([]byte(nil), tx.Bucket(bucketCommits).Get(key(c.number))...))
			}
			return err
		})
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error { return putEvents(tx, s, chunk, entries) })
		if err != nil {
			return err
		}
		next = chunk[len(chunk)-1].number + 1
	}
	return nil
}

// putEvents appends a run of commits with their events.
func putEvents(tx *bbolt.Tx, s *segment, chunk []rawCommit, entries [][]byte) error {
	head, err := lastRecord(tx, 0, s.Start.Heads[0])
	if err != nil {
		return err
	}
	events, commits := tx.Bucket(bucketLane[0]), tx.Bucket(bucketCommits)
	events.FillPercent, commits.FillPercent = 1, 1
	for i, c := range chunk {
		if err := commits.Put(key(c.number), entries[i]); err != nil {
			return err
		}
		for _, r := range c.records[0] {
			head = Head{head.Seq + 1, edge.Chain(head.CRC, r)}
			if err := events.Put(key(head.Seq), append(binary.BigEndian.AppendUint32(nil, head.CRC), r...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAside takes a segment that was found damaged out of use. The one being written is sealed
// first, which the next commit does. It is true when readers are to look again.
//
// Salvage of the intact records of such a file, in a process of its own with limits of time and
// memory, belongs here.
func (j *Journal) setAside(s *segment, cause error) bool {
	j.mu.Lock()
	if s == j.active() {
		if j.suspect == nil {
			j.opts.Log.Error("the segment being written is damaged; the next commit leaves it", "segment", s.path, "err", cause)
			j.suspect = cause
		}
		j.mu.Unlock()
		return false
	}
	j.mu.Unlock()
	if !j.take(s, nil, "damaged") {
		return true
	}
	err := s.close(true)
	if j.opts.ReadOnly {
		return true
	}
	to, qerr := quarantine(j.opts.Dir, filepath.Base(s.path))
	j.opts.Log.Error("a damaged segment is set aside", "segment", s.path, "to", to, "cause", cause, "err", errors.Join(err, qerr))
	j.mu.Lock()
	j.stats.Quarantined = append(j.stats.Quarantined[:len(j.stats.Quarantined):len(j.stats.Quarantined)], to)
	j.mu.Unlock()
	return true
}

// fileSize is the size of a file, 0 when it cannot be told.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
