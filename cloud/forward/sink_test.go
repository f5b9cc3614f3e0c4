package forward_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/forward"
)

// log gathers what a sink's receiver got.
type log struct {
	mu      sync.Mutex
	entries []string
}

func (l *log) add(where string, body []byte) {
	var e struct{ ID string }
	_ = json.Unmarshal(body, &e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, where+" "+e.ID)
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// sinkStatus asks the API about the only sink.
func (r *rig) sinkStatus() forward.SinkStatus {
	r.Helper()
	var got struct{ Sinks []forward.SinkStatus }
	must(r, json.Unmarshal(r.do(admin, "GET", "/v1/orgs/acme/sinks", "", 200), &got))
	if len(got.Sinks) != 1 {
		r.Fatalf("sinks are %+v", got)
	}
	return got.Sinks[0]
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// anybody lets every client do everything.
type anybody struct{ mqtt.HookBase }

func (*anybody) ID() string                                              { return "anybody" }
func (*anybody) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (*anybody) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (*anybody) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// broker is an MQTT broker that can be gone.
func broker(t *testing.T, addr string, got *log) (stop func()) {
	t.Helper()
	s := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	must(t, s.AddHook(new(anybody), nil))
	must(t, s.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: addr})))
	must(t, s.Serve())
	must(t, s.Subscribe("#", 1, func(_ *mqtt.Client, _ packets.Subscription, p packets.Packet) { got.add(p.TopicName, p.Payload) }))
	stop = sync.OnceFunc(func() { s.Close() })
	t.Cleanup(stop)
	return stop
}

func TestMQTTSinkSurvivesItsBroker(t *testing.T) {
	addr, got := freeAddr(t), &log{}
	stop := broker(t, addr, got)
	r := newRig(t, func(o *forward.Options) {
		o.Sinks = []forward.SinkConfig{{Name: "lamps", Org: "acme", Types: []string{"alert.*"}, MQTT: &forward.MQTT{URL: "mqtt://" + addr, Topic: "building/{site}/{type}"}}}
	})
	ids := r.happen("hq", "", "alert.raised", 3)
	eventually(t, "they arrive", func() bool { return r.sinkStatus().Position == ids[2] && len(got.all()) >= 3 })
	stop()
	ids = append(ids, r.happen("hq", "", "alert.cleared", 3)...)
	eventually(t, "it fails", func() bool { return r.sinkStatus().Failures > 5 }) // and is not paused
	r.stop()
	broker(t, addr, got)
	r.start()
	eventually(t, "the rest arrives", func() bool { return r.sinkStatus().Position == ids[5] })
	want := []string{}
	for i, id := range ids {
		want = append(want, "building/hq/alert."+map[bool]string{true: "raised", false: "cleared"}[i < 3]+" "+id)
	}
	if all := firsts(got.all()); !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	if r.sinkStatus().Kind != "mqtt" || len(r.told) > 0 {
		t.Errorf("status %+v, told %v", r.sinkStatus(), r.told)
	}
	r.do(admin, "POST", "/v1/orgs/acme/sinks/lamps/replay", `{"from":`+ids[5]+`}`, 202)
	eventually(t, "the replay arrives", func() bool { return len(got.all()) >= len(want)+1 })
	r.do(admin, "GET", "/v1/orgs/acme/webhooks/sink:lamps", "", 404)
}

