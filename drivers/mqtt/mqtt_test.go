package mqtt

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/broker"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/edge"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// server is a real broker at an address that outlives it, so that it can be taken away and
// brought back.
type server struct {
	t       testing.TB
	addr    string
	options string
	driver  drivers.Driver
	cancel  context.CancelFunc
	done    chan error
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func newServer(t testing.TB, more string) *server {
	s := &server{t: t, addr: freeAddr(t)}
	s.options = fmt.Sprintf(`{"listen":%q%s}`, s.addr, more)
	t.Cleanup(s.stop)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	d, err := broker.New(drivers.Config{Options: json.RawMessage(s.options)}, quiet())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sink := drivertest.NewSink()
	s.driver, s.cancel, s.done = d, cancel, make(chan error, 1)
	go func() { s.done <- d.Run(ctx, sink) }()
	sink.WaitUp(s.t)
}

func (s *server) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("broker: %v", err)
		}
	case <-time.After(drivertest.Patience):
		s.t.Error("broker did not stop")
	}
}

func newDriver(t testing.TB, dir string, options map[string]any, sensors ...edge.Sensor) *Driver {
	t.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(drivers.Config{ID: "in", Options: raw, StateDir: dir, Sensors: sensors}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Driver)
}

// run runs d, again after each error, until the test ends.
func run(t testing.TB, d *Driver, sink *drivertest.Sink) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = d.Run(ctx, sink)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond): // the back-off
			}
		}
	}()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(drivertest.Patience):
			t.Error("Run did not return")
		}
	}
	t.Cleanup(stop)
	return stop
}

// device publishes at the broker. Its Send also needs to know whether the driver has
// acknowledged: the broker does not tell.
type device struct {
	paho.Client
	lost atomic.Int64
}

func dialDevice(t testing.TB, addr string) *device {
	t.Helper()
	p := &device{}
	o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("device").SetCleanSession(true).
		SetMaxReconnectInterval(50 * time.Millisecond).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond)
	o.SetConnectionLostHandler(func(paho.Client, error) { p.lost.Add(1) })
	p.Client = paho.NewClient(o)
	if tok := p.Connect(); !tok.WaitTimeout(drivertest.Patience) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	return p
}

func (p *device) Send(ctx context.Context, name string, n int) error {
	return p.publish(ctx, "sensors/"+name, fmt.Sprintf(`{"sensor":%q,"count_in":%d}`, name, n))
}

func (p *device) SendBad(ctx context.Context) error {
	return p.publish(ctx, "sensors/bad", `{"count_in":`)
}

func (p *device) publish(ctx context.Context, topic, body string) error {
	for {
		lost := p.lost.Load()
		tok := p.Publish(topic, 1, false, body)
		select {
		case <-tok.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
		if tok.Error() == nil && p.lost.Load() == lost {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond): // not connected: the device tries again
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *device) Close() error {
	p.Disconnect(0)
	return nil
}

// deviceAndBroker ends both, so that nothing is left when a part of the suite ends.
type deviceAndBroker struct {
	*device
	s *server
}

func (p deviceAndBroker) Close() error {
	_ = p.device.Close()
	p.s.stop()
	return nil
}

func TestContract(t *testing.T) {
	s := newServer(t, "")
	s.stop()
	dir := t.TempDir()
	drivertest.Run(t, drivertest.Harness{
		New: func(t *testing.T) drivers.Driver {
			if s.cancel == nil {
				s.start()
			}
			return newDriver(t, dir, map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"sensors/#"}})
		},
		Dial:    func(t *testing.T, _ drivers.Driver) drivertest.Peer { return deviceAndBroker{dialDevice(t, s.addr), s} },
		NoAck:   true, // the broker acknowledges the device, not the hub
		Cut:     func(*testing.T) { s.stop() },
		Restore: func(*testing.T) { s.start() },
	})
}

