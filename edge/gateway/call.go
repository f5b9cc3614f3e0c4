package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/sync/token"
)

// Call is what is known of one request. It is filled in by the gateway before the handler runs
// and not changed afterwards.
type Call struct {
	ID      string // correlation id: the caller's own when it is harmless, else a new one
	Remote  string // address of the client, without port; behind a trusted proxy, that which the proxy tells
	Scheme  string // "http" or "https", as the client sees it
	Trace   string // the caller's W3C traceparent; empty = none, or none that is valid
	Who     *token.Identity
	Refused error // why the token that came along is not good; nil = it is, or none came

	forwarded bool // a trusted proxy told Remote
}

type callKey struct{}

// CallOf is the call whose request's context this is; outside of one, a Call that knows nothing.
func CallOf(ctx context.Context) *Call {
	if c, ok := ctx.Value(callKey{}).(*Call); ok {
		return c
	}
	return &Call{}
}

func withCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func newCall(r *http.Request, proxies []netip.Prefix) *Call {
	c := &Call{ID: correlation(r), Scheme: "http", Trace: traceparent(r)}
	if r.TLS != nil {
		c.Scheme = "https"
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	c.Remote = peer
	addr, err := netip.ParseAddr(peer)
	if err != nil || !within(addr, proxies) {
		return c
	}
	if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
		c.Scheme = proto
	}
	if client, ok := forwardedFor(r, proxies); ok {
		c.Remote, c.forwarded = client.String(), true
	}
	return c
}

// forwardedFor is the last address of the chain that is no trusted proxy's: those before it are
// the client's own words.
func forwardedFor(r *http.Request, proxies []netip.Prefix) (client netip.Addr, ok bool) {
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return client, ok
		}
		client, ok = addr.Unmap().WithZone(""), true
		if !within(client, proxies) {
			break
		}
	}
	return client, ok
}

func within(addr netip.Addr, nets []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ParseProxies reads addresses and networks such as 10.0.0.1 or 10.0.0.0/8.
func ParseProxies(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if addr, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, &ConfigError{Key: "trusted_proxies", Value: s, Want: "an address or network such as 127.0.0.1 or 10.0.0.0/8"}
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// correlation takes over the caller's id when it is a harmless one.
func correlation(r *http.Request) string {
	for _, name := range [...]string{"X-Correlation-Id", "X-Request-Id"} {
		if id := r.Header.Get(name); id != "" && len(id) <= maxCorrelation && !strings.ContainsFunc(id, harmful) {
			return id
		}
	}
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// maxCorrelation is the longest correlation id that is taken over, in bytes.
const maxCorrelation = 64

func harmful(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.:", c))
}

// traceparent is the request's W3C trace context, empty unless it is of version 00 and valid.
func traceparent(r *http.Request) string {
	s := r.Header.Get("Traceparent")
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return ""
	}
	trace, span, flags := s[3:35], s[36:52], s[53:]
	hexadecimal := func(c rune) bool { return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') }
	if strings.ContainsFunc(trace+span+flags, hexadecimal) || strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	return s
}
