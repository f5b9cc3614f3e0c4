package httppush

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/edge/live/socketiotest"
	"github.com/headcount-hub/headcount/sync/token"
)

var nobody = &token.Identity{Kind: token.Local, Everywhere: token.Admin}

func newMessages(t testing.TB, sensors ...edge.Sensor) *Messages {
	t.Helper()
	d, err := NewMessages(drivers.Config{ID: "io", Sensors: sensors}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Messages)
}

// endpoint hands events to a driver as the hub does.
func endpoint(m *Messages, clients *live.Clients) http.Handler {
	return socketio.New(map[string]socketio.Namespace{"/": {
		Connect: func(context.Context, *socketio.Socket) (string, error) { return "", nil },
		Events: func(ctx context.Context, k *socketio.Socket, evs []socketio.Event) {
			var names []string
			var payloads []json.RawMessage
			for _, e := range evs {
				names, payloads = append(names, e.Name), append(payloads, e.Args.JSON[0])
			}
			for i, a := range m.Take(ctx, nobody, names, payloads) {
				_ = evs[i].Ack(ctx, a)
			}
		},
	}}, socketio.Options{Clients: clients})
}

// ioPeer is a device on one Socket.IO connection, which it opens again when it is lost.
type ioPeer struct {
	server  *httptest.Server
	clients *live.Clients
	client  *socketiotest.Client
}

func (p *ioPeer) Send(ctx context.Context, device string, n int) error {
	return p.ask(ctx, map[string]any{"device": device, "seq": n, "count_in": n, "count_out": 0}, func(a Taken) bool { return a.Accepted+a.Duplicate+a.Pending == 1 })
}

func (p *ioPeer) SendBad(ctx context.Context) error {
	return p.ask(ctx, map[string]any{"device": "x", "count_in": -1}, func(a Taken) bool { return len(a.Rejected) == 1 })
}

func (p *ioPeer) ask(ctx context.Context, payload any, done func(Taken) bool) error {
	for {
		answer, err := p.client.Ask(ctx, "reading", payload)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		var a Taken
		if err := json.Unmarshal(answer[0], &a); err != nil {
			return err
		}
		if done(a) {
			return nil
		}
		if !a.Retry {
			return fmt.Errorf("answered %s", answer[0])
		}
		select { // a device would wait a second
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *ioPeer) Close() error {
	p.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
	defer cancel()
	err := p.clients.Close(ctx)
	p.server.Close()
	http.DefaultClient.CloseIdleConnections()
	return err
}

func TestMessagesContract(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(t *testing.T) drivers.Driver { return newMessages(t) },
		Dial: func(t *testing.T, d drivers.Driver) drivertest.Peer {
			p := &ioPeer{clients: live.NewClients(0)}
			p.server = httptest.NewServer(endpoint(d.(*Messages), p.clients))
			ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
			defer cancel()
			var err error
			if p.client, err = socketiotest.Dial(ctx, p.server.URL, nil); err != nil {
				t.Fatal(err)
			}
			return p
		},
	})
}

func TestMessagesOfRoomsAndSensors(t *testing.T) {
	m, sink := newMessages(t, edge.Sensor{ID: "lobby-count", Device: "socketio/lobby"}), drivertest.NewSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, sink) }()
	defer func() { cancel(); <-done }()
	sink.WaitUp(t)
	for _, c := range []struct{ name, payload, want, device string }{
		{"peopleCount", `{"roomId":"lobby","peopleCount":7,"timestamp":"2026-03-02T08:00:00Z","seq":1}`, `{"accepted":1,"duplicate":0,"pending":0,"rejected":[]}`, "socketio/lobby"},
		{"peopleCount", `{"sensorId":"lobby-count","value":8}`, `{"accepted":1,`, "socketio/lobby"},
		{"temperature", `{"room":"r2","temperature":21.5}`, `{"accepted":1,`, "socketio/r2"},
		{"reading", `[{"device":"a","count_in":1},{"device":"b","count_in":-1}]`, `{"accepted":1,"duplicate":0,"pending":0,"rejected":[{"index":1,`, "a"},
		{"peopleCount", `{"roomId":"lobby","peopleCount":2.5}`, `"rejected":[{"index":0,"reason":"count_abs`, ""},
		{"peopleCount", `{"peopleCount":2}`, `"error":"peopleCount: no roomId`, ""},
		{"temperature", `{"roomId":"lobby"}`, `"error":"temperature: no value`, ""},
		{"temperature", `7`, `"error":"temperature: want an object`, ""},
		{"reading", `null`, `"rejected":[{"index":0`, ""},
	} {
		before, refused := len(sink.Readings()), sink.Rejected()
		answer, err := json.Marshal(m.Take(ctx, nobody, []string{c.name}, []json.RawMessage{json.RawMessage(c.payload)})[0])
		if err != nil || !strings.Contains(string(answer), c.want) {
			t.Errorf("%s %s: %s %v, want %s", c.name, c.payload, answer, err, c.want)
		}
		got := sink.Readings()[before:]
		if c.device == "" && (len(got) != 0 || sink.Rejected() == refused) {
			t.Errorf("%s %s: %d readings, %d rejected; want it counted", c.name, c.payload, len(got), sink.Rejected()-refused)
		}
		if c.device != "" && (len(got) != 1 || got[0].Device != c.device) {
			t.Errorf("%s %s: got %+v, want one of %s", c.name, c.payload, got, c.device)
		}
	}
	own := &token.Identity{Kind: token.Device, Subject: "door-7"}
	answers := m.Take(ctx, own, []string{"reading", "reading"}, []json.RawMessage{[]byte(`{"device":"door-8","count_in":1}`), []byte(`{"device":"door-7","count_in":1}`)})
	if answers[0].(Taken).Error == "" || answers[1].(Taken).Accepted != 1 {
		t.Errorf("a device for another one and for itself: %+v", answers)
	}
}

func TestMessagesWhileTheHubStops(t *testing.T) {
	a := newMessages(t).Take(t.Context(), nobody, []string{"reading"}, []json.RawMessage{[]byte(`{"device":"a","count_in":1}`)})[0].(Taken)
	if a.Error == "" || !a.Retry || a.Accepted != 0 {
		t.Errorf("got %+v, want to be told to come again", a)
	}
}
