package socketio

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/headcount-hub/headcount/edge/live"
)

// maxAcks bounds the acknowledgements that are awaited of one client.
const maxAcks = 64

// Socket is one client in one namespace. Its methods may be called from many goroutines.
type Socket struct {
	ID      string
	Request *http.Request   // of the handshake: header, cookies, query, address
	Auth    json.RawMessage // what the client sent when it connected: a JSON object
	Value   any             // the namespace's own, set in Connect and not changed afterwards

	namespace string
	serves    Namespace
	session   *session
	ctx       context.Context
	cancel    context.CancelFunc
	room      live.Signal

	mu      sync.Mutex // guards what follows
	waiting []Event
	busy    bool // waiting events are being handled
	acks    map[int64]chan Args
	nextAck int64
}

func newSocket(s *session, namespace string, ns Namespace) *Socket {
	k := &Socket{ID: rand.Text(), Request: s.req, namespace: namespace, serves: ns, session: s, acks: map[int64]chan Args{}}
	k.ctx, k.cancel = context.WithCancel(s.ctx)
	return k
}

func (k *Socket) start() {
	if k.serves.Run == nil || !k.session.enter() {
		return
	}
	go func() {
		defer k.session.work.Done()
		k.serves.Run(k.ctx, k)
	}()
}

// Done is closed when the connection to the namespace has ended.
func (k *Socket) Done() <-chan struct{} { return k.ctx.Done() }

// Emit sends an event. A []byte among the arguments, also within []any and map[string]any, goes as
// binary; a single Args goes as it is; all else as JSON. It waits while the client's queue is full;
// when it returns nil the event is in the queue.
func (k *Socket) Emit(ctx context.Context, name string, args ...any) error {
	return k.emit(ctx, -1, name, args)
}

// EmitWithAck sends an event and waits for the client's acknowledgement until ctx ends.
func (k *Socket) EmitWithAck(ctx context.Context, name string, args ...any) (Args, error) {
	answer := make(chan Args, 1) // the acknowledging side must not wait
	k.mu.Lock()
	if len(k.acks) >= maxAcks {
		k.mu.Unlock()
		return Args{}, errors.New("too many acknowledgements are awaited")
	}
	id := k.nextAck
	k.nextAck++
	k.acks[id] = answer
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.acks, id)
	}()
	if err := k.emit(ctx, id, name, args); err != nil {
		return Args{}, err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return Args{}, ctx.Err()
	case <-k.ctx.Done():
		return Args{}, ErrClosed
	}
}

func (k *Socket) emit(ctx context.Context, id int64, name string, args []any) error {
	return k.send(ctx, message{kind: eventMessage, id: id}, []any{name}, args)
}

func (k *Socket) send(ctx context.Context, m message, first, args []any) (err error) {
	if k.ctx.Err() != nil {
		return ErrClosed
	}
	var attachments [][]byte
	if m.json, attachments, err = encode(first, args); err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	m.namespace, m.attachments = k.namespace, len(attachments)
	if len(attachments) > 0 {
		m.kind += binaryEvent - eventMessage
	}
	return k.session.send(ctx, m.packets(attachments)...)
}

// Disconnect sends what is queued and ends the client's connection as a whole; the client connects
// again by itself.
func (k *Socket) Disconnect(reason string) { k.session.close(reason, false) }

// Event is an event from a client.
type Event struct {
	Name string
	Args Args

	socket *Socket
	id     int64
}

// WantsAck tells whether the client awaits an acknowledgement.
func (e Event) WantsAck() bool { return e.id >= 0 }

// Ack acknowledges the event, with arguments as Emit takes them. It does nothing when the client
// awaits none.
func (e Event) Ack(ctx context.Context, args ...any) error {
	if e.id < 0 {
		return nil
	}
	return e.socket.send(ctx, message{kind: ackMessage, id: e.id}, nil, args)
}

// arrived hands an event to the namespace, after those that are waiting. It waits itself while
// those are too many.
func (k *Socket) arrived(e Event) error {
	if k.serves.Events == nil {
		return nil
	}
	for {
		freed := k.room.Changed()
		k.mu.Lock()
		if len(k.waiting) < maxWaiting {
			break
		}
		k.mu.Unlock()
		select {
		case <-freed:
		case <-k.ctx.Done():
			return nil
		}
	}
	defer k.mu.Unlock()
	k.waiting = append(k.waiting, e)
	if !k.busy && k.session.enter() {
		k.busy = true
		go k.handle()
	}
	return nil
}

// handle hands waiting events to the namespace until there are none.
func (k *Socket) handle() {
	defer k.session.work.Done()
	for {
		k.mu.Lock()
		evs := k.waiting
		k.waiting = nil
		k.busy = len(evs) > 0 && k.ctx.Err() == nil
		busy := k.busy
		k.mu.Unlock()
		k.room.Notify()
		if !busy {
			return
		}
		k.serves.Events(k.ctx, k, evs)
	}
}

func (k *Socket) acknowledged(id int64, args Args) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if answer, ok := k.acks[id]; ok {
		delete(k.acks, id)
		answer <- args
	}
}

// end ends the connection to the namespace; what runs for it sees its context end.
func (k *Socket) end() { k.cancel() }
