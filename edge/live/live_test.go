package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/edge/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is a Source in memory: ids are decimal numbers, events older than floor are gone.
type history struct {
	mu      sync.Mutex
	events  []live.Event // ids floor+1, floor+2, …
	floor   int
	changed chan struct{}
	fail    error
	pulls   atomic.Int64
	big     string // payload of every event
}

func newHistory() *history { return &history{changed: make(chan struct{})} }

func (h *history) add(types ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, typ := range types {
		id := h.floor + len(h.events) + 1
		data := fmt.Sprintf(`{"n":%d,"pad":%q}`, id, h.big)
		h.events = append(h.events, live.Event{ID: strconv.Itoa(id), Type: typ, Data: []byte(data)})
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *history) trim(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events, h.floor = h.events[n:], h.floor+n
}

func (h *history) After(_ context.Context, id string, f live.Filter, limit int) (live.Page, error) {
	h.pulls.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return live.Page{}, h.fail
	}
	n, err := strconv.Atoi(id)
	if err != nil || n < h.floor || n > h.floor+len(h.events) {
		return live.Page{Reset: true}, nil
	}
	p := live.Page{}
	for _, e := range h.events[n-h.floor:] {
		if len(p.Events) == limit {
			p.More = true
			return p, nil
		}
		p.Next = e.ID
		if f.WantsType(e.Type) {
			p.Events = append(p.Events, e)
		}
	}
	return p, nil
}

func (h *history) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *history) Snapshot(context.Context, live.Filter) ([]byte, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.floor + len(h.events)
	return fmt.Appendf(nil, `{"newest":%d}`, n), strconv.Itoa(n), nil
}

// message is one event as a client saw it.
type message struct{ id, typ, data string }

// client is a stream seen from outside: SSE or WebSocket.
type client struct {
	t    *testing.T
	next func() (message, error)
	end  func()
}

func (c *client) want(id, typ string) message {
	c.t.Helper()
	m, err := c.next()
	if err != nil {
		c.t.Fatalf("stream ended: %v, want event %s %s", err, id, typ)
	}
	if m.id != id || m.typ != typ {
		c.t.Fatalf("got event id %q type %q, want %q %q", m.id, m.typ, id, typ)
	}
	return m
}

func (c *client) wantEnd() {
	c.t.Helper()
	if m, err := c.next(); err == nil {
		c.t.Fatalf("got event %+v, want the end of the stream", m)
	}
}

// transports are the two ways to listen, each at an address of its own and at a common one; every
// behaviour is tested on all.
var transports = map[string]struct {
	handler func(live.Source, live.Options) http.Handler
	connect func(t *testing.T, url, id string) *client
}{
	"sse":       {live.SSE, connectSSE},
	"websocket": {live.WebSocket, connectWebSocket},

	"sse at the common address":       {live.Stream, connectSSE},
	"websocket at the common address": {live.Stream, connectWebSocket},
}

func connectSSE(t *testing.T, url, id string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("got %s %q, want 200 text/event-stream", resp.Status, got)
	}
	c := &client{t: t, end: func() { cancel(); resp.Body.Close() }}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	c.next = func() (message, error) {
		var m message
		for in.Scan() {
			switch line := in.Text(); {
			case line == "" && m.data != "":
				return m, nil
			case line == "":
				m = message{}
			case strings.HasPrefix(line, "id: "):
				m.id = line[4:]
			case strings.HasPrefix(line, "event: "):
				m.typ = line[7:]
			case strings.HasPrefix(line, "data: "):
				m.data += line[6:]
			}
		}
		return m, errors.Join(errors.New("end of stream"), in.Err())
	}
	t.Cleanup(c.end)
	return c
}

func connectWebSocket(t *testing.T, url, id string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	if id != "" {
		url += "?last_event_id=" + id
	}
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	c := &client{t: t, end: func() { conn.CloseNow(); cancel() }}
	c.next = func() (message, error) {
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				return message{}, err
			}
			var f struct {
				ID, Type string
				Data     json.RawMessage
			}
			if err := json.Unmarshal(b, &f); err != nil {
				return message{}, err
			}
			if f.Type != live.HeartbeatType {
				return message{f.ID, f.Type, string(f.Data)}, nil
			}
		}
	}
	t.Cleanup(c.end)
	return c
}

// serve starts a real server; at the end it is closed as the product does it.
func serve(t *testing.T, h http.Handler, clients *live.Clients) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = time.Second, time.Second
	srv.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := clients.Close(ctx); err != nil {
			t.Errorf("clients still there at the end: %v (%d)", err, clients.Len())
		}
		srv.Close()
	})
	return srv.URL
}

