package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
	"github.com/headcount-hub/headcount/edge/live"
)

const siteYAML = `
site: {id: office, timezone: UTC}
spaces: [{id: hall, kind: room, capacity: 3}]
sensors: [{id: seats, class: zone-count, space: hall}]
inputs: [{driver: httppush}]
storage: {dir: store}
`

// parse makes a configuration in dir out of siteYAML and more of it.
func parse(t *testing.T, dir, more string) *config.Config {
	t.Helper()
	if !strings.Contains(more, "http:") {
		more += "\nhttp: {listen: \"127.0.0.1:0\"}\n"
	}
	cfg, err := config.Parse(filepath.Join(dir, "headcount.yaml"), []byte(siteYAML+more), ConfigOptions(os.Environ(), dir))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// noLeaks fails the test when goroutines are left after its cleanup.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func openHub(cfg *config.Config) (*Hub, error) {
	return Open(Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)})
}

// site is a hub that serves; stop ends it and may be called again.
type site struct {
	running
	hub  *Hub
	stop func()
}

func serve(t *testing.T, cfg *config.Config) *site {
	t.Helper()
	h, err := openHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	s := &site{running: running{t: t, url: h.Address()}, hub: h}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the hub ended: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	t.Cleanup(s.stop)
	for changed := h.engine.Changed(); len(h.engine.View().Drivers) == 0; changed = h.engine.Changed() {
		<-changed
	}
	return s
}

func (s *site) accept(body string) {
	s.t.Helper()
	if status, answer := s.post(body); status != http.StatusOK || !strings.Contains(answer, `"accepted":1`) {
		s.t.Fatalf("post %s: %d %s", body, status, answer)
	}
}

type seen struct {
	spaces struct{ Spaces []edge.SpaceView }
	events struct{ Events []live.Entry }
	points api.SpaceHistory
	status api.Status
}

func (s *site) look() (v seen) {
	s.t.Helper()
	s.get("/v1/spaces", &v.spaces)
	s.get("/v1/events?limit=1000", &v.events)
	s.get("/v1/spaces/hall/history", &v.points)
	s.get("/v1/status", &v.status)
	return v
}

func TestWhatWasSeenBeforeARestartIsSeenAfterIt(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := serve(t, parse(t, dir, ""))
	s.accept(`{"sensor":"seats","count_abs":2,"seq":"a-1"}`)
	if status, answer := s.post(`{"sensor":"seats","count_abs":2,"seq":"a-1"}`); status != http.StatusOK || !strings.Contains(answer, `"duplicate":1`) {
		t.Errorf("the same again: %d %s", status, answer)
	}
	before := s.look()
	hall := before.spaces.Spaces[0].Occupancy
	if hall.State != edge.Occupied || hall.Count == nil || *hall.Count != 2 {
		t.Fatalf("the hall is %+v, want 2 people", hall)
	}
	if n := len(before.points.Points); n == 0 || before.points.Points[n-1].State != edge.Occupied {
		t.Errorf("history: %+v", before.points.Points)
	}
	s.stop()

	s = serve(t, parse(t, dir, ""))
	after := s.look()
	if got := after.spaces.Spaces[0].Occupancy; !got.Same(hall) {
		t.Errorf("after the restart the hall is %+v, was %+v", got, hall)
	}
	if len(after.events.Events) < len(before.events.Events) {
		t.Fatalf("%d events after the restart, were %d", len(after.events.Events), len(before.events.Events))
	}
	for i, e := range before.events.Events {
		if got := after.events.Events[i]; got.ID != e.ID || string(got.Data) != string(e.Data) {
			t.Errorf("event %d is %s %s, was %s %s", i, got.ID, got.Data, e.ID, e.Data)
		}
	}
	for i, p := range before.points.Points {
		if got := after.points.Points[i]; !got.Same(p) || !got.AsOf.Equal(p.AsOf) {
			t.Errorf("point %d of the history is %+v, was %+v", i, got, p)
		}
	}
	if after.status.Epoch != before.status.Epoch || after.status.Counts.Readings != 1 {
		t.Errorf("status after the restart: epoch %s (was %s), counts %+v", after.status.Epoch, before.status.Epoch, after.status.Counts)
	}
	if status, answer := s.post(`{"sensor":"seats","count_abs":2,"seq":"a-1"}`); status != http.StatusOK || !strings.Contains(answer, `"duplicate":1`) {
		t.Errorf("the same after the restart: %d %s", status, answer)
	}
	s.stop()
	st, err := OpenStore(filepath.Join(dir, "store"), "office")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if n, err := st.Verify(); err != nil || n == 0 {
		t.Errorf("verify: %d outputs, %v", n, err)
	}
}

