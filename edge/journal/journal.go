package journal

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Options of a Journal. Dir and Source are needed.
type Options struct {
	Dir         string        // belongs to the journal alone; made when missing
	Source      string        // site id, written in every record; a store is of one site
	SegmentSize int64         // bytes after which a segment is full; default 64 MiB
	SegmentAge  time.Duration // engine time after which it is; default 24 h
	History     time.Duration // how long records are kept after their release; default 30 d, negative = none
	MaxSize     int64         // bytes of all segments; 0 = no bound. One segment may lie above it
	ReadOnly    bool          // look at a store that no hub runs on and change nothing but the lock. Source may be empty
	Log         *slog.Logger  // default: discarded
}

// Defaults, and when a checkpoint is due.
const (
	defaultSegmentSize = 64 << 20
	defaultSegmentAge  = 24 * time.Hour
	defaultHistory     = 30 * 24 * time.Hour
	checkpointBytes    = 6 << 20 // of readings: about 50,000
	checkpointAge      = 10 * time.Minute
	maxEnds            = 100 // epochs that are over and still told apart
)

func (o Options) withDefaults() Options {
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.SegmentAge <= 0 {
		o.SegmentAge = defaultSegmentAge
	}
	if o.History == 0 {
		o.History = defaultHistory
	}
	o.History = max(0, o.History)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Journal is an open journal. Commit, NeedCheckpoint, NewEpoch, Trim and Close are for one
// goroutine, the writer; everything else is safe from any.
type Journal struct {
	opts   Options
	lock   *os.File
	report OpenReport

	// Of the writer.
	write    sync.Mutex // held while writing, so that a wrong second writer waits
	fatal    error      // set by the first failed commit
	closed   bool
	stuck    bool // bbolt panicked in a write; its locks may be held
	buf      []byte
	values   []value
	roll     bool // the next commit begins a new segment
	anchored time.Time
	bad      *segment // damaged while it was written; to be set aside after the next commit
	told     []Lost   // returned to the caller, which stores them with the next commit
	// Since the newest checkpoint.
	ckptAt    time.Time
	ckptBytes int64

	mu      sync.RWMutex
	segs    []*segment // oldest first, the last one is written; replaced, never changed
	end     extent     // of the last one: what is durable
	marks   [lanes]Mark
	saved   [lanes]Mark // what the newest segment holds of them
	again   [lanes]Mark // where the cloud has gone back to, when that is before the mark; not stored
	holes   []Lost
	pending []Lost // found by readers, not yet returned to the caller
	suspect error  // damage seen in the segment being written
	changed [lanes]chan struct{}
	oldest  [lanes]time.Time // engine time of the oldest unreleased record
	stats   Stats

	poolMu sync.Mutex
	pool   []*segment // sealed segments that are open, oldest opened first
}

// active is the segment being written.
func (j *Journal) active() *segment { return j.segs[len(j.segs)-1] }

// Epoch is the present epoch: 32 hex digits.
func (j *Journal) Epoch() string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.active().Epoch
}

// Head is the newest durable record of a lane in the present epoch.
func (j *Journal) Head(l edge.Lane) Head {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if i := laneIndex(l); i >= 0 {
		return j.end.Heads[i]
	}
	return Head{}
}

// LastCommit is the newest commit's number in the present epoch and its engine time. Without one
// the time is that of the epoch before; it is zero in a new store.
func (j *Journal) LastCommit() (n uint64, at time.Time) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.end.Commit, j.end.LastAt
}

// Changed returns a channel that is closed at the next commit that writes to the lane. Get it
// before Read.
func (j *Journal) Changed(l edge.Lane) <-chan struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if i := laneIndex(l); i >= 0 {
		return j.changed[i]
	}
	return nil
}

// snapshot returns the segments and how far the last of them reaches. A sealed segment's own end
// holds.
func (j *Journal) snapshot() ([]*segment, extent) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segs, j.end
}

// endOf is how far segs[i] reaches, where end is that of the last one.
func endOf(segs []*segment, i int, end extent) extent {
	if i == len(segs)-1 {
		return end
	}
	return segs[i].end
}

// Close records where the journal stands and closes it. The caller has stopped reading.
func (j *Journal) Close() error {
	j.write.Lock()
	defer j.write.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	var errs []error
	if j.fatal == nil {
		errs = append(errs, j.writeAnchor())
	}
	segs, _ := j.snapshot()
	for _, s := range segs {
		if s.writable && j.stuck {
			continue // only the end of the process frees it
		}
		errs = append(errs, s.close(true))
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

// replaceSegment swaps a segment for another one, nil to remove it. It reports whether the old
// one was still there.
func (j *Journal) replaceSegment(old, by *segment) bool {
	i := slices.Index(j.segs, old)
	if i < 0 {
		return false
	}
	segs := slices.Clone(j.segs)
	if by == nil {
		segs = slices.Delete(segs, i, i+1)
	} else {
		segs[i] = by
	}
	j.segs = segs
	return true
}
