package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
)

// serve runs the API as the hub does and returns its address.
func serve(t *testing.T, site *apitest.Site, change func(*api.Options)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	a := newAPI(t, site, change)
	go func() { done <- a.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

type sse struct {
	t  *testing.T
	in *bufio.Scanner
}

func openSSE(t *testing.T, url, lastID string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode != 200 {
		t.Fatalf("GET %s: got %s", url, resp.Status)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	return &sse{t, in}
}

// next decodes the next event's data into v and returns its id and type.
func (s *sse) next(v any) (id, typ string) {
	s.t.Helper()
	for s.in.Scan() {
		line := s.in.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "event: "):
			typ = line[7:]
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(line[6:]), v); err != nil {
				s.t.Fatal(err)
			}
			return id, typ
		}
	}
	s.t.Fatalf("stream ended: %v", s.in.Err())
	return "", ""
}

func TestStreamOverRealServer(t *testing.T) {
	site := apitest.Office(noon)
	url := "http://" + serve(t, site, nil) + "/v1/stream"
	s := openSSE(t, url, "")
	var state live.State
	id, typ := s.next(&state)
	if typ != "snapshot" || len(state.Spaces) != 18 || len(state.Alerts) != 2 || state.Site != "hq-oslo" || id != apitest.ID(site.Snapshot().Seq) {
		t.Fatalf("got %s %s with %d spaces", id, typ, len(state.Spaces))
	}
	lobby := edge.Space{ID: "lobby", Capacity: 40}
	site.AddInput("command")
	site.Set(apitest.Known(lobby, 21, 20, 23, edge.QualityGood, noon.Add(time.Minute)))
	var e live.Entry
	var o edge.Occupancy
	if first, typ := s.next(&e); typ != "occupancy.changed" || e.Subject != "lobby" || e.ID != first || json.Unmarshal(e.Data, &o) != nil || *o.Count != 21 {
		t.Fatalf("got %s %+v", typ, e)
	}
	site.Set(apitest.Known(lobby, 22, 21, 24, edge.QualityGood, noon.Add(2*time.Minute)))
	again := openSSE(t, url, e.ID) // as a client that lost its connection
	if _, typ := again.next(&e); typ != "occupancy.changed" || json.Unmarshal(e.Data, &o) != nil || *o.Count != 22 {
		t.Fatalf("resume: got %s %+v", typ, e)
	}
	for name, id := range map[string]string{"other epoch": strings.Replace(e.ID, "0", "f", 1), "future": apitest.ID(1 << 40), "nonsense": "?"} {
		if _, typ := openSSE(t, url, id).next(&state); typ != "snapshot" {
			t.Errorf("%s: got %s, want a snapshot", name, typ)
		}
	}
	site.Trim(site.Snapshot().Seq)
	if _, typ := openSSE(t, url, apitest.ID(3)).next(&state); typ != "snapshot" {
		t.Errorf("trimmed: got %s, want a snapshot", typ)
	}
	filtered := openSSE(t, url+"?space=board&type=occupancy.changed", "")
	if filtered.next(&state); len(state.Spaces) != 1 || state.Spaces[0].ID != "board" {
		t.Errorf("filtered: got %d spaces, want the board room", len(state.Spaces))
	}
}

func TestNotificationsAreAlertsOnly(t *testing.T) {
	site := apitest.Office(noon)
	addr := serve(t, site, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws/notifications", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	next := func() (f struct {
		Type string
		Data live.Entry
	}) {
		t.Helper()
		_, b, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		json.Unmarshal(b, &f)
		return f
	}
	if f := next(); f.Type != "snapshot" {
		t.Fatalf("got %s first, want the snapshot", f.Type)
	}
	site.Set(apitest.Known(edge.Space{ID: "lobby"}, 1, 1, 1, edge.QualityGood, noon))
	post(t, addr, "/v1/alerts/over-capacity:room-303:1/acknowledge")
	if f := next(); f.Type != "alert.acknowledged" || f.Data.Subject != "over-capacity:room-303:1" {
		t.Fatalf("got %+v, want the acknowledgement", f)
	}
}

func post(t *testing.T, addr, path string) {
	t.Helper()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, "POST", "http://"+addr+path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST %s: got %s %s", path, resp.Status, b)
	}
}

func mustRequest(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenListenerNeedsTokens(t *testing.T) {
	site := apitest.Office(noon)
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	ln := listen()
	err := newAPI(t, site, nil).Serve(t.Context(), ln)
	if !errors.Is(err, api.ErrOpen) || !strings.Contains(err.Error(), "http.token_file") {
		t.Fatalf("got error %v, want ErrOpen that says what to do", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the refused listener is still open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	withTokens := newAPI(t, site, func(o *api.Options) { o.Tokens = []gateway.Token{{Name: "a", Secret: annaSecret}} })
	if err := withTokens.Serve(ctx, listen()); err != nil {
		t.Fatalf("with tokens: %v", err)
	}
}

func TestServeEndsWhenItsListenerFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := newAPI(t, apitest.Office(noon), nil).Serve(t.Context(), ln); err == nil {
		t.Fatal("got no error from a closed listener")
	}
}

// Shutting down ends live streams at once instead of waiting for them.
func TestShutdownEndsStreams(t *testing.T) {
	site := apitest.Office(noon)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- newAPI(t, site, nil).Serve(ctx, ln) }()
	var state live.State
	s := openSSE(t, "http://"+ln.Addr().String()+"/v1/stream", "")
	s.next(&state)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("shutdown waits for a live stream")
	}
}

// Huge headers and bodies are refused, and what they wait for is bounded.
func TestOversizedRequests(t *testing.T) {
	addr := serve(t, apitest.Office(noon), nil)
	raw := func(lines string) string {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		go io.WriteString(conn, lines)
		status, _ := bufio.NewReader(conn).ReadString('\n')
		return status
	}
	if got := raw("GET /v1/spaces HTTP/1.1\r\nHost: localhost\r\nX-Pad: " + strings.Repeat("x", 32<<10) + "\r\n\r\n"); !strings.Contains(got, "431") {
		t.Errorf("32 KiB of headers: got %q, want 431", got)
	}
	if got := raw("GET /" + strings.Repeat("x", 32<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(got, "431") && !strings.Contains(got, "414") {
		t.Errorf("32 KiB of path: got %q, want a refusal", got)
	}
	body := `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`
	if got := raw(fmt.Sprintf("PUT /v1/spaces/lobby/count HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)); !strings.Contains(got, "413") {
		t.Errorf("1 MiB of body: got %q, want 413", got)
	}
	if got := raw("POST /v1/alerts/x/acknowledge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /"); strings.Contains(got, " 200 ") {
		t.Errorf("two lengths in one request: got %q", got)
	}
}
