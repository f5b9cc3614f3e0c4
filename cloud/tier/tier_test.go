package tier

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/wire"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startOSSMetrics"))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is a tier on free ports of loopback.
func config(dir string) Config {
	return Config{Data: dir, HTTP: HTTP{Listen: "127.0.0.1:0"}, NATS: NATS{Listen: "127.0.0.1:0"}}
}

func startTier(t testing.TB, cfg Config) *Tier {
	t.Helper()
	tier, err := Start(t.Context(), cfg)
	must(t, err)
	t.Cleanup(tier.Close)
	return tier
}

// hub plays a site's hub: one events lane, sent as it grows.
type hub struct {
	t     testing.TB
	org   string
	site  string
	creds []byte
	epoch string
	conn  *nats.Conn
	seq   uint64
	crc   uint32
}

func newHub(t testing.TB, tier *Tier, org, site string) *hub {
	t.Helper()
	creds, err := tier.Enrol(org, site)
	must(t, err)
	h := &hub{t: t, org: org, site: site, creds: creds, epoch: strings.Repeat("a", 32)}
	h.connect(tier)
	return h
}

func (h *hub) connect(tier *Tier) {
	h.t.Helper()
	conn, err := nats.Connect(tier.NATSURL(), nats.UserCredentialBytes(h.creds), nats.CustomInboxPrefix(wire.InboxPrefix(h.org, h.site)), nats.NoReconnect())
	must(h.t, err)
	h.t.Cleanup(conn.Close)
	h.conn = conn
	eventually(h.t, "the cloud answers", func() bool { return h.beat() == nil })
}

func (h *hub) beat() error {
	body, err := json.Marshal(wire.Heartbeat{Version: 1, Site: h.site, Name: "HQ", Epoch: h.epoch})
	must(h.t, err)
	_, err = h.conn.Request(wire.UpSubject(h.org, h.site, wire.UpHeartbeat), body, time.Second)
	return err
}

// tell sends one event that happened at a time.
func (h *hub) tell(typ edge.EventType, subject string, at time.Time, fact any) {
	h.t.Helper()
	data, err := json.Marshal(fact)
	must(h.t, err)
	h.seq++
	rec := edge.Record{Epoch: h.epoch, Lane: edge.Events, Seq: h.seq, Commit: h.seq, Source: h.site, Type: string(typ), Subject: subject, Time: at, Data: data}
	body := rec.AppendJSON(nil)
	header, payload, err := wire.Encode(wire.Batch{Epoch: h.epoch, Lane: edge.Events, First: h.seq, CRC: h.crc, Records: [][]byte{body}})
	must(h.t, err)
	h.crc = edge.Chain(h.crc, body)
	must(h.t, h.conn.PublishMsg(&nats.Msg{Subject: wire.UpSubject(h.org, h.site, "events"), Header: header, Data: payload}))
	must(h.t, h.conn.Flush())
}

func (h *hub) occupancy(count int) {
	h.t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	h.tell(edge.OccupancyChanged, "room", now, edge.Occupancy{Space: "room", State: edge.Occupied, Count: &count, Low: &count, High: &count, Quality: edge.QualityGood, AsOf: now, Since: now})
}

// eventually polls a condition that has no event of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// get fetches a path and fails unless it has this status.
func get(t testing.TB, tier *Tier, path string, status int, header ...string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tier.HTTPAddr()+path, nil)
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Host") != "" {
		req.Host = req.Header.Get("Host")
	}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != status {
		t.Errorf("GET %s: %s %s, want %d", path, resp.Status, b, status)
	}
	return b
}

// message is one event of a stream.
type message struct{ id, typ, data string }

// stream is an open event stream.
type stream struct {
	t      testing.TB
	cancel context.CancelFunc
	in     chan message
}

