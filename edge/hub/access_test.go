//go:build linux || darwin || freebsd

package hub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/live"
)

// canary is a badge that must be found nowhere; all its spellings begin so.
const canary = "04A2CANARY"

const guardedYAML = `
site: {id: office, timezone: UTC}
spaces: [{id: hall, kind: room, capacity: 50}, {id: lab, kind: room, capacity: 50}]
doors:
  - {id: entrance, between: [outside, hall], held_open_after: 45s}
  - {id: lab-door, between: [hall, lab]}
sensors:
  - {id: reader-1, class: badge, door: entrance}
  - {id: reader-2, class: badge, door: entrance, direction: out}
  - {id: reader-3, class: badge, door: lab-door}
  - {id: cam-1, class: camera, space: hall, horizon: 60s}
inputs:
  - {driver: httppush}
  - {driver: broker, listen: %q}
  - {driver: lines, port: %q, format: csv, csv_columns: [id, seq, event, direction, badge], ack: true}
storage: {dir: store}
http: {listen: "127.0.0.1:0"}
`

// building is a hub with readers on all transports, with all that it logs.
type building struct {
	*running
	serial *os.File
	acks   *bufio.Reader
	dir    string
	log    *logged
	stop   func()
}

type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func runBuilding(t *testing.T) *building {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &building{running: &running{t: t, broker: ln.Addr().String()}, serial: master, acks: bufio.NewReader(master), dir: t.TempDir(), log: &logged{}}
	ln.Close()
	cfg, err := config.Parse(b.dir+"/headcount.yaml", fmt.Appendf(nil, guardedYAML, b.broker, slave.Name()), ConfigOptions(os.Environ(), b.dir))
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(Options{Config: cfg, Version: "test", Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	b.url = h.Address()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the hub ended: %v", err)
		}
	})
	t.Cleanup(b.stop)
	for up := 0; up < len(cfg.Inputs); {
		changed := h.engine.Changed()
		up = 0
		for _, d := range h.engine.View().Drivers {
			if d.Up {
				up++
			}
		}
		if up < len(cfg.Inputs) {
			<-changed
		}
	}
	return b
}

// push posts to the profile access.
func (b *building) push(body, want string) {
	b.t.Helper()
	res, err := http.Post(b.url+"/v1/push/access", "application/json", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(res.Body)
	if !strings.Contains(answer.String(), want) {
		b.t.Errorf("push %s: %s %s, want %s", body, res.Status, answer.String(), want)
	}
}

// line prints a line on the serial port and waits for its answer.
func (b *building) line(text, want string) {
	b.t.Helper()
	if _, err := b.serial.WriteString(text + "\n"); err != nil {
		b.t.Fatal(err)
	}
	got, err := b.acks.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, want) {
		b.t.Errorf("line %s is answered %q %v, want %s", text, got, err, want)
	}
}

// happened lists the events of some types as "type subject".
func (b *building) happened(types string) (list []live.Entry) {
	b.t.Helper()
	var v struct{ Events []live.Entry }
	b.get("/v1/events?limit=1000&type="+types, &v)
	return v.Events
}

func (b *building) people(space string) int {
	b.t.Helper()
	var v edge.SpaceView
	b.get("/v1/spaces/"+space, &v)
	if v.Occupancy.Count == nil {
		return -1
	}
	return *v.Occupancy.Count
}

// Badges over HTTP, MQTT and a serial line: they are counted, told, and found nowhere, nor is what
// could not be understood.
func TestBadgesByAllTransports(t *testing.T) {
	b := runBuilding(t)
	in := `{"event":"access.granted","reader":"reader-1","door":"entrance","direction":"in","method":"card","badge":"` + canary + `%d","id":"e%d"}`
	var lines []string
	for i := range 4 {
		lines = append(lines, fmt.Sprintf(in, i, i))
	}
	b.push(strings.Join(lines, "\n"), `"accepted":4`)
	b.push(lines[0], `"duplicate":1`)
	if err := b.publish("access/side", `{"event":"access.granted","reader":"reader-2","card":"`+canary+`0"}`); err != nil {
		t.Fatal(err)
	}
	b.line("reader-3,1,access.granted,in,"+canary+"1", "ok ")
	b.line("reader-3,2,access.denied,in,"+canary+"9", "ok ")

	b.push(`{"event":"access.granted","reader":"reader-1","direction":"`+canary+`"}`, "direction")
	b.push(`{"event":"access.granted","reader":"reader-1","badge":["`+canary+`"]}`, "badge")
	b.push(`{"event":"access.granted","reader":"reader-1","badge":"`+canary, "malformed")
	b.push(`["`+canary+`"]`, "object")
	b.push(`{"event":"access.granted","reader":"stranger","badge":"`+canary+`"}`, `"pending":1`)
	_ = b.publish("access/side", `{"event":"access.granted","reader":"reader-2","wiegand":"`+canary+`"}`)
	_ = b.publish("access/side", `{"event":"`+canary+`","reader":"reader-2"}`)
	b.line("reader-3,3,"+canary+",in,", "err ")
	b.line("reader-3,4,access.granted,in,"+canary+",x", "err")
	b.post(`{"sensor":"reader-1","access":"granted","direction":"none","badge":"` + canary + `"}`)
	b.post(`{"sensor":"reader-1","access":"` + canary + `"}`)
	b.post(`{"sensor":"reader-1","values":[["badge","event",["` + canary + `"]]]}`)

	if hall, lab := b.people("hall"), b.people("lab"); hall != 2 || lab != 1 { // 4 in, 1 out, 1 on to the lab
		t.Errorf("%d in the hall and %d in the lab, want 2 and 1", hall, lab)
	}
	events := b.happened("access.*")
	if len(events) != 8 || events[0].Subject != "entrance" || events[0].Type != "access.granted" {
		t.Errorf("%d events of accesses, want 8: %s", len(events), describe(events))
	}
	first, again := fieldOf(t, events[0], "badge"), fieldOf(t, events[4], "badge")
	if len(first) != 16 || first != again || first == fieldOf(t, events[1], "badge") {
		t.Errorf("badges are told as %q, %q and %q: want 16 digits, the same for the same badge", first, again, fieldOf(t, events[1], "badge"))
	}
	b.stop()
	b.findNowhere(canary)
	b.findNowhere("04a2canary")
	if info, err := os.Stat(filepath.Join(b.dir, "store", badgeKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key for badges: %v, mode %v", err, info.Mode())
	}
}

func describe(events []live.Entry) string {
	var s strings.Builder
	for _, e := range events {
		fmt.Fprintf(&s, "\n%s %s %s", e.Type, e.Subject, e.Data)
	}
	return s.String()
}

// findNowhere looks for a text in all that the hub has written.
func (b *building) findNowhere(text string) {
	b.t.Helper()
	files := 0
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if i := bytes.Index(data, []byte(text)); i >= 0 {
			b.t.Errorf("%s holds %q: …%q…", path, text, data[max(0, i-80):min(len(data), i+40)])
		}
		return err
	})
	if err != nil || files == 0 {
		b.t.Errorf("%d files read: %v", files, err)
	}
	if log := b.log.text(); strings.Contains(log, text) {
		b.t.Errorf("the log holds %q:\n%s", text, log)
	}
}

