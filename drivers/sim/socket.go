package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

// sendSocket emits what waits, as one array, over a Socket.IO connection (Engine.IO 4, WebSocket)
// and waits for its acknowledgement, until the connection is lost.
func (r *Runner) sendSocket(ctx context.Context, box *outbox) error {
	s, err := dialSocket(ctx, r.to.SocketURL, r.to.HTTPToken)
	if err != nil {
		return err
	}
	run, lose := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lose(s.listen(run))
	}()
	defer func() { lose(nil); s.conn.CloseNow(); <-done }()
	for {
		es, err := box.next(run, 200)
		if err != nil {
			return context.Cause(run)
		}
		list := make([]json.RawMessage, len(es))
		for i, e := range es {
			if list[i] = e.Payload(); e.Garbled { // the event must be JSON, its argument need not make sense
				list[i] = json.RawMessage(`{"garbled":true}`)
			}
		}
		refused, err := s.ask(run, "reading", list)
		if err != nil {
			return err
		}
		box.done(es, refused)
	}
}

// socket is the sensors' end of a Socket.IO connection. One goroutine listens, one asks.
type socket struct {
	conn    *websocket.Conn
	next    int // number of the next event
	answers chan answer
}

// answer is an acknowledgement: the number of its event, and a JSON array.
type answer struct {
	id  string
	raw []byte
}

// maxMessage is of what a hub sends: a snapshot of the site is the longest.
const maxMessage = 16 << 20

// dialSocket connects to the main namespace.
func dialSocket(ctx context.Context, base, token string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, strings.TrimSuffix(base, "/")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxMessage)
	s := &socket{conn: conn, answers: make(chan answer)}
	if err := s.hello(ctx, token); err != nil {
		conn.CloseNow()
		return nil, fmt.Errorf("connect to %s/socket.io/: %w", base, err)
	}
	return s, nil
}

func (s *socket) hello(ctx context.Context, token string) error {
	if _, b, err := s.conn.Read(ctx); err != nil || len(b) == 0 || b[0] != '0' {
		return fmt.Errorf("handshake %.100q: %w", b, err)
	}
	hello := []byte("40")
	if token != "" {
		b, err := json.Marshal(map[string]string{"token": token})
		if err != nil {
			return err
		}
		hello = append(hello, b...)
	}
	if err := s.conn.Write(ctx, websocket.MessageText, hello); err != nil {
		return err
	}
	_, b, err := s.conn.Read(ctx)
	if err == nil && !bytes.HasPrefix(b, []byte("40")) {
		err = fmt.Errorf("refused: %.200s", b)
	}
	return err
}

// listen answers pings and passes acknowledgements on; events for wallboards are no concern of a
// sensor. It returns why the connection ended.
func (s *socket) listen(ctx context.Context) error {
	for {
		_, b, err := s.conn.Read(ctx)
		switch {
		case err != nil:
			return err
		case string(b) == "2":
			if err := s.conn.Write(ctx, websocket.MessageText, []byte("3")); err != nil {
				return err
			}
		case string(b) == "1", bytes.HasPrefix(b, []byte("41")):
			return errors.New("the hub ended the connection")
		case bytes.HasPrefix(b, []byte("43")):
			at := max(bytes.IndexByte(b, '['), 2)
			select {
			case s.answers <- answer{string(b[2:at]), b[at:]}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// ask emits an event and waits for its acknowledgement; it returns how many readings the hub
// refused.
func (s *socket) ask(ctx context.Context, name string, arg []json.RawMessage) (refused int, err error) {
	late, cancel := context.WithTimeout(ctx, 2*answerIn)
	defer cancel()
	b, err := json.Marshal([]any{name, arg})
	if err != nil {
		return 0, err
	}
	id := strconv.Itoa(s.next)
	s.next++
	if err := s.conn.Write(late, websocket.MessageText, append([]byte("42"+id), b...)); err != nil {
		return 0, err
	}
	for {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-late.Done():
			return 0, noAnswer("socket.io")
		case a := <-s.answers:
			if a.id == id {
				return understood(a.raw, len(arg))
			}
		}
	}
}

// understood reads the answer to n readings.
func understood(raw []byte, n int) (refused int, err error) {
	var answer []struct {
		Error    string
		Retry    bool
		Rejected []json.RawMessage
	}
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer) != 1 {
		return 0, fmt.Errorf("the hub's answer %.100q is not understood", raw)
	}
	if answer[0].Error != "" && !answer[0].Retry {
		return n, nil
	}
	if answer[0].Error != "" {
		return 0, fmt.Errorf("the hub could not store readings: %s", answer[0].Error)
	}
	return len(answer[0].Rejected), nil
}
