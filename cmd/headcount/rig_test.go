//go:build integration

package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	_ "modernc.org/sqlite"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// rig is a whole installation of real processes: hub, cloud, mosquitto, a serial line.
type rig struct {
	t                                  *testing.T
	dir                                string
	hubBinary, cloudBinary, natsBinary string
	cloudConfig                        string // empty = flags alone
	hubURL                             string
	brokerURL                          string // the hub's own broker, host:port
	cloudHTTP                          string
	cloudNATS                          string
	mosquitto                          string // host:port
	serial                             *line
	config                             string
	hub                                *process
	cloud                              *process
	broker                             *process // mosquitto
	nats                               *process // when it is not in the cloud's process
}

const rigSite = "rig"

// build builds a command.
func build(t *testing.T, dir, name, pkg, tags string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-tags", tags, "-o", path, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// newRig starts everything but the hub, which is built with tags; more is further configuration.
func newRig(t *testing.T, tags, more string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.address(tags)
	r.startCloud()
	creds, err := exec.Command(r.cloudBinary, "enrol", "acme", rigSite, "--data", r.cloudDir()).Output()
	if err != nil {
		t.Fatalf("enrol: %v", err)
	}
	r.write("site.creds", creds)
	r.equip("credentials_file: site.creds", more)
	return r
}

// newRigOnNATS is newRig with a NATS server of its own beside the cloud.
func newRigOnNATS(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.address("")
	r.natsBinary = build(t, r.dir, "nats-server", "github.com/nats-io/nats-server/v2", "")
	r.startNATS()
	r.cloudConfig = r.write("cloud.yaml", fmt.Appendf(nil, "nats: {url: \"nats://%s\"}\norganisations: [{id: acme}]\n", r.cloudNATS))
	r.startCloud()
	r.equip("org: acme", "")
	return r
}

// address builds the binaries and chooses where everything listens.
func (r *rig) address(tags string) {
	t := r.t
	t.Helper()
	r.hubBinary = build(t, r.dir, "headcount", ".", tags)
	r.hubURL, r.brokerURL = "http://"+freeAddr(t), freeAddr(t)
	r.cloudHTTP, r.cloudNATS, r.mosquitto = freeAddr(t), freeAddr(t), freeAddr(t)
	r.cloudBinary = build(t, r.dir, "headcount-cloud", "../headcount-cloud", "")
}

// equip starts the sensors' side and writes the hub's configuration.
func (r *rig) equip(uplink, more string) {
	t := r.t
	t.Helper()
	r.startMosquitto()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	r.serial = newLine(master)
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
uplink: {url: "nats://%s", %s}
storage: {dir: hub}
http: {listen: %q}
%s`, rigSite, r.sensors(), r.brokerURL, r.mosquitto, slave.Name(), r.cloudNATS, uplink, r.hubURL[len("http://"):], more))
}

// transports and perTransport make the sensors: broker-0, broker-1, …, lines-2.
var transports = []string{"broker", "mosquitto", "http", "lines"}

const perTransport = 3

func (r *rig) sensors() string {
	s := "  - {id: door, class: line-tof, door: front}\n"
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
			for name, p := range map[string]*process{"hub": r.hub, "cloud": r.cloud, "nats": r.nats} {
				if p != nil {
					logs += "\n" + name + ":\n" + p.tail()
				}
			}
			r.t.Fatalf("not within %v: %s%s", limit, what, logs)
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
	r.spawnHub()
	r.hubServes()
}

// spawnHub starts the hub and does not wait for it.
func (r *rig) spawnHub() { r.hub = r.spawn(r.hubBinary, "run", "--config", r.config) }

func (r *rig) hubServes() {
	r.t.Helper()
	r.until("hub serves", 20*time.Second, func() bool { return healthy(r.hubURL + "/health/ready") })
}

// stop kills hub and cloud, so that their stores can be looked into.
func (r *rig) stop() {
	r.hub.kill()
	r.cloud.kill()
}

func (r *rig) startCloud() {
	r.t.Helper()
	r.spawnCloud()
	r.cloudServes()
}

// spawnCloud starts the cloud with its NATS server and does not wait for it.
func (r *rig) spawnCloud() {
	args := []string{"run", "--data", r.cloudDir(), "--http", r.cloudHTTP}
	if r.cloudConfig == "" {
		args = append(args, "--nats", r.cloudNATS)
	} else {
		args = append(args, "--config", r.cloudConfig)
	}
	r.cloud = r.spawn(r.cloudBinary, args...)
}

// startNATS starts the NATS server that is not the cloud's.
func (r *rig) startNATS() {
	r.t.Helper()
	_, port, _ := net.SplitHostPort(r.cloudNATS)
	r.nats = r.spawn(r.natsBinary, "-a", "127.0.0.1", "-p", port, "-js", "-sd", r.natsDir())
	r.listens(r.cloudNATS)
}

func (r *rig) natsDir() string { return filepath.Join(r.dir, "nats") }

func (r *rig) listens(addr string) {
	r.t.Helper()
	r.until(addr+" is listened on", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (r *rig) cloudServes() {
	r.t.Helper()
	r.until("cloud serves", 30*time.Second, func() bool { return healthy("http://" + r.cloudHTTP + "/health/ready") })
}

func (r *rig) cloudDir() string { return filepath.Join(r.dir, "cloud") }
func (r *rig) hubDir() string   { return filepath.Join(r.dir, "hub") }

func (r *rig) startMosquitto() {
	r.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	_, port, _ := net.SplitHostPort(r.mosquitto)
	conf := r.write("mosquitto.conf", fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\npersistence true\npersistence_location %s/\n", port, r.dir))
	if _, err := os.Stat(path); err != nil {
		r.t.Fatalf("mosquitto is not installed: %v; run .ci/tools", err)
	}
	r.broker = r.spawn(path, "-c", conf)
	r.listens(r.mosquitto)
}

// get reads JSON from a URL into v; false while nobody answers 200.
func get(url string, v any) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(v) == nil
}

// status is what the rig wants to know of a hub.
type status struct {
	Epoch  string
	Uplink struct {
		Connected bool
		Reason    string
	}
	Lanes struct {
		Events, Readings struct{ Head, Mark, Backlog_records uint64 }
	}
	Inputs []struct {
		Driver string
		Up     bool
	}
}

// drained waits until the cloud has applied everything that the hub holds.
func (r *rig) drained(limit time.Duration) {
	r.t.Helper()
	r.until("the cloud has everything", limit, func() bool {
		var s status
		return get(r.hubURL+"/v1/status", &s) && s.Uplink.Connected && s.Lanes.Readings.Head > 0 &&
			s.Lanes.Events.Backlog_records == 0 && s.Lanes.Readings.Backlog_records == 0
	})
}

// inputsUp waits until every input of the hub is connected.
func (r *rig) inputsUp() {
	r.t.Helper()
	r.until("the hub's inputs are up", 30*time.Second, func() bool {
		var s status
		return get(r.hubURL+"/v1/status", &s) && len(s.Inputs) == len(transports) &&
			!slices.ContainsFunc(s.Inputs, func(in struct {
				Driver string
				Up     bool
			}) bool {
				return !in.Up
			})
	})
}

// query runs a query on the cloud's database, which scan reads row by row. The cloud must be
// stopped.
func (r *rig) query(sqlText string, scan func(*sql.Rows) error) {
	r.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(r.cloudDir(), "cloud.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(sqlText)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
}

// records reads one table of the cloud's records in the order in which the site wrote them.
func (r *rig) records(table string) (out []edge.Record) {
	r.t.Helper()
	r.query("SELECT body FROM "+table+" ORDER BY epoch, seq", func(rows *sql.Rows) error {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		rec, err := edge.ParseRecord(body)
		out = append(out, rec)
		return err
	})
	return out
}

// applied is the ids of every sensor's readings in the cloud, in the order in which the site
// wrote them.
func (r *rig) applied() map[string][]string {
	r.t.Helper()
	out := map[string][]string{}
	for _, rec := range r.records("readings") {
		for _, x := range readings(r.t, rec) {
			out[x.Sensor] = append(out[x.Sensor], x.Seq)
		}
	}
	return out
}

func readings(t *testing.T, rec edge.Record) (rs []edge.Reading) {
	t.Helper()
	if err := json.Unmarshal(rec.Data, &rs); err != nil {
		t.Fatal(err)
	}
	return rs
}

// declared is every range of records that the hub has declared lost, as the cloud has it.
func (r *rig) declared() (out []journal.Lost) {
	r.t.Helper()
	for _, rec := range r.records("events") {
		if rec.Type != engine.TypeLost {
			continue
		}
		var l journal.Lost
		if err := json.Unmarshal(rec.Data, &l); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}
