package journal_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// copyTo writes a backup to a directory as a hub's restore does.
func copyTo(t *testing.T, j *journal.Journal, dir string, between func()) {
	t.Helper()
	err := j.Backup(func(name string, size int64, content io.Reader) error {
		between()
		b, err := io.ReadAll(content)
		if err == nil && int64(len(b)) != size {
			t.Errorf("%s has %d bytes, said %d", name, len(b), size)
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 256 << 10})
	c := newCloud(t)
	s.fill(120)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.settle(c)
	s.fill(40)
	epoch, head := s.j.Epoch(), s.j.Head(edge.Readings)
	dir := tempDir(t)
	copyTo(t, s.j, dir, func() { s.fill(5) })
	if err := journal.MarkRestored(dir, time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	after := s.j.Head(edge.Readings)
	s.fill(30) // written after the backup, and applied by the cloud
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.close()

	s.opts.Dir = dir
	s.open()
	r := s.j.Opened()
	if !strings.Contains(r.Reason, "restored from a backup of 2026-03-02T08:00:00Z") || r.Previous != epoch || s.j.Epoch() == epoch || len(r.Quarantined) > 0 {
		t.Fatalf("Opened() = %+v, want a new epoch after %s", r, epoch)
	}
	for _, l := range r.Lost {
		if l.Epoch == epoch && l.Lane == edge.Readings && l.From <= head.Seq {
			t.Errorf("declared lost from %d, but all up to %d was committed before the backup", l.From, head.Seq)
		}
		if l.Cause != "restored" {
			t.Errorf("lost %+v, want the cause restored", l)
		}
	}
	n := 0
	for rec, err := range s.j.Scan(edge.Readings, time.Time{}, time.Now().Add(24*time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Epoch == epoch {
			n = max(n, int(rec.Seq))
		}
	}
	if n < int(head.Seq) || n > int(after.Seq) {
		t.Errorf("the backup reaches to %d, want %d to %d", n, head.Seq, after.Seq)
	}
	// The cloud knows more of the old epoch than the copy does: that is no conflict.
	if err := s.j.Release(edge.Readings, c.last[edge.Readings]); err != nil {
		t.Errorf("the cloud's mark beyond the backup: %v", err)
	}
	s.fill(10)
	if err := c.drain(s.j); err != nil {
		t.Errorf("sync does not go on: %v", err)
	}
}

func TestMarkRestoredRefusesWhatIsNoJournal(t *testing.T) {
	if err := journal.MarkRestored(tempDir(t), time.Now()); err == nil {
		t.Error("an empty directory is taken for a journal")
	}
	s := openStore(t, journal.Options{})
	if err := journal.Locked(s.opts.Dir); err == nil {
		t.Error("an open journal is not locked")
	}
	s.close()
	if err := journal.Locked(s.opts.Dir); err != nil {
		t.Errorf("a closed journal: %v", err)
	}
}
