//go:build linux

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
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/edge"
)

// running is a demo as its user meets it: by HTTP.
type running struct {
	*demo
	t      *testing.T
	client *http.Client // logged in at the cloud
	stop   func() error // ends it and tells why it ended
}

// soon is how long anything may take that is awaited.
const soon = 20 * time.Second

func begin(t *testing.T, o options) *running {
	t.Helper()
	o.log = slog.New(slog.DiscardHandler)
	for _, addr := range []*string{&o.http, &o.cloud, &o.mqtt} {
		if *addr == "" {
			*addr = "127.0.0.1:0"
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	d, err := start(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.wait(ctx) }()
	r := &running{demo: d, t: t}
	r.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { r.stop() })
	r.login()
	return r
}

// login logs in at the cloud as the demo's user does.
func (r *running) login() {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.client = &http.Client{Jar: jar}
	body := fmt.Sprintf(`{"email": %q, "password": %q}`, loginEmail, r.password)
	resp, err := r.client.Post(r.tier.HTTPAddr()+"/auth/login?cookie=1", "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		r.t.Fatalf("login: %s: %s", resp.Status, text)
	}
}

// get asks for JSON; it returns an error while nobody answers.
func get[T any](r *running, url string) (v T, err error) {
	resp, err := r.client.Get(url)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// await asks until the answer is as wanted.
func await[T any](r *running, what, url string, wanted func(T) bool) T {
	r.t.Helper()
	deadline := time.After(soon)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := get[T](r, url)
		if err == nil && wanted(v) {
			return v
		}
		select {
		case <-deadline:
			r.t.Fatalf("%s: after %v %s answers %+v, %v", what, soon, url, v, err)
		case <-tick.C:
		}
	}
}

// post does an action of the page.
func (r *running) post(action, body string) {
	r.t.Helper()
	resp, err := http.Post(r.hubURL()+"/demo/"+action, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent {
		r.t.Fatalf("POST /demo/%s: %s: %s", action, resp.Status, text)
	}
}

// moves waits until a room's count changes on the live stream of hub or cloud.
func (r *running) moves(base string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/stream?type=occupancy.changed", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	first, err := get[spaceList](r, base+"/spaces")
	if err != nil {
		r.t.Fatal(err)
	}
	counts := first.rooms()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20) // a snapshot is long
	for lines.Scan() {
		var e struct {
			Subject string
			Data    edge.Occupancy
		}
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || json.Unmarshal(data, &e) != nil || e.Data.Count == nil {
			continue
		}
		if before, ok := counts[e.Subject]; ok && before != *e.Data.Count {
			return
		}
		counts[e.Subject] = *e.Data.Count
	}
	r.t.Fatalf("%s: %v; no room has changed", base, lines.Err())
}

type lane struct {
	Head    uint64
	Backlog uint64 `json:"backlog_records"`
}

type hubStatus struct {
	Epoch     string
	StartedAt time.Time `json:"started_at"`
	Uplink    struct{ Connected bool }
	Lanes     struct{ Events, Readings lane }
}

type cloudStatus struct {
	Marks struct{ Events, Readings struct{ Seq uint64 } }
}

type spaceList struct {
	Spaces []struct {
		ID        string
		Kind      edge.SpaceKind
		Occupancy edge.Occupancy
	}
}

// rooms are the counts of the rooms where one is known.
func (l spaceList) rooms() map[string]int {
	counts := map[string]int{}
	for _, s := range l.Spaces {
		if s.Kind == edge.Room && s.Occupancy.Count != nil {
			counts[s.ID] = *s.Occupancy.Count
		}
	}
	return counts
}

type sensorList struct {
	Sensors []struct{ ID, Status string }
}

func (l sensorList) status(id string) string {
	for _, s := range l.Sensors {
		if s.ID == id {
			return s.Status
		}
	}
	return ""
}

// One building lives through what the page offers: rooms move on hub and cloud, the line to the
// cloud is cut and restored, the hub restarts, a sensor fails.
func TestDemo(t *testing.T) {
	r := begin(t, options{speed: 60, seed: 1, day: 8*time.Hour + 30*time.Minute, report: time.Second})
	hub, cloud := r.hubURL()+"/v1", r.tier.HTTPAddr()+"/v1/sites/"+sim.SiteID
	r.moves(hub)
	r.moves(cloud)
	if resp, err := http.Get(cloud + "/spaces"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a login the cloud answers %v, %v; want 401", resp, err)
	}

	r.post("cut-link", "{}")
	await(r, "link cut", hub+"/status", func(s hubStatus) bool { return !s.Uplink.Connected })
	at, err := get[cloudStatus](r, cloud+"/status")
	if err != nil {
		t.Fatal(err)
	}
	behind := await(r, "link cut", hub+"/status", func(s hubStatus) bool {
		return s.Lanes.Events.Head > at.Marks.Events.Seq && s.Lanes.Readings.Head > at.Marks.Readings.Seq
	})
	if behind.Uplink.Connected || behind.Lanes.Events.Backlog == 0 || behind.Lanes.Readings.Backlog == 0 {
		t.Errorf("link cut: the hub's status is %+v, want it offline with a backlog", behind)
	}

	r.post("restore-link", "{}")
	await(r, "link restored", hub+"/status", func(s hubStatus) bool { return s.Uplink.Connected })
	await(r, "link restored", cloud+"/status", func(s cloudStatus) bool {
		return s.Marks.Events.Seq >= behind.Lanes.Events.Head && s.Marks.Readings.Seq >= behind.Lanes.Readings.Head
	})

	known := await(r, "counts", hub+"/spaces", func(l spaceList) bool { return len(l.rooms()) > 10 }).rooms()
	r.post("restart-hub", "{}")
	again := await(r, "hub restarted", hub+"/status", func(s hubStatus) bool { return s.StartedAt.After(behind.StartedAt) })
	if again.Epoch != behind.Epoch || again.Lanes.Events.Head < behind.Lanes.Events.Head {
		t.Errorf("hub restarted: its journal is %s up to %d, was %s up to %d", again.Epoch, again.Lanes.Events.Head, behind.Epoch, behind.Lanes.Events.Head)
	}
	now, err := get[spaceList](r, hub+"/spaces")
	if err != nil {
		t.Fatal(err)
	}
	for id, before := range known {
		if n, ok := now.rooms()[id]; !ok || n > before+5 || n < before-5 {
			t.Errorf("hub restarted: %s has %d (known: %t), had %d", id, n, ok, before)
		}
	}

	r.post("fail-sensor", `{"sensor": "lobby-people"}`)
	await(r, "sensor failed", hub+"/sensors", func(l sensorList) bool { return l.status("lobby-people") == "silent" })
	s, err := get[state](r, r.hubURL()+"/demo/state")
	if err != nil || len(s.Failed) != 1 || s.Failed[0] != "lobby-people" || !s.LinkUp {
		t.Errorf("demo state %+v, %v; want lobby-people failed, the link up", s, err)
	}
	r.post("restore-sensor", `{"sensor": "lobby-people"}`)
	await(r, "sensor restored", hub+"/sensors", func(l sensorList) bool { return l.status("lobby-people") == "ok" })

	r.keys()
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the demo took %v to end", took)
	}
	if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
		t.Errorf("the temporary directory %s is still there", r.dir)
	}
}

