package journal

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// Commit is one transaction as it was stored: its events by sequence, then its readings.
type Commit struct {
	Number  uint64
	At      time.Time
	Records []edge.Record
}

// How much one read transaction of an iterator takes.
const (
	chunkBytes   = 256 << 10
	chunkCommits = 1024
)

// Checkpoint returns the newest checkpoint that can be read, with the number and engine time of
// the commit it is the state after. It is of the newest epoch that has a commit, as are Commits;
// state is nil when that has none.
func (j *Journal) Checkpoint() (state []byte, commit uint64, at time.Time, err error) {
	segs, end := j.snapshot()
	epoch := ""
	for i := len(segs) - 1; i >= 0; i-- {
		s := segs[i]
		if epoch == "" && endOf(segs, i, end).Commit > s.Start.Commit {
			epoch = s.Epoch
		}
		if epoch == "" || s.Slim != nil {
			continue
		}
		if s.Epoch != epoch {
			break
		}
		var head checkpointHead
		err := j.view(s, func(tx *bbolt.Tx) (err error) {
			head, state, err = getCheckpoint(tx)
			return err
		})
		if err != nil {
			j.opts.Log.Error("a checkpoint cannot be read; an older one is used", "segment", s.path, "err", err)
			continue
		}
		if state != nil {
			return state, head.Commit, head.At, nil
		}
	}
	return nil, 0, time.Time{}, nil
}

// Commits yields the commits after a number in order, inputs and outputs, of the newest epoch
// that has any. It holds no transaction while yielding. When commits after that number are no
// longer kept, or damage is met, it yields an error and ends.
func (j *Journal) Commits(after uint64) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		for next := after + 1; ; {
			chunk, err := j.commitChunk(next)
			if err != nil {
				yield(Commit{}, fmt.Errorf("commit %d: %w", next, err))
				return
			}
			if len(chunk) == 0 {
				return
			}
			for _, c := range chunk {
				commit, err := c.parse(edge.Lanes[:]...)
				if !yield(commit, err) || err != nil {
					return
				}
				next = c.number + 1
			}
		}
	}
}

// Scan yields the lane's records whose commit's engine time is in [from, to), oldest first, over
// all epochs that are kept. It holds no transaction while yielding, and ends after an error.
func (j *Journal) Scan(l edge.Lane, from, to time.Time) iter.Seq2[edge.Record, error] {
	return func(yield func(edge.Record, error) bool) {
		lane := laneIndex(l)
		if lane < 0 {
			yield(edge.Record{}, fmt.Errorf("scan: no lane %q", l))
			return
		}
		from, to = edge.Millis(from.Add(time.Millisecond-1)), edge.Millis(to.Add(time.Millisecond-1))
		var number, next uint64 // segment, commit
		for {
			segs, end := j.snapshot()
			i := 0
			for i < len(segs) && !within(segs, i, end, lane, number, next, from, to) {
				i++
			}
			if i == len(segs) {
				return
			}
			s, e := segs[i], endOf(segs, i, end)
			if s.Number > number {
				number, next = s.Number, 0
			}
			chunk, err := j.scanChunk(s, e, lane, &next, from, to)
			if errors.Is(err, errMoved) {
				continue
			}
			if err != nil {
				yield(edge.Record{}, fmt.Errorf("scan %s: segment %s: %w", l, s.path, err))
				return
			}
			if !yieldRecords(chunk, l, yield) {
				return
			}
		}
	}
}

// within says whether segment i may hold records in the range that were not scanned yet.
func within(segs []*segment, i int, end extent, lane int, number, next uint64, from, to time.Time) bool {
	s, e := segs[i], endOf(segs, i, end)
	if s.Number < number || (s.Number == number && next > e.Commit) {
		return false
	}
	return s.has(lane) && e.Heads[lane].Seq > s.Start.Heads[lane].Seq && e.FirstAt.Before(to) && !e.LastAt.Before(from)
}

func yieldRecords(chunk []rawCommit, l edge.Lane, yield func(edge.Record, error) bool) bool {
	for _, c := range chunk {
		commit, err := c.parse(l)
		if err != nil {
			yield(edge.Record{}, err)
			return false
		}
		for _, r := range commit.Records {
			if !yield(r, nil) {
				return false
			}
		}
	}
	return true
}

