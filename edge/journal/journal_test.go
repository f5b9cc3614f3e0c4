package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

func TestOpenMakesAFreshStore(t *testing.T) {
	s := openStore(t, journal.Options{})
	if r := s.j.Opened(); !r.Fresh || r.Reason != "" || len(r.Lost) > 0 || r.Epoch != s.j.Epoch() || len(r.Epoch) != 32 {
		t.Errorf("Opened() = %+v, want fresh with nothing lost", r)
	}
	info, err := os.Stat(s.opts.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v (%v), want 0700", info.Mode().Perm(), err)
	}
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", e.Name(), info.Mode().Perm(), err)
		}
	}
}

func TestReopenGoesOn(t *testing.T) {
	for name, again := range map[string]func(*store){"after a clean close": (*store).reopen, "after a crash": (*store).crash} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, journal.Options{SegmentSize: 256 << 10})
			c := newCloud(t)
			for range 5 {
				s.fill(20)
				epoch, head := s.j.Epoch(), s.j.Head(edge.Readings)
				n, at := s.j.LastCommit()
				again(s)
				if r := s.j.Opened(); r.Fresh || r.Reason != "" || len(r.Lost)+len(r.Quarantined) > 0 {
					t.Fatalf("Opened() = %+v, want nothing found", r)
				}
				if s.j.Epoch() != epoch || s.j.Head(edge.Readings) != head {
					t.Fatalf("epoch %s head %v, want %s %v", s.j.Epoch(), s.j.Head(edge.Readings), epoch, head)
				}
				if n2, at2 := s.j.LastCommit(); n2 != n || !at2.Equal(at) {
					t.Fatalf("LastCommit = %d %v, want %d %v", n2, at2, n, at)
				}
			}
			if err := c.drain(s.j); err != nil {
				t.Fatal(err)
			}
			if n := s.account(c); n != 0 || len(c.gaps) != 0 {
				t.Errorf("%d of %d records are missing, gaps %v", n, len(s.written), c.gaps)
			}
		})
	}
}

func TestCommitRefusesWhatIsNoRecord(t *testing.T) {
	s := openStore(t, journal.Options{})
	s.fill(1)
	for name, d := range map[string]journal.Draft{
		"too large":    readings(1, edge.MaxRecordHard),
		"line break":   {Lane: edge.Events, Type: "x", Data: []byte("{\n}")},
		"unknown lane": {Lane: "other", Type: "x"},
	} {
		head := s.j.Head(edge.Events)
		if _, err := s.j.Commit(s.at, []journal.Draft{event(1), d}, nil); err == nil || errors.Is(err, journal.ErrFatal) {
			t.Errorf("%s: error %v, want a refusal that is not fatal", name, err)
		}
		if got := s.j.Head(edge.Events); got != head {
			t.Errorf("%s: head moved from %v to %v", name, head, got)
		}
	}
	if _, err := s.j.Commit(s.at.Add(-time.Second), []journal.Draft{event(1)}, nil); err == nil {
		t.Error("a commit before the last one's time was taken")
	}
	s.fill(1)
	if got := s.j.Head(edge.Events).Seq; got != 2 {
		t.Errorf("head %d after two good commits, want 2", got)
	}
}

func TestSecondOpenerIsToldWhoRuns(t *testing.T) {
	t.Parallel() // it waits for the lock's timeout
	s := openStore(t, journal.Options{})
	_, err := journal.Open(s.opts)
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second Open: %v, want ErrLocked that names process %d", err, os.Getpid())
	}
	s.fill(1) // the first one is not disturbed
	s.reopen()
}

func TestOpenRefusesUnusableDirectories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "journal")} {
		_, err := journal.Open(journal.Options{Dir: dir, Source: "site-1"})
		if err == nil || !strings.Contains(err.Error(), "storage.dir") {
			t.Errorf("%s: error %v, want one that says what to do", name, err)
		}
	}
}

func TestOpenRefusesAnotherSitesStore(t *testing.T) {
	s := openStore(t, journal.Options{})
	s.fill(1)
	s.close()
	o := s.opts
	o.Source = "site-2"
	if _, err := journal.Open(o); err == nil || !strings.Contains(err.Error(), `"site-1"`) {
		t.Errorf("Open as another site: %v, want a refusal that names site-1", err)
	}
	s.open() // and nothing was changed
	if r := s.j.Opened(); r.Reason != "" || len(r.Quarantined) > 0 {
		t.Errorf("Opened() = %+v after a refusal", r)
	}
}

