package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"go.etcd.io/bbolt"
)

// OpenReport says what Open found. The caller stores Lost with its first commit; until then each
// Open returns it again.
type OpenReport struct {
	Fresh       bool   // there was nothing before
	Epoch       string // the present one
	Previous    string // the one before, when no commit was made since it ended; empty = none
	Reason      string // why it ended
	Lost        []Lost
	Quarantined []string // files set aside; read-only: that would be
}

// Opened returns what Open found.
func (j *Journal) Opened() OpenReport { return j.report }

// Open opens the journal in o.Dir, or makes one when there is none. Damage is no error: the file
// is set aside, a new epoch begins when the tail is not proven, and Opened says so. An error
// tells what to do: another process has it open (ErrLocked), the directory cannot be used, the
// store is of another site or of a newer version.
func Open(o Options) (*Journal, error) {
	o = o.withDefaults()
	if err := prepareDir(o.Dir, o.ReadOnly); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{opts: o, lock: lock}
	for i := range j.changed {
		j.changed[i] = make(chan struct{})
	}
	if err := j.open(); err != nil {
		for _, s := range j.segs {
			_ = s.close(true)
		}
		return nil, errors.Join(err, lock.Close())
	}
	return j, nil
}

func (j *Journal) open() error {
	if !j.opts.ReadOnly {
		if err := removeTemps(j.opts.Dir); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
	}
	f := &found{claims: map[string][lanes]uint64{}}
	if err := j.survey(f); err != nil {
		return err
	}
	if f.anchor != nil {
		j.holes = f.anchor.Holes
	}
	if err := j.join(f); err != nil {
		return err
	}
	err := j.start(f)
	for err != nil && f.damaged != nil { // found only when it was opened for writing
		if err = j.drop(f, len(f.segs)-1, f.damaged); err == nil {
			f.damaged, err = nil, j.start(f)
		}
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	j.report.Quarantined, j.report.Epoch = f.aside, j.active().Epoch
	j.told = slices.Clone(j.report.Lost)
	return nil
}

// start decides how to go on from what was found.
func (j *Journal) start(f *found) error {
	if err := j.prove(f); err != nil {
		return err
	}
	j.segs = f.segs
	reason := j.doubt(f)
	switch {
	case j.opts.ReadOnly:
		return j.look(f, reason)
	case f.newest == 0 && f.anchor == nil && !f.anchorBad:
		j.report.Fresh = true
		err := j.begin(header{Format: format, Number: 1, Source: j.opts.Source, Epoch: newEpochID()})
		j.findMarks(f)
		return err
	case reason != "":
		return j.restart(f, reason)
	}
	return j.resume(f)
}

// look makes a store that is not to be changed readable.
func (j *Journal) look(f *found, reason string) error {
	if len(f.segs) == 0 {
		return fmt.Errorf("%s holds no journal that can be read", j.opts.Dir)
	}
	j.fatal, j.report.Reason = ErrReadOnly, reason
	j.end = j.active().end
	j.findMarks(f)
	return nil
}

// doubt says why the newest record found need not be the newest that was written; "" = it is, as
// far as can be told.
func (j *Journal) doubt(f *found) string {
	a := f.anchor
	switch {
	case f.anchorBad:
		return "the epoch file is damaged"
	case f.bad != "":
		return fmt.Sprintf("segment %d is damaged: %s", f.newest, f.bad)
	case len(f.segs) == 0:
		return "the segments are missing"
	case a != nil && !a.Restored.IsZero():
		return "the store was restored from a backup of " + a.Restored.Format(time.RFC3339)
	}
	s := f.segs[len(f.segs)-1]
	switch {
	case a == nil && s.Number == 1 && s.end.Commit == 0:
		return "" // the very first start was interrupted
	case a == nil:
		return "the epoch file is missing"
	case s.Number < a.Segment:
		return fmt.Sprintf("segment %d is missing", a.Segment)
	case s.torn:
		return fmt.Sprintf("the newest commit of segment %d is damaged", s.Number)
	case s.Epoch != a.Epoch && len(s.Ends) > 0 && s.Ends[len(s.Ends)-1].Epoch == a.Epoch:
		return "" // the epoch had just begun
	case s.Epoch != a.Epoch:
		return "the segments are of another epoch than the epoch file"
	case s.end.Commit < a.Commit:
		return fmt.Sprintf("the segments end at commit %d, %d were written", s.end.Commit, a.Commit)
	}
	return j.compare(f)
}

// compare holds the chain against the heads that the epoch file has.
func (j *Journal) compare(f *found) string {
	for lane, h := range f.anchor.Heads {
		for _, s := range f.segs {
			if s.Epoch != f.anchor.Epoch || h.Seq <= s.Start.Heads[lane].Seq || h.Seq > s.end.Heads[lane].Seq || !s.has(lane) {
				continue
			}
			var crc uint32
			err := j.view(s, func(tx *bbolt.Tx) (err error) {
				crc, err = chainAt(tx, s, lane, h.Seq)
				return err
			})
			if err == nil && crc != h.CRC {
				return fmt.Sprintf("record %d of the %s has CRC %08x, the epoch file says %08x", h.Seq, edge.Lanes[lane], crc, h.CRC)
			}
		}
	}
	return ""
}

// resume goes on in the newest segment.
func (j *Journal) resume(f *found) error {
	s := j.active()
	if err := s.close(false); err != nil {
		return err
	}
	j.pool = slices.DeleteFunc(j.pool, func(p *segment) bool { return p == s })
	if err := j.openActive(s); err != nil {
		if isDamage(err) {
			f.damaged = err
		}
		return err
	}
	j.end, j.saved = s.end, s.marks
	j.roll = s.size >= j.opts.SegmentSize || s.end.LastAt.Sub(s.end.FirstAt) >= j.opts.SegmentAge
	if j.ckptAt.IsZero() {
		j.ckptAt = s.end.FirstAt
	}
	j.ckptBytes = s.end.Bytes[readingsLane]
	j.findMarks(f)
	if s.end.Commit == 0 && s.Reason != "" { // the epoch's begin was not told yet
		j.report.Reason, j.report.Lost = s.Reason, s.Lost
		j.report.Previous = s.Ends[len(s.Ends)-1].Epoch
	}
	j.report.Lost = append(j.report.Lost[:len(j.report.Lost):len(j.report.Lost)], j.gaps()...)
	return nil
}

// restart begins a new epoch because the tail is not proven.
func (j *Journal) restart(f *found, reason string) error {
	h := header{Format: format, Source: j.opts.Source, Epoch: newEpochID(), Reason: reason}
	h.Number = f.newest + 1
	if n := len(f.segs); n > 0 {
		last := f.segs[n-1]
		j.end = last.end
		h.Ends = append(slices.Clone(last.Ends), epochEnd{last.Epoch, last.end.Heads})
		h.Start.LastAt = last.end.LastAt
	}
	if a := f.anchor; a != nil {
		h.Number = max(h.Number, a.Segment+1)
		if a.At.After(h.Start.LastAt) {
			h.Start.LastAt = a.At
		}
		if !slices.ContainsFunc(h.Ends, func(e epochEnd) bool { return e.Epoch == a.Epoch }) {
			h.Ends = append(h.Ends, epochEnd{Epoch: a.Epoch}) // nothing of it is left
		}
	}
	h.Ends = h.Ends[max(0, len(h.Ends)-maxEnds):]
	h.Lost = f.tail(h.Ends)
	if err := j.begin(h); err != nil {
		return err
	}
	j.findMarks(f)
	if n := len(h.Ends); n > 0 {
		j.report.Previous = h.Ends[n-1].Epoch
	}
	j.report.Reason, j.report.Lost = reason, append(slices.Clone(h.Lost), j.gaps()...)
	j.opts.Log.Error("the journal's tail is not proven; a new epoch begins", "reason", reason, "epoch", h.Epoch, "was", j.report.Previous)
	return nil
}

// findMarks takes the furthest marks that are recorded anywhere.
func (j *Journal) findMarks(f *found) {
	sources := make([][lanes]Mark, 0, len(j.segs)+1)
	if f.anchor != nil {
		sources = append(sources, f.anchor.Marks)
	}
	for _, s := range j.segs {
		sources = append(sources, s.marks)
	}
	for lane := range lanes {
		best := Mark{Epoch: "-"}
		for _, marks := range sources {
			m := marks[lane]
			if at, pos := j.order(m.Epoch), j.order(best.Epoch); at > pos || (at >= 0 && at == pos && m.Seq > best.Seq) {
				best = m
			}
		}
		if j.order(best.Epoch) < 0 { // none is known: what is not kept was confirmed or declared
			h := j.segs[0].Start.Heads[lane]
			best = Mark{j.segs[0].Epoch, h.Seq, h.CRC}
		}
		j.marks[lane] = best
		j.findOldest(lane, best)
	}
}
