package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/journal"
	"go.etcd.io/bbolt"
)

// damagedStore is a closed store of some segments, of which the cloud has confirmed a part.
func damagedStore(t testing.TB, commits int) (*store, *cloud) {
	t.Helper()
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	c := newCloud(t)
	s.fill(5)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.fill(commits)
	s.close()
	return s, c
}

// copyTo opens a copy of a closed store in dir after hurt has been at it.
func (s *store) copyTo(dir string, hurt func(dir string)) *store {
	s.t.Helper()
	if err := os.CopyFS(dir, os.DirFS(s.opts.Dir)); err != nil {
		s.t.Fatal(err)
	}
	hurt(dir)
	o := s.opts
	o.Dir = dir
	out := &store{t: s.t, opts: o, at: s.at, written: map[string]string{}, commits: s.commits}
	for id, b := range s.written {
		out.written[id] = b
	}
	out.open()
	return out
}

func (c *cloud) clone() *cloud {
	out := newCloud(c.t)
	for k, v := range c.marks {
		out.marks[k] = v
	}
	for k, v := range c.last {
		out.last[k] = v
	}
	for k, v := range c.applied {
		out.applied[k] = v
	}
	return out
}

func edit(t testing.TB, path string, fn func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fn(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsSetAsideAndDeclared(t *testing.T) {
	base, applied := damagedStore(t, 60)
	names := func(dir string) []string { return segments(t, dir) }
	newest := func(dir string) string { s := names(dir); return s[len(s)-1] }
	middle := func(dir string) string { return names(dir)[1] }
	overwrite := func(path func(string) string, fn func([]byte) []byte) func(string) {
		return func(dir string) { edit(t, path(dir), fn) }
	}
	zeroPage := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[n*4096 : (n+1)*4096]); return b }
	}
	epochOf := func(dir string) string { return filepath.Join(dir, "epoch") }
	for name, c := range map[string]struct {
		hurt     func(dir string)
		newEpoch bool
		aside    int
	}{
		"newest is empty":            {overwrite(newest, func(b []byte) []byte { return nil }), true, 1},
		"newest is cut":              {overwrite(newest, func(b []byte) []byte { return b[:used(b)/2] }), true, 1},
		"newest is cut to a page":    {overwrite(newest, func(b []byte) []byte { return b[:4096] }), true, 1},
		"newest is foreign":          {overwrite(newest, func(b []byte) []byte { return bytes.Repeat([]byte("no journal\n"), 2000) }), true, 1},
		"newest is zeroed":           {overwrite(newest, func(b []byte) []byte { clear(b); return b }), true, 1},
		"newest lost both metas":     {overwrite(newest, func(b []byte) []byte { clear(b[:8192]); return b }), true, 1},
		"newest lost its first meta": {overwrite(newest, zeroPage(0)), true, 0},
		"newest lost its other meta": {overwrite(newest, zeroPage(1)), true, 0},
		"newest is a directory": {func(dir string) {
			n := newest(dir)
			if err := os.Remove(n); err == nil {
				err = os.Mkdir(n, 0o700)
				if err != nil {
					t.Fatal(err)
				}
			}
		}, true, 1},
		"newest is gone": {func(dir string) { os.Remove(newest(dir)) }, true, 0},
		"all segments are gone": {func(dir string) {
			for _, n := range names(dir) {
				os.Remove(n)
			}
		}, true, 0},
		"newest is another database": {func(dir string) {
			n := newest(dir)
			os.Remove(n)
			db, err := bbolt.Open(n, 0o600, &bbolt.Options{PageSize: 4096})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, true, 1},
		"newest is a copy of an older one": {func(dir string) {
			edit(t, newest(dir), func([]byte) []byte { b, _ := os.ReadFile(middle(dir)); return b })
		}, true, 1},
		"middle is empty":            {overwrite(middle, func(b []byte) []byte { return nil }), false, 1},
		"middle is cut":              {overwrite(middle, func(b []byte) []byte { return b[:used(b)-4096] }), false, 1},
		"middle is gone":             {func(dir string) { os.Remove(middle(dir)) }, false, 0},
		"middle has zeroed pages":    {overwrite(middle, func(b []byte) []byte { clear(b[8*4096 : 20*4096]); return b }), false, 1},
		"epoch file is gone":         {func(dir string) { os.Remove(epochOf(dir)) }, true, 0},
		"epoch file is empty":        {overwrite(epochOf, func([]byte) []byte { return nil }), true, 1},
		"epoch file has a wrong bit": {overwrite(epochOf, func(b []byte) []byte { b[40] ^= 1; return b }), true, 1},
		"epoch file and segments are gone": {func(dir string) {
			for _, n := range append(names(dir), epochOf(dir)) {
				os.Remove(n)
			}
		}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := base.copyTo(filepath.Join(tempDir(t), "journal"), c.hurt)
			s.t = t
			defer s.j.Close()
			cloud := applied.clone()
			r := s.j.Opened()
			if name == "epoch file and segments are gone" {
				if !r.Fresh {
					t.Errorf("Opened() = %+v, want a fresh store", r)
				}
				return // nothing is left to tell that there was something; the cloud's mark does
			}
			_, old := base.written[r.Epoch+"-events-1"]
			if (r.Reason != "") != c.newEpoch || old == c.newEpoch || r.Fresh {
				t.Errorf("Opened() = %+v, new epoch wanted: %v", r, c.newEpoch)
			}
			s.settle(cloud)
			missing := s.account(cloud)
			kept, err := filepath.Glob(filepath.Join(s.opts.Dir, "quarantine", "*"))
			if err != nil || len(kept) != c.aside {
				t.Errorf("in quarantine are %v (%v), want %d files", kept, err, c.aside)
			}
			t.Logf("%d records lost of %d; %s", missing, len(s.written), r.Reason)
			s.reopen()
			if r := s.j.Opened(); r.Reason != "" || len(r.Lost) != 0 {
				t.Errorf("Opened() the next time = %+v, want nothing", r)
			}
		})
	}
}

