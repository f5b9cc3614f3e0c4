package hub

import (
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/journal"
)

// Status is api.Reporter.
func (h *Hub) Status() api.Status {
	view, stats, cfg := h.engine.View(), h.journal.Stats(), h.effective()
	now := h.clock.Now()
	s := api.Status{
		Site: h.cfg.Site.ID, Name: h.cfg.Site.Name, Version: h.opts.Version, State: h.state.Load().(string),
		StartedAt: h.started, Now: now, Clock: string(h.clock.State()), Epoch: h.journal.Epoch(),
		Lanes:      h.lanes(stats),
		Storage:    api.Storage{Dir: h.cfg.Storage.Dir, Bytes: stats.Bytes, MaxSize: h.cfg.Storage.MaxSize, Segments: stats.Segments, Quarantined: len(stats.Quarantined)},
		Counts:     view.Counts,
		ConfigHash: cfg.Hash,
		Warnings:   cfg.Warnings,
	}
	for _, in := range h.inputs {
		s.Inputs = append(s.Inputs, in.describe(view.Drivers))
	}
	s.Actions = h.actionStatus(view.Jobs)
	if h.uplink != nil {
		s.Uplink = h.uplink.describe(view.Link)
	}
	h.rate.sample(now, stats)
	s.HorizonS = h.rate.horizon(stats, h.cfg.Storage.MaxSize)
	return s
}

// lanes is how far the lanes are. The journal learns the cloud's mark only every few seconds, as
// that costs a write; what the pump knows is newer.
func (h *Hub) lanes(stats journal.Stats) api.Lanes {
	l := api.Lanes{Events: laneStatus(stats.Events), Readings: laneStatus(stats.Readings)}
	if h.uplink == nil {
		return l
	}
	if s := h.uplink.pump.Status(); s.Epoch == h.journal.Epoch() {
		advance(&l.Events, s.Events.Mark)
		advance(&l.Readings, s.Readings.Mark)
	}
	return l
}

func laneStatus(l journal.LaneStats) api.Lane {
	return api.Lane{
		Head: l.Head, Mark: l.Mark.Seq, BacklogRecords: l.Pending, BacklogBytes: l.PendingBytes, OldestUnsent: l.OldestUnsent,
	}
}

// advance moves a lane's mark to a newer one. The bytes left are then in proportion, and the
// oldest unsent record is up to some seconds younger than told.
func advance(l *api.Lane, mark uint64) {
	mark = min(mark, l.Head) // it may be younger than what else is told
	if mark <= l.Mark || l.BacklogRecords == 0 {
		return
	}
	left := min(l.BacklogRecords, l.Head-mark)
	l.BacklogBytes = int64(float64(l.BacklogBytes) * float64(left) / float64(l.BacklogRecords))
	l.Mark, l.BacklogRecords = mark, left
	if left == 0 {
		l.OldestUnsent = time.Time{}
	}
}

// rate measures how fast the journal grows, over the last minutes.
type rate struct {
	mu      sync.Mutex
	samples []rateSample
}

type rateSample struct {
	at    time.Time
	bytes int64 // record bytes written since the start
}

// Samples are taken at most every rateEvery and kept for rateWindow.
const (
	rateEvery  = 5 * time.Second
	rateWindow = 10 * time.Minute
	rateLeast  = 30 * time.Second // a shorter observation says nothing
)

func (r *rate) sample(now time.Time, s journal.Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.samples); n > 0 && now.Sub(r.samples[n-1].at) < rateEvery {
		return
	}
	r.samples = append(r.samples, rateSample{now, s.RecordBytes})
	for len(r.samples) > 2 && now.Sub(r.samples[0].at) > rateWindow {
		r.samples = r.samples[1:]
	}
}

// horizon is how many seconds the hub can stay offline at the present rate until records that
// the cloud has not applied must be sacrificed; nil while that is not known. Released history
// makes room first, so only what is pending counts against the bound.
func (r *rate) horizon(s journal.Stats, maxSize int64) *int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if maxSize <= 0 || len(r.samples) < 2 {
		return nil
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	span := last.at.Sub(first.at)
	grown := last.bytes - first.bytes
	if span < rateLeast || grown <= 0 {
		return nil
	}
	pending := s.Events.PendingBytes + s.Readings.PendingBytes
	left := max(0, float64(maxSize)/diskOverhead-float64(pending))
	seconds := int64(left / (float64(grown) / span.Seconds()))
	return &seconds
}

// diskOverhead is what a record's bytes take on disk, with keys, pages and checkpoints.
const diskOverhead = 1.25
