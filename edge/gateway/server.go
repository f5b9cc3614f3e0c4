package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The limits of HTTP servers (net/http has none by default: an unfinished header is held for
// ever). Live streams lift the read and write timeouts for their own connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
	maxStreams        = 64 // HTTP/2, per connection

	// ShutdownTimeout is how long a server that stops waits for requests under way.
	ShutdownTimeout = 5 * time.Second
)

// NewServer makes a server with limits; log gets what net/http has to say, at level debug.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Stop finishes what is under way until ctx ends, then cuts it.
func Stop(ctx context.Context, s *http.Server) {
	if err := s.Shutdown(ctx); err != nil {
		s.Close()
	}
}

// IsLoopback tells whether only this machine reaches a listener at this address.
func IsLoopback(addr net.Addr) bool {
	if addr.Network() == "unix" {
		return true
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// Bound bounds the open connections of a listener in all and per address (loopback in all
// only). Connections beyond it are closed at once, so that one greedy client cannot make the
// others wait.
func Bound(ln net.Listener, total, perAddress int) net.Listener {
	return &bounded{Listener: ln, total: total, perAddress: perAddress, open: map[netip.Addr]int{}}
}

type bounded struct {
	net.Listener
	total, perAddress int

	mu   sync.Mutex // guards what follows
	n    int
	open map[netip.Addr]int
}

// Accept waits for a connection that there is room for.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := remoteIP(c)
		if l.take(ip) {
			return &boundedConn{Conn: c, free: sync.OnceFunc(func() { l.free(ip) })}, nil
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

func (l *bounded) take(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.total {
		return false
	}
	if ip.IsValid() && !ip.IsLoopback() && l.open[ip] >= l.perAddress {
		return false
	}
	l.n++
	l.open[ip]++
	return true
}

func (l *bounded) free(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.open[ip]--; l.open[ip] == 0 {
		delete(l.open, ip)
	}
}

type boundedConn struct {
	net.Conn
	free func()
}

// Close gives the place back.
func (c *boundedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
