// Package socketiotest has a small Socket.IO client for tests, over WebSocket only, and the
// integration tests with the stock one.
package socketiotest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// Event is what a server has emitted.
type Event struct {
	Name string
	Args []json.RawMessage
}

// Refused is a connect error.
type Refused struct {
	Message string
	Data    json.RawMessage
}

// Error is the message.
func (e *Refused) Error() string { return e.Message }

// Client is connected to the main namespace. Next is for one goroutine, the rest for many.
type Client struct {
	SID, PID string

	conn   *websocket.Conn
	events chan Event // closed at the end of the connection
	done   chan struct{}
	end    context.CancelFunc

	mu     sync.Mutex // guards what follows
	offset string
	acks   map[int]chan []json.RawMessage
	next   int
}

// Dial connects to the server at base, such as http://127.0.0.1:8080, and to its main namespace
// with auth. A connect error is a *Refused.
func Dial(ctx context.Context, base string, auth any) (*Client, error) {
	url := "ws" + strings.TrimPrefix(base, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(16 << 20)
	c := &Client{conn: conn, events: make(chan Event, 256), done: make(chan struct{}), acks: map[int]chan []json.RawMessage{}} // as a client that reads at once
	if err := c.hello(ctx, auth); err != nil {
		conn.CloseNow()
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	c.end = cancel
	go c.read(run)
	return c, nil
}

func (c *Client) hello(ctx context.Context, auth any) error {
	if _, b, err := c.conn.Read(ctx); err != nil || len(b) == 0 || b[0] != '0' {
		return fmt.Errorf("handshake %q: %w", b, err)
	}
	hello := []byte("40")
	if auth != nil {
		b, err := json.Marshal(auth)
		if err != nil {
			return err
		}
		hello = append(hello, b...)
	}
	if err := c.conn.Write(ctx, websocket.MessageText, hello); err != nil {
		return err
	}
	_, b, err := c.conn.Read(ctx)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(b, []byte("40")):
		var ids struct{ SID, PID string }
		err := json.Unmarshal(b[2:], &ids)
		c.SID, c.PID = ids.SID, ids.PID
		return err
	case bytes.HasPrefix(b, []byte("44")):
		r := &Refused{}
		return errors.Join(json.Unmarshal(b[2:], r), r)
	}
	return fmt.Errorf("unexpected %q", b)
}

func (c *Client) read(ctx context.Context) {
	defer close(c.done)
	defer close(c.events)
	for {
		_, b, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		switch {
		case string(b) == "2":
			if c.conn.Write(ctx, websocket.MessageText, []byte("3")) != nil {
				return
			}
		case bytes.HasPrefix(b, []byte("42")):
			var args []json.RawMessage
			var e Event
			if json.Unmarshal(b[2:], &args) != nil || json.Unmarshal(args[0], &e.Name) != nil {
				return
			}
			e.Args = args[1:]
			c.note(e)
			c.events <- e
		case bytes.HasPrefix(b, []byte("43")):
			c.acknowledged(b[2:])
		}
	}
}

// note keeps the last argument, as the stock client does, when it is a text.
func (c *Client) note(e Event) {
	var offset string
	if n := len(e.Args); c.PID == "" || n == 0 || json.Unmarshal(e.Args[n-1], &offset) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}

func (c *Client) acknowledged(b []byte) {
	at := bytes.IndexByte(b, '[')
	id, err := strconv.Atoi(string(b[:max(at, 0)]))
	var args []json.RawMessage
	if err != nil || json.Unmarshal(b[at:], &args) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.acks[id]; ok {
		delete(c.acks, id)
		answer <- args
	}
}

// Offset is where a client that comes back goes on.
func (c *Client) Offset() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Next waits for an event; an error when the connection or ctx has ended.
func (c *Client) Next(ctx context.Context) (Event, error) {
	select {
	case e, ok := <-c.events:
		if !ok {
			return e, errors.New("the connection has ended")
		}
		return e, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

// Emit sends an event.
func (c *Client) Emit(ctx context.Context, name string, args ...any) error {
	return c.emit(ctx, "", name, args)
}

func (c *Client) emit(ctx context.Context, id, name string, args []any) error {
	b, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		return err
	}
	return c.conn.Write(ctx, websocket.MessageText, append([]byte("42"+id), b...))
}

// Ask sends an event and waits for its acknowledgement.
func (c *Client) Ask(ctx context.Context, name string, args ...any) ([]json.RawMessage, error) {
	answer := make(chan []json.RawMessage, 1) // nobody may wait any more
	c.mu.Lock()
	id := c.next
	c.next++
	c.acks[id] = answer
	c.mu.Unlock()
	if err := c.emit(ctx, strconv.Itoa(id), name, args); err != nil {
		return nil, err
	}
	select {
	case args := <-answer:
		return args, nil
	case <-c.done:
		return nil, errors.New("the connection has ended")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection and waits for it.
func (c *Client) Close() {
	c.end()
	c.conn.CloseNow()
	for range c.events { // whoever reads must not wait for us
	}
	<-c.done
}
