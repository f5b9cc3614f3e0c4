package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim/simulate"
	"github.com/headcount-hub/headcount/edge"
)

// house has a room per transport, and sensors that make no mistakes.
const house = `site: {id: house}
start: "09:00"
spaces:
  - {id: lobby, capacity: 100}
  - {id: by-mqtt, capacity: 20}
  - {id: by-serial, capacity: 20}
  - {id: by-socket, capacity: 20}
doors:
  - {id: front, between: [outside, lobby]}
  - {id: d1, between: [lobby, by-mqtt]}
  - {id: d2, between: [lobby, by-serial]}
  - {id: d3, between: [lobby, by-socket]}
sensors:
  - {id: count-front, class: line-stereo, door: front, via: http, errors: {missed: 0, false: 0}}
  - {id: count-d1, class: line-tof, door: d1, via: mqtt, errors: {missed: 0, false: 0}}
  - {id: count-d2, class: line-tof, door: d2, via: serial, errors: {missed: 0, false: 0}}
  - {id: count-d3, class: line-tof, door: d3, via: socketio, errors: {missed: 0, false: 0}}
`

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestSimulatedCountsMatch runs a simulation with known truth against a hub over all transports: the
// hub's counts are the truth, give or take one.
func TestSimulatedCountsMatch(t *testing.T) {
	dir := inDir(t, map[string]string{"house.yaml": house})
	web, broker, control := freePort(t), freePort(t), freePort(t)
	args := []string{"simulate", "--scenario", "house.yaml", "--speed", "40", "--target", "http://" + web, "--target", "socketio://" + web,
		"--target", "mqtt://" + broker, "--target", "serial:" + dir + "/boards"}
	config := headcount(t, append(args, "--hub-config")...).is(exitOK)
	if err := os.WriteFile("headcount.yaml", []byte(config.out), 0o600); err != nil {
		t.Fatal(err)
	}
	building := launch(t, nil, append(args, "--listen", control, "--truth", "truth.csv", "--every", "100ms")...)
	awaits(t, "the control API", func() bool { _, ok := ask[simulate.State]("http://" + control + "/state"); return ok })
	hub := start(t, nil)
	hub.settled()
	// Counters tell a baseline first; what the hub believes of the start is set by hand, as on a real site.
	want := map[string]int{"lobby": 4, "by-mqtt": 7, "by-serial": 5, "by-socket": 6}
	awaits(t, "all sensors have reported", func() bool {
		s, ok := ask[simulate.State]("http://" + control + "/state")
		return ok && s.Transport["http"].Acked > 0 && s.Transport["mqtt"].Acked > 0 && s.Transport["serial"].Acked > 0 && s.Transport["socketio"].Acked > 0
	})
	for space := range want {
		call(t, http.MethodPut, hub.url+"/v1/spaces/"+space+"/count", `{"count":0}`)
	}
	for space, n := range want {
		call(t, http.MethodPost, "http://"+control+"/people", fmt.Sprintf(`{"space":%q,"count":%d}`, space, n))
	}
	awaits(t, "everybody is there", func() bool {
		s, ok := ask[map[string]int]("http://" + control + "/truth")
		delete(s, "outside")
		return ok && maps.Equal(s, want)
	})
	var last string
	matches := func() bool {
		list, ok := ask[struct{ Spaces []edge.SpaceView }](hub.url + "/v1/spaces")
		last = ""
		for _, v := range list.Spaces {
			n := v.Occupancy.Count
			if n == nil || max(*n-want[v.ID], want[v.ID]-*n) > 1 {
				last += fmt.Sprintf("%s: %s, truth %d; ", v.ID, count(n), want[v.ID])
			}
		}
		return ok && last == ""
	}
	awaits(t, "the hub's counts are the truth", matches)
	if t.Failed() {
		t.Logf("last: %s\n%s", last, building.log)
	}
	building.stop()
	if b, err := os.ReadFile("truth.csv"); err != nil || !strings.HasPrefix(string(b), "time,space,count\n") || !strings.Contains(string(b), ",by-serial,5\n") {
		t.Errorf("truth.csv: %v, %.200s", err, b)
	}
	if _, err := os.Lstat(dir + "/boards"); err == nil {
		t.Error("the link to the serial line is left behind")
	}
}

