package socketio

import (
	"context"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// accept carries a new session by WebSocket until it ends.
func (s *session) accept(w http.ResponseWriter, r *http.Request) {
	conn, err := s.dial(w, r)
	if err != nil {
		s.close("no WebSocket", true)
		return // Accept has answered
	}
	s.carry(conn)
}

func (s *session) dial(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: s.srv.opts.Origins})
	if err == nil {
		conn.SetReadLimit(int64(s.srv.opts.MaxPayload))
	}
	return conn, err
}

// upgrade lets a WebSocket take over a session that is polled: the client probes it, finishes its
// poll and says so. A WebSocket that does not come that far leaves the session as it was.
func (s *session) upgrade(w http.ResponseWriter, r *http.Request) {
	conn, err := s.dial(w, r)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	if !s.probe(conn) {
		conn.Close(websocket.StatusPolicyViolation, "")
		return
	}
	s.carry(conn)
}

// probe does the two steps of an upgrade.
func (s *session) probe(conn *websocket.Conn) bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.opts.UpgradeTimeout)
	defer cancel()
	if _, b, err := conn.Read(ctx); err != nil || string(b) != "2probe" {
		return false
	}
	if !s.setMode(polling, upgrading) {
		return false
	}
	err := conn.Write(ctx, websocket.MessageText, []byte("3probe"))
	if err == nil {
		var b []byte
		if _, b, err = conn.Read(ctx); err == nil && string(b) == string(rune(upgradePacket)) && s.setMode(upgrading, socketed) {
			return true
		}
	}
	s.setMode(upgrading, polling)
	return false
}

// setMode changes the mode and tells whether it was as expected. A poll that waits when an upgrade
// begins is answered at once, as the client waits for it.
func (s *session) setMode(from, to mode) bool {
	s.mu.Lock()
	ok := s.mode == from && !s.done
	if ok {
		s.mode, s.release = to, to == upgrading && s.getting
	}
	s.mu.Unlock()
	s.news.Notify()
	return ok
}

// carry is the session by WebSocket: this goroutine reads, another one writes.
func (s *session) carry(conn *websocket.Conn) {
	if !s.enter() {
		conn.CloseNow()
		return
	}
	defer s.work.Done()
	var writer sync.WaitGroup
	defer writer.Wait()
	defer conn.CloseNow()
	writer.Go(func() { s.writeAll(conn) })
	for {
		// The context must not end before the connection is closed in good order.
		kind, b, err := conn.Read(context.Background())
		if err != nil {
			s.close("transport closed", true)
			return
		}
		p := packet{kind: messagePacket, binary: true, data: b}
		if kind == websocket.MessageText {
			if p, err = parsePacket(b); err != nil {
				s.close("malformed packet", false)
				return
			}
		}
		s.receive(p)
	}
}

// writeAll sends what is queued until the session ends, then closes the connection.
func (s *session) writeAll(conn *websocket.Conn) {
	defer conn.CloseNow()
	for {
		changed := s.news.Changed()
		ps := s.take()
		if len(ps) == 0 {
			s.mu.Lock()
			done, abrupt := s.done, s.abrupt
			s.mu.Unlock()
			if done {
				if !abrupt {
					conn.Close(websocket.StatusNormalClosure, "")
				}
				return
			}
			<-changed
			continue
		}
		for _, p := range ps {
			if err := s.writeOne(conn, p); err != nil {
				s.close("transport failed", true)
				return
			}
		}
		s.written(ps)
	}
}

func (s *session) writeOne(conn *websocket.Conn, p packet) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.srv.opts.WriteTimeout)
	defer cancel()
	if p.binary {
		return conn.Write(ctx, websocket.MessageBinary, p.data)
	}
	return conn.Write(ctx, websocket.MessageText, append([]byte{p.kind}, p.data...))
}
