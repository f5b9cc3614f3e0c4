package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/config"
)

// running is a hub that serves in this process.
type running struct {
	t      *testing.T
	url    string
	broker string
}

// run opens a hub with a broker and httppush and runs it until the test ends.
func run(t *testing.T) *running {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, broker: ln.Addr().String()}
	ln.Close()
	cfg, err := config.Parse(dir+"/headcount.yaml", fmt.Appendf(nil, `
site: {id: office, timezone: UTC}
spaces: [{id: hall, kind: room, capacity: 50}]
sensors:
  - {id: seats, class: zone-count, space: hall}
  - {id: seats-mqtt, class: zone-count, space: hall, device: sensors/seats-mqtt}
inputs:
  - {driver: httppush}
  - {driver: broker, listen: %q}
storage: {dir: store}
http: {listen: "127.0.0.1:0"}
`, r.broker), ConfigOptions(os.Environ(), dir))
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.url = h.Address()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the hub ended: %v", err)
		}
	})
	for {
		changed, up := h.engine.Changed(), 0
		for _, d := range h.engine.View().Drivers {
			if d.Up {
				up++
			}
		}
		if up == len(cfg.Inputs) {
			return r
		}
		<-changed
	}
}

func (r *running) get(path string, v any) {
	r.t.Helper()
	res, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: %s %v", path, res.Status, err)
	}
}

func (r *running) post(body string) (int, string) {
	r.t.Helper()
	res, err := http.Post(r.url+"/v1/readings", "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// publish sends with QoS 1 over a connection of its own and returns whether it was acknowledged.
func (r *running) publish(topic, body string) error {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.broker)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.CleanSession, c.ClientIdentifier, c.Keepalive = "MQTT", 4, true, "bad", 60
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.Qos, p.MessageID, p.TopicName, p.Payload = 1, 7, topic, []byte(body)
	var out bytes.Buffer
	if err := c.Write(&out); err != nil {
		r.t.Fatal(err)
	}
	if err := p.Write(&out); err != nil {
		r.t.Fatal(err)
	}
	go func() { _, _ = conn.Write(out.Bytes()) }() // the broker may hang up in the midst of it
	for {
		answer, err := packets.ReadPacket(conn)
		if err != nil {
			return err
		}
		if ack, ok := answer.(*packets.PubackPacket); ok && ack.MessageID == 7 {
			return nil
		}
	}
}

// refused counts what the ledger has.
func (r *running) refused() (n uint64, ledger string) {
	r.t.Helper()
	var l struct{ Loss []edge.LossEntry }
	r.get("/v1/loss", &l)
	for _, e := range l.Loss {
		n += e.Count
		ledger += fmt.Sprintf("\n%s: %s, %d (%s)", e.Source, e.Cause, e.Count, e.Detail)
	}
	return n, ledger
}

// bad is what no sensor should send; each is one loss.
var bad = map[string]string{
	"malformed":     `{"sensor":"seats","count_abs":`,
	"not JSON":      "\x00\xff\x17 seats 4",
	"no value":      `{"sensor":"seats"}`,
	"deep":          `{"sensor":"seats","count_abs":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
	"duplicate key": `{"sensor":"seats","count_abs":1,"count_abs":9}`,
	"out of range":  `{"sensor":"seats","count_abs":-4}`,
}

func TestBadReadingsOverHTTPAreRefusedAndCounted(t *testing.T) {
	r := run(t)
	n := uint64(0)
	for name, body := range bad {
		status, answer := r.post(body)
		if status != http.StatusBadRequest && !(status == http.StatusOK && strings.Contains(answer, `"accepted":0`) && strings.Contains(answer, `"reason"`)) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		n++
		if got, ledger := r.refused(); got != n {
			t.Fatalf("%s: the ledger counts %d, want %d:%s", name, got, n, ledger)
		}
	}
	if status, answer := r.post(`[` + strings.Repeat(" ", 2<<20) + `]`); status != http.StatusRequestEntityTooLarge {
		t.Errorf("huge: %d %s", status, answer)
	}
	if got, ledger := r.refused(); got != n+1 {
		t.Errorf("after a huge body the ledger counts %d, want %d:%s", got, n+1, ledger)
	}
	r.stillCounts("seats", func(body string) error {
		if status, answer := r.post(body); status != http.StatusOK || !strings.Contains(answer, `"accepted":1`) {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	})
}

func TestBadReadingsOverMQTTAreAcknowledgedAndCounted(t *testing.T) {
	r := run(t)
	n := uint64(0)
	for name, body := range bad {
		if err := r.publish("sensors/seats-mqtt", strings.ReplaceAll(body, `"seats"`, `"seats-mqtt"`)); err != nil {
			t.Errorf("%s: no PUBACK, so that it comes for ever: %v", name, err)
		}
		n++
		if got, ledger := r.refused(); got != n {
			t.Fatalf("%s: the ledger counts %d, want %d:%s", name, got, n, ledger)
		}
	}
	if err := r.publish("sensors/seats-mqtt", strings.Repeat(" ", 2<<20)); err == nil {
		t.Error("a huge message was acknowledged")
	}
	r.stillCounts("seats-mqtt", func(body string) error { return r.publish("sensors/seats-mqtt", body) })
}

// stillCounts sends good readings whose device has a wrong clock: they are taken at the time of
// receipt and marked, and the room is counted.
func (r *running) stillCounts(sensor string, send func(body string) error) {
	r.t.Helper()
	stamps := []string{"1970-01-01T00:00:12Z", "2199-07-01T00:00:00Z"}
	for i, ts := range stamps {
		if err := send(fmt.Sprintf(`{"sensor":%q,"ts":%q,"seq":"%d","count_abs":%d}`, sensor, ts, i, 7)); err != nil {
			r.t.Errorf("reading of %s: %v", ts, err)
		}
	}
	var list api.SensorReadings
	r.get("/v1/sensors/"+sensor+"/readings", &list)
	if len(list.Readings) != len(stamps) {
		r.t.Fatalf("%d readings of %s are kept, want %d: %+v", len(list.Readings), sensor, len(stamps), list.Readings)
	}
	for _, x := range list.Readings {
		if x.Quality != string(edge.BadClock) || !x.At.Equal(x.Received) || time.Since(x.At).Abs() > time.Minute {
			r.t.Errorf("reading %+v: want it at the time of receipt, with quality %q", x, edge.BadClock)
		}
	}
	var hall edge.SpaceView
	r.get("/v1/spaces/hall", &hall)
	if hall.Occupancy.Count == nil || *hall.Occupancy.Count != 7 {
		r.t.Errorf("hall %+v, want 7 people", hall.Occupancy)
	}
}
