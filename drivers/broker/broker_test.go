package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/edge"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newBroker(t testing.TB, options map[string]any, sensors ...edge.Sensor) *Driver {
	t.Helper()
	o := map[string]any{"listen": "127.0.0.1:0"}
	for k, v := range options {
		o[k] = v
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(drivers.Config{ID: "broker", Options: raw, Sensors: sensors}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Driver)
}

// start runs a broker until the test ends.
func start(t testing.TB, d *Driver, sink drivers.Sink) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(drivertest.Patience):
			t.Error("Run did not return")
		}
	})
}

// startSink runs a broker with a recording sink and no leaks.
func startSink(t *testing.T, options map[string]any, sensors ...edge.Sensor) (*Driver, *drivertest.Sink) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	d, sink := newBroker(t, options, sensors...), drivertest.NewSink()
	start(t, d, sink)
	sink.WaitUp(t)
	return d, sink
}

// peer is a paho client of the broker.
type peer struct {
	paho.Client
	lost atomic.Int64 // connections
}

func dial(t testing.TB, d *Driver, set func(*paho.ClientOptions)) *peer {
	t.Helper()
	o := paho.NewClientOptions().AddBroker("tcp://" + d.Addr().String()).SetClientID("peer").
		SetCleanSession(false).SetMaxReconnectInterval(50 * time.Millisecond).SetOrderMatters(false).
		SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond)
	if set != nil {
		set(o)
	}
	p := &peer{}
	o.SetConnectionLostHandler(func(paho.Client, error) { p.lost.Add(1) })
	p.Client = paho.NewClient(o)
	if tok := p.Connect(); !tok.WaitTimeout(drivertest.Patience) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	return p
}

func (p *peer) Send(ctx context.Context, device string, n int) error {
	for {
		lost := p.lost.Load()
		err := p.wait(ctx, p.Publish("sensors/"+device, 1, false, fmt.Sprintf(`{"sensor":%q,"count_in":%d}`, device, n)))
		if err != nil && ctx.Err() != nil || p.lost.Load() == lost {
			return err
		}
		// paho completes tokens of a lost connection without an acknowledgement.
	}
}

func (p *peer) SendBad(ctx context.Context) error {
	return p.wait(ctx, p.Publish("sensors/bad", 1, false, `{"sensor":"a","count_in":`))
}

func (p *peer) wait(ctx context.Context, tok paho.Token) error {
	select {
	case <-tok.Done():
		return tok.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *peer) Close() error {
	p.Disconnect(0)
	return nil
}

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New:  func(t *testing.T) drivers.Driver { return newBroker(t, nil) },
		Dial: func(t *testing.T, d drivers.Driver) drivertest.Peer { return dial(t, d.(*Driver), nil) },
	})
}

// raw is a client that speaks MQTT 3.1.1 packet by packet.
type raw struct {
	net.Conn
	t *testing.T
}

func dialRaw(t *testing.T, d *Driver, id string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := &raw{c, t}
	con := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	con.ProtocolName, con.ProtocolVersion, con.ClientIdentifier, con.Keepalive, con.CleanSession = "MQTT", 4, id, 30, true
	r.send(con)
	if ack := r.read().(*packets.ConnackPacket); ack.ReturnCode != 0 {
		t.Fatalf("connack %d", ack.ReturnCode)
	}
	return r
}

func (r *raw) send(pk packets.ControlPacket) {
	r.t.Helper()
	if err := pk.Write(r.Conn); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) read() packets.ControlPacket {
	r.t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(drivertest.Patience))
	pk, err := packets.ReadPacket(r.Conn)
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return pk
}

func publish(id uint16, qos byte, topic, body string) *packets.PublishPacket {
	pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	pk.MessageID, pk.Qos, pk.TopicName, pk.Payload = id, qos, topic, []byte(body)
	return pk
}

