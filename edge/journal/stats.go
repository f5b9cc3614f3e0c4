package journal

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Stats is the state of a journal.
type Stats struct {
	Epoch        string
	Segments     int
	Bytes        int64     // on disk, without quarantine
	Oldest       time.Time // engine time of the oldest commit kept; zero = none
	Commits      uint64    // of this process
	BytesWritten int64     // to the segments by this process
	RecordBytes  int64     // of the records committed by this process
	Events       LaneStats
	Readings     LaneStats
	Quarantined  []string // files set aside by this process
}

// LaneStats is the state of one lane.
type LaneStats struct {
	Head         uint64 // newest sequence of the present epoch
	Mark         Mark
	Oldest       uint64    // oldest sequence kept of the present epoch; 0 = none
	Pending      uint64    // records to send
	PendingBytes int64     // of them, estimated within the segment the mark lies in
	OldestUnsent time.Time // engine time of the oldest of them; zero = none
}

// Lane returns the stats of a lane.
func (s Stats) Lane(l edge.Lane) LaneStats {
	if l == edge.Events {
		return s.Events
	}
	return s.Readings
}

// Stats returns the present state. It reads no file.
func (j *Journal) Stats() Stats {
	j.mu.RLock()
	defer j.mu.RUnlock()
	out := j.stats
	out.Epoch, out.Segments = j.active().Epoch, len(j.segs)
	for i, s := range j.segs {
		out.Bytes += s.size
		if first := endOf(j.segs, i, j.end).FirstAt; out.Oldest.IsZero() {
			out.Oldest = first
		}
	}
	out.Events, out.Readings = j.laneStats(0), j.laneStats(readingsLane)
	return out
}

func (j *Journal) laneStats(lane int) LaneStats {
	out := LaneStats{Head: j.end.Heads[lane].Seq, Mark: j.marks[lane], OldestUnsent: j.oldest[lane]}
	for i, s := range j.segs {
		end := endOf(j.segs, i, j.end)
		start, head := s.Start.Heads[lane].Seq, end.Heads[lane].Seq
		if out.Oldest == 0 && s.Epoch == j.active().Epoch && s.has(lane) && head > start {
			out.Oldest = start + 1
		}
		if from, to := j.unsentOf(i, lane); from < to {
			out.Pending += to - from
			out.PendingBytes += int64(float64(end.Bytes[lane]) * float64(to-from) / float64(head-start))
		}
	}
	return out
}