func TestNeedCheckpoint(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 256 << 10, SegmentAge: time.Hour})
	if !s.j.NeedCheckpoint() {
		t.Error("an empty journal needs no checkpoint")
	}
	s.fill(1)
	if s.j.NeedCheckpoint() {
		t.Error("one is needed right after one")
	}
	s.at = s.at.Add(10 * time.Minute)
	s.fill(1)
	if !s.j.NeedCheckpoint() {
		t.Error("none is needed after ten minutes")
	}
	s.fill(1)
	for n := len(segments(t, s.opts.Dir)); len(segments(t, s.opts.Dir)) == n; {
		need := s.j.NeedCheckpoint()
		s.commit(readings(1, 1500))
		if rolled := len(segments(t, s.opts.Dir)) > n; rolled != need && rolled {
			t.Fatal("a segment began without a checkpoint")
		}
	}
}

func TestCheckpointAndCommitsReplay(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 128 << 10})
	if state, n, _, err := s.j.Checkpoint(); state != nil || n != 0 || err != nil {
		t.Errorf("Checkpoint of an empty journal = %q %d %v", state, n, err)
	}
	for _, size := range []int{300_000, 40_000, 0, 16_000} {
		s.fill(30)
		s.at = s.at.Add(time.Second)
		big := []byte(strings.Repeat("x", size))
		n, err := s.j.Commit(s.at, []journal.Draft{event(0)}, big)
		if err != nil {
			t.Fatal(err)
		}
		state, commit, at, err := s.j.Checkpoint()
		if err != nil || state == nil || string(state) != string(big) || commit != n || !at.Equal(s.at) {
			t.Errorf("Checkpoint = %d bytes, commit %d at %v, %v; want %d bytes, %d at %v", len(state), commit, at, err, len(big), n, s.at)
		}
	}
	s.fill(10)
	s.crash()
	n, _ := s.j.LastCommit()
	n -= 10
	for _, after := range []uint64{0, 57, n, n + 9, n + 10, n + 100} {
		next := after + 1
		for c, err := range s.j.Commits(after) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Number != next {
				t.Fatalf("commit %d after %d", c.Number, next-1)
			}
			if next++; c.Number%31 == 0 && c.Number <= n {
				continue // the ones above
			}
			if len(c.Records) != 4 || c.Records[0].Lane != edge.Events || c.Records[0].Input || !c.Records[1].Input {
				t.Fatalf("commit %d has records %+v, want an event and three inputs", c.Number, c.Records)
			}
			for _, r := range c.Records {
				if got := string(r.AppendJSON(nil)); got != s.written[r.ID()] || !r.Time.Equal(c.At) {
					t.Fatalf("commit %d at %v has\n%s, written was\n%s", c.Number, c.At, got, s.written[r.ID()])
				}
			}
		}
		if want := max(n+10, after); next != want+1 {
			t.Errorf("Commits(%d) ended before %d, want %d", after, next, want+1)
		}
	}
}

func TestScanByTime(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	s.fill(120)
	if n := len(segments(t, s.opts.Dir)); n < 4 {
		t.Fatalf("%d segments, the test wants some", n)
	}
	if _, err := s.j.NewEpoch("test"); err != nil {
		t.Fatal(err)
	}
	s.fill(30)
	for _, l := range edge.Lanes {
		for _, w := range [][2]int{{0, 1000}, {1, 151}, {1, 2}, {40, 41}, {40, 90}, {100, 140}, {150, 151}, {151, 999}, {0, 1}, {60, 60}} {
			from, to := start.Add(time.Duration(w[0])*time.Second), start.Add(time.Duration(w[1])*time.Second)
			var last time.Time
			n := 0
			for r, err := range s.j.Scan(l, from, to) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Time.Before(from) || !r.Time.Before(to) || r.Time.Before(last) || r.Lane != l || s.written[r.ID()] == "" {
					t.Fatalf("Scan(%s, %v): got %s of %v after %v", l, w, r.ID(), r.Time, last)
				}
				last = r.Time
				n++
			}
			want := max(0, min(w[1], 151)-max(w[0], 1))
			if l == edge.Readings {
				want *= 3
			}
			if n != want {
				t.Errorf("Scan(%s, %v) gave %d records, want %d", l, w, n, want)
			}
		}
	}
}