func TestPipelinesAcknowledgements(t *testing.T) {
	d, sink := startSink(t, nil)
	r := dialRaw(t, d, "pipe")
	sink.Hold()
	const n = 500
	for i := 1; i <= n; i++ {
		r.send(publish(uint16(i), 1, "door", fmt.Sprintf(`{"count_in":%d}`, i)))
	}
	sink.WaitHeld(t, 1)
	_ = r.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // in which a wrong broker would answer
	if pk, err := packets.ReadPacket(r.Conn); err == nil {
		t.Fatalf("acknowledged before the commit: %v", pk)
	}
	sink.Release()
	for i := 1; i <= n; i++ {
		if id := r.read().(*packets.PubackPacket).MessageID; id != uint16(i) {
			t.Fatalf("acknowledgement %d is for packet %d", i, id)
		}
	}
	got := sink.Counts("door")
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("stored %d readings, sorted %v; want %d in order", len(got), slices.IsSorted(got), n)
	}
	if p := sink.Puts(); p > 20 {
		t.Errorf("%d messages took %d calls of Put, want few", n, p)
	}
}

func TestBoundsUnacknowledged(t *testing.T) {
	d, sink := startSink(t, nil)
	r := dialRaw(t, d, "flood")
	sink.Hold()
	body := `{"count_in":1,"x":"` + strings.Repeat("x", 200<<10) + `"}`
	wrote := make(chan int)
	go func() {
		n := 0
		for ; n < 200; n++ { // 40 MB: more than the client's and the sockets' buffers take
			_ = r.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			if publish(uint16(n+1), 1, "door", body).Write(r.Conn) != nil {
				break
			}
		}
		wrote <- n
	}()
	if n := <-wrote; n == 200 {
		t.Errorf("the broker read all of it while nothing was committed")
	}
	sink.Release()
}

func TestServesSubscribersAfterCommit(t *testing.T) {
	d, sink := startSink(t, nil)
	sub := dialRaw(t, d, "sub")
	s := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	s.MessageID, s.Topics, s.Qoss = 1, []string{"#"}, []byte{2}
	sub.send(s)
	if ack := sub.read().(*packets.SubackPacket); ack.ReturnCodes[0] != 1 {
		t.Errorf("granted QoS %d, want 1", ack.ReturnCodes[0])
	}
	sink.Hold()
	pub := dialRaw(t, d, "pub")
	pk := publish(1, 1, "door", `{"count_in":4}`)
	pk.Retain = true
	pub.send(pk)
	sink.WaitHeld(t, 1)
	_ = sub.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if pk, err := packets.ReadPacket(sub.Conn); err == nil {
		t.Fatalf("served before the commit: %v", pk)
	}
	sink.Release()
	if pk := sub.read().(*packets.PublishPacket); pk.TopicName != "door" || string(pk.Payload) != `{"count_in":4}` {
		t.Errorf("got %s %s", pk.TopicName, pk.Payload)
	}
	pub.read()
	late := dialRaw(t, d, "late")
	late.send(s)
	late.read()
	if pk := late.read().(*packets.PublishPacket); !pk.Retain || pk.TopicName != "door" {
		t.Errorf("late subscriber got %v, want the retained message", pk)
	}
}

func TestQoS2OfOldClients(t *testing.T) {
	d, sink := startSink(t, nil)
	r := dialRaw(t, d, "two")
	sink.Hold()
	r.send(publish(7, 2, "door", `{"count_in":4}`))
	sink.WaitHeld(t, 1)
	sink.Release()
	if rec := r.read().(*packets.PubrecPacket); rec.MessageID != 7 {
		t.Fatalf("PUBREC for %d, want 7", rec.MessageID)
	}
	rel := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
	rel.MessageID = 7
	r.send(rel)
	if comp := r.read().(*packets.PubcompPacket); comp.MessageID != 7 {
		t.Fatalf("PUBCOMP for %d, want 7", comp.MessageID)
	}
	if got := sink.Counts("door"); !slices.Equal(got, []int{4}) {
		t.Errorf("stored %v, want 4 once", got)
	}
}