func each(t *testing.T, f func(t *testing.T, src *history, o live.Options, connect func(id string) *client)) {
	for name, tr := range transports {
		t.Run(name, func(t *testing.T) {
			src := newHistory()
			clients := live.NewClients(3)
			o := live.Options{Clients: clients, Heartbeat: 50 * time.Millisecond, Batch: 4}
			o.Filter = func(r *http.Request) (live.Filter, error) { return live.Filter{Types: []string{"a", "b.*"}}, nil }
			url := serve(t, tr.handler(src, o), clients)
			f(t, src, o, func(id string) *client { return tr.connect(t, url, id) })
		})
	}
}

func TestNewClientGetsStateThenEventsInOrder(t *testing.T) {
	each(t, func(t *testing.T, src *history, _ live.Options, connect func(string) *client) {
		src.add("a", "a")
		c := connect("")
		if m := c.want("2", "snapshot"); m.data != `{"newest":2}` {
			t.Fatalf("got snapshot %s", m.data)
		}
		for i := 3; i <= 40; i++ { // more than one batch at once, and single ones
			src.add("a")
		}
		for i := 3; i <= 40; i++ {
			m := c.want(strconv.Itoa(i), "a")
			if !strings.HasPrefix(m.data, fmt.Sprintf(`{"n":%d,`, i)) {
				t.Fatalf("got data %s for id %d", m.data, i)
			}
		}
	})
}

func TestClientThatComesBackMissesNothing(t *testing.T) {
	each(t, func(t *testing.T, src *history, _ live.Options, connect func(string) *client) {
		src.add("a", "b.x", "c", "a")
		c := connect("1")
		c.want("2", "b.x")
		c.end()
		src.add("a")
		c = connect("2")
		c.want("4", "a")
		c.want("5", "a")
	})
}

func TestUnknownAndTrimmedIDsBeginWithSnapshot(t *testing.T) {
	each(t, func(t *testing.T, src *history, _ live.Options, connect func(string) *client) {
		src.add("a", "a", "a", "a")
		src.trim(2)
		for _, id := range []string{"nonsense", "99", "1", strings.Repeat("9", 200)} {
			c := connect(id)
			c.want("4", "snapshot")
			c.end()
		}
	})
}

// A stream outlives the server's ReadTimeout and WriteTimeout (1 s here) and many heartbeats.
func TestStreamOutlivesServerTimeouts(t *testing.T) {
	each(t, func(t *testing.T, src *history, _ live.Options, connect func(string) *client) {
		c := connect("")
		c.want("0", "snapshot")
		<-time.After(1300 * time.Millisecond) // real time: the deadlines belong to the kernel's sockets
		src.add("a")
		c.want("1", "a")
	})
}

func TestFilteredEventsDoNotHoldTheCursorBack(t *testing.T) {
	each(t, func(t *testing.T, src *history, _ live.Options, connect func(string) *client) {
		c := connect("")
		c.want("0", "snapshot")
		src.add("c", "c", "c")
		src.add("a")
		c.want("4", "a")
		src.trim(4) // what was looked at may go; the client must not need it any more
		src.add("a")
		c.want("5", "a")
	})
}

func TestTooManyClientsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, src *history, o live.Options, connect func(string) *client) {
		var cs []*client
		for range 3 {
			c := connect("")
			c.want("0", "snapshot")
			cs = append(cs, c)
		}
		rec := httptest.NewRecorder()
		live.SSE(src, o).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Fatalf("got %d, Retry-After %q; want 503 with Retry-After", rec.Code, rec.Header().Get("Retry-After"))
		}
		for _, c := range cs {
			c.end()
		}
		waitFor(t, "all clients to be gone", func() bool { return o.Clients.Len() == 0 })
		connect("").want("0", "snapshot")
	})
}

func TestFailingSourceEndsTheStream(t *testing.T) {
	each(t, func(t *testing.T, src *history, o live.Options, connect func(string) *client) {
		c := connect("")
		c.want("0", "snapshot")
		src.mu.Lock()
		src.fail = errors.New("store closed")
		src.mu.Unlock()
		src.add("a")
		c.wantEnd()
	})
}

