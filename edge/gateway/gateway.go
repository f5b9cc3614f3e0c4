// Package gateway is what every HTTP request to hub and cloud passes before a route sees it, and
// how both answer: problems (RFC 9457) and strict JSON.
//
// It guarantees that connections, headers and times are bounded, that a panic is answered as a
// problem, that every answer has the headers that browsers obey and a correlation id, and that
// each request is one line of the access log, which never has a path, a query or a token in it.
//
// It refuses changes from foreign pages, foreign host names while callers need no proof (DNS
// rebinding), who guesses tokens, and who asks more often than its rate. What a proxy says about
// the client is believed of configured proxies only.
package gateway

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

// Options of New. The zero value lets everybody in and limits nobody.
type Options struct {
	What string       // how answers call this server: "hub" or "cloud"
	Log  *slog.Logger // nil = silent

	// Identify says who a request's token proves the caller to be: nil and no error without a
	// token. An error is a token that is not good; ErrGuess one that may have been tried out.
	// Routes decide what who may do. nil = nobody is known.
	Identify func(*http.Request) (*token.Identity, error)

	// Open tells whether callers need no proof at present; then only known names of this server
	// are answered, and only clients on this machine when a proxy stands between. nil = never.
	Open func() bool

	Hosts   []string                 // further names for an open server; localhost and addresses always are
	Proxies []netip.Prefix           // whose X-Forwarded-For and X-Forwarded-Proto are believed
	Origins []string                 // pages elsewhere that may call, such as https://intranet.example.org
	Rates   Rates                    // how often a client may ask
	Ingest  func(*http.Request) bool // which requests bring readings in and have the rate of those; nil = none

	Access  slog.Level                                            // of access log lines of requests that did not fail
	Observe func(r *http.Request, status int, took time.Duration) // told of each request at its end; nil = nobody
}

// ErrGuess is wrapped by errors of Identify about tokens that may have been tried out: who
// presents too many of them is held up. A signed token that has expired is none.
var ErrGuess = errors.New("there is no such token")

// Gateway is the way in. Its methods may be called from many goroutines.
type Gateway struct {
	opts    Options
	cross   *http.CrossOriginProtection
	guesses guesses
	rates   limiter
}

// New makes a Gateway. An error is a mistake in the options.
func New(o Options) (*Gateway, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.What == "" {
		o.What = "server"
	}
	if o.Open == nil {
		o.Open = func() bool { return false }
	}
	g := &Gateway{opts: o, cross: http.NewCrossOriginProtection()}
	for _, origin := range o.Origins {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Wrap puts the gateway before a handler.
func (g *Gateway) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := newCall(r, g.opts.Proxies)
		rec := &recorder{ResponseWriter: w}
		protect(w.Header(), c.ID)
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			// net/http hides a Content-Length that came along. A proxy may have gone by it, so
			// nothing behind a chunked body is taken for a request (RFC 9112, 6.1).
			w.Header().Set("Connection", "close")
		}
		refusal, r := g.admit(rec, r, c)
		start := time.Now()
		defer func() {
			g.recovered(recover(), rec, r)
			g.note(r, c, rec, time.Since(start))
		}()
		switch {
		case refusal != nil:
			WriteProblem(rec, refusal)
		case rec.status == 0:
			next.ServeHTTP(rec, r)
		}
	})
}

// admit finds out who asks and what is refused to it. The request that it returns is the one to
// go on with: routers note their pattern in it.
func (g *Gateway) admit(w *recorder, r *http.Request, c *Call) (*Problem, *http.Request) {
	r = r.WithContext(withCall(r.Context(), c))
	if c.forwarded {
		r.RemoteAddr = net.JoinHostPort(c.Remote, "0")
	}
	if g.cors(w, r) {
		return nil, r
	}
	if open := g.opts.Open(); open {
		if p := g.checkOpen(r, c); p != nil {
			return p, r
		}
	}
	if err := g.cross.Check(r); err != nil {
		return NewProblem(http.StatusForbidden, "requests that change something are taken from this %s's own pages only", g.opts.What), r
	}
	if p := g.identify(r, c); p != nil {
		return p, r
	}
	if c.Who != nil {
		r = r.WithContext(token.Into(r.Context(), c.Who))
	}
	return g.overdue(r, c), r
}

// identify notes who the caller is. While an address is held up for guessing, the right token
// is not told apart from wrong ones.
func (g *Gateway) identify(r *http.Request, c *Call) *Problem {
	if g.opts.Identify == nil {
		return nil
	}
	given := r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != ""
	if given && g.guesses.locked(c.Remote, time.Now()) {
		return tooManyGuesses()
	}
	c.Who, c.Refused = g.opts.Identify(r)
	if !errors.Is(c.Refused, ErrGuess) {
		return nil
	}
	g.opts.Log.Warn("wrong token", "correlation", c.ID, "remote", c.Remote)
	if g.guesses.failed(c.Remote, time.Now()); g.guesses.locked(c.Remote, time.Now()) {
		return tooManyGuesses()
	}
	return nil
}

func tooManyGuesses() *Problem {
	p := NewProblem(http.StatusTooManyRequests, "too many wrong tokens from this address; wait a minute")
	p.Header = http.Header{"Retry-After": {strconv.Itoa(int(guessWindow / time.Second))}}
	return p
}

// overdue refuses who asks more often than its rate.
func (g *Gateway) overdue(r *http.Request, c *Call) *Problem {
	wait, ok := g.rates.take(g.bucket(r, c), time.Now())
	if ok {
		return nil
	}
	p := NewProblem(http.StatusTooManyRequests, "too many requests; ask again after %s", wait)
	p.Header = http.Header{"Retry-After": {strconv.Itoa(int(wait / time.Second))}}
	return p
}

// protect sets the headers that every answer has. Handlers that may be cached say so themselves.
func protect(h http.Header, id string) {
	h.Set("X-Correlation-Id", id)
	h.Set("X-Request-Id", id)
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// recovered turns a panic of a handler into a problem that names the request.
func (g *Gateway) recovered(p any, w *recorder, r *http.Request) {
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	id := CallOf(r.Context()).ID
	g.opts.Log.Error("request panicked", "correlation", id, "method", r.Method, "route", routeOf(r), "panic", p, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	WriteProblem(w, NewProblem(http.StatusInternalServerError, "the %s failed to answer; its log tells more under this request id: %s", g.opts.What, id))
}

// note writes the access log and tells the observer.
func (g *Gateway) note(r *http.Request, c *Call, w *recorder, took time.Duration) {
	level := g.opts.Access
	if w.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	who := ""
	if c.Who != nil {
		who = c.Who.Who()
	}
	g.opts.Log.Log(r.Context(), level, "request", "method", r.Method, "route", routeOf(r), "status", w.status, "bytes", w.bytes,
		"ms", float64(took.Microseconds())/1000, "who", who, "remote", c.Remote, "correlation", c.ID)
	if g.opts.Observe != nil {
		g.opts.Observe(r, w.status, took)
	}
}

// routeOf is the route's pattern without its method: there are as many of them as routes, and
// nothing that a caller wrote is in it.
func routeOf(r *http.Request) string {
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		return path
	}
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

// recorder remembers the status and size of an answer. http.ResponseController and the WebSocket
// library reach the connection through Unwrap.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap is the writer below.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status; informational ones are followed by the final one.
func (w *recorder) WriteHeader(status int) {
	if w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}