func TestChangedWakesTheLane(t *testing.T) {
	s := openStore(t, journal.Options{})
	ev, rd := s.j.Changed(edge.Events), s.j.Changed(edge.Readings)
	s.commit(event(1))
	select {
	case <-ev:
	default:
		t.Error("an event did not wake its lane")
	}
	select {
	case <-rd:
		t.Error("an event woke the other lane")
	default:
	}
}

func TestStats(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 128 << 10})
	s.fill(100)
	st := s.j.Stats()
	r := st.Lane(edge.Readings)
	if r.Head != 300 || r.Pending != 300 || r.Oldest != 1 || !r.OldestUnsent.Equal(start.Add(time.Second)) {
		t.Errorf("readings %+v, want 300 pending since the first commit", r)
	}
	if r.PendingBytes < 250_000 || r.PendingBytes > 400_000 || st.BytesWritten < r.PendingBytes || st.Bytes < r.PendingBytes {
		t.Errorf("%d bytes pending, %d written, %d kept; about 330,000 were given", r.PendingBytes, st.BytesWritten, st.Bytes)
	}
	span, err := s.j.Read(edge.Readings, journal.Mark{}, 60<<10)
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t)
	c.apply(span)
	if err := s.j.Release(edge.Readings, c.last[edge.Readings]); err != nil {
		t.Fatal(err)
	}
	n := uint64(len(span.Records))
	r = s.j.Stats().Lane(edge.Readings)
	if want := start.Add(time.Duration(n/3+1) * time.Second); r.Pending != 300-n || !r.OldestUnsent.Equal(want) {
		t.Errorf("after the release of %d: %+v, want %d pending since %v", n, r, 300-n, want)
	}
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	if r = s.j.Stats().Lane(edge.Readings); r.Pending != 0 || !r.OldestUnsent.IsZero() || r.PendingBytes != 0 {
		t.Errorf("after all is released: %+v, want nothing pending", r)
	}
	s.fill(1)
	if r = s.j.Stats().Lane(edge.Readings); r.Pending != 3 || !r.OldestUnsent.Equal(s.at) {
		t.Errorf("after one more commit: %+v, want 3 pending since %v", r, s.at)
	}
}

func TestRecords(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	s.fill(50)
	for _, w := range []struct{ after, limit, first, n int }{{0, 10, 1, 10}, {45, 10, 46, 5}, {50, 10, 0, 0}, {0, 1000, 1, 50}, {7, 1, 8, 1}} {
		rs, err := s.j.Records(edge.Events, uint64(w.after), w.limit)
		if err != nil || len(rs) != w.n || (w.n > 0 && rs[0].Seq != uint64(w.first)) {
			t.Errorf("Records(%d, %d) = %d records, %v; want %d from %d", w.after, w.limit, len(rs), err, w.n, w.first)
		}
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	s.fill(40)
	s.close()
	files := segments(t, s.opts.Dir)
	edit(t, files[len(files)-1], func([]byte) []byte { return []byte("foreign") })
	before := listing(t, s.opts.Dir)
	look := openStore(t, journal.Options{Dir: s.opts.Dir, ReadOnly: true})
	if r := look.j.Opened(); r.Reason == "" || len(r.Quarantined) != 1 {
		t.Errorf("Opened() = %+v, want what a hub would find", r)
	}
	n := 0
	for _, err := range look.j.Scan(edge.Events, start, s.at) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 || look.j.Stats().Events.Head == 0 {
		t.Error("nothing can be read")
	}
	if _, err := look.j.Commit(s.at, nil, nil); !errors.Is(err, journal.ErrReadOnly) {
		t.Errorf("Commit: %v, want ErrReadOnly", err)
	}
	look.close()
	if after := listing(t, s.opts.Dir); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
	if _, err := journal.Open(journal.Options{Dir: t.TempDir(), ReadOnly: true}); err == nil {
		t.Error("an empty directory opened as a store")
	}
}

// listing is the names and sizes of the files in a directory.
func listing(t *testing.T, dir string) (out string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out += e.Name() + " " + strconv.FormatInt(info.Size(), 10) + "\n"
	}
	return out
}
