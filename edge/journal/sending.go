package journal

import (
	"fmt"

	"github.com/headcount-hub/headcount/edge"
)

// Sending returns the epoch whose records go up next, with its last sendable sequences: the
// oldest one of which the cloud has not confirmed everything that can be sent, or the present
// one. An uplink sends one epoch to its end before it begins with the next.
func (j *Journal) Sending() (epoch string, events, readings Head) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	now := j.active()
	for _, end := range now.Ends {
		for i, s := range j.segs {
			if s.Epoch != end.Epoch {
				continue
			}
			for lane := range lanes {
				if from, to := j.unsentOf(i, lane); from < to {
					return end.Epoch, end.Heads[0], end.Heads[readingsLane]
				}
			}
		}
	}
	return now.Epoch, j.end.Heads[0], j.end.Heads[readingsLane]
}

// CRC returns the chained CRC of a record; ok is false when the record is not kept.
func (j *Journal) CRC(epoch string, l edge.Lane, seq uint64) (crc uint32, ok bool, err error) {
	lane := laneIndex(l)
	if lane < 0 {
		return 0, false, fmt.Errorf("no lane %q", l)
	}
	if seq == 0 {
		return 0, true, nil
	}
	span, err := j.Read(l, Mark{Epoch: epoch, Seq: seq - 1}, 1)
	if err != nil || span.Epoch != epoch || span.First != seq {
		return 0, false, err
	}
	return edge.Chain(span.CRC, span.Records[0]), true, nil
}
