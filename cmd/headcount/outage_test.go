//go:build integration

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// receiver is a webhook's receiver. It refuses the first call and notes the others.
type receiver struct {
	secret string
	mu     sync.Mutex
	calls  int
	took   map[string]int // type of the event -> calls that were answered 200
	wrong  []string
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, _ := io.ReadAll(req.Body)
	at, sum, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("Headcount-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(h.secret))
	mac.Write([]byte(at + "." + string(b)))
	if hex.EncodeToString(mac.Sum(nil)) != sum {
		h.wrong = append(h.wrong, "signature "+req.Header.Get("Headcount-Signature"))
	}
	var event struct{ ID, Type string }
	if err := json.Unmarshal(b, &event); err != nil {
		h.wrong = append(h.wrong, err.Error())
	}
	if h.calls++; h.calls == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.took[event.Type]++
}

func (h *receiver) seen() (calls int, took map[string]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls, maps.Clone(h.took)
}

// With the link to the cloud cut the hub counts, raises an alert and delivers its signed webhook,
// also over a kill, and says that it is offline. The cloud has all of it later, once.
func TestIntegrationCloudCut(t *testing.T) {
	hook := &receiver{secret: "a shared secret", took: map[string]int{}}
	server := httptest.NewServer(hook)
	defer server.Close()
	r := newRig(t, "", fmt.Sprintf(`
alerts: [{name: crowded, for_each: room, when: "count >= 5", severity: critical, actions: [hook]}]
actions: {hook: {webhook: %q, secret_file: hook.key}}
`, server.URL))
	r.write("hook.key", []byte(hook.secret))
	r.cloud.kill()
	r.startHub()
	r.inputsUp()
	for _, in := range []int{100, 110} { // the first value of a counter is its baseline
		r.post(fmt.Sprintf(`{"sensor":"door","count_in":%d,"count_out":90}`, in), `"accepted":1`)
	}
	r.until("the receiver was called", 30*time.Second, func() bool { n, _ := hook.seen(); return n >= 1 })
	r.hub.kill()
	r.startHub()
	r.until("the webhook is delivered", time.Minute, func() bool { _, took := hook.seen(); return took["alert.raised"] == 1 })
	var s status
	if !get(r.hubURL+"/v1/status", &s) || s.Uplink.Connected || s.Uplink.Reason == "" || s.Lanes.Events.Backlog_records == 0 || s.Lanes.Readings.Backlog_records == 0 {
		t.Errorf("offline, the status says %+v", s)
	}
	f := r.fed(1, 500)

	r.startCloud()
	r.drained(time.Minute)
	var online status
	if !get(r.hubURL+"/v1/status", &online) || !online.Uplink.Connected || online.Uplink.Reason != "" {
		t.Errorf("online again, the status says %+v", online.Uplink)
	}
	var shown struct{ Alerts []edge.Alert }
	r.until("the cloud shows the alert", 30*time.Second, func() bool {
		return get("http://"+r.cloudHTTP+"/v1/sites/"+rigSite+"/alerts", &shown) && slices.ContainsFunc(shown.Alerts, isCrowded)
	})
	r.stop()
	if n := len(slices.DeleteFunc(shown.Alerts, func(a edge.Alert) bool { return !isCrowded(a) })); n != 1 {
		t.Errorf("the cloud shows the alert %d times", n)
	}
	told := map[string]int{}
	for _, rec := range r.records("events") {
		if strings.Contains(string(rec.Data), "crowded") && !rec.Input {
			told[rec.Type]++
		}
	}
	if told["alert.raised"] != 1 || told["action.delivered"] != 1 {
		t.Errorf("events of the alert in the cloud: %v", told)
	}
	if _, took := hook.seen(); took["alert.raised"] != 1 || len(hook.wrong) > 0 {
		t.Errorf("webhook: took %v, wrong %v", took, hook.wrong)
	}
	if wrong := f.judge(r.applied()); len(wrong) > 0 {
		t.Errorf("%d violations, first: %s", len(wrong), wrong[0])
	}
	r.consistent()
}

func isCrowded(a edge.Alert) bool { return a.Rule == "crowded" }

// post sends readings over HTTP; the answer is 200 and contains want.
func (r *rig) post(body, want string) {
	r.t.Helper()
	res, err := http.Post(r.hubURL+"/v1/readings", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
		r.t.Fatalf("%s: %s %s", body, res.Status, b)
	}
}

// The NATS server dies at random moments while hub and cloud go on, once with its store.
func TestIntegrationNATSDies(t *testing.T) {
	seed := seedOf(t)
	rnd := rand.New(rand.NewPCG(seed, 2))
	r := newRigOnNATS(t)
	r.startHub()
	r.inputsUp()
	f := r.feed(1, "broker", "http")
	for i := range 8 {
		if err := f.more(1 + rnd.Int64N(300)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		r.nats.kill()
		if i == 4 {
			if err := os.RemoveAll(r.natsDir()); err != nil {
				t.Fatal(err)
			}
		}
		r.startNATS()
	}
	f.end()
	r.drained(2 * time.Minute)
	r.stop()
	if wrong := f.judge(r.applied()); len(wrong) > 0 {
		t.Errorf("seed %d: %d violations, first: %s", seed, len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
	r.consistent()
	t.Logf("8 kills of NATS, %d readings acknowledged, all applied once", f.total)
}

// The broker restarts in the midst of traffic; the hub finds it again, with its session.
func TestIntegrationBrokerRestarts(t *testing.T) {
	r := newRig(t, "", "")
	r.startHub()
	r.inputsUp()
	f := r.feed(1, "mosquitto", "http")
	for range 3 {
		if err := f.more(500); err != nil {
			t.Fatal(err)
		}
		if err := r.broker.cmd.Process.Signal(syscall.SIGTERM); err != nil { // it writes its store
			t.Fatal(err)
		}
		<-r.broker.done
		r.startMosquitto()
		r.inputsUp()
	}
	f.end()
	r.flushed()
	r.drained(time.Minute)
	r.stop()
	if wrong := f.judge(r.applied()); len(wrong) > 0 {
		t.Errorf("%d violations, first: %s", len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
	t.Logf("3 restarts, %d readings acknowledged, all applied once", f.total)
}
