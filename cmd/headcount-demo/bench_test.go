//go:build bench && linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The number of readings per server and round.
const (
	mqttReadings   = 360_000
	alwaysReadings = 24_000
	httpReadings   = 720_000
)

// run is one server's figures in one round.
type run struct {
	readings int
	took     time.Duration
	used     usage
	disk     int64
	memory   float64 // most anonymous memory seen, MiB
}

func (r run) rate() float64 { return float64(r.readings) / r.took.Seconds() }

// The rows of the table.
const (
	rowMQTT   = "hub: MQTT QoS 1, own broker, fsynced"
	rowHTTP   = "hub: HTTP batches of 500, fsynced"
	rowBbolt  = "bare bbolt: the hub's MQTT commits again"
	rowNATS   = "nats-server: MQTT QoS 1, JetStream unsynced"
	rowAlways = "nats-server: MQTT QoS 1, sync_interval always"
)

// TestBench measures the hub beside its peers in one run: the same messages by the same client,
// each server in a process of its own, all stores on the same disk. The rounds alternate, and
// the medians count, since the machine has other things to do as well.
func TestBench(t *testing.T) {
	base := storeDir(t)
	rounds := 3 // 0 = only what a quiet hub does
	if v, err := strconv.Atoi(os.Getenv("HEADCOUNT_BENCH_ROUNDS")); err == nil {
		rounds = v
	}
	binary := buildHub(t, base)
	fmt.Printf("%s/%s, %d CPUs, %s, %s; %d rounds; %d MQTT clients with %d messages in flight each; %d HTTP connections\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpuName(), runtime.Version(), rounds, mqttClients, mqttWindow, httpConns)
	rows := map[string][]run{}
	for n := range rounds {
		dir := func(name string) string { return makeDir(t, base, fmt.Sprintf("%s-%d", name, n)) }
		mqttDir := dir("hub-mqtt")
		rows[rowNATS] = append(rows[rowNATS], benchNATS(t, "nats", dir("nats"), mqttReadings))
		rows[rowMQTT] = append(rows[rowMQTT], benchHub(t, binary, mqttDir, mqttReadings, func(s *server, n int) (int, time.Duration) { return mqttLoad(t, s.mqtt, n, mqttWindow) }))
		rows[rowBbolt] = append(rows[rowBbolt], benchBbolt(t, dir("bbolt"), mqttDir, mqttReadings))
		rows[rowHTTP] = append(rows[rowHTTP], benchHub(t, binary, dir("hub-http"), httpReadings, func(s *server, n int) (int, time.Duration) { return httpLoad(t, s.http, n) }))
		rows[rowAlways] = append(rows[rowAlways], benchNATS(t, "nats-always", dir("nats-always"), alwaysReadings))
		clearDir(t, base, binary)
	}
	if rounds > 0 {
		compare(t, report(rows))
	}
	benchQuiet(t, binary, makeDir(t, base, "quiet"))
}

// compare holds what the hub promises beside its peers.
func compare(t *testing.T, median map[string]run) {
	if r := median[rowMQTT].rate() / median[rowNATS].rate(); r < 1 {
		t.Errorf("MQTT on the hub is %.2f times JetStream without sync, want at least 1", r)
	}
	if r := median[rowMQTT].rate() / median[rowAlways].rate(); r < 15 {
		t.Errorf("MQTT on the hub is %.1f times JetStream with sync_interval always, want at least 15", r)
	}
}

// report prints the table and returns the medians by rate.
func report(rows map[string][]run) map[string]run {
	median := map[string]run{}
	for name, rs := range rows {
		slices.SortFunc(rs, func(a, b run) int { return cmp.Compare(a.rate(), b.rate()) })
		median[name] = rs[len(rs)/2]
	}
	fmt.Printf("\n%-46s %10s %8s %9s %8s %9s %7s %8s  %s\n", "median of the rounds", "readings/s", "x unsync", "x always", "CPU s/M", "B written", "B kept", "anon MiB", "readings/s of all rounds")
	for _, name := range []string{rowMQTT, rowHTTP, rowBbolt, rowNATS, rowAlways} {
		m := median[name]
		var all []string
		for _, r := range rows[name] {
			all = append(all, fmt.Sprintf("%.0f", r.rate()))
		}
		n := float64(m.readings)
		fmt.Printf("%-46s %10.0f %8.2f %9.1f %8.2f %9.0f %7.0f %8.1f  %s\n", name, m.rate(), m.rate()/median[rowNATS].rate(), m.rate()/median[rowAlways].rate(),
			m.used.CPU.Seconds()/n*1e6, float64(m.used.Written)/n, float64(m.disk)/n, m.memory, strings.Join(all, " "))
	}
	fmt.Println()
	return median
}

// benchHub measures the hub. Every reading must be counted as taken in, none as a duplicate.
func benchHub(t *testing.T, binary, dir string, n int, load func(s *server, n int) (int, time.Duration)) run {
	s := startHub(t, binary, dir, "")
	r := s.measure(func() (int, time.Duration) { return load(s, n) })
	s.until(func() bool { return s.counts().Readings >= uint64(r.readings) })
	if c := s.counts(); c.Readings != uint64(r.readings) || c.Pending+c.Rejected+c.Duplicates > 0 {
		t.Errorf("the hub counts %+v, want %d readings", c, r.readings)
	}
	if out := s.stop(); out != "" && os.Getenv(envProfile) == "" {
		t.Errorf("the hub said: %s", out)
	}
	r.disk = diskBytes(t, filepath.Join(dir, "store"))
	return r
}

func benchNATS(t *testing.T, kind, dir string, n int) run {
	s := startNATS(t, kind, dir)
	window := mqttWindow
	if kind == "nats-always" {
		window = alwaysWindow
	}
	r := s.measure(func() (int, time.Duration) { return mqttLoad(t, s.mqtt, n, window) })
	if stored, _ := strconv.Atoi(said(s.stop(), "stored")); stored < r.readings {
		t.Errorf("%s has stored %d messages of %d", kind, stored, r.readings)
	}
	r.disk = diskBytes(t, dir)
	return r
}

func benchBbolt(t *testing.T, dir, hubDir string, n int) run {
	s := child(t, "bbolt", dir, envSource+"="+filepath.Join(hubDir, "store", "journal"))
	out := s.stop()
	var res bboltResult
	if err := json.Unmarshal([]byte(said(out, "result")), &res); err != nil {
		t.Fatalf("bbolt: %v: %s", err, out)
	}
	return run{n, res.Took, usage{res.CPU, res.Written}, diskBytes(t, dir), res.Memory}
}

// storeDir is where the stores lie: on a disk, or syncing costs nothing.
func storeDir(t *testing.T) string {
	root := cmp.Or(os.Getenv("HEADCOUNT_BENCH_DIR"), "../../bin")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, "bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var fs syscall.Statfs_t
	const tmpfs = 0x01021994
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Type == tmpfs {
		t.Fatalf("%s is no directory on a disk (%v); name one with HEADCOUNT_BENCH_DIR", dir, err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func makeDir(t *testing.T, base, name string) string {
	dir := filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// clearDir makes room for the next round.
func clearDir(t *testing.T, base, keep string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if path := filepath.Join(base, e.Name()); path != keep {
			os.RemoveAll(path)
		}
	}
}

// buildHub builds the hub as it is delivered.
func buildHub(t *testing.T, dir string) string {
	path := filepath.Join(dir, "headcount")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../headcount")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func cpuName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown CPU"
}