// scanChunk reads some commits of one lane of a segment, beginning at commit *next, 0 for the
// first in the time range, and moves *next on.
func (j *Journal) scanChunk(s *segment, e extent, lane int, next *uint64, from, to time.Time) (chunk []rawCommit, err error) {
	err = j.view(s, func(tx *bbolt.Tx) error {
		if *next == 0 {
			if *next, err = firstCommitAt(tx, s.Start.Commit+1, e.Commit, from); err != nil {
				return err
			}
		}
		chunk, err = readCommits(tx, s, *next, e, to, lane)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(chunk) == 0 {
		*next = e.Commit + 1
	} else {
		*next = chunk[len(chunk)-1].number + 1
	}
	return chunk, nil
}

// firstCommitAt finds the first commit in lo..hi that is not before from; times only rise.
func firstCommitAt(tx *bbolt.Tx, lo, hi uint64, from time.Time) (uint64, error) {
	commits := tx.Bucket(bucketCommits)
	for lo <= hi {
		mid := lo + (hi-lo)/2
		e, err := parseCommitEntry(commits.Get(key(mid)))
		if err != nil {
			return 0, fmt.Errorf("commit %d: %w", mid, err)
		}
		if e.time().Before(from) {
			lo = mid + 1
		} else {
			hi = mid - 1
		}
	}
	return lo, nil
}

// commitChunk reads some commits beginning with number next; none when there is no such commit.
func (j *Journal) commitChunk(next uint64) (chunk []rawCommit, err error) {
	for {
		segs, end := j.snapshot()
		s, e, err := segmentOfCommit(segs, end, next)
		if s == nil || err != nil {
			return nil, err
		}
		err = j.view(s, func(tx *bbolt.Tx) (err error) {
			chunk, err = readCommits(tx, s, next, e, time.Time{}, 0, 1)
			return err
		})
		if !errors.Is(err, errMoved) {
			return chunk, err
		}
	}
}

// segmentOfCommit finds a commit in the newest epoch that has any.
func segmentOfCommit(segs []*segment, end extent, commit uint64) (*segment, extent, error) {
	var oldest uint64
	for i := len(segs) - 1; i >= 0; i-- {
		s, e := segs[i], endOf(segs, i, end)
		if e.Commit == s.Start.Commit {
			continue
		}
		if oldest != 0 && s.Epoch != segs[i+1].Epoch {
			break
		}
		if oldest == 0 && commit > e.Commit {
			return nil, e, nil
		}
		if oldest = s.Start.Commit + 1; commit < oldest {
			continue
		}
		if commit > e.Commit || s.Slim != nil {
			return nil, e, fmt.Errorf("%w: part of it was dropped", ErrGone)
		}
		return s, e, nil
	}
	if oldest == 0 {
		return nil, end, nil
	}
	return nil, end, fmt.Errorf("%w: the oldest commit is %d", ErrGone, oldest)
}

// rawCommit is a commit whose records are not parsed yet.
type rawCommit struct {
	number  uint64
	at      time.Time
	records [lanes][][]byte
}

// readCommits copies commits from next on out, with the records of the lanes named, until to
// (zero = no bound), the end or a chunk's size is reached.
func readCommits(tx *bbolt.Tx, s *segment, next uint64, end extent, to time.Time, which ...int) ([]rawCommit, error) {
	var chunk []rawCommit
	var entries []commitEntry
	var size uint64
	commits := tx.Bucket(bucketCommits)
	c := commits.Cursor()
	k, v := c.Seek(key(next))
	for n := next; n <= end.Commit && len(chunk) < chunkCommits && size < chunkBytes; n++ {
		e, err := parseCommitEntry(v)
		if err == nil && string(k) != string(key(n)) {
			err = damaged("it is missing")
		}
		if err != nil {
			return nil, fmt.Errorf("commit %d: %w", n, err)
		}
		if !to.IsZero() && !e.time().Before(to) {
			break
		}
		if len(entries) > 0 {
			for _, lane := range which {
				size += e.bytes[lane] - entries[len(entries)-1].bytes[lane]
			}
		}
		chunk, entries = append(chunk, rawCommit{number: n, at: e.time()}), append(entries, e)
		k, v = c.Next()
	}
	if len(chunk) == 0 {
		return nil, nil
	}
	for _, lane := range which {
		if err := fillLane(tx, s, lane, chunk, entries, end); err != nil {
			return nil, err
		}
	}
	return chunk, nil
}

// fillLane reads one lane's records of a run of commits.
func fillLane(tx *bbolt.Tx, s *segment, lane int, chunk []rawCommit, entries []commitEntry, end extent) error {
	from, to := entries[0].first(lane), entries[len(entries)-1].last[lane]
	if to < from || !s.has(lane) {
		return nil
	}
	if to > end.Heads[lane].Seq || from <= s.Start.Heads[lane].Seq {
		return damaged("commits %d-%d claim %s %d-%d", chunk[0].number, chunk[len(chunk)-1].number, bucketLane[lane], from, to)
	}
	records, _, err := readRange(tx, s, lane, from, to, int(^uint(0)>>1))
	if err != nil {
		return err
	}
	for i := range chunk {
		n := int(entries[i].n[lane])
		if n > len(records) {
			return damaged("commit %d claims more %s than there are", chunk[i].number, bucketLane[lane])
		}
		chunk[i].records[lane], records = records[:n], records[n:]
	}
	return nil
}

// parse reads the records of the lanes named.
func (c *rawCommit) parse(which ...edge.Lane) (Commit, error) {
	out := Commit{Number: c.number, At: c.at}
	for _, l := range which {
		for _, b := range c.records[laneIndex(l)] {
			r, err := edge.ParseRecord(b)
			if err != nil {
				return out, fmt.Errorf("commit %d: %w", c.number, err)
			}
			out.Records = append(out.Records, r)
		}
	}
	return out, nil
}