func follow(t testing.TB, tier *Tier, path, lastID string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tier.HTTPAddr()+path, nil)
	must(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := client.Do(req)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, resp.Status)
	}
	s := &stream{t: t, cancel: cancel, in: make(chan message)}
	go func() {
		defer resp.Body.Close()
		defer close(s.in)
		var m message
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case key == "id":
				m.id = value
			case key == "event":
				m.typ = value
			case key == "data":
				m.data += value
			case lines.Text() == "" && m.typ != "":
				select {
				case s.in <- m:
				case <-ctx.Done():
					return
				}
				m = message{}
			}
		}
	}()
	t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	for range s.in {
	}
}

// next waits for an event of a type and passes over others.
func (s *stream) next(typ string) message {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				s.t.Fatalf("the stream ended before %s", typ)
			}
			if m.typ == typ {
				return m
			}
		case <-deadline:
			s.t.Fatalf("no %s within %s", typ, patience)
		}
	}
}

func count(t testing.TB, m message) int {
	t.Helper()
	var e struct {
		Site string
		Data edge.Occupancy
	}
	must(t, json.Unmarshal([]byte(m.data), &e))
	if e.Site != "hq" || e.Data.Count == nil {
		t.Fatalf("event is %s", m.data)
	}
	return *e.Data.Count
}

func TestEventReachesTheStreamAndResumesAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	tier := startTier(t, config(dir))
	h := newHub(t, tier, "acme", "hq")
	s := follow(t, tier, "/v1/stream?site=hq", "")
	if m := s.next("snapshot"); !strings.Contains(m.data, `"site":"hq"`) {
		t.Fatalf("first event is %+v", m)
	}
	for n := range 5 {
		h.occupancy(n)
	}
	var last message
	for n := range 3 {
		if last = s.next("occupancy.changed"); count(t, last) != n {
			t.Fatalf("got %s, want count %d", last.data, n)
		}
	}
	s.close()
	h.conn.Close()
	tier.Close()

	tier = startTier(t, config(dir))
	h.connect(tier)
	h.occupancy(5)
	s = follow(t, tier, "/v1/stream?site=hq", last.id)
	for n := 3; n < 6; n++ {
		if m := s.next("occupancy.changed"); count(t, m) != n {
			t.Fatalf("after the restart got %s, want count %d", m.data, n)
		}
	}
	s.close()
	s = follow(t, tier, "/v1/stream?site=hq", "999999")
	if m := s.next("snapshot"); !strings.Contains(m.data, `"count":5`) {
		t.Errorf("an id of nowhere is answered with %+v, want the present state", m)
	}
	var view edge.SpaceView
	must(t, json.Unmarshal(get(t, tier, "/v1/sites/hq/spaces/room", 200), &view))
	if *view.Occupancy.Count != 5 {
		t.Errorf("room has %d", *view.Occupancy.Count)
	}
}

func TestWebSocketAndNotifications(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	h := newHub(t, tier, "acme", "hq")
	addr := "ws" + strings.TrimPrefix(tier.HTTPAddr(), "http")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all, _, err := websocket.Dial(ctx, addr+"/v1/sites/hq/stream/ws", nil)
	must(t, err)
	defer all.CloseNow()
	alerts, _, err := websocket.Dial(ctx, addr+"/ws/notifications", nil)
	must(t, err)
	defer alerts.CloseNow()
	read := func(c *websocket.Conn) (typ string) {
		t.Helper()
		for {
			_, b, err := c.Read(ctx)
			must(t, err)
			var f struct{ Type string }
			must(t, json.Unmarshal(b, &f))
			if f.Type != "heartbeat" {
				return f.Type
			}
		}
	}
	for _, c := range []*websocket.Conn{all, alerts} {
		if typ := read(c); typ != "snapshot" {
			t.Fatalf("first frame is %s", typ)
		}
	}
	h.occupancy(1)
	h.tell(edge.AlertRaised, "a1", time.Now(), edge.Alert{ID: "a1", Rule: "over", State: edge.StateFiring})
	if a, b := read(all), read(all); a != "occupancy.changed" || b != "alert.raised" {
		t.Errorf("the stream has %s, %s", a, b)
	}
	if typ := read(alerts); typ != "alert.raised" {
		t.Errorf("notifications have %s", typ)
	}
}