// A younger record of where the journal stood betrays segments that were put back.
func TestOldSegmentsPutBackBeginANewEpoch(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	c := newCloud(t)
	s.fill(30)
	s.close()
	backup := filepath.Join(tempDir(t), "backup")
	if err := os.CopyFS(backup, os.DirFS(s.opts.Dir)); err != nil {
		t.Fatal(err)
	}
	s.open()
	s.fill(40)
	epoch := s.j.Epoch()
	s.close()
	for _, f := range segments(t, s.opts.Dir) {
		os.Remove(f)
	}
	for _, f := range segments(t, backup) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.opts.Dir, filepath.Base(f)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.open()
	r := s.j.Opened()
	if r.Reason == "" || r.Epoch == epoch || r.Previous != epoch {
		t.Fatalf("Opened() = %+v, want a new epoch", r)
	}
	if state, n, _, err := s.j.Checkpoint(); err != nil || state == nil || n == 0 {
		t.Errorf("Checkpoint = %q of commit %d, %v, want one of the old epoch", state, n, err)
	}
	s.settle(c)
	if n := s.account(c); n != 4*40 {
		t.Errorf("%d records are missing, want the 160 that were put out of the world", n)
	}
}

// The state is rebuilt from what is intact, never from damaged or missing commits.
func TestReplayAfterDamageIsContiguous(t *testing.T) {
	base, _ := damagedStore(t, 60)
	s := base.copyTo(filepath.Join(tempDir(t), "journal"), func(dir string) {
		files := segments(t, dir)
		edit(t, files[len(files)-1], func([]byte) []byte { return nil })
	})
	defer s.j.Close()
	state, after, _, err := s.j.Checkpoint()
	if err != nil || string(state) != fmt.Sprintf("state after %d", after) {
		t.Fatalf("Checkpoint = %q of commit %d, %v", state, after, err)
	}
	n := 0
	for c, err := range s.j.Commits(after) {
		if n++; err != nil || c.Number != after+uint64(n) || len(c.Records) != 4 {
			t.Fatalf("commit %+v, %v after %d", c, err, after)
		}
	}
	if n == 0 {
		t.Error("no commit after the checkpoint")
	}
}

