package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

// session is one connection's messages on their way to the sink: a bounded queue in order of
// arrival and one goroutine that commits all that waits at once, acknowledges it, and then
// serves the subscribers.
type session struct {
	server *server
	client *mqtt.Client // nil for the wills of clients that are gone
	id     string
	before *session      // of the same client; ends before this one delivers
	done   chan struct{} // closed when run has returned
	qos2   bool          // the packet being read came with QoS 2; only its reader uses it

	mu      sync.Mutex
	changed sync.Cond
	queue   []message
	unacked int // messages in queue or being committed
	bytes   int // their payloads
	ended   bool
	failed  bool // the sink failed; nothing more is taken
}

// message is one PUBLISH.
type message struct {
	packet   *packets.Packet // for subscribers; nil when nobody waits for it
	size     int             // bytes of payload
	id       uint16          // of the packet
	ack      byte            // first byte of the acknowledgement; 0 for none
	readings []edge.Reading
	reject   *edge.Rejection
}

// writeTimeout is how long a client may take to receive acknowledgements.
const writeTimeout = 10 * time.Second

// First bytes of acknowledgements.
const (
	puback = packets.Puback << 4
	pubrec = packets.Pubrec << 4
)

func newSession(s *server, cl *mqtt.Client) *session {
	c := &session{server: s, client: cl, done: make(chan struct{})}
	c.changed.L = &c.mu
	return c
}

// take decodes a message and queues it. It blocks while too much waits already; then nothing
// more is read from the client.
func (c *session) take(pk packets.Packet, ack byte) {
	m := message{size: len(pk.Payload), id: pk.PacketID, ack: ack}
	if pk.FixedHeader.Retain || atomic.LoadInt64(&c.server.mqtt.Info.Subscriptions) > 0 {
		kept := pk
		m.packet = &kept
	}
	m.readings, m.reject = c.server.bindings.Take(payload.Input{Topic: pk.TopicName, Body: pk.Payload, Received: time.Now()})
	c.push(m)
}

func (c *session) push(m message) {
	n := m.size
	c.server.budget.take(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.unacked >= maxUnacked || c.bytes > 0 && c.bytes+n > maxClientBytes) && !c.ended && !c.failed {
		c.changed.Wait()
	}
	if c.ended || c.failed {
		c.server.budget.give(n)
		return
	}
	c.queue = append(c.queue, m)
	c.unacked++
	c.bytes += n
	c.changed.Broadcast()
}

// end says that nothing more comes; what is queued is still delivered.
func (c *session) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.changed.Broadcast()
}

// run delivers until the session has ended and its queue is empty, or the sink fails.
func (c *session) run() {
	defer close(c.done)
	defer c.server.forget(c)
	if c.before != nil {
		<-c.before.done
		c.before = nil
	}
	var spare []message
	for {
		batch := c.next(spare)
		if len(batch) == 0 {
			return
		}
		err := c.commit(batch)
		if err == nil {
			c.acknowledge(batch)
			c.serve(batch)
		}
		c.release(batch, err != nil && c.client != nil)
		if err != nil && c.fail(err) {
			return
		}
		clear(batch)
		spare = batch[:0]
	}
}

// next waits for messages and takes all of them.
func (c *session) next(spare []message) []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.ended {
		c.changed.Wait()
	}
	if c.server.ctx.Err() != nil {
		c.server.budget.give(c.bytes)
		return nil
	}
	batch := c.queue
	c.queue = spare
	return batch
}

// commit hands everything to the sink: the readings at once, and what was not understood.
func (c *session) commit(batch []message) error {
	n := 0
	for i := range batch {
		n += len(batch[i].readings)
	}
	rs := make([]edge.Reading, 0, n)
	var rejected []edge.Rejection
	for i := range batch {
		rs = append(rs, batch[i].readings...)
		if r := batch[i].reject; r != nil {
			rejected = append(rejected, *r)
		}
	}
	return drivers.Deliver(c.server.ctx, c.server.out, rs, rejected)
}

// acknowledge sends the acknowledgements of a batch, in order, in one write.
func (c *session) acknowledge(batch []message) {
	if c.client == nil || c.client.Closed() {
		return
	}
	buf := make([]byte, 0, 4*len(batch))
	for i := range batch {
		if m := &batch[i]; m.ack != 0 {
			buf = append(buf, m.ack, 2, byte(m.id>>8), byte(m.id))
		}
	}
	if len(buf) == 0 {
		return
	}
	// The connection's own deadline may have passed while the sink made the client wait.
	c.client.Lock()
	_ = c.client.Net.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.client.Net.Conn.Write(buf)
	_ = c.client.Net.Conn.SetWriteDeadline(time.Time{})
	c.client.Unlock()
	if err != nil {
		c.client.Stop(err) // it is gone; the readings are safe
		return
	}
	atomic.AddInt64(&c.server.mqtt.Info.BytesSent, int64(len(buf)))
	atomic.AddInt64(&c.server.mqtt.Info.PacketsSent, int64(len(buf)/4))
}

// serve passes the messages on to subscribers and keeps the retained ones.
func (c *session) serve(batch []message) {
	for i := range batch {
		if pk := batch[i].packet; pk != nil {
			c.server.forward(*pk)
		}
	}
}

// release makes room for further messages.
func (c *session) release(batch []message, failed bool) {
	n := 0
	for i := range batch {
		n += batch[i].size
	}
	c.mu.Lock()
	c.unacked -= len(batch)
	c.bytes -= n
	if failed {
		c.failed = true
		n += c.bytes
		c.bytes = 0
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	c.server.budget.give(n)
}

// fail disconnects the client, so that it sends again what was not acknowledged. Wills have no
// client that would: they are lost, and the session goes on.
func (c *session) fail(err error) (over bool) {
	switch {
	case c.server.ctx.Err() != nil:
		return true
	case c.client == nil:
		c.server.log.Warn("the will of a client could not be stored", "err", err)
		return false
	}
	c.server.log.Warn("readings could not be stored; the client is disconnected and will send again", "client", c.id, "err", err)
	if c.client.Properties.ProtocolVersion == 5 {
		_ = c.server.mqtt.DisconnectClient(c.client, packets.ErrServerBusy)
	}
	c.client.Stop(packets.ErrServerBusy)
	return true
}
