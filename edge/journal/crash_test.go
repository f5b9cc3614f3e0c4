//go:build unix

package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/journal"
)

// The test binary runs itself as a process that can be killed.
const (
	childEnv = "JOURNAL_TEST_CHILD"
	childDir = "JOURNAL_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "commit":
		os.Exit(childCommits(os.Getenv(childDir), 0))
	case "full":
		signal.Ignore(syscall.SIGXFSZ)
		os.Exit(childCommits(os.Getenv(childDir), 300<<10))
	}
}

func child(what, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// childCommits commits, trims and releases until it is killed or a commit fails, and prints the
// heads after each commit. limit bounds the size of files, in bytes.
func childCommits(dir string, limit uint64) int {
	j, err := journal.Open(journal.Options{Dir: dir, Source: "site-1", SegmentSize: 128 << 10, History: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if r := j.Opened(); r.Reason != "" || len(r.Lost) > 0 {
		fmt.Fprintf(os.Stderr, "found %+v\n", r)
		return 1
	}
	if limit > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	for n := int(j.Head(edge.Events).Seq); ; n++ {
		_, at := j.LastCommit()
		var state []byte
		if j.NeedCheckpoint() {
			state = []byte(strings.Repeat("s", 20000))
		}
		size := 700
		if limit > 0 {
			size = 20000
		}
		_, err := j.Commit(at.Add(time.Second), []journal.Draft{event(n), readings(n, size), readings(n, size)}, state)
		if err != nil {
			_, again := j.Commit(at.Add(time.Second), []journal.Draft{event(n)}, nil)
			fmt.Printf("failed %v %v %v %v\n", errors.Is(err, journal.ErrFatal), errors.Is(again, journal.ErrFatal), j.Head(edge.Events).Seq, j.Close())
			return 0
		}
		e, r := j.Head(edge.Events), j.Head(edge.Readings)
		fmt.Printf("acked %s %d %08x %d %08x\n", j.Epoch(), e.Seq, e.CRC, r.Seq, r.CRC)
		if n%20 == 19 && limit == 0 {
			for _, l := range edge.Lanes {
				h := j.Head(l)
				err = errors.Join(err, j.Release(l, journal.Mark{Epoch: j.Epoch(), Seq: h.Seq, CRC: h.CRC}))
			}
			if lost, terr := j.Trim(at); terr != nil || len(lost) > 0 || err != nil {
				fmt.Fprintln(os.Stderr, "trim:", lost, terr, err)
				return 1
			}
		}
	}
}

// acked is the newest head the child has printed.
type acked struct {
	epoch  string
	events journal.Head
	rd     journal.Head
}

func parseAcks(out []byte) (last acked, n int) {
	for line := range strings.Lines(string(out)) {
		var a acked
		if k, _ := fmt.Sscanf(line, "acked %s %d %x %d %x\n", &a.epoch, &a.events.Seq, &a.events.CRC, &a.rd.Seq, &a.rd.CRC); k == 5 && strings.HasSuffix(line, "\n") {
			last, n = a, n+1
		}
	}
	return last, n
}

func TestKilledAtAnyMomentKeepsWhatWasAcknowledged(t *testing.T) {
	dir := filepath.Join(tempDir(t), "journal")
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	total := 0
	for i := range rounds {
		cmd := child("commit", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		var printed []byte
		for range 1 + r.IntN(60) { // killed some time after that many acknowledgements
			line, err := in.ReadBytes('\n')
			printed = append(printed, line...)
			if err != nil {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		last, n := parseAcks(append(printed, rest...))
		total += n
		checkAcked(t, dir, last, n)
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, i)
		}
	}
	t.Logf("%d kills, %d acknowledged commits", rounds, total)
}

// checkAcked opens the store and reads all of it: the acknowledged head lies on its chain.
func checkAcked(t *testing.T, dir string, last acked, n int) {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, Source: "site-1", SegmentSize: 128 << 10, History: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if rep := j.Opened(); rep.Reason != "" || len(rep.Lost)+len(rep.Quarantined) > 0 {
		t.Errorf("Opened() = %+v, want nothing found", rep)
	}
	if n == 0 {
		return
	}
	if j.Epoch() != last.epoch || j.Head(edge.Events).Seq < last.events.Seq || j.Head(edge.Readings).Seq > last.rd.Seq+2 {
		t.Errorf("epoch %s heads %v %v, acknowledged were %+v", j.Epoch(), j.Head(edge.Events), j.Head(edge.Readings), last)
	}
	for l, h := range map[edge.Lane]journal.Head{edge.Events: last.events, edge.Readings: last.rd} {
		if err := j.Release(l, journal.Mark{Epoch: last.epoch, Seq: h.Seq, CRC: h.CRC}); err != nil {
			t.Errorf("%s: %v", l, err)
		}
	}
	_, after, _, err := j.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range j.Commits(after) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A write that fails ends the handle, and what was acknowledged before is there at the next start.
func TestFailedCommitIsTheLast(t *testing.T) {
	dir := filepath.Join(tempDir(t), "journal")
	out, err := child("full", dir).Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	last, n := parseAcks(out)
	if n == 0 || !strings.HasSuffix(string(out), fmt.Sprintf("failed true true %d <nil>\n", last.events.Seq)) {
		t.Fatalf("after %d commits the child said %s, want ErrFatal twice and head %d", n, out[max(0, len(out)-200):], last.events.Seq)
	}
	checkAcked(t, dir, last, n)
}

func TestAnotherProcessIsNamed(t *testing.T) {
	t.Parallel() // it waits for the lock's timeout
	dir := filepath.Join(tempDir(t), "journal")
	cmd := child("commit", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, err = journal.Open(journal.Options{Dir: dir, Source: "site-1"})
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("Open: %v, want ErrLocked that names process %d", err, cmd.Process.Pid)
	}
}