// Whatever bytes change in the segments: no panic, and what was written is applied as it was
// written or declared.
func TestRandomDamageNeverLosesSilently(t *testing.T) {
	base, applied := damagedStore(t, 40)
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	noticed := 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		dir := filepath.Join(tempDir(t), "journal")
		what := ""
		s := base.copyTo(dir, func(dir string) {
			files := segments(t, dir)
			f := files[r.IntN(len(files))]
			edit(t, f, func(b []byte) []byte { what, b = mutate(r, b); return b })
			what += " of " + filepath.Base(f)
		})
		c := applied.clone()
		s.settle(c)
		if n := s.account(c); n > 0 {
			noticed++
		}
		if err := s.j.Close(); err != nil {
			t.Errorf("seed %d: Close: %v", seed, err)
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, what)
		}
	}
	if noticed == 0 {
		t.Error("no damage cost a record; the test does not bite")
	}
}

// mutate damages a file below its meta pages, in the part that holds data.
func mutate(r *rand.Rand, b []byte) (string, []byte) {
	at := 8192 + r.IntN(used(b)-8192)
	switch r.IntN(4) {
	case 0:
		b[at] ^= 1 << r.IntN(8)
		return fmt.Sprintf("a bit at %d", at), b
	case 1:
		clear(b[at&^4095 : at&^4095+4096])
		return fmt.Sprintf("page %d zeroed", at/4096), b
	case 2:
		for i := range 512 {
			b[at&^511+i] = byte(r.Uint32())
		}
		return fmt.Sprintf("sector at %d random", at&^511), b
	default:
		return fmt.Sprintf("cut at %d", at), b[:at]
	}
}

// used is how much of a file is not empty space at its end, in whole pages.
func used(b []byte) (n int) {
	for p := 0; p+4096 <= len(b); p += 4096 {
		if slices.ContainsFunc(b[p:p+4096], func(c byte) bool { return c != 0 }) {
			n = p + 4096
		}
	}
	return n
}

func TestOpenRefusesANewerFormat(t *testing.T) {
	base, _ := damagedStore(t, 1)
	t.Run("epoch file", func(t *testing.T) {
		edit(t, filepath.Join(base.opts.Dir, "epoch"), func(b []byte) []byte {
			body, _, _ := bytes.Cut(b, []byte("\n"))
			body = bytes.Replace(body, []byte(`"format":1`), []byte(`"format":9`), 1)
			if !json.Valid(body) {
				t.Fatalf("epoch file is %s", b)
			}
			return fmt.Appendf(body, "\n%x\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		})
		_, err := journal.Open(base.opts)
		if err == nil || !strings.Contains(err.Error(), "format 9") || !strings.Contains(err.Error(), "install") {
			t.Errorf("Open: %v, want a refusal that says what to do", err)
		}
		if got := segments(t, base.opts.Dir); len(got) != 1 {
			t.Errorf("a refused store was changed: %v", got)
		}
	})
}

// The cloud may be further in an old epoch than what is left of it here: that is no conflict.
func TestMarkBeyondALostTailReleasesTheEpoch(t *testing.T) {
	s := openStore(t, journal.Options{SegmentSize: 64 << 10})
	c := newCloud(t)
	s.fill(40)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	s.close()
	files := segments(t, s.opts.Dir)
	edit(t, files[len(files)-1], func([]byte) []byte { return nil })
	os.Remove(filepath.Join(s.opts.Dir, "epoch")) // and with it the marks
	s.open()
	for l, m := range c.last {
		if err := s.j.Release(l, m); err != nil {
			t.Errorf("Release of what the cloud has: %v", err)
		}
	}
	s.fill(3)
	if err := c.drain(s.j); err != nil {
		t.Fatal(err)
	}
	if n := s.account(c); n != 0 {
		t.Errorf("%d records are missing, the cloud had all", n)
	}
	if st := s.j.Stats(); st.Events.Pending+st.Readings.Pending != 0 {
		t.Errorf("pending are %+v %+v, want none", st.Events, st.Readings)
	}
}
