package socketio

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// client is the Socket.IO side of a session. What the client sends is handed in by one goroutine
// at a time (session.in).
type client struct {
	session *session

	half  *message // waits for its attachments
	parts [][]byte
	bytes int

	mu      sync.Mutex // guards what follows
	sockets map[string]*Socket
	closed  bool
}

// text takes a message.
func (c *client) text(b []byte) error {
	if c.half != nil {
		return fmt.Errorf("%w: an attachment is missing", errMalformed)
	}
	m, err := parseMessage(b, c.session.srv.opts.MaxAttachments)
	if err != nil {
		return err
	}
	if m.attachments > 0 {
		c.half, c.parts, c.bytes = &m, nil, len(b)
		return nil
	}
	return c.take(m, nil)
}

// binary takes an attachment.
func (c *client) binary(b []byte) error {
	if c.half == nil {
		return fmt.Errorf("%w: an attachment of nothing", errMalformed)
	}
	c.parts = append(c.parts, b)
	if c.bytes += len(b); c.bytes > c.session.srv.opts.MaxPayload {
		return errors.New("a message with its attachments is larger than maxPayload")
	}
	if len(c.parts) < c.half.attachments {
		return nil
	}
	m, parts := *c.half, c.parts
	c.half, c.parts = nil, nil
	return c.take(m, parts)
}

func (c *client) take(m message, parts [][]byte) error {
	c.mu.Lock()
	k := c.sockets[m.namespace]
	c.mu.Unlock()
	switch {
	case m.kind == connectMessage && k != nil:
		return fmt.Errorf("%w: connected twice", errMalformed)
	case m.kind == connectMessage:
		return c.connect(m)
	case k == nil:
		return fmt.Errorf("%w: not connected to namespace", errMalformed)
	case m.kind == disconnectMessage:
		c.drop(k)
		return nil
	}
	name, args, err := decodeArgs(m.json, parts, m.kind == eventMessage || m.kind == binaryEvent)
	if err != nil {
		return err
	}
	if m.kind == ackMessage || m.kind == binaryAck {
		k.acknowledged(m.id, args)
		return nil
	}
	return k.arrived(Event{Name: name, Args: args, socket: k, id: m.id})
}

// connect asks the namespace whether the client may come in.
func (c *client) connect(m message) error {
	ns, ok := c.session.srv.namespaces[m.namespace]
	if !ok {
		return c.refuse(m.namespace, &Refused{Message: "Invalid namespace"})
	}
	k := newSocket(c.session, m.namespace, ns)
	k.Auth = json.RawMessage("{}")
	if len(m.json) > 0 {
		k.Auth = append(json.RawMessage(nil), m.json...)
	}
	pid, err := ns.Connect(k.ctx, k)
	if err != nil {
		k.cancel()
		return c.refuse(m.namespace, err)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		k.cancel()
		return nil
	}
	c.sockets[m.namespace] = k
	c.mu.Unlock()
	c.session.connected()
	hello := struct {
		SID string `json:"sid"`
		PID string `json:"pid,omitempty"`
	}{k.ID, pid}
	if err := c.tell(connectMessage, m.namespace, hello); err != nil {
		return err
	}
	k.start()
	return nil
}

func (c *client) refuse(namespace string, err error) error {
	var r *Refused
	if !errors.As(err, &r) {
		r = &Refused{Message: err.Error()}
	}
	return c.tell(refusedMessage, namespace, r)
}

func (c *client) tell(kind byte, namespace string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	m := message{kind: kind, namespace: namespace, id: -1, json: b}
	return c.session.send(c.session.ctx, m.packets(nil)...)
}

// drop ends the client's connection to one namespace.
func (c *client) drop(k *Socket) {
	c.mu.Lock()
	delete(c.sockets, k.namespace)
	c.mu.Unlock()
	k.end()
}

// closeAll ends them all, at the end of the session.
func (c *client) closeAll() {
	c.mu.Lock()
	all := c.sockets
	c.sockets, c.closed = map[string]*Socket{}, true
	c.mu.Unlock()
	for _, k := range all {
		k.end()
	}
}
