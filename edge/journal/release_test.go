package journal_test

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

func TestReadAndReleaseDrainOnce(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	c := newCloud(t)
	for range 10 {
		s.fill(12)
		if err := c.drain(s.j); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.account(c); n != 0 || len(c.gaps) != 0 {
		t.Errorf("%d records missing, gaps %v", n, c.gaps)
	}
	if m := s.j.Mark(edge.Readings); m != c.last[edge.Readings] {
		t.Errorf("Mark = %v, want %v", m, c.last[edge.Readings])
	}
	s.fill(1) // stores the mark
	want := c.last[edge.Readings]
	s.crash()
	if m := s.j.Mark(edge.Readings); m != want {
		t.Errorf("Mark after a crash = %v, want %v", m, want)
	}
}

func TestReadRespectsMaxBytes(t *testing.T) {
	s := openStore(t, journal.Options{})
	s.fill(20)
	for _, most := range []int{0, 1000, 5000, 1 << 20} {
		span, err := s.j.Read(edge.Readings, journal.Mark{}, most)
		if err != nil {
			t.Fatal(err)
		}
		size := -1
		for _, r := range span.Records {
			size += len(r) + 1
		}
		if len(span.Records) == 0 || (size > most && len(span.Records) > 1) {
			t.Errorf("Read with %d bytes gave %d records of %d bytes", most, len(span.Records), size)
		}
		if most == 1<<20 && len(span.Records) != 60 {
			t.Errorf("Read gave %d of 60 records", len(span.Records))
		}
	}
}

func TestReleaseRefusesAnotherChain(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	s.fill(60)
	span, err := s.j.Read(edge.Readings, journal.Mark{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	good := journal.Mark{Epoch: s.j.Epoch(), Seq: 1, CRC: edge.Chain(0, span.Records[0])}
	head := s.j.Head(edge.Readings)
	for name, m := range map[string]journal.Mark{
		"other epoch":      {Epoch: "00000000000000000000000000000000", Seq: 1, CRC: good.CRC},
		"other CRC":        {Epoch: good.Epoch, Seq: 1, CRC: good.CRC + 1},
		"other CRC at end": {Epoch: good.Epoch, Seq: head.Seq, CRC: head.CRC + 1},
		"beyond the end":   {Epoch: good.Epoch, Seq: head.Seq + 1, CRC: head.CRC},
	} {
		if err := s.j.Release(edge.Readings, m); !errors.Is(err, journal.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	if m := s.j.Mark(edge.Readings); m.Seq != 0 {
		t.Errorf("a refused mark was taken: %v", m)
	}
	for _, m := range []journal.Mark{{}, {Epoch: "never seen"}, good, good, {Epoch: good.Epoch}} {
		if err := s.j.Release(edge.Readings, m); err != nil {
			t.Errorf("Release(%v): %v", m, err)
		}
	}
	if m := s.j.Mark(edge.Readings); m != good {
		t.Errorf("Mark = %v, want %v", m, good)
	}
}

// A store restored from an old copy contradicts nothing here; the cloud sees it. Both histories
// are then either applied or declared.
func TestRestoredOldCopyBeginsANewEpochOnConflict(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	c := newCloud(t)
	s.fill(40)
	copied := tempDir(t)
	if err := os.CopyFS(copied, os.DirFS(s.opts.Dir)); err != nil {
		t.Fatal(err)
	}
	s.fill(20)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.close()

	old := openStore(t, journal.Options{Dir: copied, SegmentSize: 64 << 10})
	if r := old.j.Opened(); r.Reason != "" {
		t.Fatalf("the old copy was noticed without the cloud: %+v", r)
	}
	before := old.j.Head(edge.Readings).Seq
	old.fill(5)
	mine := old.written // what the old copy wrote on its own
	err := old.j.Release(edge.Readings, c.last[edge.Readings])
	if !errors.Is(err, journal.ErrConflict) {
		t.Fatalf("Release of the cloud's mark: %v, want ErrConflict", err)
	}
	lost, err := old.j.NewEpoch("the cloud refuses the chain")
	if err != nil {
		t.Fatal(err)
	}
	for id, b := range mine {
		r, err := edge.ParseRecord([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		if !declared(lost, r) {
			t.Errorf("record %s after %d is not declared: %+v", id, before, lost)
		}
		delete(mine, id)
	}
	old.fill(5)
	if err := c.drain(old.j); err != nil {
		t.Fatal(err)
	}
	old.account(c.only(old.j.Epoch()))
	if n, _ := old.j.LastCommit(); n != 5 || old.j.Head(edge.Events).Seq != 5 {
		t.Errorf("the new epoch is at commit %d, events %d, want 5", n, old.j.Head(edge.Events).Seq)
	}
}

// only is what the cloud applied of one epoch.
func (c *cloud) only(epoch string) *cloud {
	out := newCloud(c.t)
	for id, b := range c.applied {
		if id[:32] == epoch {
			out.applied[id] = b
		}
	}
	return out
}

func TestNewEpochIsDeclaredAgainUntilACommit(t *testing.T) {
	s := openStore(t, journal.Options{})
	s.fill(5)
	old := s.j.Epoch()
	lost, err := s.j.NewEpoch("test")
	if err != nil {
		t.Fatal(err)
	}
	if len(lost) != 2 || lost[0].To != 5 || lost[1].Count != 15 || lost[1].Epoch != old {
		t.Errorf("NewEpoch lost %+v, want events 1-5 and readings 1-15", lost)
	}
	s.crash()
	if r := s.j.Opened(); r.Reason != "test" || r.Previous != old || len(r.Lost) != 2 {
		t.Errorf("Opened() = %+v, want the same loss again", r)
	}
	if state, n, _, err := s.j.Checkpoint(); string(state) != "state after 1" || n != 1 || err != nil {
		t.Errorf("Checkpoint = %q %d %v, want that of the old epoch", state, n, err)
	}
	if !s.j.NeedCheckpoint() {
		t.Error("the new epoch needs no checkpoint")
	}
	s.fill(1)
	s.crash()
	if r := s.j.Opened(); r.Reason != "" || len(r.Lost) != 0 {
		t.Errorf("Opened() after a commit = %+v, want nothing", r)
	}
	if _, n, _, err := s.j.Checkpoint(); n != 1 || err != nil {
		t.Errorf("Checkpoint of commit %d, %v, want 1 of the new epoch", n, err)
	}
}

func TestTrimDeletesReleasedSegmentsAfterHistory(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10, History: time.Hour})
	c := newCloud(t)
	s.fill(100)
	n := len(segments(t, s.opts.Dir))
	s.at = s.at.Add(2 * time.Hour)
	s.trim()
	if got := len(segments(t, s.opts.Dir)); got != n {
		t.Fatalf("%d of %d segments are left, and nothing was released", got, n)
	}
	span, err := s.j.Read(edge.Readings, journal.Mark{}, 150<<10)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(span)
	if err := s.j.Release(edge.Readings, c.last[edge.Readings]); err != nil {
		t.Fatal(err)
	}
	s.trim()
	if got := len(segments(t, s.opts.Dir)); got != n {
		t.Fatalf("%d of %d segments are left, and no event was released", got, n)
	}
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.trim()
	if got := segments(t, s.opts.Dir); len(got) != 1 {
		t.Errorf("left are %v, want the newest alone", got)
	}
	s.fill(1)
	s.reopen()
	if r := s.j.Opened(); r.Reason != "" || len(r.Lost) != 0 {
		t.Errorf("Opened() after a trim = %+v, want nothing", r)
	}
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	if n := s.account(c); n != 0 || len(s.lost) != 0 {
		t.Errorf("%d missing, %v declared", n, s.lost)
	}
	for _, err := range s.j.Commits(3) {
		if !errors.Is(err, journal.ErrGone) {
			t.Errorf("Commits after a commit that was trimmed: %v, want ErrGone", err)
		}
	}
	span, err = s.j.Read(edge.Events, journal.Mark{Epoch: s.j.Epoch(), Seq: 1}, 1)
	if err != nil || span.First == 2 || span.Lost != span.First-2 {
		t.Errorf("Read after a trimmed record: first %d, lost %d, %v", span.First, span.Lost, err)
	}
}

func TestTrimAboveMaxSizeDropsReadingsNeverEvents(t *testing.T) {
	const most, segment = 1 << 20, 256 << 10
	s := openStore(t, journal.Options{SegmentSize: segment, MaxSize: most})
	c := newCloud(t)
	s.fill(10)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		s.commit(event(i), readings(i, 1500), readings(i, 1500), readings(i, 1500), readings(i, 1500), readings(i, 1500))
		if i%10 == 0 {
			s.trim()
		}
	}
	s.trim()
	if st := s.j.Stats(); st.Bytes > most+segment {
		t.Errorf("%d bytes in %d segments, at most %d and one segment were allowed", st.Bytes, st.Segments, most)
	}
	s.fill(1)
	before := len(s.lost)
	s.crash()
	if again := s.j.Opened().Lost; len(again) != 0 {
		t.Errorf("declared were %v, and again at the next start %v", s.lost[:before], again)
	}
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	missing := s.account(c)
	var count uint64
	for _, l := range s.lost {
		if count += l.Count; l.Lane != edge.Readings || l.Cause != "quota" {
			t.Errorf("lost %+v, want readings by quota only", l)
		}
	}
	if missing == 0 || uint64(missing) != count {
		t.Errorf("%d records are missing, %d declared", missing, count)
	}
	if len(c.gaps) != 1 || c.gaps[0].To-c.gaps[0].From+1 != count {
		t.Errorf("the cloud saw the gaps %v, want one of %d", c.gaps, count)
	}
	events := 0
	for r, err := range s.j.Scan(edge.Events, start, s.at.Add(time.Second)) {
		if err != nil || s.written[r.ID()] == "" {
			t.Fatalf("Scan of slim segments: %s, %v", r.ID(), err)
		}
		events++
	}
	if events < 290 {
		t.Errorf("Scan gave %d events, want all that were not released", events)
	}
}

// What Trim dropped is declared by Open when the process died before the next commit.
func TestTrimmedAndNotStoredIsDeclaredByOpen(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10, MaxSize: 200 << 10})
	s.fill(150)
	lost, err := s.j.Trim(s.at) // the answer dies with the process
	if err != nil || len(lost) == 0 {
		t.Fatalf("Trim = %v, %v, want some loss", lost, err)
	}
	s.crash()
	c := newCloud(t)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	if n := s.account(c); n == 0 {
		t.Error("nothing is missing")
	}
}

func TestReadServesARewoundMark(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	s.fill(60)
	if err := newCloud(t).drain(s.j); err != nil {
		t.Fatal(err)
	}
	again := newCloud(t) // the cloud lost its database, and says so by its mark
	for _, l := range edge.Lanes {
		again.last[l] = journal.Mark{Epoch: s.j.Epoch()}
	}
	if err := again.drain(s.j); err != nil {
		t.Fatal(err)
	}
	if n := s.account(again); n != 0 {
		t.Errorf("%d records did not come again", n)
	}
}

// When the cloud goes back, what it needs again is not deleted, however old.
func TestTrimKeepsWhatTheCloudNeedsAgain(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10, History: -1})
	s.fill(60)
	span, err := s.j.Read(edge.Readings, journal.Mark{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := newCloud(t).drain(s.j); err != nil {
		t.Fatal(err)
	}
	first := journal.Mark{Epoch: s.j.Epoch(), Seq: 1, CRC: edge.Chain(0, span.Records[0])}
	if err := s.j.Release(edge.Readings, first); err != nil {
		t.Fatal(err)
	}
	s.trim()
	if span, err = s.j.Read(edge.Readings, first, 1); err != nil || span.First != 2 {
		t.Errorf("Read after the mark the cloud went back to: first %d, %v; want 2", span.First, err)
	}
	head := s.j.Head(edge.Readings)
	if err := s.j.Release(edge.Readings, journal.Mark{Epoch: s.j.Epoch(), Seq: head.Seq, CRC: head.CRC}); err != nil {
		t.Fatal(err)
	}
	s.trim()
	if n := len(segments(t, s.opts.Dir)); n != 1 {
		t.Errorf("%d segments are left when the cloud has all again, want 1", n)
	}
}

// The uplink, a history reader and status run beside the writer, which rolls and deletes.
func TestReadersBesideTheWriter(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10, History: -1})
	c := newCloud(t)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for ended := false; ; {
			ev, rd := s.j.Changed(edge.Events), s.j.Changed(edge.Readings)
			if err := c.drain(s.j); err != nil {
				t.Error(err)
				return
			}
			if ended {
				return
			}
			select {
			case <-ev:
			case <-rd:
			case <-done:
				ended = true
			}
		}
	})
	wg.Go(func() {
		for {
			for _, l := range edge.Lanes {
				for _, err := range s.j.Scan(l, start, start.Add(time.Hour)) {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
			s.j.Stats()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range 40 {
		s.fill(8)
		s.trim()
	}
	close(done)
	wg.Wait()
	if n := s.account(c); n != 0 || len(s.lost) != 0 || len(c.gaps) != 0 {
		t.Errorf("%d records missing, %v declared, gaps %v", n, s.lost, c.gaps)
	}
	s.trim()
	if n := len(segments(t, s.opts.Dir)); n > 1 {
		t.Errorf("%d segments are left, and all is released", n)
	}
}
