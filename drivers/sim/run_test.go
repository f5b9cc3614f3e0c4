package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/drivers/httppush"
	"github.com/headcount-hub/headcount/drivers/lines"
	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/drivers/profiles"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
)

// broker is a real MQTT broker that keeps what is published, and can be restarted.
type broker struct {
	mochi.HookBase
	addr string

	mu     sync.Mutex
	server *mochi.Server
	got    map[string][]string // topic -> payloads
	total  int
	more   chan struct{} // of size 1
}

func (b *broker) ID() string { return "record" }

func (b *broker) Provides(x byte) bool {
	return x == mochi.OnPublished || x == mochi.OnConnectAuthenticate || x == mochi.OnACLCheck
}

func (b *broker) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (b *broker) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func (b *broker) OnPublished(_ *mochi.Client, p packets.Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[p.TopicName] = append(b.got[p.TopicName], string(p.Payload))
	b.total++
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: b.addr})
	for _, err := range []error{s.AddHook(b, nil), s.AddListener(l), s.Serve()} {
		if err != nil {
			t.Fatalf("broker: %v", err)
		}
	}
	b.server, b.addr = s, l.Address()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// drive runs a driver with its sink until the test ends.
func drive(t *testing.T, d drivers.Driver) *drivertest.Sink {
	t.Helper()
	sink := drivertest.NewSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx, sink)
	}()
	t.Cleanup(func() { cancel(); <-done })
	sink.WaitUp(t)
	return sink
}

func makeDriver(t *testing.T, f drivers.Factory, options string) drivers.Driver {
	t.Helper()
	d, err := f(drivers.Config{ID: "in", Options: json.RawMessage(options)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEverythingArrives runs a hectic building against real drivers and a real broker that fail
// now and then: what a sensor said arrives, in order, without a hole.
func TestEverythingArrives(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })

	mq := &broker{addr: freePort(t), got: map[string][]string{}, more: make(chan struct{}, 1)}
	mq.start(t)
	t.Cleanup(func() { mq.server.Close() })

	push := makeDriver(t, httppush.New, ``)
	overHTTP := drive(t, push)
	m := http.NewServeMux()
	for pattern, h := range push.(drivers.Mounter).Routes() {
		m.Handle(pattern, h)
	}
	web := httptest.NewServer(m)
	t.Cleanup(web.Close)

	cable, err := OpenCable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cable.Close() })
	overSerial := drive(t, makeDriver(t, lines.New, fmt.Sprintf(`{"port":%q,"ack":true}`, cable.Path)))

	b := building(t, Options{Seed: 1, Start: time.Now(), Speed: 500, DayStart: 9*time.Hour + 20*time.Minute})
	r := NewRunner(b, Transports{MQTTURL: "tcp://" + mq.addr, HTTPURL: web.URL, Serial: cable.Device})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()

	overHTTP.FailNext(2, nil)
	overSerial.FailNext(2, nil)
	overHTTP.WaitReadings(t, 20)
	overSerial.WaitReadings(t, 20)
	mq.wait(t, 20)
	mq.server.Close()
	mq.start(t)
	mq.wait(t, 40)
	overHTTP.WaitReadings(t, 40)
	overSerial.WaitReadings(t, 40)

	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	for via, s := range r.Stats() {
		if s.Acked < 20 || s.Refused > 0 || s.Dropped > 0 || s.Said < s.Acked {
			t.Errorf("%s: %+v; want nothing refused or dropped", via, s)
		}
		if s.Resent == 0 {
			t.Errorf("%s: %+v; want some sent again after the failures", via, s)
		}
	}
	noHoles(t, "http", overHTTP.Readings())
	noHoles(t, "serial", overSerial.Readings())
	mq.noHoles(t)
}

func (b *broker) wait(t *testing.T, n int) {
	t.Helper()
	late := time.After(drivertest.Patience)
	for {
		b.mu.Lock()
		total := b.total
		b.mu.Unlock()
		if total >= n {
			return
		}
		select {
		case <-b.more:
		case <-late:
			t.Fatalf("only %d messages at the broker, want %d", total, n)
		}
	}
}

// noHoles checks that the numbers of each device ascend by one.
func noHoles(t *testing.T, via string, rs []edge.Reading) {
	t.Helper()
	last := map[string]uint64{}
	for _, r := range rs {
		var n uint64
		if _, err := fmt.Sscan(r.Seq, &n); err != nil {
			t.Fatalf("%s: %s has sequence %q", via, r.Device, r.Seq)
		}
		if was, ok := last[r.Device]; ok && n != was+1 {
			t.Errorf("%s: %s goes from %d to %d", via, r.Device, was, n)
		}
		last[r.Device] = n
		if strings.HasPrefix(r.Device, "count-") && len(r.Values) != 2 {
			t.Errorf("%s: %s has values %v, want in and out together", via, r.Device, r.Values)
		}
	}
	if len(last) < 3 {
		t.Errorf("%s: only %d devices", via, len(last))
	}
}

