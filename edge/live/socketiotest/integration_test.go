//go:build integration

package socketiotest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
)

func needClient(t *testing.T) {
	if _, err := os.Stat("node_modules/socket.io-client"); err != nil {
		t.Fatal("socket.io-client is not installed; run: npm ci --prefix edge/live/socketiotest")
	}
}

// TestIntegrationStockClient runs stock.mjs: what the stock client does on every transport.
func TestIntegrationStockClient(t *testing.T) {
	needClient(t)
	ns := echo()
	clients := live.NewClients(2000)
	srv := httptest.NewServer(socketio.New(map[string]socketio.Namespace{"/": ns, "/admin": ns}, socketio.Options{Clients: clients}))
	defer srv.Close()
	defer clients.Close(t.Context())
	out, err := exec.CommandContext(t.Context(), "node", "stock.mjs", srv.URL).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// echo answers "ask" with its argument, all else as "back"; "flood" N with N events.
func echo() socketio.Namespace {
	return socketio.Namespace{
		Connect: func(_ context.Context, k *socketio.Socket) (string, error) {
			if strings.Contains(string(k.Auth), "wrong") {
				return "", &socketio.Refused{Message: "no", Data: map[string]string{"code": "wrong"}}
			}
			return "", nil
		},
		Events: func(ctx context.Context, k *socketio.Socket, evs []socketio.Event) {
			for _, e := range evs {
				var n int
				switch {
				case e.WantsAck():
					_ = e.Ack(ctx, e.Args)
				case e.Name == "flood" && e.Args.Decode(0, &n) == nil:
					for i := range n {
						_ = k.Emit(ctx, "n", i)
					}
				case e.Name == "question":
					answer, err := k.EmitWithAck(ctx, "asked", []byte("bin"), 7)
					_ = k.Emit(ctx, "answered", fmt.Sprint(err), answer.JSON)
				default:
					_ = k.Emit(ctx, "back", e.Args)
				}
			}
		},
	}
}

// program is one of ours as a process that can be killed and started again.
type program struct {
	t    *testing.T
	path string
	args []string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

func build(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../../cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v %s", name, err, out)
	}
	return path
}

func run(t *testing.T, ready, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, path: path, args: args}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(path), p.log.Bytes())
		}
	})
	p.start(ready)
	return p
}