// A forced door is a critical alert within a second of the message, whatever it came by.
func TestAForcedDoorIsToldWithinASecond(t *testing.T) {
	b := runBuilding(t)
	began := time.Now()
	if err := b.publish("access/entrance", `{"event":"door.forced","reader":"reader-1"}`); err != nil {
		t.Fatal(err)
	}
	var v struct{ Alerts []edge.Alert }
	b.get("/v1/alerts", &v)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if len(v.Alerts) != 1 || v.Alerts[0].Rule != "door-forced" || v.Alerts[0].Severity != edge.Critical || v.Alerts[0].SubjectKind != "door" {
		t.Errorf("alerts %+v, want a critical one of the door", v.Alerts)
	}
	b.line("reader-1,1,door.closed,,", "ok ")
	if got := describe(b.happened("door.*")); !strings.Contains(got, "door.forced entrance") || !strings.Contains(got, "door.closed entrance") {
		t.Errorf("events of doors:%s", got)
	}
}

func TestACameraThatSaysThatItIsOfflineRaisesAnAlert(t *testing.T) {
	b := runBuilding(t)
	for _, body := range []string{`{"event":"person.detected","camera":"cam-1","count":3}`, `{"event":"motion.detected","camera":"cam-1"}`, `{"event":"camera.offline","camera":"cam-1"}`} {
		if err := b.publish("access/cam", body); err != nil {
			t.Fatal(err)
		}
	}
	got := describe(append(b.happened("person.*,motion.*"), b.happened("camera.*")...))
	for _, want := range []string{`person.detected cam-1 {"camera":"cam-1","space":"hall","count":3}`, "motion.detected cam-1", "camera.offline cam-1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:%s", want, got)
		}
	}
	var v struct{ Alerts []edge.Alert }
	b.get("/v1/alerts", &v)
	if len(v.Alerts) != 1 || v.Alerts[0].Rule != "camera-offline" || v.Alerts[0].Subject != "cam-1" {
		t.Errorf("alerts %+v", v.Alerts)
	}
	if n := b.people("hall"); n < 2 {
		t.Errorf("%d in the hall, the camera saw 3", n)
	}
}

func TestTheKeyForBadgesIsKept(t *testing.T) {
	dir := t.TempDir()
	one, err := badgeHider(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	two, err := badgeHider(dir, slog.New(slog.DiscardHandler))
	if err != nil || one("04A2") != two(" 04a2 ") || one("04A2") == one("04A3") {
		t.Errorf("the same badge is %s and %s, another %s (%v)", one("04A2"), two("04a2"), one("04A3"), err)
	}
	if other, _ := badgeHider(t.TempDir(), slog.New(slog.DiscardHandler)); other("04A2") == one("04A2") {
		t.Error("two sites give a badge the same pseudonym")
	}
	file := filepath.Join(dir, badgeKeyFile)
	if err := os.Chmod(file, 0o644); err != nil { // as a copy that was put back
		t.Fatal(err)
	}
	three, err := badgeHider(dir, slog.New(slog.DiscardHandler))
	if err != nil || three("04A2") != one("04A2") {
		t.Errorf("with a key that others could read: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is left open to others: %v %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := badgeHider(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error %v, want that the key is damaged", err)
	}
}

// fieldOf is a text field of an event's data.
func fieldOf(t *testing.T, e live.Entry, name string) string {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	s, _ := data[name].(string)
	return s
}