// A hub that cannot run is started again and again: it must leave no trace in the store, and
// nothing behind.
func TestAHubThatCannotRunWritesNothing(t *testing.T) {
	noLeaks(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	for name, more := range map[string]string{
		"port taken": fmt.Sprintf("http: {listen: %q}\n", taken.Addr()),
		"no key":     "http: {listen: \"127.0.0.1:0\", tls_cert_file: cert.pem, tls_key_file: key.pem}\n",
		"no uplink":  "uplink: {url: \"nats://127.0.0.1:4222\", credentials_file: site.creds}\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range []string{"cert.pem", "key.pem", "site.creds"} {
				if err := os.WriteFile(filepath.Join(dir, f), []byte("not one\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg := parse(t, dir, more)
			if h, err := openHub(cfg); err == nil {
				h.close()
				t.Fatal("the hub opened")
			} else {
				t.Log(err)
			}
			if _, err := os.Stat(cfg.Storage.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the store was touched: %v", err)
			}
		})
	}
}

func TestTwoHubsOnOneStore(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, parse(t, dir, ""))
	if h, err := openHub(parse(t, dir, "")); !errors.Is(err, journal.ErrLocked) {
		if err == nil {
			h.close()
		}
		t.Errorf("a second hub on the store: %v, want ErrLocked", err)
	}
	s.accept(`{"sensor":"seats","count_abs":1}`)
}

// Stopping while requests are under way answers each of them, and leaves nothing running.
func TestStopUnderLoadAnswersEverybody(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := serve(t, parse(t, dir, ""))
	const clients = 16
	taken := make(chan int, clients)
	begun := make(chan struct{}, clients)
	for c := range clients {
		go func() {
			n := 0
			for ; ; n++ {
				body := fmt.Sprintf(`{"sensor":"seats","count_abs":1,"seq":"c%d-%d"}`, c, n)
				res, err := http.Post(s.url+"/v1/readings", "application/json", strings.NewReader(body))
				if err != nil {
					break
				}
				b, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK || !strings.Contains(string(b), `"accepted":1`) {
					break
				}
				if n == 0 {
					begun <- struct{}{}
				}
			}
			taken <- n
		}()
	}
	for range clients {
		<-begun
	}
	s.stop()
	total := 0
	for range clients {
		total += <-taken
	}
	s = serve(t, parse(t, dir, ""))
	if got := s.look().status.Counts.Readings; got < uint64(total) || got > uint64(total+clients) {
		t.Errorf("%d readings in the store, %d were accepted", got, total)
	}
}

// panicky is a driver that panics, then fails, then runs.
type panicky struct{ runs chan time.Time }

func (p panicky) Run(ctx context.Context, _ drivers.Sink) error {
	p.runs <- time.Now()
	switch len(p.runs) {
	case 1:
		panic("boom")
	case 2:
		return errors.New("no such device")
	case 3:
		return nil
	}
	<-ctx.Done()
	return nil
}