func (p *program) start(ready string) {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	waitFor(p.t, ready, func() bool {
		resp, err := http.Get(ready)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
}

func (p *program) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// node runs a script and hands over its lines.
func node(t *testing.T, args ...string) <-chan map[string]any {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan map[string]any, 1000) // more than a test has
	go func() {
		defer close(lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			var m map[string]any
			if json.Unmarshal(in.Bytes(), &m) == nil {
				lines <- m
			}
		}
	}()
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return lines
}

func next(t *testing.T, lines <-chan map[string]any) map[string]any {
	t.Helper()
	select {
	case m, ok := <-lines:
		if !ok {
			t.Fatal("the client ended")
		}
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came for 30 s")
	}
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// hubConfig writes a hub's configuration with an optional uplink.
func hubConfig(t *testing.T, dir, addr, uplink string) string {
	t.Helper()
	path := filepath.Join(dir, "headcount.yaml")
	text := fmt.Sprintf(`
site: {id: hq, name: HQ, timezone: Europe/Oslo}
http: {listen: %q}
storage: {dir: %q}
spaces:
  - {id: lobby, kind: room, capacity: 40}
doors:
  - {id: entrance, between: [outside, lobby]}
inputs:
  - {driver: socketio}
sensors:
  - {id: door-7, class: line-tof, door: entrance}
%s`, addr, filepath.Join(dir, "store"), uplink)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func correct(t *testing.T, hub string, n int) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, hub+"/v1/spaces/lobby/count", strings.NewReader(fmt.Sprintf(`{"count":%d}`, n)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("count %d: %s %s", n, resp.Status, body)
	}
}

// A wallboard follows a site through the cloud, which is killed three times while the site goes on:
// every correction arrives once and in order, and the client calls itself recovered.
func TestIntegrationResumeOverKilledCloud(t *testing.T) {
	needClient(t)
	dir := t.TempDir()
	cloudAddr, natsAddr, hubAddr := freePort(t), freePort(t), freePort(t)
	cloudBin, hubBin := build(t, dir, "headcount-cloud"), build(t, dir, "headcount")
	data, conf, creds := filepath.Join(dir, "cloud"), filepath.Join(dir, "cloud.yaml"), filepath.Join(dir, "site.creds")
	text := fmt.Sprintf("data: %q\nhttp: {listen: %q}\nnats: {listen: %q}\n", data, cloudAddr, natsAddr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cloud := run(t, "http://"+cloudAddr+"/health", cloudBin, "run", "--config", conf)
	if out, err := exec.CommandContext(t.Context(), cloudBin, "enrol", "acme", "hq", "--config", conf, "--out", creds).CombinedOutput(); err != nil {
		t.Fatalf("enrol: %v %s", err, out)
	}
	uplink := fmt.Sprintf("uplink: {url: %q, credentials_file: %q}\n", "nats://"+natsAddr, creds)
	run(t, "http://"+hubAddr+"/health/live", hubBin, "run", "--config", hubConfig(t, dir, hubAddr, uplink))
	waitFor(t, "the site in the cloud", func() bool {
		resp, err := http.Get("http://" + cloudAddr + "/v1/sites/hq")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	lines := node(t, "resume.mjs", "http://"+cloudAddr, "acme")
	if m := next(t, lines); m["connected"] != true || m["recovered"] == true {
		t.Fatalf("first: %v", m)
	}
	if m := next(t, lines); m["subscribed"] == nil {
		t.Fatalf("subscription: %v", m)
	}
	const rounds, each = 3, 5
	n, recoveries := 0, 0
	for round := range rounds + 1 {
		for range each {
			n++
			correct(t, "http://"+hubAddr, n)
		}
		for want := n - each + 1; want <= n; {
			m := next(t, lines)
			if m["connected"] == true {
				if m["recovered"] != true {
					t.Fatalf("round %d: the client was not recovered", round)
				}
				recoveries++
				continue
			}
			if m["count"] != float64(want) {
				t.Fatalf("round %d: got %v, want correction %d", round, m, want)
			}
			want++
		}
		if round < rounds {
			cloud.kill()
			n++ // while the cloud is away
			correct(t, "http://"+hubAddr, n)
			cloud.start("http://" + cloudAddr + "/health")
			for got := false; !got; {
				m := next(t, lines)
				if m["connected"] == true && m["recovered"] == true {
					recoveries++
					continue
				}
				if m["count"] != float64(n) {
					t.Fatalf("after the kill: got %v, want correction %d", m, n)
				}
				got = true
			}
		}
	}
	if recoveries != rounds {
		t.Errorf("%d recoveries, want %d", recoveries, rounds)
	}
	t.Logf("%d corrections, %d kills, %d recoveries: each arrived once and in order", n, rounds, recoveries)
}

// A hub is killed right after it has acknowledged 200 readings on one connection: all are there.
func TestIntegrationAcknowledgedIsStored(t *testing.T) {
	needClient(t)
	dir := t.TempDir()
	addr := freePort(t)
	conf := hubConfig(t, dir, addr, "")
	hub := run(t, "http://"+addr+"/health/live", build(t, dir, "headcount"), "run", "--config", conf)
	if m := next(t, node(t, "sensor.mjs", "http://"+addr, "200")); m["accepted"] != 200.0 {
		t.Fatalf("acknowledged: %v, want 200", m)
	}
	hub.kill()
	hub.start("http://" + addr + "/health/live")
	resp, err := http.Get("http://" + addr + "/v1/devices?state=pending")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Devices []struct{ Readings int }
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, d := range list.Devices {
		sum += d.Readings
	}
	if len(list.Devices) != 200 || sum != 200 {
		t.Errorf("%d devices with %d readings are there after the kill, want 200 with 200", len(list.Devices), sum)
	}
}
