package tier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// The limits of the HTTP server; live streams lift the timeouts for their own connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
	maxBody           = 256 << 10
	maxConns          = 4096
	maxConnsPerIP     = 256 // not for loopback
	maxStreams        = 64  // HTTP/2
	shutdownTimeout   = 5 * time.Second
)

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// listen opens the API's listener: beyond loopback only with tokens.
func listen(c HTTP, tokens bool) (net.Listener, error) {
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: %w; is another program on this port?", err)
	}
	ap, err := netip.ParseAddrPort(ln.Addr().String())
	if !tokens && (err != nil || !ap.Addr().Unmap().IsLoopback()) {
		ln.Close()
		return nil, fmt.Errorf("%w: http: %s can be reached by other machines and no tokens are configured; set http.token_file, or listen on 127.0.0.1", ErrConfig, ln.Addr())
	}
	bounded := &limited{Listener: ln, open: map[netip.Addr]int{}}
	if c.Certificate == "" {
		return bounded, nil
	}
	conf, err := serverTLS(c.Certificate, c.Key)
	if err != nil {
		ln.Close()
		return nil, err
	}
	conf.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(bounded, conf), nil
}

func serverTLS(certificate, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate %s: %w", ErrConfig, certificate, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, nil
}

// middleware is what every request passes: panics become problems, bodies are bounded, and the
// headers that browsers obey are set.
func middleware(next http.Handler, m *metrics, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		rec := &recorder{ResponseWriter: w}
		start := time.Now()
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				if rec.status != 0 {
					panic(http.ErrAbortHandler) // half an answer must not look like a whole one
				}
				gateway.WriteProblem(rec, gateway.NewProblem(http.StatusInternalServerError, "the server failed to answer; its log tells more"))
			}
			m.observe(r, rec.status, time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorder remembers the status of an answer; others reach the connection through Unwrap.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// stopServer finishes what is under way within the shutdown's time.
func stopServer(ctx context.Context, s *http.Server) {
	if err := s.Shutdown(ctx); err != nil {
		s.Close()
	}
}

// limited bounds the open connections of a listener in all and per address; those beyond are
// closed at once, so that one greedy client cannot make the others wait.
type limited struct {
	net.Listener

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
		var ip netip.Addr
		if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
			ip = ap.Addr().Unmap()
		}
		if l.take(ip) {
			return &limitedConn{Conn: c, free: sync.OnceFunc(func() { l.free(ip) })}, nil
		}
		c.Close()
	}
}

func (l *limited) take(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= maxConns || !ip.IsLoopback() && l.open[ip] >= maxConnsPerIP {
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
