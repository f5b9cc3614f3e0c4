// Package uplinktest has what a pump needs around it, in memory: a journal, a cloud that applies
// by the rules of sync/wire, and a link between them that loses, repeats, delays and reorders.
package uplinktest

import (
	"fmt"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Journal is a journal in memory. It may be used from any goroutine.
type Journal struct {
	mu      sync.Mutex
	epoch   string
	epochs  int
	lanes   map[edge.Lane]*records
	changed chan struct{}
}

type records struct {
	all  [][]byte // of this epoch; nil = dropped
	crcs []uint32
	mark wire.Mark
}

// NewJournal makes an empty journal in its first epoch.
func NewJournal() *Journal {
	j := &Journal{changed: make(chan struct{}, 1)}
	j.NewEpoch()
	return j
}

// NewEpoch begins an epoch with empty lanes.
func (j *Journal) NewEpoch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.epochs++
	j.epoch = fmt.Sprintf("%032x", j.epochs)
	j.lanes = map[edge.Lane]*records{}
	for _, name := range edge.Lanes {
		j.lanes[name] = &records{mark: wire.Mark{Epoch: j.epoch}}
	}
	j.wake()
}

func (j *Journal) wake() {
	select {
	case j.changed <- struct{}{}:
	default:
	}
}

// Append writes one record with the given payload.
func (j *Journal) Append(name edge.Lane, payload string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.lanes[name]
	r := edge.Record{
		Epoch: j.epoch, Lane: name, Seq: uint64(len(l.all)) + 1, Commit: uint64(len(l.all)) + 1,
		Source: "site", Type: "test", Time: time.Now(), Data: fmt.Appendf(nil, "%q", payload),
	}
	b := r.AppendJSON(nil)
	l.crcs = append(l.crcs, edge.Chain(l.crc(len(l.all)), b))
	l.all = append(l.all, b)
	j.wake()
}

func (l *records) crc(seq int) uint32 {
	if seq == 0 {
		return 0
	}
	return l.crcs[seq-1]
}

// Drop deletes a lane's records up to seq.
func (j *Journal) Drop(name edge.Lane, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.lanes[name].all[:seq])
}

// Truncate forgets a lane's records after seq, as a restored copy does.
func (j *Journal) Truncate(name edge.Lane, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.lanes[name]
	l.all, l.crcs = l.all[:seq:seq], l.crcs[:seq:seq]
	if l.mark.Seq > seq {
		l.mark = wire.Mark{Epoch: j.epoch, Seq: seq, CRC: l.crc(int(seq))}
	}
}

// All returns the lane's records that are left, in order.
func (j *Journal) All(name edge.Lane) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, r := range j.lanes[name].all {
		if r != nil {
			out = append(out, string(r))
		}
	}
	return out
}

// Epoch is uplink.Journal.
func (j *Journal) Epoch() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.epoch
}

// Head is uplink.Journal.
func (j *Journal) Head(name edge.Lane) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.lanes[name].all))
}

// Read is uplink.Journal.
func (j *Journal) Read(name edge.Lane, after uint64, maxBytes int) (wire.Batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.lanes[name]
	at, size := int(after), 0
	for at < len(l.all) && l.all[at] == nil {
		at++
	}
	b := wire.Batch{Epoch: j.epoch, Lane: name, First: uint64(at) + 1, CRC: l.crc(at)}
	for _, r := range l.all[at:] {
		if size += len(r) + 1; size > maxBytes+1 && len(b.Records) > 0 {
			break
		}
		b.Records = append(b.Records, r)
	}
	return b, nil
}

// CRC is uplink.Journal.
func (j *Journal) CRC(name edge.Lane, seq uint64) (uint32, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.lanes[name]
	if seq == 0 || seq > uint64(len(l.all)) || l.all[seq-1] == nil {
		return 0, seq == 0, nil
	}
	return l.crc(int(seq)), true, nil
}

// Mark is uplink.Journal.
func (j *Journal) Mark(name edge.Lane) wire.Mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lanes[name].mark
}

// SetMark is uplink.Journal.
func (j *Journal) SetMark(name edge.Lane, m wire.Mark) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if m.Epoch != j.epoch {
		return fmt.Errorf("mark of epoch %s in epoch %s", m.Epoch, j.epoch)
	}
	j.lanes[name].mark = m
	return nil
}

// Changed is uplink.Journal.
func (j *Journal) Changed() <-chan struct{} { return j.changed }
