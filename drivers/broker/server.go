package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// server is one run of the broker.
type server struct {
	mqtt     *mqtt.Server
	gate     *gate
	users    *users
	bindings *profiles.Bindings
	out      drivers.Sink
	log      *slog.Logger

	ctx    context.Context // of the sessions; ends first when the broker stops
	cancel context.CancelFunc
	budget *budget

	mu       sync.Mutex
	sessions map[*mqtt.Client]*session
	newest   map[string]*session // by client id: the one that a next session must wait for
	wills    *session            // for delayed wills, whose clients are gone
	wg       sync.WaitGroup      // the sessions' goroutines
}

// Limits of what the broker keeps for subscribers; they bound memory.
const (
	sessionExpiry   = 24 * 60 * 60 // seconds that a session outlives its connection
	messageExpiry   = 24 * 60 * 60 // seconds that a retained or waiting message is kept
	maxOutgoing     = 1024         // messages that wait for a subscriber
	sysInterval     = 60           // seconds between updates of $SYS
	sessionsPerConn = 4            // sessions kept, per connection that is allowed
)

func (d *Driver) serve(ctx context.Context, out drivers.Sink, g *gate, u *users) (*server, error) {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumQos = 1
	caps.MaximumPacketSize = maxPacket
	caps.ReceiveMaximum = maxUnacked
	caps.MaximumInflight = maxOutgoing
	caps.MaximumClientWritesPending = maxOutgoing
	caps.MaximumSessionExpiryInterval = sessionExpiry
	caps.MaximumMessageExpiryInterval = messageExpiry
	caps.TopicAliasMaximum = 64
	s := &server{
		mqtt: mqtt.New(&mqtt.Options{
			Capabilities: caps, Logger: slog.New(slog.DiscardHandler), InlineClient: true,
			SysTopicResendInterval: sysInterval, ClientNetReadBufferSize: 8 << 10,
		}),
		gate: g, users: u, bindings: d.bindings, out: out, log: d.log,
		sessions: map[*mqtt.Client]*session{}, newest: map[string]*session{},
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.budget = newBudget(maxTotalBytes)
	if err := s.mqtt.AddHook(&hook{s: s, clients: d.opts.MaxClients}, nil); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if err := s.mqtt.AddListener(listeners.NewNet("mqtt", g)); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	s.wills = s.open(nil, "")
	if err := s.mqtt.Serve(); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return s, nil
}

// stop ends all connections and waits for what the run has started. What was not acknowledged
// by now never will be; its senders send it again.
func (s *server) stop() {
	s.cancel()
	s.budget.close()
	s.mu.Lock()
	for _, c := range s.sessions {
		c.end()
	}
	s.wills.end()
	s.mu.Unlock()
	s.gate.close()
	s.mqtt.Listeners.ClientsWg.Wait()
	_ = s.mqtt.Close() // its errors are those of connections that are closed already
	s.wg.Wait()
}

// open begins the session of a connection. It delivers nothing before an earlier session of
// the same client has ended, so that the client's order is kept.
func (s *server) open(cl *mqtt.Client, id string) *session {
	c := newSession(s, cl)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		c.end()
	}
	if cl != nil {
		c.id, c.before = id, s.newest[id]
		s.newest[id] = c
		s.sessions[cl] = c
	}
	s.wg.Go(c.run)
	return c
}

// find returns the session of a connection, nil when there is none.
func (s *server) find(cl *mqtt.Client) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[cl]
}

// forget is called when a session's goroutine ends.
func (s *server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c.client)
	if s.newest[c.id] == c {
		delete(s.newest, c.id)
	}
}

// budget bounds the payload bytes that all clients together have waiting.
type budget struct {
	mu     sync.Mutex
	room   sync.Cond
	used   int
	most   int
	closed bool
}

func newBudget(most int) *budget {
	b := &budget{most: most}
	b.room.L = &b.mu
	return b
}

// take blocks until n bytes fit, or the broker stops.
func (b *budget) take(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used > 0 && b.used+n > b.most && !b.closed {
		b.room.Wait()
	}
	b.used += n
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.room.Broadcast()
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.room.Broadcast()
}