// start runs a driver at a broker with a recording sink and no leaks.
func start(t *testing.T, options map[string]any) (*server, *drivertest.Sink, *device) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	s := newServer(t, "")
	o := map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"sensors/#", "zigbee2mqtt/#"}}
	for k, v := range options {
		o[k] = v
	}
	sink := drivertest.NewSink()
	run(t, newDriver(t, t.TempDir(), o), sink)
	sink.WaitUp(t)
	dev := dialDevice(t, s.addr)
	t.Cleanup(func() { dev.Close() })
	return s, sink, dev
}

func TestAcknowledgesInOrderAfterPut(t *testing.T) {
	_, sink, dev := start(t, nil)
	sink.Hold()
	const n = 300
	var last paho.Token
	for i := 1; i <= n; i++ {
		last = dev.Publish("sensors/door", 1, false, fmt.Sprintf(`{"count_in":%d}`, i))
	}
	if !last.WaitTimeout(drivertest.Patience) {
		t.Fatal("the broker did not take the messages")
	}
	sink.WaitHeld(t, 1)
	sink.Release()
	sink.WaitReadings(t, n)
	if got := sink.Counts("sensors/door"); len(got) != n || !slices.IsSorted(got) {
		t.Errorf("stored %d, sorted %v; want %d in order", len(got), slices.IsSorted(got), n)
	}
	if p := sink.Puts(); p > n/3 {
		t.Errorf("%d messages took %d calls of Put, want few", n, p)
	}
}

func TestBrokerSendsAgainWhatWasNotStored(t *testing.T) {
	_, sink, dev := start(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
	defer cancel()
	sink.FailNext(1, nil)
	for i := 1; i <= 3; i++ {
		if err := dev.Send(ctx, "door", i); err != nil {
			t.Fatal(err)
		}
	}
	sink.WaitReadings(t, 3)
	got := sink.Counts("door") // in which order they come again is the broker's affair
	if slices.Sort(got); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("stored %v, want 1, 2, 3", got)
	}
	sink.WaitUp(t)
}

func TestSessionKeepsWhatComesWhileTheHubIsAway(t *testing.T) {
	s := newServer(t, "")
	d := newDriver(t, t.TempDir(), map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"sensors/#"}})
	sink := drivertest.NewSink()
	stop := run(t, d, sink)
	sink.WaitUp(t)
	stop()
	dev := dialDevice(t, s.addr)
	defer dev.Close()
	ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
	defer cancel()
	for i := 1; i <= 3; i++ {
		if err := dev.Send(ctx, "door", i); err != nil {
			t.Fatal(err)
		}
	}
	again := drivertest.NewSink()
	run(t, d, again)
	again.WaitReadings(t, 3)
	got := again.Counts("door")
	if slices.Sort(got); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v, want 1, 2, 3", got)
	}
}

func TestRetainedIsMarked(t *testing.T) {
	s, sink, dev := start(t, nil)
	// A message that is published while the broker answers the subscription may come twice:
	// as it is, and from the broker's memory.
	var fresh atomic.Bool
	sink.Answer(func(r edge.Reading) edge.Outcome {
		fresh.Store(fresh.Load() || r.Quality == edge.Good && r.Device == "zigbee2mqtt/pir")
		return edge.Outcome{}
	})
	dev.Publish("zigbee2mqtt/pir", 1, true, `{"occupancy":true}`)
	sink.Wait(t, "fresh reading of good quality", fresh.Load)
	later := drivertest.NewSink()
	run(t, newDriver(t, t.TempDir(), map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"#"}}), later)
	if got := later.WaitReadings(t, 1)[0]; got.Quality != edge.RetainedStale {
		t.Errorf("message from the broker's memory has quality %q, want %q", got.Quality, edge.RetainedStale)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	pw := filepath.Join(dir, "users")
	acl := filepath.Join(dir, "acl")
	secret := filepath.Join(dir, "secret")
	for name, text := range map[string]string{pw: "hub:plain:right\n", acl: "hub read sensors/a\n", secret: "right\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, fmt.Sprintf(`,"password_file":%q,"acl_file":%q`, pw, acl))
	for what, c := range map[string]struct {
		options map[string]any
		says    string
	}{
		"no password":       {map[string]any{"username": "hub"}, "not authorised"},
		"unknown user":      {map[string]any{"username": "x", "password_file": secret}, "not authorised"},
		"nobody there":      {map[string]any{"url": "mqtt://" + freeAddr(t)}, "cannot reach"},
		"no TLS":            {map[string]any{"url": "mqtts://" + s.addr}, "cannot reach"},
		"may not subscribe": {map[string]any{"username": "hub", "password_file": secret, "subscribe": []string{"sensors/b"}}, "refused the subscription"},
	} {
		o := map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"sensors/a"}}
		for k, v := range c.options {
			o[k] = v
		}
		sink := drivertest.NewSink()
		ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
		err := newDriver(t, t.TempDir(), o).Run(ctx, sink)
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Run: %v, want %q", what, err, c.says)
		}
		if st := sink.Statuses(); len(st) != 1 || st[0].Up || !strings.Contains(st[0].Detail, c.says) {
			t.Errorf("%s: status %+v", what, st)
		}
	}
}