// firsts leaves away what came again.
func firsts(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func natsServer(t *testing.T, dir string, port int) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func TestNATSSinkWaitsForTheStream(t *testing.T) {
	s := natsServer(t, t.TempDir(), -1)
	conn, err := nats.Connect(s.ClientURL())
	must(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	must(t, err)
	r := newRig(t, func(o *forward.Options) {
		o.Sinks = []forward.SinkConfig{{Name: "bus", Org: "acme", NATS: &forward.NATS{URL: s.ClientURL(), JetStream: true}}}
	})
	ids := r.happen("hq", "", "alert.raised", 3)
	eventually(t, "it fails without a stream", func() bool { return r.sinkStatus().Failures > 0 })
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HC", Subjects: []string{"headcount.>"}})
	must(t, err)
	eventually(t, "all arrive", func() bool { return r.sinkStatus().Position == ids[2] })
	info, err := stream.Info(t.Context())
	must(t, err)
	m, err := stream.GetMsg(t.Context(), 1)
	must(t, err)
	if info.State.Msgs != 3 || m.Subject != "headcount.acme.hq.alert.raised" || m.Header.Get(nats.MsgIdHdr) != "acme-"+ids[0] {
		t.Errorf("%d messages, the first %s %v", info.State.Msgs, m.Subject, m.Header)
	}
}

func TestNATSSinkWithoutStreams(t *testing.T) {
	s, got := natsServer(t, t.TempDir(), -1), &log{}
	conn, err := nats.Connect(s.ClientURL())
	must(t, err)
	defer conn.Close()
	_, err = conn.Subscribe("hc.>", func(m *nats.Msg) { got.add(m.Subject, m.Data) })
	must(t, err)
	must(t, conn.Flush())
	r := newRig(t, func(o *forward.Options) {
		o.Sinks = []forward.SinkConfig{{Name: "bus", Org: "acme", NATS: &forward.NATS{URL: s.ClientURL(), Subject: "hc.{org}.{type}"}}}
	})
	ids := r.happen("hq", "", "alert.raised", 2)
	eventually(t, "they arrive", func() bool {
		return slices.Equal(got.all(), []string{"hc.acme.alert.raised " + ids[0], "hc.acme.alert.raised " + ids[1]})
	})
}

// topic plays AWS SNS: it takes what a caller with the right key has signed.
func topic(t *testing.T, got *log, answer func(n int, message string) (int, string)) *httptest.Server {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("Action") != "Publish" || form.Get("TopicArn") != "arn:aws:sns:eu-north-1:123456789012:rooms.fifo" || form.Get("MessageGroupId") != "acme/hq" {
			t.Errorf("form is %v", form)
		}
		if auth := req.Header.Get("Authorization"); !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKID/") || !strings.Contains(auth, "/eu-north-1/sns/aws4_request") || req.Header.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("header is %v", req.Header)
		}
		n++
		status, text := answer(n, form.Get("Message"))
		if status == 200 {
			got.add(form.Get("MessageAttributes.entry.1.Value.StringValue")+" "+form.Get("MessageDeduplicationId"), []byte(form.Get("Message")))
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestSNSSink(t *testing.T) {
	got := &log{}
	const wrong = `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`
	s := topic(t, got, func(n int, message string) (int, string) {
		switch {
		case n == 1:
			return 403, fmt.Sprintf(wrong, "InvalidClientTokenId")
		case n == 2:
			return 503, "busy"
		case strings.Contains(message, `"n":1`): // the second event will never be taken
			return 400, fmt.Sprintf(wrong, "InvalidParameter")
		}
		return 200, "<PublishResponse/>"
	})
	r := newRig(t, func(o *forward.Options) {
		o.Sinks = []forward.SinkConfig{{Name: "aws", Org: "acme", SNS: &forward.SNS{
			TopicARN: "arn:aws:sns:eu-north-1:123456789012:rooms.fifo", AccessKeyID: "AKID", SecretKey: "secret", SessionToken: "session", Endpoint: s.URL,
		}}}
	})
	ids := r.happen("hq", "", "alert.raised", 3)
	eventually(t, "it has caught up", func() bool { return r.sinkStatus().Position == ids[2] })
	want := []string{"alert.raised " + ids[0] + " " + ids[0], "alert.raised " + ids[1] + " " + ids[1], "alert.raised " + ids[2] + " " + ids[2]}
	want = slices.DeleteFunc(want, func(s string) bool { return strings.HasSuffix(s, " "+lost(r)) })
	if all := got.all(); len(want) != 2 || lost(r) != ids[1] || !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}

// lost is the only dead letter of the sink aws.
func lost(r *rig) string {
	var got struct{ Deliveries []forward.Delivery }
	must(r, json.Unmarshal(r.do(admin, "GET", "/v1/orgs/acme/sinks/aws/deliveries?state=dead", "", 200), &got))
	if len(got.Deliveries) != 1 {
		r.Fatalf("dead letters are %+v", got)
	}
	return got.Deliveries[0].First
}

func TestSinksThatAreWrong(t *testing.T) {
	for want, c := range map[string]forward.SinkConfig{
		"name":          {Org: "acme", MQTT: &forward.MQTT{URL: "mqtt://x"}},
		"organisation":  {Name: "x", MQTT: &forward.MQTT{URL: "mqtt://x"}},
		"exactly one":   {Name: "x", Org: "acme"},
		"mqtt://":       {Name: "x", Org: "acme", MQTT: &forward.MQTT{}},
		"http":          {Name: "x", Org: "acme", MQTT: &forward.MQTT{URL: "http://x"}},
		"password":      {Name: "x", Org: "acme", MQTT: &forward.MQTT{URL: "mqtt://u:p@x"}},
		"topic":         {Name: "x", Org: "acme", MQTT: &forward.MQTT{URL: "mqtt://x", Topic: "a/#"}},
		"subject":       {Name: "x", Org: "acme", NATS: &forward.NATS{URL: "nats://x", Subject: "{room}"}},
		"topic_arn":     {Name: "x", Org: "acme", SNS: &forward.SNS{TopicARN: "x"}},
		"access_key_id": {Name: "x", Org: "acme", SNS: &forward.SNS{TopicARN: "arn:aws:sns:r:1:n"}},
		"type":          {Name: "x", Org: "acme", Types: []string{"*.*"}, MQTT: &forward.MQTT{URL: "mqtt://x"}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a refusal that says %q", c, err, want)
		}
	}
}
