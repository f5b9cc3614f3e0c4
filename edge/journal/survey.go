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
