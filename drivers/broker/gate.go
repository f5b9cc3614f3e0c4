package broker

import (
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"
)

// helloTimeout is how long a connection may take for its handshake and CONNECT.
const helloTimeout = 10 * time.Second

// gate is the listener: it bounds the number of connections and can close all of them.
type gate struct {
	net.Listener
	tls  *tls.Config
	most int
	log  *slog.Logger

	mu    sync.Mutex
	conns map[*conn]bool
	shut  bool
}

func newGate(ln net.Listener, t *tls.Config, most int, log *slog.Logger) *gate {
	return &gate{Listener: ln, tls: t, most: most, log: log, conns: map[*conn]bool{}}
}

// Accept returns the next connection; those beyond the limit are closed at once. An error that
// may pass (no descriptor left) is waited out, so that the broker goes on.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			if !g.pass(err) {
				return nil, err
			}
			continue
		}
		_ = c.SetDeadline(time.Now().Add(helloTimeout))
		wrapped := &conn{Conn: c, gate: g}
		if !g.admit(wrapped) {
			c.Close()
			continue
		}
		if g.tls != nil {
			return tls.Server(wrapped, g.tls), nil
		}
		return wrapped, nil
	}
}

// pass waits a moment after an error of Accept, unless the listener was closed.
func (g *gate) pass(err error) bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut {
		return false
	}
	g.log.Warn("cannot take a connection", "err", err)
	time.Sleep(100 * time.Millisecond)
	return true
}

func (g *gate) admit(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut || len(g.conns) >= g.most {
		if !g.shut {
			g.log.Warn("too many connections; one was refused", "limit", g.most, "remote", c.RemoteAddr().String())
		}
		return false
	}
	g.conns[c] = true
	return true
}

// close ends the listener and every connection.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	g.Listener.Close()
	for _, c := range conns {
		c.Close()
	}
}

// conn is a connection that the gate knows of.
type conn struct {
	net.Conn
	gate *gate
}

func (c *conn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