// mqtt5 is a CONNECT of MQTT 5 with the client id "five".
var mqtt5 = []byte{0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 30, 0, 0, 4, 'f', 'i', 'v', 'e'}

func TestQoS2IsRefusedToMQTT5(t *testing.T) {
	d, sink := startSink(t, nil)
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(drivertest.Patience))
	if _, err := c.Write(mqtt5); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 0x20 {
		t.Fatalf("no CONNACK: %x %v", head, err)
	}
	props := make([]byte, head[1])
	if _, err := io.ReadFull(c, props); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(props, 0x24) {
		t.Errorf("CONNACK %x does not tell the maximum QoS", props)
	}
	body := "\x00\x04door\x00\x01\x00" + `{"count_in":4}`
	if _, err := c.Write(append([]byte{0x34, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(c)
	if len(rest) < 3 || rest[0] != 0xe0 || rest[2] != 0x9b {
		t.Errorf("got %x, want DISCONNECT with reason 9b", rest)
	}
	if n := len(sink.Readings()); n != 0 {
		t.Errorf("%d readings stored", n)
	}
}

func TestTakesQoS0OfAClientThatIsGone(t *testing.T) {
	d, sink := startSink(t, nil)
	r := dialRaw(t, d, "zero")
	sink.Hold()
	r.send(publish(0, 0, "door", `{"count_in":4}`))
	r.send(packets.NewControlPacket(packets.Disconnect))
	r.Close()
	sink.WaitHeld(t, 1)
	sink.Release()
	sink.WaitReadings(t, 1)
}

func TestWillIsAReading(t *testing.T) {
	d, sink := startSink(t, nil)
	p := dial(t, d, func(o *paho.ClientOptions) {
		o.SetWill("zigbee2mqtt/pir/availability", "offline", 1, true)
		o.SetAutoReconnect(false)
	})
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = p
	second := dial(t, d, nil) // takes the session over: the first one's will is sent
	defer second.Close()
	sink.WaitReadings(t, 1)
	r := sink.Readings()[0]
	if r.Device != "zigbee2mqtt/pir" || r.Values[0].Kind != edge.Health || r.Values[0].Text != "offline" {
		t.Errorf("got %+v, want health offline of zigbee2mqtt/pir", r)
	}
}

func TestSecondClientWithTheSameID(t *testing.T) {
	d, sink := startSink(t, nil)
	first := dialRaw(t, d, "same")
	sink.Hold()
	first.send(publish(1, 1, "door", `{"count_in":1}`))
	sink.WaitHeld(t, 1)
	second := dialRaw(t, d, "same")
	second.send(publish(1, 1, "door", `{"count_in":2}`))
	sink.Release()
	if id := second.read().(*packets.PubackPacket).MessageID; id != 1 {
		t.Errorf("acknowledged %d", id)
	}
	if got := sink.Counts("door"); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("stored %v, want 1 before 2", got)
	}
	_ = first.SetReadDeadline(time.Now().Add(drivertest.Patience))
	if _, err := io.ReadAll(first.Conn); err != nil {
		t.Errorf("the first connection was not closed: %v", err)
	}
}

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("tree"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	pw, acl := filepath.Join(dir, "users"), filepath.Join(dir, "acl")
	write(t, pw, "# users\npir:"+string(hash)+"\nadmin:plain:root\n"+
		"mosq:$7$101$xRWuuSGbTtMaBmVTMnFOLA==$oVXEkR3v3QgmDjgUgmMPPC+yTAxUVNM+v2Ka+kq2BwlW1rLgrWlUR1cZ8xWkEHVQJTD6UgiPxUVqWGxSNyS6Ig==\n")
	write(t, acl, "admin readwrite #\n* write sensors/%u/#\n")
	d, sink := startSink(t, map[string]any{"password_file": pw, "acl_file": acl})
	login := func(user, password string) error {
		o := paho.NewClientOptions().AddBroker("tcp://" + d.Addr().String()).SetClientID("c-" + user).SetUsername(user).SetPassword(password).SetAutoReconnect(false)
		c := paho.NewClient(o)
		defer c.Disconnect(0)
		tok := c.Connect()
		if !tok.WaitTimeout(drivertest.Patience) {
			return fmt.Errorf("no answer")
		}
		return tok.Error()
	}
	for _, c := range []struct {
		user, password string
		ok             bool
	}{{"pir", "tree", true}, {"pir", "tree", true}, {"pir", "wrong", false}, {"nobody", "tree", false}, {"admin", "root", true}, {"admin", "", false}, {"", "", false}} {
		if err := login(c.user, c.password); (err == nil) != c.ok {
			t.Errorf("%s/%s: %v, want accepted %v", c.user, c.password, err, c.ok)
		}
	}
	p := dial(t, d, func(o *paho.ClientOptions) {
		o.SetClientID("pir").SetUsername("pir").SetPassword("tree").SetCleanSession(true)
	})
	defer p.Close()
	p.Publish("sensors/pir/x", 0, false, `{"count_in":1}`)
	p.Publish("sensors/other/x", 0, false, `{"count_in":2}`)
	p.Publish("sensors/pir/x", 0, false, `{"count_in":3}`)
	sink.WaitReadings(t, 2)
	if got := sink.Counts("sensors/pir/x"); !slices.Equal(got, []int{1, 3}) || len(sink.Readings()) != 2 {
		t.Errorf("stored %v, want 1 and 3 and nothing else", sink.Readings())
	}
	if err := login("admin", "root"); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	for in, says := range map[string]string{
		`{}`:                                          "",
		`{"listen":"127.0.0.1:1"}`:                    "",
		`{"listen":"localhost:1"}`:                    "",
		`{"listen":"[::1]:1"}`:                        "",
		`{"listen":":1883"}`:                          "password_file",
		`{"listen":"0.0.0.0:1883"}`:                   "password_file",
		`{"listen":"example.org:1883"}`:               "password_file",
		`{"listen":"1883"}`:                           "host:port",
		`{"lissen":"x"}`:                              `unknown option "lissen"`,
		`{"tls_cert_file":"x"}`:                       "belong together",
		`{"acl_file":"x"}`:                            "password_file",
		`{"max_clients":-1}`:                          "max_clients",
		`{"profiles":{"a/#":"nope"}}`:                 `unknown profile "nope"`,
		`{"profiles":{"a/#/b":"json"}}`:               "topic filter",
		`{"profiles":{"a":{"map":{"count_in":"n"}}}}`: "",
		`{"profiles":{"a":{"map":{"cuont":"n"}}}}`:    "not a field or kind",
	} {
		_, err := New(drivers.Config{Options: json.RawMessage(in)}, quiet())
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
	}
}

func TestPasswordFileMistakes(t *testing.T) {
	dir := t.TempDir()
	for text, says := range map[string]string{
		"pir":                      "want user:hash",
		"pir:secret":               "unknown form of hash",
		"pir:plain:a\npir:plain:b": "stands twice",
		"a:$argon2id$v=19$m=9999999,t=1,p=1$AAAA$AAAA": "argon2id parameters",
		"a:$7$x$y$z": "$7$iterations",
	} {
		f := filepath.Join(dir, "users")
		write(t, f, text)
		if _, err := loadUsers(f, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("a:plain:b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadUsers(open, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("world-readable file: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := newBroker(t, map[string]any{"listen": ln.Addr().String()})
	if err := d.Run(context.Background(), drivertest.NewSink()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Run: %v, want address in use", err)
	}
}

func TestConnectionLimit(t *testing.T) {
	d, _ := startSink(t, map[string]any{"max_clients": 2})
	dialRaw(t, d, "a")
	dialRaw(t, d, "b")
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(drivertest.Patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("third connection: %v, want it closed", err)
	}
}
