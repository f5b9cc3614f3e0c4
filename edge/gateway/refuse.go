package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// ConfigError is a value of the configuration that cannot be.
type ConfigError struct{ Key, Value, Want string }

// Error says what is wanted instead.
func (e *ConfigError) Error() string { return fmt.Sprintf("%s %q: want %s", e.Key, e.Value, e.Want) }

// checkOpen is what an open server refuses.
func (g *Gateway) checkOpen(r *http.Request, c *Call) *Problem {
	if !rightHost(r.Host, g.opts.Hosts) {
		return NewProblem(http.StatusMisdirectedRequest, "this %s is not called %s; use its address, or add the name to http.hosts", g.opts.What, r.Host)
	}
	addr, err := netip.ParseAddr(c.Remote)
	if c.forwarded && (err != nil || !addr.IsLoopback()) || !c.forwarded && fromProxy(r) {
		return NewProblem(http.StatusForbidden, "this %s has no accounts or tokens yet and serves its own machine only; set it up there first", g.opts.What)
	}
	return nil
}

// fromProxy tells whether a proxy stands between that nobody has configured: its own address, which
// may be of this machine, says nothing of the client's.
func fromProxy(r *http.Request) bool {
	return slices.ContainsFunc([]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"}, func(name string) bool {
		return r.Header.Get(name) != ""
	})
}

// rightHost refuses names that are not ours: a page on a foreign name that resolves to this
// machine could otherwise read and change everything (DNS rebinding). Addresses are safe, as no
// page can have one as its name and ours as its target.
func rightHost(host string, hosts []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(hosts, host)
}

// CheckOrigin tells what is wrong with the origin of a page: scheme and host, no path, no
// wildcard.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, "*") || origin != u.Scheme+"://"+u.Host {
		return &ConfigError{Key: "cors_origins", Value: origin, Want: "scheme and host without a path, such as https://intranet.example.org"}
	}
	return nil
}

// OriginHosts are the hosts of origins, with which WebSocket handshakes compare theirs.
func OriginHosts(origins []string) []string {
	var out []string
	for _, origin := range origins {
		_, host, _ := strings.Cut(origin, "://")
		out = append(out, host)
	}
	return out
}

// The answers to pages elsewhere; browsers are not told that cookies may come along.
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID, X-Correlation-ID, X-Request-Id, Traceparent"
	corsExposed = "ETag, Location, Retry-After, X-Correlation-ID, X-Request-Id, Link"
	corsMaxAge  = "600" // seconds
)

// cors lets pages of configured origins read answers, and answers their preflights. Other pages
// are told nothing, so that browsers keep answers from them.
func (g *Gateway) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	if len(g.opts.Origins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(g.opts.Origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// guesses slows down who tries tokens out. The zero value is ready.
type guesses struct {
	mu   sync.Mutex // guards from
	from map[string]*tries
}

// tries counts the wrong tokens of one address since a time.
type tries struct {
	since time.Time
	count int
}

// The bounds of guessing: 5 wrong tokens per minute and address, 1024 addresses remembered.
const (
	maxGuesses   = 5
	guessWindow  = time.Minute
	maxAddresses = 1024
)

// locked tells whether the address has guessed too often.
func (g *guesses) locked(addr string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := g.from[addr]
	return have != nil && have.count >= maxGuesses && now.Sub(have.since) < guessWindow
}

func (g *guesses) failed(addr string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := g.from[addr]
	if have == nil || now.Sub(have.since) >= guessWindow {
		if g.from == nil || len(g.from) >= maxAddresses {
			g.from = map[string]*tries{} // a flood of addresses; forgetting is better than growing
		}
		have = &tries{since: now}
		g.from[addr] = have
	}
	have.count++
}
