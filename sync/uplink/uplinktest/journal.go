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
	eras    []era // the last one is present
	marks   map[edge.Lane]wire.Mark
	changed map[edge.Lane]chan struct{}
}

// era is an epoch's records.
type era struct {
	epoch   string
	givenUp bool // what was not sent cannot be sent any more
	lanes   map[edge.Lane]*records
}

type records struct {
	all  [][]byte // nil = dropped
	crcs []uint32
}

// NewJournal makes an empty journal in its first epoch.
func NewJournal() *Journal {
	j := &Journal{marks: map[edge.Lane]wire.Mark{}, changed: map[edge.Lane]chan struct{}{}}
	for _, name := range edge.Lanes {
		j.changed[name] = make(chan struct{})
	}
	j.NewEpoch()
	return j
}

// NewEpoch begins an epoch with empty lanes and gives up what was not sent.
func (j *Journal) NewEpoch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.eras {
		j.eras[i].givenUp = true
	}
	j.addEra()
}

// Damage begins an epoch with empty lanes; what was not sent still can be.
func (j *Journal) Damage() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.addEra()
}

func (j *Journal) addEra() {
	e := era{epoch: fmt.Sprintf("%032x", len(j.eras)+1), lanes: map[edge.Lane]*records{}}
	for _, name := range edge.Lanes {
		e.lanes[name] = &records{}
		j.wake(name)
	}
	j.eras = append(j.eras, e)
}

func (j *Journal) present() era { return j.eras[len(j.eras)-1] }

func (j *Journal) wake(name edge.Lane) {
	close(j.changed[name])
	j.changed[name] = make(chan struct{})
}

// Append writes one record with the given payload.
func (j *Journal) Append(name edge.Lane, payload string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.present().lanes[name]
	r := edge.Record{
		Epoch: j.present().epoch, Lane: name, Seq: uint64(len(l.all)) + 1, Commit: uint64(len(l.all)) + 1,
		Source: "site", Type: "test", Time: time.Now(), Data: fmt.Appendf(nil, "%q", payload),
	}
	b := r.AppendJSON(nil)
	l.crcs = append(l.crcs, edge.Chain(l.crc(len(l.all)), b))
	l.all = append(l.all, b)
	j.wake(name)
}

func (l *records) crc(seq int) uint32 {
	if seq == 0 {
		return 0
	}
	return l.crcs[seq-1]
}

// Drop deletes a lane's records up to seq in the present epoch.
func (j *Journal) Drop(name edge.Lane, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.present().lanes[name].all[:seq])
}

// Truncate forgets a lane's records after seq, as a restored copy does.
func (j *Journal) Truncate(name edge.Lane, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.present().lanes[name]
	l.all, l.crcs = l.all[:seq:seq], l.crcs[:seq:seq]
	if j.marks[name].Seq > seq {
		j.marks[name] = wire.Mark{Epoch: j.present().epoch, Seq: seq, CRC: l.crc(int(seq))}
	}
}

// All returns the lane's records that are left, of all epochs, in order.
func (j *Journal) All(name edge.Lane) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, e := range j.eras {
		for _, r := range e.lanes[name].all {
			if r != nil {
				out = append(out, string(r))
			}
		}
	}
	return out
}

// Epoch is uplink.Journal.
func (j *Journal) Epoch() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.present().epoch
}

// Head is uplink.Journal.
func (j *Journal) Head(name edge.Lane) wire.Mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.present().lanes[name]
	return wire.Mark{Epoch: j.present().epoch, Seq: uint64(len(l.all)), CRC: l.crc(len(l.all))}
}

// Read is uplink.Journal.
func (j *Journal) Read(name edge.Lane, after wire.Mark, maxBytes int) (wire.Batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	started := after == wire.Mark{}
	for _, e := range j.eras {
		l, at := e.lanes[name], 0
		if e.epoch == after.Epoch {
			started, at = true, int(after.Seq)
		}
		for at < len(l.all) && l.all[at] == nil {
			at++
		}
		if started && !e.givenUp && at < len(l.all) {
			b := wire.Batch{Epoch: e.epoch, Lane: name, First: uint64(at) + 1, CRC: l.crc(at)}
			b.Records = fit(l.all[at:], maxBytes)
			return b, nil
		}
	}
	return wire.Batch{}, nil
}

func fit(all [][]byte, maxBytes int) [][]byte {
	n, size := 1, len(all[0])
	for n < len(all) && size+1+len(all[n]) <= maxBytes {
		size += 1 + len(all[n])
		n++
	}
	return all[:n:n]
}

// Mark is uplink.Journal.
func (j *Journal) Mark(name edge.Lane) wire.Mark {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.marks[name]
}

// Release is uplink.Journal.
func (j *Journal) Release(name edge.Lane, m wire.Mark) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.marks[name] = m
	return nil
}

// Changed is uplink.Journal.
func (j *Journal) Changed(name edge.Lane) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed[name]
}
