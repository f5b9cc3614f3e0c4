package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The limits of the HTTP server (net/http has none by default: an unfinished header is held
// for ever). Live streams lift the read and write timeouts for their own connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
	shutdownTimeout   = 5 * time.Second

	maxConns       = 1024
	maxConnsPerIP  = 128 // a gateway in front of many sensors keeps connections; loopback is not bounded by this
	maxOpenStreams = 64  // HTTP/2, when a TLS listener negotiates it
)

// ErrOpen is why Serve refuses a listener that other machines reach when there are no tokens.
var ErrOpen = errors.New("other machines can reach this address and no tokens are configured")

// Serve answers requests from ln until ctx ends, then finishes those under way within 5 s and
// ends the live streams. It closes ln. It refuses a listener beyond loopback when the API has
// no tokens.
func (a *API) Serve(ctx context.Context, ln net.Listener) error {
	if len(a.opts.Tokens) == 0 && !isLoopback(ln.Addr()) {
		ln.Close()
		return fmt.Errorf("http: listen on %s: %w: set http.token_file, or listen on 127.0.0.1", ln.Addr(), ErrOpen)
	}
	srv := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxOpenStreams},
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1) // Serve's own end, when it comes first
	go func() { failed <- srv.Serve(limit(ln, maxConns, maxConnsPerIP)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("http: serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := a.opts.Clients.Close(grace); err != nil {
		a.log.Warn("live clients still open at shutdown", "clients", a.opts.Clients.Len())
	}
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
	}
	<-failed
	return nil
}

func isLoopback(addr net.Addr) bool {
	if addr.Network() == "unix" {
		return true
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// limit bounds the open connections of a listener in all and per address. Connections beyond
// it are closed at once, so that one greedy client cannot make the others wait.
func limit(ln net.Listener, total, perIP int) net.Listener {
	return &limited{Listener: ln, total: total, perIP: perIP, open: map[netip.Addr]int{}}
}

type limited struct {
	net.Listener
	total, perIP int

	mu   sync.Mutex // guards what follows
	n    int
	open map[netip.Addr]int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := remoteIP(c)
		if l.take(ip) {
			return &limitedConn{Conn: c, free: sync.OnceFunc(func() { l.free(ip) })}, nil
		}
		c.Close()
	}
}

func remoteIP(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // not TCP; counts against the total only
	}
	return ap.Addr().Unmap()
}

func (l *limited) take(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.total {
		return false
	}
	if ip.IsValid() && !ip.IsLoopback() && l.open[ip] >= l.perIP {
		return false
	}
	l.n++
	l.open[ip]++
	return true
}

func (l *limited) free(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.open[ip]--; l.open[ip] == 0 {
		delete(l.open, ip)
	}
}

type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
