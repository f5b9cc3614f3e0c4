package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// store is a journal under test together with what was written to it.
type store struct {
	t       testing.TB
	opts    journal.Options
	j       *journal.Journal
	at      time.Time
	written map[string]string // id -> record, of all commits that returned
	lost    []journal.Lost    // declared so far
	commits int
}

// tempDir is a directory in memory where there is such a thing: what is tested here does not need
// a disk to sync, and a busy one makes the tests slow.
func tempDir(t testing.TB) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "headcount-journal-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func openStore(t testing.TB, o journal.Options) *store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(tempDir(t), "journal")
	}
	if o.Source == "" {
		o.Source = "site-1"
	}
	s := &store{t: t, opts: o, at: start, written: map[string]string{}}
	s.open()
	t.Cleanup(func() { s.j.Close() })
	return s
}

func (s *store) open() {
	s.t.Helper()
	j, err := journal.Open(s.opts)
	if err != nil {
		s.t.Fatalf("Open: %v", err)
	}
	s.j = j
	s.lost = append(s.lost, j.Opened().Lost...)
	if _, at := j.LastCommit(); at.After(s.at) {
		s.at = at
	}
}

func (s *store) close() {
	s.t.Helper()
	if err := s.j.Close(); err != nil {
		s.t.Fatalf("Close: %v", err)
	}
}

func (s *store) reopen() {
	s.t.Helper()
	s.close()
	s.open()
}

// crash leaves the files as a killed process leaves them: copied while open.
func (s *store) crash() {
	s.t.Helper()
	dir := filepath.Join(tempDir(s.t), "journal")
	if err := os.CopyFS(dir, os.DirFS(s.opts.Dir)); err != nil {
		s.t.Fatal(err)
	}
	s.j.Close()
	s.opts.Dir = dir
	s.open()
}

