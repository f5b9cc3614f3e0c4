package mqtt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/drivers/profiles"
	"github.com/headcount-hub/headcount/edge"
)

// The bounds of what waits for the sink. Brokers have 10 to 1,024 QoS 1 messages in flight;
// only a flood with QoS 0 can reach them.
const (
	maxWaiting      = 4096    // messages
	maxWaitingBytes = 8 << 20 // their payloads
)

var errFull = errors.New("the broker sends more unacknowledged messages than are taken; the connection is made anew")

// queue is the messages of one connection on their way to the sink, in order of arrival.
type queue struct {
	bindings *profiles.Bindings

	mu      sync.Mutex
	changed sync.Cond
	waiting []message
	bytes   int
	dropped edge.Rejection // QoS 0 messages that did not fit; Count 0: none
	full    bool           // a QoS 1 message did not fit: the connection must end
	closed  bool
}

// message is one PUBLISH.
type message struct {
	ack      paho.Message // nil when there is nothing to acknowledge
	size     int
	readings []edge.Reading
	reject   *edge.Rejection
}

func newQueue(b *profiles.Bindings) *queue {
	q := &queue{bindings: b}
	q.changed.L = &q.mu
	return q
}

// push decodes a message and queues it. It never blocks: paho answers pings on the same path.
func (q *queue) push(pm paho.Message) {
	in := payload.Input{Topic: pm.Topic(), Body: pm.Payload(), Retained: pm.Retained(), Received: time.Now()}
	m := message{size: len(in.Body)}
	if pm.Qos() > 0 {
		m.ack = pm
	}
	m.readings, m.reject = q.bindings.Take(in)
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.changed.Broadcast()
	if m.ack != nil && (q.full || q.closed) {
		return // comes again with the next connection
	}
	if len(q.waiting) < maxWaiting && (q.bytes == 0 || q.bytes+m.size <= maxWaitingBytes) {
		q.waiting = append(q.waiting, m)
		q.bytes += m.size
		return
	}
	if m.ack != nil {
		q.full = true
		return
	}
	q.dropped = edge.Rejection{
		Driver: Name, Device: payload.Clip(in.Topic, 200), Cause: "overflow", Count: q.dropped.Count + 1, At: in.Received,
		Detail: "messages with QoS 0 came faster than they could be stored; publish with QoS 1 to have them wait at the broker",
	}
}

// close says that the connection is gone. What can no longer be acknowledged comes again with
// the next connection and is left out; QoS 0 messages come only once and are delivered.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	kept := q.waiting[:0]
	for _, m := range q.waiting {
		if m.ack == nil {
			kept = append(kept, m)
		}
	}
	q.waiting = kept
	q.changed.Broadcast()
}

// deliver puts all that waits into the sink at once, acknowledges it in order, and so on until
// the queue is closed and empty, ctx ends or the sink fails.
func (q *queue) deliver(ctx context.Context, out drivers.Sink) error {
	stop := context.AfterFunc(ctx, q.close)
	defer stop()
	for {
		batch, dropped, more := q.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := commit(ctx, out, batch, dropped); err != nil {
			return err
		}
		for i := range batch {
			if batch[i].ack != nil {
				batch[i].ack.Ack()
			}
		}
		if !more {
			return q.why()
		}
	}
}

// next waits for messages and takes all of them; more is false when they are the last.
func (q *queue) next() (batch []message, dropped edge.Rejection, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && q.dropped.Count == 0 && !q.closed && !q.full {
		q.changed.Wait()
	}
	batch, q.waiting = q.waiting, nil
	dropped, q.dropped = q.dropped, edge.Rejection{}
	q.bytes = 0
	return batch, dropped, !q.closed && !q.full
}

func (q *queue) why() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full {
		return errFull
	}
	return nil
}

// commit hands everything to the sink.
func commit(ctx context.Context, out drivers.Sink, batch []message, dropped edge.Rejection) error {
	n := 0
	for i := range batch {
		n += len(batch[i].readings)
	}
	rs := make([]edge.Reading, 0, n)
	var rejected []edge.Rejection
	if dropped.Count > 0 {
		rejected = append(rejected, dropped)
	}
	for i := range batch {
		rs = append(rs, batch[i].readings...)
		if r := batch[i].reject; r != nil {
			rejected = append(rejected, *r)
		}
	}
	if err := drivers.Deliver(ctx, out, rs, rejected); err != nil {
		return fmt.Errorf("readings could not be stored; the broker will send them again: %w", err)
	}
	return nil
}