func TestWebhookIsSignedAndLateAlertsAreOnlyRecorded(t *testing.T) {
	var mu sync.Mutex
	var got []string
	secret := strings.Repeat("s", 32)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err := deliver.Verify([]byte(secret), r.Header.Get(deliver.HeaderSignature), body, time.Now(), time.Minute); err != nil {
			t.Errorf("signature: %v", err)
		}
		got = append(got, r.Header.Get(deliver.HeaderKey))
	}))
	defer receiver.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	cfg := config(dir)
	cfg.Organisations = []Organisation{{ID: "acme", Webhooks: []Webhook{{Name: "facilities", URL: receiver.URL, SecretFile: file}}}}
	tier := startTier(t, cfg)
	h := newHub(t, tier, "acme", "hq")
	now := time.Now().UTC()
	h.tell(edge.AlertRaised, "late", now.Add(-time.Hour), edge.Alert{ID: "late", Rule: "over", State: edge.StateFiring, Severity: edge.Critical})
	h.tell(edge.AlertRaised, "fresh", now, edge.Alert{ID: "fresh", Rule: "over", State: edge.StateFiring, Severity: edge.Critical})
	states := func() string {
		var list struct {
			Deliveries []struct{ Alert, State string }
		}
		must(t, json.Unmarshal(get(t, tier, "/v1/sites/hq/deliveries", 200), &list))
		return fmt.Sprint(list.Deliveries)
	}
	eventually(t, "both are decided and the fresh one delivered", func() bool { return states() == "[{fresh delivered} {late late}]" })
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 1 || got[0] != "acme/hq/fresh/alert.raised" {
		t.Errorf("the receiver got %v", got)
	}
}

func TestNothingBeyondLoopbackWithoutATokenFile(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.HTTP.Listen = "0.0.0.0:0"
	if tier, err := Start(t.Context(), cfg); !errors.Is(err, ErrConfig) {
		tier.Close()
		t.Fatalf("got %v, want a refusal", err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(file, []byte("# who may\nops:0123456789abcdef\n\nfedcba9876543210\n"), 0o600))
	cfg.HTTP.TokenFile, cfg.HTTP.TLS = file, "off"
	tier := startTier(t, cfg)
	tier.listenerAddrOnLoopback(t)
	for _, path := range []string{"/v1/sites", "/v1/stream", "/metrics", "/ws/notifications", "/v1/nothing"} {
		get(t, tier, path, 401)
	}
	for _, path := range []string{"/", "/health", "/health/live", "/health/ready"} {
		get(t, tier, path, 200)
	}
	get(t, tier, "/v1/sites", 200, "Authorization", "Bearer 0123456789abcdef")
	get(t, tier, "/v1/sites", 200, "Authorization", "bearer fedcba9876543210")
	for range 4 {
		get(t, tier, "/v1/sites", 401, "Authorization", "Bearer 0123456789abcdee")
	}
	get(t, tier, "/v1/sites", 429, "Authorization", "Bearer 0123456789abcdee")
	get(t, tier, "/v1/sites", 429, "Authorization", "Bearer 0123456789abcdef") // the right one is not told apart
}

// listenerAddrOnLoopback lets the test reach a listener of all addresses.
func (t *Tier) listenerAddrOnLoopback(tb testing.TB) {
	tb.Helper()
	if !strings.Contains(t.HTTPAddr(), "[::]") {
		tb.Fatalf("listens on %s", t.HTTPAddr())
	}
}

func TestTokenFileMistakesAreNamedWithoutTheSecret(t *testing.T) {
	for _, tc := range []struct {
		body string
		mode os.FileMode
		want string
	}{{"tiny-one", 0o600, "shorter"}, {"", 0o600, "no token"}, {"0123456789abcdef", 0o644, "open to every user"}} {
		file := filepath.Join(t.TempDir(), "tokens")
		must(t, os.WriteFile(file, []byte(tc.body), tc.mode))
		_, err := loadTokens(file)
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.body != "" && strings.Contains(err.Error(), tc.body) {
			t.Errorf("%q: got %v, want %q and not the secret", tc.body, err, tc.want)
		}
	}
}

func TestATokenOfTheFileHasItsRole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(file, []byte("board:viewer:0123456789abcdef\nops:fedcba9876543210\n"), 0o600))
	cfg := config(t.TempDir())
	cfg.HTTP.TokenFile = file
	tier := startTier(t, cfg)
	board, ops := "Bearer 0123456789abcdef", "Bearer fedcba9876543210"
	get(t, tier, "/v1/sites", 200, "Authorization", board)
	for role, want := range map[string]int{board: http.StatusForbidden, ops: http.StatusCreated} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tier.HTTPAddr()+"/v1/sites", strings.NewReader(`{"id":"oslo","domain":"acme","name":"Oslo"}`))
		must(t, err)
		req.Header.Set("Authorization", role)
		resp, err := client.Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s makes a site: %s, want %d", role, resp.Status, want)
		}
	}
	must(t, os.WriteFile(file, []byte("device:door-7:0123456789abcdef\n"), 0o600))
	if _, err := loadTokens(file); err == nil || !strings.Contains(err.Error(), "for the hub") {
		t.Errorf("a device's line: %v", err)
	}
}