// keys types every key.
func (r *running) keys() {
	var out bytes.Buffer
	quit := false
	keys(strings.NewReader("l\nl\nf\nm\nt\nx\nq\nl\n"), &out, r.demo, func() { quit = true })
	for _, want := range []string{"link is cut", "link is back", "sensor count-entrance", "all sensors work", "truth  estimate", "stop the hub"} {
		if !strings.Contains(out.String(), want) {
			r.t.Errorf("the keys say %q, want %q in it", out.String(), want)
		}
	}
	if !quit || !r.relay.up() || len(r.building.Failed()) > 0 {
		r.t.Errorf("keys: quit %t, link up %t, failed %v; want true, true, none", quit, r.relay.up(), r.building.Failed())
	}
}

func TestStoresAreKeptAndPortsGivenWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options{speed: 60, seed: 1, day: 8*time.Hour + 30*time.Minute, report: time.Second, dir: t.TempDir(), http: taken.Addr().String()}
	r := begin(t, o)
	var out bytes.Buffer
	welcome(&out, r.demo)
	if !strings.Contains(out.String(), taken.Addr().String()+" is taken") || !strings.Contains(out.String(), r.hubURL()) {
		t.Errorf("the hub's port is taken, and the demo says %s", out.String())
	}
	password := r.password
	if !strings.Contains(out.String(), "login    "+loginEmail+"  "+password+"\n") {
		t.Errorf("the demo does not say its login %s: %s", password, out.String())
	}
	known := await(r, "counts", r.hubURL()+"/v1/spaces", func(l spaceList) bool { return len(l.rooms()) > 10 }).rooms()
	before, err := get[hubStatus](r, r.hubURL()+"/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	r = begin(t, o)
	if r.password != password {
		t.Errorf("begun again: the password is %s, was %s", r.password, password)
	}
	after, err := get[hubStatus](r, r.hubURL()+"/v1/status")
	if err != nil || after.Epoch != before.Epoch || after.Lanes.Events.Head < before.Lanes.Events.Head {
		t.Errorf("begun again: journal %+v, %v; was %+v", after, err, before)
	}
	await(r, "begun again", r.hubURL()+"/v1/spaces", func(l spaceList) bool { return len(l.rooms()) >= len(known) })
	await(r, "begun again", r.tier.HTTPAddr()+"/v1/sites/"+sim.SiteID+"/status", func(s cloudStatus) bool {
		return s.Marks.Events.Seq >= before.Lanes.Events.Head
	})
}

func TestALostPasswordIsTold(t *testing.T) {
	o := options{speed: 60, seed: 1, day: 8 * time.Hour, report: time.Second, dir: t.TempDir()}
	r := begin(t, o)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.dir, passwordFile)); err != nil {
		t.Fatal(err)
	}
	o.log, o.http, o.cloud, o.mqtt = slog.New(slog.DiscardHandler), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if _, err := start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "headcount-cloud user password "+loginEmail) {
		t.Errorf("start without the password file: %v, want an error that says what to do", err)
	}
}
