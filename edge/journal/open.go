package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
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

// found is what lies in the directory.
type found struct {
	anchor    *anchor
	segs      []*segment               // intact, oldest first
	newest    uint64                   // highest number seen
	bad       string                   // why the file with that number is not among segs
	claims    map[string][lanes]uint64 // how far files set aside said that their epochs reach
	aside     []string
	anchorBad bool
	damaged   error // the newest segment can be read, but not be opened for writing
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

// survey reads the epoch file and looks into every segment.
func (j *Journal) survey(f *found) (err error) {
	f.anchor, err = readAnchor(j.opts.Dir)
	if errors.Is(err, ErrDamaged) {
		f.anchor, f.anchorBad = nil, true
		err = j.aside(f, epochFile, err)
	}
	if err == nil && f.anchor != nil {
		err = j.accept("epoch file", f.anchor.Format, f.anchor.Source)
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(j.opts.Dir)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	for _, e := range entries { // in order of names, so of numbers
		number, ok := segmentNumber(e.Name())
		if !ok {
			continue
		}
		f.newest, f.bad = number, ""
		s, err := inspect(filepath.Join(j.opts.Dir, e.Name()))
		if err == nil {
			err = j.accept("segment "+e.Name(), s.Format, s.Source)
		}
		if err == nil && s.Number != number {
			err = damaged("it is segment %d under another name", s.Number)
		}
		if err == nil {
			f.segs = append(f.segs, s)
			continue
		}
		if !isDamage(err) {
			return fmt.Errorf("open journal: %w", err)
		}
		if err := j.aside(f, e.Name(), err); err != nil {
			return err
		}
		f.bad = err.Error()
	}
	return nil
}

// accept refuses stores that are in order but not ours to write to.
func (j *Journal) accept(what string, version int, source string) error {
	switch {
	case version > format:
		return fmt.Errorf("%s in %s has format %d, this headcount knows up to %d: install the version that wrote it, or name another storage.dir", what, j.opts.Dir, version, format)
	case version < 1:
		return damaged("%s has no format", what)
	case source != j.opts.Source && !(j.opts.ReadOnly && j.opts.Source == ""):
		return fmt.Errorf("%s in %s belongs to site %q, the configuration is of site %q: give each site its own storage.dir", what, j.opts.Dir, source, j.opts.Source)
	}
	return nil
}

// isDamage tells a file that is bad from a file that cannot be had now.
func isDamage(err error) bool {
	if errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrPermission) {
		return false
	}
	return errors.Is(err, ErrDamaged) || errors.Is(err, syscall.EIO)
}

// aside puts a file into quarantine.
func (j *Journal) aside(f *found, name string, cause error) error {
	if j.opts.ReadOnly {
		f.aside = append(f.aside, filepath.Join(j.opts.Dir, name))
		return nil
	}
	to, err := quarantine(j.opts.Dir, name)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	f.aside = append(f.aside, to)
	j.opts.Log.Error("a damaged file is set aside", "file", name, "to", to, "cause", cause)
	return nil
}

// drop sets the i-th intact segment aside after all.
func (j *Journal) drop(f *found, i int, cause error) error {
	s := f.segs[i]
	if err := s.close(true); err != nil {
		j.opts.Log.Warn("close a damaged segment", "segment", s.path, "err", err)
	}
	claim := f.claims[s.Epoch]
	for lane := range claim {
		claim[lane] = max(claim[lane], s.end.Heads[lane].Seq)
	}
	f.claims[s.Epoch] = claim
	if s.Number == f.newest {
		f.bad = cause.Error()
	}
	f.segs = slices.Delete(f.segs, i, i+1)
	return j.aside(f, filepath.Base(s.path), cause)
}

// join drops segments that contradict the one after them.
func (j *Journal) join(f *found) error {
	for i := len(f.segs) - 2; i >= 0; i-- {
		if why := contradicts(f.segs[i], f.segs[i+1]); why != "" {
			if err := j.drop(f, i, damaged("%s", why)); err != nil {
				return err
			}
		}
	}
	return nil
}

// contradicts says why a cannot lie before b.
func contradicts(a, b *segment) string {
	end := b.Start
	if a.Epoch != b.Epoch {
		i := slices.IndexFunc(b.Ends, func(e epochEnd) bool { return e.Epoch == a.Epoch })
		if i < 0 && len(b.Ends) < maxEnds {
			return "its epoch is not one before " + filepath.Base(b.path)
		}
		return ""
	}
	for lane := range lanes {
		x, y := a.end.Heads[lane], end.Heads[lane]
		if x.Seq > y.Seq || (x.Seq == y.Seq && x.CRC != y.CRC) || a.end.Commit > end.Commit {
			return fmt.Sprintf("its %s end at %d (CRC %08x), %s begins after %d (%08x)", edge.Lanes[lane], x.Seq, x.CRC, filepath.Base(b.path), y.Seq, y.CRC)
		}
	}
	return ""
}

// prove verifies all that a restart replays: the newest epoch's records from its newest
// checkpoint on. A segment that fails is set aside, and what is before it is proven.
func (j *Journal) prove(f *found) error {
	epoch := ""
	for i := len(f.segs) - 1; i >= 0; i-- {
		s := f.segs[i]
		if s.end.Commit == s.Start.Commit {
			continue
		}
		if s.Slim != nil || (epoch != "" && s.Epoch != epoch) {
			return nil
		}
		head, err := j.verify(s)
		if err != nil && !isDamage(err) {
			return fmt.Errorf("open journal: %w", err)
		}
		if err != nil {
			if err := j.drop(f, i, err); err != nil {
				return err
			}
			continue
		}
		if epoch == "" {
			j.ckptAt = head.At
		}
		if epoch = s.Epoch; head.Commit > 0 {
			return nil
		}
	}
	return nil
}

// verify checks a segment's checkpoint and all from it on, or all when there is none.
func (j *Journal) verify(s *segment) (head checkpointHead, err error) {
	err = j.view(s, func(tx *bbolt.Tx) (err error) {
		head, _, err = getCheckpoint(tx)
		return err
	})
	if err != nil {
		return head, err
	}
	if head.Commit > s.end.Commit || (head.Commit > 0 && head.Commit <= s.Start.Commit) {
		return head, damaged("checkpoint of commit %d in a segment of %d-%d", head.Commit, s.Start.Commit+1, s.end.Commit)
	}
	for next := max(head.Commit, s.Start.Commit+1); next <= s.end.Commit; {
		err := j.view(s, func(tx *bbolt.Tx) error {
			chunk, err := readCommits(tx, s, next, s.end, time.Time{}, 0, readingsLane)
			next += uint64(len(chunk))
			return err
		})
		if err != nil {
			return head, err
		}
	}
	return head, nil
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

// tail is what is lost at the end of the newest epoch that is over.
func (f *found) tail(ends []epochEnd) (out []Lost) {
	if len(ends) == 0 {
		return nil
	}
	last := ends[len(ends)-1]
	for lane := range lanes {
		after, claim := last.Heads[lane].Seq, f.claims[last.Epoch][lane]
		if a := f.anchor; a != nil {
			if a.Epoch == last.Epoch {
				claim = max(claim, a.Heads[lane].Seq)
			}
			if a.Marks[lane].Epoch == last.Epoch {
				after = max(after, a.Marks[lane].Seq)
			}
		}
		if claim > after {
			out = append(out, lost(last.Epoch, lane, after, claim, "damaged"))
			continue
		}
		out = append(out, Lost{Epoch: last.Epoch, Lane: edge.Lanes[lane], From: after + 1, Cause: "damaged"})
	}
	return out
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

// gaps are the ranges after the marks that are not kept and were not declared.
func (j *Journal) gaps() (out []Lost) {
	active := j.active()
	for lane := range lanes {
		m := j.marks[lane]
		for pos := max(0, j.order(m.Epoch)); pos <= len(active.Ends); pos++ {
			epoch, to := active.Epoch, j.end.Heads[lane].Seq
			if pos < len(active.Ends) {
				epoch, to = active.Ends[pos].Epoch, active.Ends[pos].Heads[lane].Seq
			}
			at := uint64(0)
			if epoch == m.Epoch {
				at = m.Seq
			}
			for i, s := range j.segs {
				if s.Epoch != epoch || !s.has(lane) {
					continue
				}
				if start := min(s.Start.Heads[lane].Seq, to); start > at {
					out = append(out, j.undeclared(epoch, lane, at, start)...)
				}
				at = max(at, endOf(j.segs, i, j.end).Heads[lane].Seq)
			}
			if at < to {
				out = append(out, j.undeclared(epoch, lane, at, to)...)
			}
		}
	}
	return out
}

// undeclared is (after, to] without the holes that are known.
func (j *Journal) undeclared(epoch string, lane int, after, to uint64) (out []Lost) {
	known := slices.DeleteFunc(slices.Clone(j.holes), func(h Lost) bool { return h.Epoch != epoch || h.Lane != edge.Lanes[lane] })
	slices.SortFunc(known, func(a, b Lost) int { return int(int64(a.From) - int64(b.From)) })
	for _, h := range known {
		if h.From > after+1 && h.From <= to {
			out = append(out, lost(epoch, lane, after, h.From-1, "missing"))
		}
		after = max(after, min(h.To, to))
	}
	if after < to {
		out = append(out, lost(epoch, lane, after, to, "missing"))
	}
	return out
}