func TestAnotherClientWithOurID(t *testing.T) {
	s := newServer(t, "")
	sink := drivertest.NewSink()
	run(t, newDriver(t, "", map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"#"}, "client_id": "ours"}), sink)
	other := drivertest.NewSink()
	run(t, newDriver(t, "", map[string]any{"url": "mqtt://" + s.addr, "subscribe": []string{"#"}, "client_id": "ours"}), other)
	sink.Wait(t, "hint at the client id", func() bool {
		return slices.ContainsFunc(sink.Statuses(), func(st drivers.Status) bool { return strings.Contains(st.Detail, "same client_id") })
	})
}

func TestClientIDIsKept(t *testing.T) {
	dir := t.TempDir()
	o := map[string]any{"url": "mqtt://x", "subscribe": []string{"#"}}
	first, err := newDriver(t, dir, o).clientID()
	if err != nil || !strings.HasPrefix(first, "headcount-") {
		t.Fatalf("client id %q, %v", first, err)
	}
	if again, err := newDriver(t, dir, o).clientID(); again != first || err != nil {
		t.Errorf("then %q, %v; want %q", again, err, first)
	}
	if other, _ := newDriver(t, t.TempDir(), o).clientID(); other == first {
		t.Error("another hub has the same client id")
	}
}

func TestOptions(t *testing.T) {
	for in, says := range map[string]string{
		`{"url":"mqtt://h","subscribe":["a/#"]}`:                      "",
		`{"url":"wss://h/mqtt","subscribe":["a/+/b"],"qos":0}`:        "",
		`{"subscribe":["a"]}`:                                         "url is missing",
		`{"url":"mqtt://h"}`:                                          "subscribe is empty",
		`{"url":"http://h","subscribe":["a"]}`:                        "want mqtt://",
		`{"url":"h:1883","subscribe":["a"]}`:                          "want mqtt://",
		`{"url":"mqtt://u:p@h","subscribe":["a"]}`:                    "password_file",
		`{"url":"mqtt://h","subscribe":["a#"]}`:                       "topic filter",
		`{"url":"mqtt://h","subscribe":["a"],"qos":2}`:                "qos 2",
		`{"url":"mqtt://h","subscribe":["a"],"ca_file":"x"}`:          "need TLS",
		`{"url":"mqtt://h","subscribe":["a"],"password_file":"x"}`:    "needs a username",
		`{"url":"mqtt://h","subscribe":["a"],"cert_file":"x"}`:        "belong together",
		`{"url":"mqtt://h","subscribe":["a"],"profiles":{"a":"nix"}}`: "unknown profile",
		`{"url":"mqtt://h","subscribe":["a"],"clean":true}`:           `unknown option "clean"`,
	} {
		_, err := New(drivers.Config{Options: json.RawMessage(in), StateDir: "x"}, quiet())
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
		if err != nil && strings.Contains(err.Error(), ":p@") {
			t.Errorf("%s: the error tells the password: %v", in, err)
		}
	}
}
