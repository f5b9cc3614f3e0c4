package live_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/headcount-hub/headcount/edge/live"
)

// A stream ends as soon as its caller is no longer who it was, whatever the heartbeat.
func TestStreamEndsWithItsRights(t *testing.T) {
	for name, tr := range transports {
		t.Run(name, func(t *testing.T) {
			src, clients := newHistory(), live.NewClients(3)
			var bad atomic.Bool
			var rights live.Signal
			o := live.Options{Clients: clients, Heartbeat: time.Hour, Good: func(live.Filter) bool { return !bad.Load() }, Rights: rights.Changed}
			c := tr.connect(t, serve(t, tr.handler(src, o), clients), "")
			c.want("0", "snapshot")
			rights.Notify() // somebody else's
			src.add("a")
			c.want("1", "a")
			bad.Store(true)
			rights.Notify()
			c.wantEnd()
		})
	}
}

func TestWebSocketStatusOfLostRights(t *testing.T) {
	src, clients := newHistory(), live.NewClients(3)
	url := serve(t, live.WebSocket(src, live.Options{Clients: clients, Good: func(live.Filter) bool { return false }}), clients)
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if got := websocket.CloseStatus(err); got != live.StatusNotGood {
		t.Errorf("closed with %v, want %v", got, live.StatusNotGood)
	}
}

func TestWebSocketTakesMessages(t *testing.T) {
	src, clients := newHistory(), live.NewClients(3)
	o := live.Options{Clients: clients, Filter: func(*http.Request) (live.Filter, error) { return live.Filter{Types: []string{"none"}}, nil },
		OnMessage: func(_ context.Context, m []byte) ([]byte, error) {
			switch string(m) {
			case "quiet":
				return nil, nil
			case "bad":
				return nil, errors.New("no")
			}
			return append([]byte("re: "), m...), nil
		}}
	url := serve(t, live.WebSocket(src, o), clients)
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, m := range []string{"quiet", "one", "two", "bad"} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for err == nil {
		var b []byte
		if _, b, err = conn.Read(t.Context()); err == nil {
			got = append(got, string(b))
		}
	}
	if len(got) != 3 || got[1] != "re: one" || got[2] != "re: two" { // the first one is the snapshot
		t.Errorf("got %q", got)
	}
	if status := websocket.CloseStatus(err); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want policy violation", status)
	}
}
