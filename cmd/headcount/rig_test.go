//go:build integration

package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	_ "modernc.org/sqlite"

	"github.com/headcount-hub/headcount/edge"
)

// rig is a whole installation of real processes: hub, cloud, mosquitto, a serial line.
type rig struct {
	t         *testing.T
	dir       string
	hubBinary string
	hubURL    string
	brokerURL string // the hub's own broker, host:port
	cloudHTTP string
	cloudNATS string
	mosquitto string // host:port
	master    *os.File
	config    string
	hub       *process
	cloud     *process
}

const rigSite = "rig"

// binary builds one of our commands.
func binary(t *testing.T, dir, name string, tags string) string {
	t.Helper()
	path := filepath.Join(dir, name+tags)
	cmd := exec.Command("go", "build", "-tags", tags, "-o", path, "../"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// newRig starts everything but the hub.
func newRig(t *testing.T, tags string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.hubBinary = binary(t, r.dir, "headcount", tags)
	r.hubURL, r.brokerURL = "http://"+freeAddr(t), freeAddr(t)
	r.cloudHTTP, r.cloudNATS, r.mosquitto = freeAddr(t), freeAddr(t), freeAddr(t)
	r.startCloud(binary(t, r.dir, "headcount-cloud", ""))
	creds, err := exec.Command(r.cloud.cmd.Path, "enrol", "acme", rigSite, "--data", filepath.Join(r.dir, "cloud")).Output()
	if err != nil {
		t.Fatalf("enrol: %v", err)
	}
	r.write("site.creds", creds)
	r.startMosquitto()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	r.master = master
	t.Cleanup(func() { master.Close(); slave.Close() })
	r.config = r.write("headcount.yaml", fmt.Appendf(nil, `
site: {id: %s, timezone: UTC}
spaces: [{id: hall, kind: room, capacity: 50}]
doors: [{id: front, between: [outside, hall]}]
sensors:
%sinputs:
  - {driver: broker, listen: %q}
  - {driver: mqtt, url: "mqtt://%s", subscribe: ["mosquitto/#"]}
  - {driver: httppush}
  - {driver: lines, port: %s, ack: true}
uplink: {url: "nats://%s", credentials_file: site.creds}
storage: {dir: hub}
http: {listen: %q}
`, rigSite, r.sensors(), r.brokerURL, r.mosquitto, slave.Name(), r.cloudNATS, r.hubURL[len("http://"):]))
	return r
}

// transports and perTransport make the sensors: broker-0, broker-1, …, lines-2.
var transports = []string{"broker", "mosquitto", "http", "lines"}

const perTransport = 3

func (r *rig) sensors() string {
	var s string
	for _, via := range transports {
		for n := range perTransport {
			id := fmt.Sprintf("%s-%d", via, n)
			s += fmt.Sprintf("  - {id: %s, class: pir, space: hall, device: %q}\n", id, device(via, id))
		}
	}
	return s
}

// device is the address under which the driver knows a sensor of the rig.
func device(via, id string) string {
	switch via {
	case "broker":
		return "sensors/" + id
	case "mosquitto":
		return "mosquitto/" + id
	}
	return id
}

func (r *rig) write(name string, b []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
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

// process is a child that can be killed at any moment.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	log  []string // newest lines
}

func (r *rig) spawn(path string, args ...string) *process {
	r.t.Helper()
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = r.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	p.cmd.Stdout = io.Discard
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			p.log = p.log[max(0, len(p.log)-40):]
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	r.t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ""
	for _, l := range p.log {
		s += "  " + l + "\n"
	}
	return s
}

// until polls what cannot tell by itself, within a deadline.
func (r *rig) until(what string, limit time.Duration, ok func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			logs := ""
			if r.hub != nil {
				logs = "\nhub:\n" + r.hub.tail()
			}
			r.t.Fatalf("not within %v: %s%s\ncloud:\n%s", limit, what, logs, r.cloud.tail())
		case <-tick.C:
		}
	}
}

func healthy(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (r *rig) startHub() {
	r.t.Helper()
	r.hub = r.spawn(r.hubBinary, "run", "--config", r.config)
	r.until("hub serves", 20*time.Second, func() bool { return healthy(r.hubURL + "/health/ready") })
}

func (r *rig) startCloud(path string) {
	r.t.Helper()
	r.cloud = r.spawn(path, "run", "--data", filepath.Join(r.dir, "cloud"), "--http", r.cloudHTTP, "--nats", r.cloudNATS)
	r.until("cloud serves", 30*time.Second, func() bool { return healthy("http://" + r.cloudHTTP + "/health/ready") })
}

func (r *rig) startMosquitto() {
	r.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	_, port, _ := net.SplitHostPort(r.mosquitto)
	conf := r.write("mosquitto.conf", []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 100\nuser root\n"))
	if _, err := os.Stat(path); err != nil {
		r.t.Fatalf("mosquitto is not installed: %v; run .ci/tools", err)
	}
	r.spawn(path, "-c", conf)
	r.until("mosquitto listens", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", r.mosquitto)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// status asks the hub how far it is; ok is false while it does not answer.
func (r *rig) status() (s struct {
	Epoch string
	Lanes struct{ Events, Readings struct{ Head, Mark uint64 } }
}, ok bool) {
	res, err := http.Get(r.hubURL + "/v1/status")
	if err != nil {
		return s, false
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s) == nil && s.Lanes.Readings.Head > 0
}

// drained waits until the cloud has applied everything that the hub holds.
func (r *rig) drained(limit time.Duration) {
	r.t.Helper()
	r.until("the cloud has everything", limit, func() bool {
		s, ok := r.status()
		return ok && s.Lanes.Events.Mark == s.Lanes.Events.Head && s.Lanes.Readings.Mark == s.Lanes.Readings.Head
	})
}

// applied reads the cloud's database: the sequence numbers of every sensor's readings in the
// order in which the site wrote them. The cloud must be stopped.
func (r *rig) applied() map[string][]string {
	r.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(r.dir, "cloud", "cloud.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT body FROM readings ORDER BY epoch, seq")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]string{}
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			r.t.Fatal(err)
		}
		rec, err := edge.ParseRecord(body)
		if err != nil {
			r.t.Fatal(err)
		}
		var rs []edge.Reading
		if err := json.Unmarshal(rec.Data, &rs); err != nil {
			r.t.Fatal(err)
		}
		for _, x := range rs {
			out[x.Sensor] = append(out[x.Sensor], x.Seq)
		}
	}
	if err := errors.Join(rows.Err()); err != nil {
		r.t.Fatal(err)
	}
	return out
}
