package socketio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/edge/live/socketiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers "ask" with its arguments, all else as event "back"; "flood" is answered with N events.
var echo = socketio.Namespace{
	Connect: func(_ context.Context, k *socketio.Socket) (string, error) {
		var auth struct{ Token string }
		_ = json.Unmarshal(k.Auth, &auth)
		if auth.Token == "wrong" {
			return "", &socketio.Refused{Message: "no", Data: map[string]string{"code": "wrong"}}
		}
		return "", nil
	},
	Events: func(ctx context.Context, k *socketio.Socket, evs []socketio.Event) {
		for _, e := range evs {
			var n int
			switch {
			case e.WantsAck():
				_ = e.Ack(ctx, e.Args)
			case e.Name == "flood" && e.Args.Decode(0, &n) == nil:
				for i := range n {
					if k.Emit(ctx, "n", i) != nil {
						return
					}
				}
			case e.Name == "question":
				answer, err := k.EmitWithAck(ctx, "asked", []byte("bin"), 7)
				_ = k.Emit(ctx, "answered", fmt.Sprint(err), answer.JSON)
			default:
				_ = k.Emit(ctx, "back", e.Args)
			}
		}
	},
}

// serve starts a real server; at the end its clients are closed as the product does it.
func serve(t testing.TB, o socketio.Options) (string, *socketio.Server) {
	t.Helper()
	if o.Clients == nil {
		o.Clients = live.NewClients(2000)
	}
	s := socketio.New(map[string]socketio.Namespace{"/": echo, "/admin": echo}, o)
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := o.Clients.Close(ctx); err != nil {
			t.Errorf("clients still there: %v", err)
		}
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return srv.URL, s
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// poller is a polling client, one request at a time.
type poller struct {
	t   *testing.T
	url string
}

func newPoller(t *testing.T, base string) *poller {
	p := &poller{t, base + "/socket.io/?EIO=4&transport=polling"}
	var hello struct{ SID string }
	_, body := p.get()
	if err := json.Unmarshal([]byte(body[1:]), &hello); err != nil {
		t.Fatalf("handshake %q: %v", body, err)
	}
	p.url += "&sid=" + hello.SID
	return p
}

func (p *poller) do(method, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(within(p.t), method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (p *poller) get() (int, string) { p.t.Helper(); return p.do(http.MethodGet, "") }

func (p *poller) post(body string) {
	p.t.Helper()
	if status, answer := p.do(http.MethodPost, body); status != 200 || answer != "ok" {
		p.t.Fatalf("post %.40q: %d %s", body, status, answer)
	}
}

func (p *poller) want(body string) {
	p.t.Helper()
	if status, got := p.get(); status != 200 || got != body {
		p.t.Fatalf("poll: %d %q, want %q", status, got, body)
	}
}

func connected(t *testing.T, base string) *poller {
	p := newPoller(t, base)
	p.post("40")
	if _, got := p.get(); !strings.HasPrefix(got, `40{"sid":`) {
		t.Fatalf("connect: %q", got)
	}
	return p
}

func TestPollingCarriesEventsAcksAndBinary(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	p := connected(t, base)
	p.post(`42["x","Grüße 人",{"a":[1]}]`)
	p.want(`42["back","Grüße 人",{"a":[1]}]`)
	p.post(`427["ask",1]` + "\x1e" + `428["ask",2]`)
	got := ""
	for !strings.Contains(got, `438`) { // one or two polls
		_, body := p.get()
		got += body + "\x1e"
	}
	if want := "437[1]\x1e438[2]\x1e"; got != want {
		t.Errorf("acks %q, want %q", got, want)
	}
	p.post("452-" + `["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]` + "\x1ebAQID\x1ebBAU=")
	p.want("452-" + `["back",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]` + "\x1ebAQID\x1ebBAU=")
}

func TestNamespacesAndConnectErrors(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	p := newPoller(t, base)
	p.post(`40/none,{}`)
	p.want(`44/none,{"message":"Invalid namespace"}`)
	p.post(`40/admin,{"token":"wrong"}`)
	p.want(`44/admin,{"message":"no","data":{"code":"wrong"}}`)
	p.post(`40/admin,{"token":"right"}`)
	if _, got := p.get(); !strings.HasPrefix(got, `40/admin,{"sid":`) {
		t.Fatalf("connect: %q", got)
	}
	p.post(`42/admin,5["ask"]`)
	p.want(`43/admin,5[]`)
	p.post("41/admin")
	p.post("40")
	if _, got := p.get(); !strings.HasPrefix(got, `40{"sid":`) {
		t.Fatalf("after leaving a namespace: %q", got)
	}
}

func TestUpgradeHoldsPollsAndLosesNothing(t *testing.T) {
	base, s := serve(t, socketio.Options{})
	p := connected(t, base)
	ctx := within(t)
	waiting := make(chan string, 1)
	go func() { _, body := p.get(); waiting <- body }()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(strings.Replace(p.url, "polling", "websocket", 1), "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	write := func(m string) {
		if err := conn.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want string) {
		if _, b, err := conn.Read(ctx); err != nil || string(b) != want {
			t.Fatalf("got %q %v, want %q", b, err, want)
		}
	}
	write("2probe")
	read("3probe")
	if got := <-waiting; got != "6" {
		t.Fatalf("the poll that waited got %q, want 6", got)
	}
	held := make(chan string, 1)
	go func() { status, body := p.get(); held <- fmt.Sprint(status, body[:1]) }()
	p.post(`42["x",1]`) // answered while nobody may poll: it waits for the WebSocket
	write("5")
	read(`42["back",1]`)
	if got := <-held; got != "400{" && got != "2006" { // the latter when this machine is slow
		t.Errorf("the held poll was answered %s, want a refusal or nothing", got)
	}
	write("1")
	waitFor(t, "the end of the session", func() bool { return s.Len() == 0 })
}

func TestBurstArrivesInOrderOnEveryTransport(t *testing.T) {
	base, _ := serve(t, socketio.Options{MaxQueue: 2000}) // smaller than the burst: Emit has to wait
	const n = 500
	p := connected(t, base)
	p.post(fmt.Sprintf(`42["flood",%d]`, n))
	var got []string
	for len(got) < n {
		_, body := p.get()
		got = append(got, strings.Split(body, "\x1e")...)
	}
	c := dial(t, base, nil)
	if err := c.Emit(within(t), "flood", n); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if want := fmt.Sprintf(`42["n",%d]`, i); got[i] != want {
			t.Fatalf("polling: %d is %q, want %q", i, got[i], want)
		}
		e, err := c.Next(within(t))
		if err != nil || string(e.Args[0]) != fmt.Sprint(i) {
			t.Fatalf("websocket: %d is %s, %v", i, e.Args, err)
		}
	}
}

func dial(t testing.TB, base string, auth any) *socketiotest.Client {
	t.Helper()
	c, err := socketiotest.Dial(within(t), base, auth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientThatTakesNothingIsDropped(t *testing.T) {
	base, s := serve(t, socketio.Options{MaxQueue: 1000, WriteTimeout: 50 * time.Millisecond})
	p := connected(t, base)
	p.post(`42["flood",1000]`)
	waitFor(t, "the slow client's end", func() bool { return s.Len() == 0 })
}

func TestServerAsksClient(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	p := connected(t, base)
	p.post(`42["question"]`)
	p.want("451-" + `0["asked",{"_placeholder":true,"num":0},7]` + "\x1ebYmlu")
	p.post(`430["yes"]`)
	p.want(`42["answered","\u003cnil\u003e",["yes"]]`)
}

func TestMalformedEndsTheSession(t *testing.T) {
	for _, bad := range []string{
		"", "9", "4", "4abc", "42{}", "42", "42[]", `42[7]`, `42["connect"]`, `42abc["x"]`, `421234567890123456["x"]`, `42/other,["x"]`,
		`451-["x",{"_placeholder":true,"num":1}]` + "\x1ebAAAA", "bAAAA", "b!", `4511-["x"]`, `45-["x"]`, `451-["x"]` + "\x1e" + `42["y"]`,
		"40", "43[]", "44{}", "5", "2", "4\xff",
	} {
		base, s := serve(t, socketio.Options{})
		p := connected(t, base)
		p.do(http.MethodPost, bad)
		if s.Len() != 0 {
			t.Errorf("%q: the session goes on", bad)
		}
	}
}

func TestBounds(t *testing.T) {
	clients := live.NewClients(1)
	base, s := serve(t, socketio.Options{Clients: clients, MaxPayload: 1000})
	p := connected(t, base)
	resp, err := http.Get(base + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a client too many: %s", resp.Status)
	}
	if status, _ := p.do(http.MethodPost, `42["x","`+strings.Repeat("a", 1000)+`"]`); status != 413 || s.Len() != 0 {
		t.Errorf("too large: %d, %d sessions", status, s.Len())
	}
	waitFor(t, "room for another client", func() bool { return clients.Len() == 0 })
	p = connected(t, base)
	part := strings.Repeat("A", 800)
	p.post(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	p.post("b" + part)
	p.post("b" + part)
	if s.Len() != 0 {
		t.Error("attachments larger than maxPayload in all are taken")
	}
}

func TestRefusedRequests(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	for query, code := range map[string]int{
		"EIO=4": 0, "EIO=4&transport=x": 0, "transport=polling": 5, "EIO=3&transport=polling": 5, "EIO=4&transport=polling&sid=x": 1, "EIO=4&transport=websocket": 3,
	} {
		resp, err := http.Get(base + "/socket.io/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Code, Status int }
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 400 || p.Status != 400 || p.Code != code {
			t.Errorf("%s: %s %+v %v, want 400 with code %d", query, resp.Status, p, err, code)
		}
	}
	resp, err := http.Post(base+"/socket.io/?EIO=4&transport=polling", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("POST as handshake: %v", resp.Status)
	}
}

func TestPageOfAnotherOriginIsRefused(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	url := "ws" + strings.TrimPrefix(base, "http") + "/socket.io/?EIO=4&transport=websocket"
	_, resp, err := websocket.Dial(within(t), url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("foreign origin: %v, want 403", err)
	}
}

func TestSilentClientsEnd(t *testing.T) {
	base, s := serve(t, socketio.Options{PingInterval: 30 * time.Millisecond, PingTimeout: 30 * time.Millisecond})
	newPoller(t, base) // never polls again
	c := dial(t, base, nil)
	waitFor(t, "the silent client's end", func() bool { return s.Len() == 1 })
	for range 3 { // the other one answers pings
		if _, err := c.Ask(within(t), "ask", 1); err != nil {
			t.Fatal(err)
		}
		<-time.After(40 * time.Millisecond) // more than a ping
	}
	base, s = serve(t, socketio.Options{ConnectTimeout: 20 * time.Millisecond})
	newPoller(t, base)
	waitFor(t, "the end of a client without namespace", func() bool { return s.Len() == 0 })
}

func TestLargeMessagesOnBothTransports(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	big := strings.Repeat("a", 200_000)
	c := dial(t, base, nil)
	answer, err := c.Ask(within(t), "ask", big)
	if err != nil || len(answer) != 1 || len(answer[0]) != len(big)+2 {
		t.Fatalf("websocket: %d, %v", len(answer), err)
	}
	p := connected(t, base)
	p.post(`42["x","` + big + `"]`)
	p.want(`42["back","` + big + `"]`)
}

func TestConnectErrorReachesClient(t *testing.T) {
	base, _ := serve(t, socketio.Options{})
	_, err := socketiotest.Dial(within(t), base, map[string]string{"token": "wrong"})
	var r *socketiotest.Refused
	if !errors.As(err, &r) || r.Message != "no" || !bytes.Contains(r.Data, []byte("wrong")) {
		t.Errorf("got %v", err)
	}
}

// A thousand clients get ten messages each, all of them and in order.
func TestThousandClients(t *testing.T) {
	const clients, each = 1000, 10
	base, s := serve(t, socketio.Options{})
	all := make([]*socketiotest.Client, clients)
	for i := range all {
		all[i] = dial(t, base, nil)
	}
	if s.Len() != clients {
		t.Fatalf("%d sessions, want %d", s.Len(), clients)
	}
	ctx := within(t)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			if err := c.Emit(ctx, "flood", each); err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				if e, err := c.Next(ctx); err != nil || string(e.Args[0]) != fmt.Sprint(i) {
					t.Errorf("message %d: %s %v", i, e.Args, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}