func TestForeignNamesAndPagesAreRefused(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	get(t, tier, "/v1/sites", 421, "Host", "evil.example")
	get(t, tier, "/v1/sites", 200, "Host", "localhost:1")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tier.HTTPAddr()+"/v1/sites/hq/alerts/a/acknowledge", strings.NewReader("{}"))
	must(t, err)
	req.Header.Set("Origin", "https://evil.example")
	resp, err := client.Do(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page may acknowledge: %s", resp.Status)
	}
}

func TestPageHealthAndMetrics(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	h := newHub(t, tier, "acme", "hq")
	h.occupancy(1)
	eventually(t, "the event is counted", func() bool {
		return bytes.Contains(get(t, tier, "/metrics", 200), []byte("headcount_cloud_events_applied_total 1\n"))
	})
	metrics := string(get(t, tier, "/metrics", 200))
	for _, want := range []string{`headcount_cloud_sites{state="online"} 1`, "headcount_cloud_open_alerts 0", "go_goroutines", "headcount_http_request_duration_seconds"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if page := get(t, tier, "/", 200); !bytes.Contains(page, []byte("<html")) {
		t.Errorf("the page is %.80s", page)
	}
	if health := get(t, tier, "/health", 200); !bytes.Contains(health, []byte(`"status":"UP"`)) {
		t.Errorf("health is %s", health)
	}
	get(t, tier, "/v1/nothing", 404)
	must(t, tier.db.Close())
	if health := get(t, tier, "/health/ready", 503); !bytes.Contains(health, []byte(`"status":"DOWN"`)) {
		t.Errorf("health without a database is %s", health)
	}
	get(t, tier, "/health/live", 200)
}

func TestOneProcessPerDataDirectory(t *testing.T) {
	dir := t.TempDir()
	first := startTier(t, config(dir))
	second, err := Start(t.Context(), config(dir))
	if !errors.Is(err, store.ErrInUse) {
		second.Close()
		t.Fatalf("got %v, want ErrInUse", err)
	}
	get(t, first, "/health/ready", 200)
	first.Close()
	startTier(t, config(dir))
}

func TestEnrolAndRevokeWhetherTheTierRunsOrNot(t *testing.T) {
	dir := t.TempDir()
	offline, url, err := Enrol(t.Context(), config(dir), "acme", "hq")
	must(t, err)
	if url != "" {
		t.Errorf("without a running tier the URL is %s", url)
	}
	tier := startTier(t, config(dir))
	h := &hub{t: t, org: "acme", site: "hq", creds: offline, epoch: strings.Repeat("a", 32)}
	h.connect(tier)
	online, url, err := Enrol(t.Context(), config(dir), "acme", "lab")
	must(t, err)
	if url != tier.NATSURL() {
		t.Errorf("URL is %s, want %s", url, tier.NATSURL())
	}
	lab := &hub{t: t, org: "acme", site: "lab", creds: online, epoch: strings.Repeat("b", 32)}
	lab.connect(tier)
	if _, _, err := Enrol(t.Context(), config(dir), "Not OK", "x"); err == nil {
		t.Error("a bad name was enrolled")
	}
	cut := make(chan struct{})
	h.conn.SetClosedHandler(func(*nats.Conn) { close(cut) })
	must(t, Revoke(t.Context(), config(dir), "acme", "hq"))
	select {
	case <-cut:
	case <-time.After(patience):
		t.Fatal("the revoked hub is still connected")
	}
	if _, err := nats.Connect(tier.NATSURL(), nats.UserCredentialBytes(offline), nats.NoReconnect()); err == nil {
		t.Error("the revoked hub came back")
	}
	must(t, lab.beat())
	tier.Close()
	must(t, Revoke(t.Context(), config(dir), "acme", "lab"))
	tier = startTier(t, config(dir))
	if _, err := nats.Connect(tier.NATSURL(), nats.UserCredentialBytes(online), nats.NoReconnect()); err == nil {
		t.Error("the hub that was revoked offline came back")
	}
}

func TestConfigIsStrict(t *testing.T) {
	good := `
data: state
http: {listen: "127.0.0.1:9000", token_file: tokens}
organisations:
  - id: acme
    webhooks:
      - {name: facilities, url: "https://example.org/hook", min_severity: warning, max_age: 10m}
`
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	must(t, os.WriteFile(path, []byte(good), 0o600))
	c, err := LoadConfig(path)
	must(t, err)
	if c.Data != filepath.Join(filepath.Dir(path), "state") || c.Organisations[0].Webhooks[0].MaxAge != 10*time.Minute {
		t.Errorf("config is %+v", c)
	}
	for bad, want := range map[string]string{
		"dta: x":                            "dta",
		"http: {lisen: x}":                  "lisen",
		"organisations: [{id: Acme}]":       "Acme",
		"organisations: [{id: a}, {id: a}]": "twice",
		"http: {certificate: x}":            "belong together",
		"data: [1]":                         "data",
		"organisations: [{id: a, webhooks: [{name: n, url: ftp://x}]}]":                           "http",
		"organisations: [{id: a, webhooks: [{name: n, url: https://x, min_severity: terrible}]}]": "terrible",
	} {
		must(t, os.WriteFile(path, []byte(bad), 0o600))
		if _, err := LoadConfig(path); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a refusal that says %s", bad, err, want)
		}
	}
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := LoadConfig(path); err != nil {
		t.Errorf("an empty file is refused: %v", err)
	}
}

func TestAuditOfARunningTier(t *testing.T) {
	dir := t.TempDir()
	tier := startTier(t, config(dir))
	h := newHub(t, tier, "acme", "hq")
	for n := range 20 {
		h.occupancy(n)
	}
	eventually(t, "all applied", func() bool {
		lanes, err := Audit(t.Context(), Config{Data: dir})
		must(t, err)
		return len(lanes) == 1 && lanes[0].OK() && lanes[0].Stored == 20
	})
	if _, err := Audit(t.Context(), Config{Data: t.TempDir()}); err == nil {
		t.Error("an empty directory was audited")
	}
}