func TestCloseEndsEveryClientAndRefusesNewOnes(t *testing.T) {
	each(t, func(t *testing.T, src *history, o live.Options, connect func(string) *client) {
		c := connect("")
		c.want("0", "snapshot")
		done := make(chan error, 1)
		go func() { done <- o.Clients.Close(t.Context()) }()
		c.wantEnd()
		c.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		live.SSE(src, o).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if rec.Code != http.StatusServiceUnavailable {
			t.Fatalf("got %d after Close, want 503", rec.Code)
		}
	})
}

// A client that never reads is dropped once a write has taken WriteTimeout, and others are
// served all the while.
func TestSlowClientIsDropped(t *testing.T) {
	for name, tr := range transports {
		t.Run(name, func(t *testing.T) {
			src := newHistory()
			src.big = strings.Repeat("x", 200<<10)
			clients := live.NewClients(5)
			o := live.Options{Clients: clients, WriteTimeout: 200 * time.Millisecond}
			url := serve(t, tr.handler(src, o), clients)
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.(*net.TCPConn).SetReadBuffer(4096)
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n")
			if name == "websocket" {
				fmt.Fprint(conn, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
			}
			fmt.Fprint(conn, "\r\n")
			waitFor(t, "the slow client to be admitted", func() bool { return clients.Len() == 1 })
			good := tr.connect(t, url, "")
			good.want("0", "snapshot")
			for i := range 60 {
				src.add("a")
				good.want(strconv.Itoa(i+1), "a")
			}
			waitFor(t, "the slow client to be dropped", func() bool { return clients.Len() == 1 })
		})
	}
}

func TestWebSocketRefusesForeignOriginAndTalkingClients(t *testing.T) {
	src := newHistory()
	clients := live.NewClients(3)
	url := serve(t, live.WebSocket(src, live.Options{Clients: clients, Origins: []string{"good.example"}}), clients)
	dial := func(origin string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
	}
	if _, resp, err := dial("https://evil.example"); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("got %v for a foreign origin, want 403", resp)
	}
	conn, _, err := dial("https://good.example")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
		t.Fatalf("got close status %v, want policy violation", got)
	}
}

// An idle stream tells a filtered client how far it has looked, so that it can resume there.
func TestHeartbeatCarriesTheCursor(t *testing.T) {
	src := newHistory()
	clients := live.NewClients(3)
	o := live.Options{Clients: clients, Heartbeat: 20 * time.Millisecond}
	url := serve(t, live.SSE(src, o), clients)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(httptest.NewRequest(http.MethodGet, url+"?type=a", nil).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	src.add("c", "c")
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		if in.Text() == "id: 2" {
			break
		}
	}
	if err := in.Err(); err != nil || in.Text() != "id: 2" {
		t.Fatalf("stream ended without a heartbeat that carries id 2: %v", err)
	}
	if !in.Scan() || in.Text() != ":" {
		t.Fatalf("got %q after the id, want a comment: an event without data", in.Text())
	}
}

func TestBadRequests(t *testing.T) {
	o := live.Options{Filter: func(*http.Request) (live.Filter, error) { return live.Filter{}, errors.New("space nowhere is unknown") }}
	for _, c := range []struct {
		method string
		want   int
	}{{http.MethodGet, 400}, {http.MethodPost, 405}, {http.MethodHead, 405}} {
		rec := httptest.NewRecorder()
		live.SSE(newHistory(), o).ServeHTTP(rec, httptest.NewRequest(c.method, "/", nil))
		if rec.Code != c.want || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s, want %d as a problem", c.method, rec.Code, rec.Header().Get("Content-Type"), c.want)
		}
	}
}

func TestParseFilter(t *testing.T) {
	f, err := live.ParseFilter(httptest.NewRequest(http.MethodGet, "/?type=alert.*,loss&space=a&space=b%20,%20c&site=s", nil))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Types, []string{"alert.*", "loss"}) || !slices.Equal(f.Spaces, []string{"a", "b", "c"}) || !slices.Equal(f.Sites, []string{"s"}) {
		t.Fatalf("got %+v", f)
	}
	for _, c := range []struct {
		typ, subject string
		want         bool
	}{
		{"alert.raised", "x", true}, {"alerts", "x", false}, {"loss", "", true}, {"occupancy.changed", "a", false},
	} {
		if got := f.Wants(c.typ, c.subject); got != c.want {
			t.Errorf("Wants(%s, %s) = %v, want %v", c.typ, c.subject, got, c.want)
		}
	}
	f.Types = nil
	if !f.Wants("occupancy.changed", "a") || f.Wants("occupancy.changed", "z") || !f.Wants("alert.raised", "z") {
		t.Error("the space filter must hold for occupancy and for nothing else")
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
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
