package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// WebSocket serves the source as JSON text frames {"id","type","data"}, resumed with
// ?last_event_id=. Pages of other origins are refused unless Options.Origins names them.
// Clients only listen, and one that sends a message is closed, unless Options.OnMessage takes it. A
// client whose token is no longer good is closed with status 4401.
func WebSocket(src Source, o Options) http.Handler {
	o = o.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, filter, leave, ok := admit(w, r, o)
		if !ok {
			return
		}
		defer leave()
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: o.Origins})
		if err != nil {
			return // Accept has answered
		}
		out := &ws{conn: conn, timeout: o.WriteTimeout}
		status, reason := out.serve(ctx, session{src: src, opts: o, filter: filter, out: out, cursor: resumeID(r)})
		if status == websocket.StatusTryAgainLater {
			o.Log.Info("live client dropped", "remote", r.RemoteAddr, "reason", reason)
		}
	})
}

// serve runs the session to its end, closes the connection and waits for its own goroutines.
func (t *ws) serve(ctx context.Context, s session) (status websocket.StatusCode, reason string) {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer t.conn.CloseNow()
	defer cancel()
	var talked atomic.Bool
	helpers.Go(func() {
		// Reading answers pings and closes. Not Conn.CloseRead: when a client talks, that waits
		// 15 s for itself. Cancelling this context would cut the closing handshake short.
		if s.opts.OnMessage != nil {
			talked.Store(t.listen(ctx, s.opts) != nil)
		} else {
			_, _, err := t.conn.Reader(context.WithoutCancel(ctx))
			talked.Store(err == nil)
		}
		cancel()
	})
	helpers.Go(func() { t.ping(ctx, cancel, s.opts.Heartbeat) })

	err := s.run(ctx)
	status, reason = websocket.StatusGoingAway, "server closes"
	switch {
	case talked.Load():
		status, reason = websocket.StatusPolicyViolation, "this message is not taken"
	case errors.Is(err, ErrNotGood):
		status, reason = StatusNotGood, err.Error()
	case !quiet(ctx, err):
		status, reason = websocket.StatusTryAgainLater, err.Error()
	}
	t.conn.Close(status, "")
	return status, reason
}

// StatusNotGood closes a WebSocket whose caller's token is no longer good.
const StatusNotGood websocket.StatusCode = 4401

// listen hands messages on and answers them; an error is that of a message that is not taken.
func (t *ws) listen(ctx context.Context, o Options) error {
	for {
		_, message, err := t.conn.Read(context.WithoutCancel(ctx))
		if err != nil {
			return nil // gone
		}
		answer, err := o.OnMessage(ctx, message)
		if err != nil {
			return err
		}
		if answer == nil {
			continue
		}
		if err := t.writeRaw(ctx, answer); err != nil {
			return nil
		}
	}
}

// ws is the transport of one WebSocket client.
type ws struct {
	conn    *websocket.Conn
	timeout time.Duration
}

type frame struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

func (t *ws) send(ctx context.Context, evs []Event) error {
	for _, e := range evs {
		if err := t.write(ctx, frame{ID: e.ID, Type: e.Type, Data: e.Data}); err != nil {
			return err
		}
	}
	return nil
}

// beat is a frame of its own because scripts in browsers do not see pings.
func (t *ws) beat(ctx context.Context, id string) error {
	return t.write(ctx, frame{ID: id, Type: HeartbeatType})
}

func (t *ws) write(ctx context.Context, f frame) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return t.writeRaw(ctx, b)
}

// writeRaw sends a message. One that is cut short ends the connection without a word, so the end of
// the stream leaves it closeGrace to get through.
func (t *ws) writeRaw(ctx context.Context, b []byte) error {
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeGrace, cancel) })
	defer stop()
	return t.conn.Write(writing, websocket.MessageText, b)
}

const closeGrace = time.Second

// ping ends the client's context when it does not answer a ping within the write timeout.
func (t *ws) ping(ctx context.Context, lost context.CancelFunc, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := t.pingOnce(ctx); err != nil {
			lost()
			return
		}
	}
}

func (t *ws) pingOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return t.conn.Ping(ctx)
}