func TestSimulationIsRecordedAndReplayed(t *testing.T) {
	inDir(t, map[string]string{"house.yaml": house + "events: [{at: \"09:10\", crowd: by-mqtt, count: 9, for: 30m}]\n"})
	record := func(name string) []byte {
		headcount(t, "simulate", "--scenario", "house.yaml", "--record", name, "--truth", "truth.csv", "--for", "1h").is(exitOK)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if one, two := record("one.jsonl"), record("two.jsonl"); len(one) == 0 || !bytes.Equal(one, two) {
		t.Error("the same seed gives other readings")
	}
	config := headcount(t, "simulate", "--scenario", "house.yaml", "--hub-config").is(exitOK)
	if err := os.WriteFile("headcount.yaml", []byte(config.out), 0o600); err != nil {
		t.Fatal(err)
	}
	headcount(t, "replay", "--config", "headcount.yaml", "--in", "one.jsonl", "--truth", "truth.csv").is(exitOK, `"mae":0.`)
}

func TestSimulateSaysWhatIsWrong(t *testing.T) {
	inDir(t, map[string]string{"house.yaml": house, "bad.yaml": "site: {id: x}\nspaces: [{id: a, colour: red}]\ndoors: [{id: d, between: [outside, b]}]\n", "boards": ""})
	headcount(t, "simulate", "--scenario", "house.yaml").is(exitUsage, "--target")
	headcount(t, "simulate", "--scenario", "bad.yaml", "--target", "http://127.0.0.1:1").is(exitConfig, "bad.yaml:2:18: spaces[0].colour: there is no such key")
	headcount(t, "simulate", "--scenario", "none.yaml", "--target", "http://127.0.0.1:1").is(exitFailure, "none.yaml")
	headcount(t, "simulate", "--target", "ftp://127.0.0.1:1").is(exitUsage, "not ftp")
	headcount(t, "simulate", "--target", "serial:boards").is(exitFailure, "boards", "name a new path")
	headcount(t, "simulate", "--target", "http://127.0.0.1:1", "--listen", "0.0.0.0:0").is(exitFailure, "loopback")
	headcount(t, "simulate", "--record", "x.jsonl").is(exitUsage, "--for")
}

func TestControlAPIRefuses(t *testing.T) {
	inDir(t, map[string]string{"house.yaml": house})
	control := freePort(t)
	launch(t, nil, "simulate", "--scenario", "house.yaml", "--target", "http://127.0.0.1:1", "--listen", control)
	awaits(t, "the control API", func() bool { _, ok := ask[simulate.State]("http://" + control + "/state"); return ok })
	for _, c := range []struct {
		path, kind, body, origin string
		status                   int
	}{
		{"/people", "application/json", `{"space":"attic","count":1}`, "", 422},
		{"/people", "application/json", `{"space":"lobby","count":-1}`, "", 422},
		{"/people", "application/json", `{"room":"lobby"}`, "", 400},
		{"/people", "text/plain", `{"space":"lobby","count":1}`, "", 415},
		{"/people", "application/json", `{"space":"lobby","count":1}`, "http://example.org", 403},
		{"/sensors/none/fail", "application/json", `{}`, "", 422},
		{"/sensors/count-d1/fail", "application/json", `{"how":"sulking"}`, "", 422},
		{"/sensors/count-d1/fail", "application/json", `{"how":"stuck"}`, "", 204},
		{"/sensors/count-d1/mend", "", "", "", 204},
		{"/crowd", "application/json", `{"space":"lobby","count":3,"minutes":5}`, "", 204},
	} {
		req, err := http.NewRequest(http.MethodPost, "http://"+control+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.kind)
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.path, c.body, res.StatusCode, c.status)
		}
	}
}

// ask gets JSON.
func ask[T any](url string) (v T, ok bool) {
	res, err := http.Get(url)
	if err != nil {
		return v, false
	}
	defer res.Body.Close()
	return v, res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(&v) == nil
}

func call(t *testing.T, method, url, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, res.Status)
	}
}

// awaits polls what cannot tell by itself, within a deadline.
func awaits(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			t.Errorf("not within 30 s: %s", what)
			return
		case <-tick.C:
		}
	}
}
