//go:build bench && linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/bbolt"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
	"github.com/headcount-hub/headcount/edge/journal"
)

// The environment that makes this test binary one of the servers, in a process of its own.
const (
	envServer  = "HEADCOUNT_BENCH_SERVER"  // nats, nats-always, bbolt or hub
	envStore   = "HEADCOUNT_BENCH_STORE"   // directory
	envListen  = "HEADCOUNT_BENCH_LISTEN"  // MQTT address
	envSource  = "HEADCOUNT_BENCH_SOURCE"  // bbolt: the hub's journal whose records are to be written
	envProfile = "HEADCOUNT_BENCH_PROFILE" // directory for CPU profiles of the hub
)

// TestServe is the child process; without its environment it does nothing.
func TestServe(t *testing.T) {
	switch os.Getenv(envServer) {
	case "nats":
		serveNATS(t, false)
	case "nats-always":
		serveNATS(t, true)
	case "bbolt":
		writeBbolt(t)
	case "hub":
		serveHub(t)
	}
}

// serveNATS is nats-server with JetStream and its MQTT listener. It ends with its input and
// says how many messages it has stored.
func serveNATS(t *testing.T, always bool) {
	host, port, err := net.SplitHostPort(os.Getenv(envListen))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "bench", Host: host, Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: os.Getenv(envStore),
		MQTT: natsserver.MQTTOpts{Host: host, Port: n}, SyncAlways: always, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	z, err := s.Jsz(nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("stored %d\n", z.Messages)
	s.Shutdown()
	s.WaitForShutdown()
}

// serveHub is the hub inside this test binary, with a profiler, for finding out what costs.
func serveHub(t *testing.T) {
	dir, store := os.Getenv(envProfile), os.Getenv(envStore)
	cfg, err := config.Load(filepath.Join(store, "headcount.yaml"), hub.ConfigOptions(nil, store))
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(hub.Options{Config: cfg, Version: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, filepath.Base(store)+".cpu"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	if err := h.Run(ctx); err != nil {
		t.Error(err)
	}
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	m, err := os.Create(filepath.Join(dir, filepath.Base(store)+".allocs"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := pprof.Lookup("allocs").WriteTo(m, 0); err != nil {
		t.Error(err)
	}
}

// writeBbolt writes the very records and commits of a hub's journal into one bbolt file and
// says how long it took.
func writeBbolt(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: os.Getenv(envSource), Source: benchSite, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var commits [][][]byte
	for c, err := range j.Commits(0) {
		if err != nil {
			t.Fatal(err)
		}
		var records [][]byte
		for _, r := range c.Records {
			records = append(records, r.AppendJSON(make([]byte, 4)))
		}
		commits = append(commits, records)
	}
	j.Close()
	db, err := bbolt.Open(filepath.Join(os.Getenv(envStore), "raw"), 0o600, &bbolt.Options{PageSize: 4096, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name, seq := []byte("records"), uint64(0)
	before, start := usageOf(t, os.Getpid()), time.Now()
	for _, records := range commits {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = 1
			for _, r := range records {
				seq++
				if err := b.Put([]byte{byte(seq >> 56), byte(seq >> 48), byte(seq >> 40), byte(seq >> 32), byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)}, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	took, used := time.Since(start), usageOf(t, os.Getpid()).minus(before)
	line, err := json.Marshal(bboltResult{took, used.CPU, used.Written, anonymous(t, os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("result %s\n", line)
}

type bboltResult struct {
	Took, CPU time.Duration
	Written   int64
	Memory    float64
}

// server is a running child.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	out   bytes.Buffer
	dir   string
	mqtt  string
	http  string // the hub's
}

// child makes a server of this test binary.
func child(t *testing.T, kind, dir string, env ...string) *server {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestServe$", "-test.timeout", "10m")
	cmd.Env = append(append(os.Environ(), envServer+"="+kind, envStore+"="+dir), env...)
	return start1(t, cmd, dir)
}

func start1(t *testing.T, cmd *exec.Cmd, dir string) *server {
	s := &server{t: t, cmd: cmd, dir: dir}
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	var err error
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return s
}

func startNATS(t *testing.T, kind, dir string) *server {
	addr := freeAddr(t)
	s := child(t, kind, dir, envListen+"="+addr)
	s.mqtt = addr
	s.until(func() bool {
		c, err := mqttConnect(addr, "probe", true)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	mqttInterest(t, addr)
	return s
}

// startHub runs the hub: the stripped binary, or with envProfile this test binary.
func startHub(t *testing.T, binary, dir, more string) *server {
	mqtt, web := freeAddr(t), freeAddr(t)
	path := filepath.Join(dir, "headcount.yaml")
	if err := os.WriteFile(path, benchConfig(mqtt, web, more), 0o600); err != nil {
		t.Fatal(err)
	}
	var s *server
	if os.Getenv(envProfile) != "" {
		s = child(t, "hub", dir)
	} else {
		s = start1(t, exec.Command(binary, "run", "--config", path, "--log-level", "warn"), dir)
	}
	s.mqtt, s.http = mqtt, web
	s.until(func() bool {
		res, err := http.Get("http://" + web + "/health/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

const benchSite = "bench"

// benchConfig is a building of four floors, 24 rooms each, every room with one counted door.
func benchConfig(mqtt, web, more string) []byte {
	b := fmt.Appendf(nil, "site: {id: %s, timezone: Europe/Oslo}\nstorage: {dir: store, wear_budget: none}\nhttp: {listen: %q}\ninputs:\n  - {driver: httppush}\n  - {driver: broker, listen: %q}\nspaces:\n  - {id: building, kind: building}\n", benchSite, web, mqtt)
	for f := range 4 {
		b = fmt.Appendf(b, "  - {id: floor-%d, kind: floor, parent: building}\n", f)
	}
	for r := range benchRooms {
		b = fmt.Appendf(b, "  - {id: room-%02d, kind: room, parent: floor-%d, capacity: 20}\n", r, r/24)
	}
	b = append(b, "doors:\n"...)
	for r := range benchRooms {
		b = fmt.Appendf(b, "  - {id: entry-%02d, between: [outside, room-%02d]}\n", r, r)
	}
	b = append(b, "sensors:\n"...)
	for r := range benchRooms {
		b = fmt.Appendf(b, "  - {id: %s, class: line-stereo, door: entry-%02d}\n", doorID(r), r)
	}
	return append(b, more...)
}

// until waits for the server to be ready.
func (s *server) until(ready func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ready(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("the server is not ready: %s", s.out.String())
		}
	}
}

// stop ends the server in an orderly way and returns what it printed.
func (s *server) stop() string {
	s.t.Helper()
	s.stdin.Close()
	if s.cmd.Args[0] != os.Args[0] {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("server: %v\n%s", err, s.out.String())
	}
	return s.out.String()
}

// said finds the line of the server's output that begins with a word and returns the rest.
func said(out, word string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// usage is what a process has used.
type usage struct {
	CPU     time.Duration
	Written int64 // bytes to the disk
}

func (u usage) minus(before usage) usage {
	return usage{u.CPU - before.CPU, u.Written - before.Written}
}

func (s *server) usage() usage { return usageOf(s.t, s.cmd.Process.Pid) }

func usageOf(t *testing.T, pid int) usage {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const perSecond = 100 // ticks, on every Linux
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	return usage{time.Duration(user+sys) * time.Second / perSecond, procField(t, pid, "io", "write_bytes:")}
}

// anonymous is a process's anonymous resident memory in MiB.
func anonymous(t *testing.T, pid int) float64 {
	return float64(procField(t, pid, "status", "RssAnon:")) / 1024
}

// measure runs a load and tells what it cost the server.
func (s *server) measure(load func() (int, time.Duration)) (r run) {
	before := s.usage()
	loaded, watched := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-loaded:
				watched <- most
				return
			case <-tick.C:
				most = max(most, anonymous(s.t, s.cmd.Process.Pid))
			}
		}
	}()
	r.readings, r.took = load()
	close(loaded)
	r.memory = <-watched
	r.used = s.usage().minus(before)
	return r
}

func procField(t *testing.T, pid int, file, name string) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if v, ok := strings.CutPrefix(in.Text(), name); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", f.Name(), name)
	return 0
}

// counts are the hub's own.
func (s *server) counts() edge.Counts {
	s.t.Helper()
	var st struct {
		Counts edge.Counts `json:"counts"`
	}
	res, err := http.Get("http://" + s.http + "/v1/status")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
		s.t.Fatal(err)
	}
	return st.Counts
}

// diskBytes is what the files under dir take on the disk.
func diskBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