func event(n int) journal.Draft {
	return journal.Draft{Lane: edge.Events, Type: "occupancy.changed", Subject: "room-1", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

func readings(n, size int) journal.Draft {
	pad := bytes.Repeat([]byte("x"), size)
	return journal.Draft{Lane: edge.Readings, Input: true, Type: "readings", Data: json.RawMessage(fmt.Sprintf(`[{"n":%d,"pad":%q}]`, n, pad))}
}

// commit stores drafts a second after the commit before, with a checkpoint when one is due.
func (s *store) commit(ds ...journal.Draft) uint64 {
	s.t.Helper()
	s.at = s.at.Add(time.Second)
	var state []byte
	if s.j.NeedCheckpoint() {
		state = fmt.Appendf(nil, "state after %d", s.commits+1)
	}
	heads := map[edge.Lane]uint64{edge.Events: s.j.Head(edge.Events).Seq, edge.Readings: s.j.Head(edge.Readings).Seq}
	n, err := s.j.Commit(s.at, ds, state)
	if err != nil {
		s.t.Fatalf("Commit: %v", err)
	}
	s.commits++
	for _, d := range ds {
		heads[d.Lane]++
		r := edge.Record{Epoch: s.j.Epoch(), Lane: d.Lane, Seq: heads[d.Lane], Commit: n, Input: d.Input, Source: s.opts.Source, Type: d.Type, Subject: d.Subject, Time: s.at, At: d.At, Data: d.Data}
		s.written[r.ID()] = string(r.AppendJSON(nil))
	}
	return n
}

// fill commits n times one event and three records of readings.
func (s *store) fill(n int) {
	s.t.Helper()
	for i := range n {
		s.commit(event(i), readings(i, 300), readings(i, 900), readings(i, 1500))
	}
}

func (s *store) trim() {
	s.t.Helper()
	lost, err := s.j.Trim(s.at)
	if err != nil {
		s.t.Fatalf("Trim: %v", err)
	}
	s.lost = append(s.lost, lost...)
}

// cloud applies spans by the rules of the wire: each record once, chained, gaps only declared.
type cloud struct {
	t       testing.TB
	marks   map[string]journal.Mark // by epoch and lane
	last    map[edge.Lane]journal.Mark
	applied map[string]string
	gaps    []journal.Lost
}

func newCloud(t testing.TB) *cloud {
	return &cloud{t: t, marks: map[string]journal.Mark{}, last: map[edge.Lane]journal.Mark{}, applied: map[string]string{}}
}

func (c *cloud) apply(s journal.Span) {
	c.t.Helper()
	k := s.Epoch + string(s.Lane)
	m := c.marks[k]
	switch before := s.First - 1; {
	case m.Seq+s.Lost < before:
		c.t.Fatalf("%s of epoch %s: span begins at %d with %d lost, the mark is %d", s.Lane, s.Epoch, s.First, s.Lost, m.Seq)
	case m.Seq < before:
		c.gaps = append(c.gaps, journal.Lost{Epoch: s.Epoch, Lane: s.Lane, From: m.Seq + 1, To: before})
	case m.Seq > before:
		c.t.Fatalf("%s of epoch %s: span begins at %d, the mark is %d already", s.Lane, s.Epoch, s.First, m.Seq)
	case m.CRC != s.CRC:
		c.t.Fatalf("%s of epoch %s: CRC before %d is %08x, the mark says %08x", s.Lane, s.Epoch, s.First, s.CRC, m.CRC)
	}
	m = journal.Mark{Epoch: s.Epoch, Seq: s.First - 1, CRC: s.CRC}
	for _, b := range s.Records {
		r, err := edge.ParseRecord(b)
		if err != nil {
			c.t.Fatalf("record after %d: %v", m.Seq, err)
		}
		m.Seq, m.CRC = m.Seq+1, edge.Chain(m.CRC, b)
		if r.Seq != m.Seq || r.Epoch != s.Epoch || r.Lane != s.Lane {
			c.t.Fatalf("record %s lies at %s %d of epoch %s", r.ID(), s.Lane, m.Seq, s.Epoch)
		}
		if _, twice := c.applied[r.ID()]; twice {
			c.t.Fatalf("record %s came twice", r.ID())
		}
		c.applied[r.ID()] = string(b)
	}
	c.marks[k], c.last[s.Lane] = m, m
}

// drain sends all there is and releases it; the error is the first of Read or Release.
func (c *cloud) drain(j *journal.Journal) error {
	c.t.Helper()
	for _, l := range edge.Lanes {
		for {
			s, err := j.Read(l, c.last[l], 16<<10)
			if err != nil {
				return err
			}
			if len(s.Records) == 0 {
				break
			}
			c.apply(s)
			if err := j.Release(l, c.last[l]); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle drains through damage: what readers meet is set aside, until all is sent.
func (s *store) settle(c *cloud) {
	s.t.Helper()
	for range 20 {
		err := c.drain(s.j)
		if err != nil && !errors.Is(err, journal.ErrDamaged) {
			s.t.Fatalf("drain: %v", err)
		}
		s.commit(event(-1))
		s.trim()
		if err == nil {
			s.commit(event(-2))
			if err := c.drain(s.j); err != nil {
				s.t.Fatalf("drain again: %v", err)
			}
			return
		}
	}
	s.t.Fatal("the journal does not settle")
}

// account checks that every record written was applied as it was written, or is declared.
func (s *store) account(c *cloud) (missing int) {
	s.t.Helper()
	for id, want := range s.written {
		if got, ok := c.applied[id]; ok {
			if got != want {
				s.t.Errorf("applied %s\nwritten %s", got, want)
			}
			continue
		}
		missing++
		r, err := edge.ParseRecord([]byte(want))
		if err != nil {
			s.t.Fatal(err)
		}
		if !declared(s.lost, r) {
			s.t.Errorf("record %s is neither applied nor declared; declared are %+v", id, s.lost)
			return missing
		}
	}
	for id, got := range c.applied {
		if s.written[id] == "" {
			s.t.Errorf("applied, but never written: %s", got)
		}
	}
	return missing
}

func declared(lost []journal.Lost, r edge.Record) bool {
	for _, l := range lost {
		if l.Epoch == r.Epoch && l.Lane == r.Lane && l.From <= r.Seq && (l.To == 0 || r.Seq <= l.To) {
			return true
		}
	}
	return false
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