// noHoles allows repetitions: QoS 1 sends again what may have arrived.
func (b *broker) noHoles(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	zigbee := 0
	for topic, payloads := range b.got {
		var highest uint64
		for _, p := range payloads {
			var m struct {
				Seq       uint64
				Occupancy *bool
			}
			if err := json.Unmarshal([]byte(p), &m); err != nil {
				t.Fatalf("%s: %s: %v", topic, p, err)
			}
			if strings.HasPrefix(topic, "zigbee2mqtt/") {
				if zigbee++; m.Occupancy == nil {
					t.Errorf("%s: %s has no occupancy", topic, p)
				}
				continue
			}
			if highest != 0 && m.Seq > highest+1 {
				t.Errorf("%s goes from %d to %d", topic, highest, m.Seq)
			}
			highest = max(highest, m.Seq)
		}
	}
	if zigbee == 0 {
		t.Error("nothing from zigbee2mqtt")
	}
}

// TestGarbledMessagesDoNotStopTheOthers: the hub answers them with no, and the line goes on.
func TestGarbledMessagesDoNotStopTheOthers(t *testing.T) {
	cable, err := OpenCable()
	if err != nil {
		t.Fatal(err)
	}
	defer cable.Close()
	sink := drive(t, makeDriver(t, lines.New, fmt.Sprintf(`{"port":%q,"ack":true}`, cable.Path)))
	b := building(t, Options{Start: time.Now(), Speed: 500, DayStart: 9*time.Hour + 20*time.Minute})
	if err := b.FailSensor("count-door-meeting-104", Garbled); err != nil {
		t.Fatal(err)
	}
	r := NewRunner(b, Transports{Serial: cable.Device})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	sink.WaitRejected(t, 1)
	sink.WaitReadings(t, 10)
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	s := r.Stats()
	if s[Serial].Refused == 0 || s[Serial].Acked < 5 {
		t.Errorf("serial: %+v, want some refused and others taken", s[Serial])
	}
	if s[HTTP].Dropped == 0 || s[MQTT].Dropped == 0 {
		t.Errorf("http %+v, mqtt %+v: what has no transport is to be counted as dropped", s[HTTP], s[MQTT])
	}
}

// TestHubUnderstandsWhatSensorsSay decodes every message as the hub's drivers do.
func TestHubUnderstandsWhatSensorsSay(t *testing.T) {
	b := building(t, Options{Speed: 20, DayStart: 9 * time.Hour})
	sensors := b.Site().Sensors
	topics, err := profiles.NewBindings("broker", nil, sensors)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := payload.NewLines(payload.LineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Via]int{}
	for _, e := range b.Step(b.o.Start.Add(20 * time.Minute)) {
		in := payload.Input{Body: e.Payload(), Received: e.At}
		var rs []edge.Reading
		switch e.Via {
		case Zigbee, MQTT:
			in.Topic = e.Topic()
			var rj *edge.Rejection
			if rs, rj = topics.Take(in); rj != nil {
				t.Fatalf("%s: %s is rejected: %+v", in.Topic, in.Body, rj)
			}
		case Serial:
			obs, err := codec.DecodeLine(in)
			if err != nil {
				t.Fatalf("%s: %v", in.Body, err)
			}
			rs = payload.Group("", obs, e.At)
		default:
			continue // of those TestEverythingArrives asks the driver
		}
		seen[e.Via]++
		if len(rs) == 0 || rs[0].Device != e.Device || (e.Via != Serial && !rs[0].At.Equal(e.At)) || (e.Via != Zigbee && rs[0].Seq != fmt.Sprint(e.Seq)) {
			t.Fatalf("%s %s is understood as %+v, want device %s, time %v and number %d", e.Via, in.Body, rs, e.Device, e.At, e.Seq)
		}
		for _, v := range e.Values {
			if !slices.Contains(rs[0].Values, v) {
				t.Fatalf("%s %s is understood as %+v, want %+v in it", e.Via, in.Body, rs[0].Values, v)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("messages %v, want some by every transport", seen)
	}
}

func TestConfigIsTheSite(t *testing.T) {
	b := building(t, Options{})
	c, err := config.Parse("headcount.yaml", b.ConfigYAML(Addresses{Broker: "127.0.0.1:1883", Serial: "/dev/pts/7"}), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, want := c.Site, b.Site()
	if got.ID != want.ID || fmt.Sprint(got.Spaces) != fmt.Sprint(want.Spaces) || fmt.Sprint(got.Doors) != fmt.Sprint(want.Doors) || fmt.Sprint(got.Sensors) != fmt.Sprint(want.Sensors) {
		t.Errorf("the configuration differs from the site:\n%+v\n%+v", got, want)
	}
	if len(c.Inputs) != 3 {
		t.Errorf("inputs %+v, want three", c.Inputs)
	}
}