func TestADriverThatPanicsIsStartedAgainWithABackOff(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Source: "office"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	synctest.Test(t, func(t *testing.T) {
		e, err := engine.Open(engine.Options{Journal: j, Now: func() time.Time { return edge.Millis(time.Now()) }, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = e.Run(ctx) }()
		d := panicky{make(chan time.Time, 8)}
		in := newInput("d-1", "d", d, slog.New(slog.DiscardHandler))
		in.engine = e
		go in.run(ctx)
		time.Sleep(time.Minute)
		var at []time.Time
		for len(d.runs) > 0 {
			at = append(at, <-d.runs)
		}
		if len(at) != 4 {
			t.Fatalf("%d runs in a minute, want 4", len(at))
		}
		for i, least := range []time.Duration{retryMin / 2, retryMin, 2 * retryMin} {
			if wait := at[i+1].Sub(at[i]); wait < least {
				t.Errorf("wait %d is %v, want at least %v", i, wait, least)
			}
		}
	})
}

func TestAFlappingInputIsToldNowAndThen(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Source: "office"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	synctest.Test(t, func(t *testing.T) {
		e, err := engine.Open(engine.Options{Journal: j, Now: func() time.Time { return edge.Millis(time.Now()) }, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = e.Run(ctx) }()
		in := newInput("mqtt-1", "mqtt", nil, slog.New(slog.DiscardHandler))
		in.engine = e
		go in.report(ctx)
		before := j.Head(edge.Events).Seq
		for n := range 600 {
			in.Status(drivers.Status{Up: n%2 == 0, Detail: fmt.Sprint("port ", n)})
			time.Sleep(100 * time.Millisecond)
		}
		in.Status(drivers.Status{Up: true, Detail: "broker:1883"})
		time.Sleep(2 * reportEvery)
		if n := j.Head(edge.Events).Seq - before; n > 20 {
			t.Errorf("%d records of a minute of flapping", n)
		}
		if d := e.View().Drivers; len(d) != 1 || !d[0].Up || d[0].Detail != "broker:1883" {
			t.Errorf("told %+v, want the newest", d)
		}
	})
}

// While the hub was off nothing is known, and the history says so.
func TestHistoryOfATimeInWhichTheHubWasOff(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Source: "office"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	setup := engine.Setup{Hash: "1", Site: edge.Site{ID: "office", Spaces: []edge.Space{{ID: "hall", Kind: edge.Room}}, Sensors: []edge.Sensor{{ID: "seats", Class: edge.ZoneCount, Space: "hall"}}}}
	start := func() (*engine.Engine, func()) {
		e, err := engine.Open(engine.Options{Journal: j, Setup: setup, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.Run(ctx) }()
		return e, func() { cancel(); <-done }
	}
	e, stop := start()
	off := now
	if _, err := e.Put(t.Context(), edge.Reading{Device: "seats", Values: []edge.Value{edge.NumberValue(edge.CountAbs, edge.Absolute, 4)}}); err != nil {
		t.Fatal(err)
	}
	stop()
	now = now.Add(10 * time.Hour)
	_, stop = start()
	stop()
	points, err := history{j}.Occupancy(t.Context(), "hall", off.Add(-time.Hour), off.Add(2*time.Hour), 100)
	if err != nil || len(points) == 0 {
		t.Fatalf("history: %v, %v", points, err)
	}
	if last := points[len(points)-1]; last.State != edge.Unknown || !last.AsOf.Equal(off) {
		b, _ := json.Marshal(points)
		t.Errorf("the last point is %+v, want unknown as of %v: %s", last, off, b)
	}
	if !slices.ContainsFunc(points, func(o edge.Occupancy) bool { return o.State == edge.Occupied }) {
		t.Error("what was known before is gone")
	}
}

// A hub without a cloud keeps history, no backlog: nothing waits for ever, and nothing is declared
// lost when the quota takes its toll. What is kept still goes up when a cloud is added later.
func TestAHubWithoutACloudHasNoBacklog(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, parse(t, dir, ""))
	s.accept(`{"sensor":"seats","count_abs":2}`)
	s.hub.releaseAll()
	for _, lane := range edge.Lanes {
		if l := s.hub.journal.Stats().Lane(lane); l.Pending != 0 || l.Head == 0 || l.Mark.Seq != l.Head {
			t.Errorf("%s: %+v, want nothing pending", lane, l)
		}
	}
	s.accept(`{"sensor":"seats","count_abs":3}`)
	s.stop()
	s = serve(t, parse(t, dir, ""))
	v := s.look()
	if n := len(v.events.Events); n == 0 || v.points.Points == nil {
		t.Errorf("the history is gone: %d events, %d points", n, len(v.points.Points))
	}
	if n, ledger := s.refused(); n != 0 {
		t.Errorf("losses:%s", ledger)
	}
}

func TestApprovingByModel(t *testing.T) {
	s := serve(t, parse(t, t.TempDir(), ""))
	if status, answer := s.post(`{"sensor":"new","presence":true}`); status != http.StatusOK || !strings.Contains(answer, `"pending":1`) {
		t.Fatalf("a device that nobody knows: %d %s", status, answer)
	}
	res, err := http.Post(s.url+"/v1/devices/new/approve", "application/json", strings.NewReader(`{"id":"new","space":"hall","profile":"terabee-mqtt"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Errorf("approve by profile: %d %s", res.StatusCode, b)
	}
	s.accept(`{"sensor":"new","presence":true}`)
}

// What the estimator refuses is a mistake in the file, with its place, and not a hub that does
// not start.
func TestTheConfigurationKnowsTheEstimatorsParameters(t *testing.T) {
	dir := t.TempDir()
	file := strings.Replace(siteYAML, "class: zone-count", "class: zone-count, params: {nonsense: 3}", 1)
	_, err := config.Parse(filepath.Join(dir, "headcount.yaml"), []byte(file), ConfigOptions(os.Environ(), dir))
	if err == nil || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), ":4:") {
		t.Errorf("an unknown parameter: %v", err)
	}
}
