package socketio

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge/live"
)

// ErrClosed says that the client's connection has ended.
var ErrClosed = errors.New("the connection has ended")

// errSlow is why a client is closed that does not take what it is sent.
var errSlow = errors.New("the client does not take what it is sent")

// mode is by what a session is carried.
type mode int

const (
	polling   mode = iota
	upgrading      // a WebSocket has probed; polls are held until it has taken over
	socketed
)

// session is one client of Engine.IO. Whoever carries it (a poll or a WebSocket's writer) takes
// from its queue; news tells all who wait that something has changed.
type session struct {
	srv   *Server
	id    string
	req   *http.Request // of the handshake
	ctx   context.Context
	leave func() // lets go of ctx and of the place among the clients
	unset func() bool
	work  sync.WaitGroup // goroutines of the namespaces, and the WebSocket

	in     sync.Mutex // held by who hands in what the client has sent
	client client

	news live.Signal

	mu      sync.Mutex // guards what follows
	out     []packet
	queued  int // bytes of out, and of what is being written
	mode    mode
	getting bool // a poll is under way
	release bool // that poll is to be answered, with nothing
	posting bool
	done    bool
	abrupt  bool // done, and the client is not expected to take anything any more
	pinged  bool // a pong is awaited
	beat    *time.Timer
	connect *time.Timer // ends a session without a namespace
	known   func()      // called once, when a namespace was connected to or it has ended: it is no stranger any more
}

func newSession(srv *Server, id string, r *http.Request, ctx context.Context, leave func()) *session {
	req := r.Clone(ctx)
	req.Body = http.NoBody
	s := &session{srv: srv, id: id, req: req, ctx: ctx, leave: leave, known: sync.OnceFunc(srv.known)}
	s.client = client{session: s, sockets: map[string]*Socket{}}
	return s
}

// start begins the heartbeat.
func (s *session) start(socket bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socket {
		s.mode = socketed
	}
	s.beat = time.AfterFunc(s.srv.opts.PingInterval, s.tick)
	s.connect = time.AfterFunc(s.srv.opts.ConnectTimeout, func() { s.close("no namespace was connected to", false) })
	s.unset = context.AfterFunc(s.ctx, func() { s.close("server closes", false) })
}

// tick sends a ping, or ends a client that has not answered the last one.
func (s *session) tick() {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return
	}
	if s.pinged {
		s.mu.Unlock()
		s.close("ping timeout", true)
		return
	}
	s.pinged = true
	s.beat.Reset(s.srv.opts.PingTimeout)
	s.out = append(s.out, packet{kind: pingPacket})
	s.queued++
	s.mu.Unlock()
	s.news.Notify()
}

func (s *session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinged && !s.done {
		s.pinged = false
		s.beat.Reset(s.srv.opts.PingInterval)
	}
}

// connected notes that a namespace was connected to.
func (s *session) connected() {
	s.connect.Stop()
	s.known()
}

// close ends the session: the carrier sends what is left, unless the end is abrupt. It does not
// wait, and may be called more than once.
func (s *session) close(reason string, abrupt bool) {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return
	}
	s.done, s.abrupt = true, abrupt
	if s.mode == polling && len(s.out) == 0 && s.getting {
		s.out = append(s.out, packet{kind: noopPacket})
	}
	s.beat.Stop()
	s.connect.Stop()
	s.mu.Unlock()
	s.srv.forget(s.id)
	s.known()
	s.unset()
	s.news.Notify()
	s.srv.opts.Log.Debug("socket.io client ended", "remote", s.req.RemoteAddr, "reason", reason)
	s.client.closeAll()
	go func() { // whoever closes may be one of those waited for
		s.work.Wait()
		s.leave()
	}()
}

// enter counts a goroutine that works for the session; false when it has ended. The caller says
// work.Done.
func (s *session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.work.Add(1)
	}
	return !s.done
}

// send queues packets, together and in order. It waits while the queue is full, and ends a
// session whose queue stays full for the write timeout.
func (s *session) send(ctx context.Context, ps ...packet) error {
	size := 0
	for _, p := range ps {
		size += p.size()
	}
	var late <-chan time.Time
	for {
		changed := s.news.Changed()
		if ok, err := s.trySend(ps, size); ok || err != nil {
			return err
		}
		if late == nil {
			t := time.NewTimer(s.srv.opts.WriteTimeout)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			s.srv.opts.Log.Info("live client dropped", "remote", s.req.RemoteAddr, "err", errSlow)
			s.close("too slow", true)
			return errSlow
		}
	}
}

func (s *session) trySend(ps []packet, size int) (bool, error) {
	s.mu.Lock()
	switch {
	case s.done:
		s.mu.Unlock()
		return false, ErrClosed
	case s.queued > 0 && s.queued+size > s.srv.opts.MaxQueue:
		s.mu.Unlock()
		return false, nil
	}
	s.out = append(s.out, ps...)
	s.queued += size
	s.mu.Unlock()
	s.news.Notify()
	return true, nil
}

// take empties the queue for the carrier, who says written when the bytes have left.
func (s *session) take() []packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := s.out
	s.out = nil
	return ps
}

func (s *session) written(ps []packet) {
	s.mu.Lock()
	for _, p := range ps {
		s.queued -= p.size()
	}
	s.queued = max(0, s.queued)
	s.mu.Unlock()
	s.news.Notify()
}

// receive takes one packet from the client.
func (s *session) receive(p packet) {
	s.in.Lock()
	defer s.in.Unlock()
	var err error
	switch {
	case p.binary:
		err = s.client.binary(p.data)
	case p.kind == messagePacket:
		err = s.client.text(p.data)
	case p.kind == pongPacket:
		s.pong()
	case p.kind == closePacket:
		s.close("client closed", false)
	case p.kind == noopPacket:
	default:
		err = errMalformed
	}
	if err != nil {
		s.close(err.Error(), false)
	}
}
