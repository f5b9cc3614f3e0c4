//go:build bench && linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// How long the quiet hub is watched.
const (
	idleFor   = 15 * time.Second
	steadyFor = 20 * time.Second
	steadyHz  = 200
)

// benchQuiet measures what matters when little happens: memory, CPU, and how soon a reading is
// an alert at its webhook and a number on a screen.
func benchQuiet(t *testing.T, binary, dir string) {
	hooks := make(chan string, benchRooms)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("crowded")) && bytes.Contains(body, []byte("raised")) {
			hooks <- string(body)
		}
	}))
	defer hook.Close()
	s := startHub(t, binary, dir, fmt.Sprintf("alerts:\n  - {name: crowded, for_each: room, when: \"count >= 8\", actions: [desk]}\nactions:\n  desk: {webhook: %q}\n", hook.URL))
	idle := s.watch("idle", idleFor)
	c, err := mqttConnect(s.mqtt, "steady", true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	steadyDone := make(chan error, 1)
	load := newCounterLoad(0, 1, steadyHz*int((steadyFor+2*time.Second).Seconds()), time.Now())
	go func() { steadyDone <- steady(c, load) }()
	busy := s.watch(fmt.Sprintf("%d readings/s", steadyHz), steadyFor)
	if err := <-steadyDone; err != nil {
		t.Error(err)
	}
	fmt.Printf("targets: %.0f and %.0f MiB anonymous, %.0f and %.0f %% of a core\n\n", 24.0, 40.0, 1.0, 5.0)
	if idle > 24 || busy > 40 {
		t.Errorf("anonymous memory is %.1f MiB idle and %.1f MiB at %d readings/s, want at most 24 and 40", idle, busy, steadyHz)
	}
	benchLatency(t, s, load, hooks)
	s.stop()
}

// watch prints the server's CPU share over a time and the most memory seen, and returns that.
func (s *server) watch(what string, d time.Duration) (most float64) {
	before, start := s.usage(), time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for time.Since(start) < d {
		<-tick.C
		most = max(most, anonymous(s.t, s.cmd.Process.Pid))
	}
	used := s.usage().minus(before)
	fmt.Printf("hub, %-14s %5.1f MiB anonymous at most, %4.2f %% of a core, %.1f KB/s written\n", what+":",
		most, 100*used.CPU.Seconds()/time.Since(start).Seconds(), float64(used.Written)/1000/time.Since(start).Seconds())
	return most
}

// steady publishes steadyHz messages a second, each when it is due.
func steady(c net.Conn, l *counterLoad) error {
	go func() { _, _ = io.Copy(io.Discard, c) }() // ends when the connection is closed
	tick := time.NewTicker(time.Second / time.Duration(steadyHz))
	defer tick.Stop()
	for i := range l.len() {
		<-tick.C
		door, body := l.report(nil)
		topic := "sensors/" + doorID(door)
		p := []byte{0x32, byte(2+len(topic)+2+len(body)) | 0x80, byte((2 + len(topic) + 2 + len(body)) >> 7), 0, byte(len(topic))}
		p = append(append(p, topic...), byte((i+1)>>8), byte(i+1))
		if _, err := c.Write(append(p, body...)); err != nil {
			return err
		}
	}
	return nil
}

// untilCalm is how long to wait until every space may be published at once: a space is published
// at most every 5 s, and may have been at the filter's last tick, which are at 0 and 30 s.
func untilCalm(now time.Time) time.Duration {
	const tick, gap = 30 * time.Second, 6 * time.Second
	at := now.Add(2 * gap)
	if calm := at.Truncate(tick).Add(gap); calm.After(at) {
		at = calm
	} else if at.Sub(at.Truncate(tick)) > tick/2 {
		at = at.Truncate(tick).Add(tick + gap)
	}
	return at.Sub(now)
}

// benchLatency sends twelve people through each door, one door after the other, and measures how
// long it takes until the answer (the reading is on the disk), the event on the live stream, and
// the alert at the webhook.
func benchLatency(t *testing.T, s *server, before *counterLoad, hooks <-chan string) {
	type seen struct {
		space string
		at    time.Time
	}
	stream := make(chan seen, 4*benchRooms)
	res, err := http.Get("http://" + s.http + "/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	go func() {
		in := bufio.NewScanner(res.Body)
		in.Buffer(nil, 4<<20)
		event := ""
		for in.Scan() {
			if e, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				event = e
			}
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			if !ok || event != string(edge.OccupancyChanged) {
				continue
			}
			now := time.Now()
			var e struct {
				Subject string `json:"subject"`
			}
			if json.Unmarshal([]byte(data), &e) == nil && strings.HasPrefix(e.Subject, "room-") {
				stream <- seen{e.Subject, now}
			}
		}
	}()
	calm := time.NewTimer(untilCalm(time.Now()))
	<-calm.C
	for len(stream) > 0 {
		<-stream
	}
	var commit, screen, alert, after []time.Duration
	for door := range benchRooms {
		room := fmt.Sprintf("room-%02d", door)
		in, out := totals(before.each - 1)
		body := fmt.Sprintf(`{"sensor":%q,"seq":%d,"count_in":%d,"count_out":%d}`, doorID(door), before.each, in+12, out)
		start := time.Now()
		post, err := http.Post("http://"+s.http+"/v1/readings", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(post.Body)
		post.Body.Close()
		stored := time.Since(start)
		commit = append(commit, stored)
		if !bytes.Contains(answer, []byte(`"accepted":1`)) {
			t.Fatalf("answer %s", answer)
		}
		deadline := time.NewTimer(10 * time.Second)
		for gotHook, gotEvent := false, false; !gotHook || !gotEvent; {
			select {
			case h := <-hooks:
				if strings.Contains(h, room) {
					alert, gotHook = append(alert, time.Since(start)), true
					after = append(after, time.Since(start)-stored)
				}
			case e := <-stream:
				if e.space == room && !gotEvent {
					screen, gotEvent = append(screen, e.at.Sub(start)), true
				}
			case <-deadline.C:
				t.Fatalf("%s: after 10 s: alert %v, event on the stream %v", room, gotHook, gotEvent)
			}
		}
		deadline.Stop()
	}
	for _, row := range []struct {
		name string
		ds   []time.Duration
	}{{"reading -> 2xx (on the disk)", commit}, {"reading -> live stream", screen}, {"reading -> alert at the webhook", alert}, {"2xx -> alert at the webhook", after}} {
		slices.Sort(row.ds)
		ms := func(q float64) float64 { return row.ds[int(q*float64(len(row.ds)-1))].Seconds() * 1000 }
		fmt.Printf("%-34s p50 %6.1f ms   p99 %6.1f ms   (%d times)\n", row.name, ms(.5), ms(.99), len(row.ds))
	}
	fmt.Println()
}
