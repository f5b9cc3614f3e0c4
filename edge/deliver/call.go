package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// callTimeout bounds one call unless the options say otherwise.
const callTimeout = 10 * time.Second

// caller makes the HTTP calls of a channel: no redirects, bounded, and its errors never hold the
// URL, which may be a secret.
type caller struct {
	what   string // "webhook"
	host   string
	client *http.Client
}

// newCaller makes a caller for a URL; publicOnly refuses addresses that are not on the internet.
func newCaller(what, raw string, timeout time.Duration, publicOnly bool) (caller, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return caller{}, fmt.Errorf("%s URL cannot be read: want https://HOST/PATH", what)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return caller{}, fmt.Errorf("%s URL has scheme %q and host %q: want https://HOST/PATH", what, u.Scheme, u.Hostname())
	case u.User != nil:
		return caller{}, fmt.Errorf("%s URL holds a user or password: give them as an Authorization header", what)
	}
	return caller{what: what, host: u.Host, client: newClient(timeout, publicOnly)}, nil
}

func newClient(timeout time.Duration, publicOnly bool) *http.Client {
	if timeout <= 0 {
		timeout = callTimeout
	}
	dialer := &net.Dialer{Timeout: timeout}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if publicOnly {
		dialer.Control = onlyPublic
		transport.Proxy = nil // it would be asked to call the private address
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close drops idle connections.
func (c *caller) Close() { c.client.CloseIdleConnections() }

// call makes one call and turns the answer into an error of Channel.
func (c *caller) call(ctx context.Context, method, url string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %s %s: its URL cannot be called", ErrRefused, c.what, c.host)
	}
	req.Header = header
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "headcount")
	}
	return c.answer(c.client.Do(req)) //nolint:bodyclose // answer closes it
}

// answer turns what a client returned into an error of Channel.
func (c *caller) answer(resp *http.Response, err error) error {
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL
		}
		return fmt.Errorf("%s %s: %w", c.what, c.host, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return c.judge(resp)
}

// judge turns the receiver's answer into an error.
func (c *caller) judge(resp *http.Response) error {
	err := fmt.Errorf("%s %s answers %s", c.what, c.host, resp.Status)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: redirects are not followed, configure the new address", err)
	case code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if wait := retryAfter(resp.Header.Get("Retry-After"), time.Now()); wait > 0 {
		return &RetryAfter{Wait: wait, Err: err}
	}
	return err
}

// retryAfter reads the header's seconds or date; 0 when there is none.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(n, 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(at.Sub(now), 24*time.Hour)
	}
	return 0
}

// notPublic are the ranges that are not on the internet, besides those netip knows by name.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64: leads to any IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: likewise
}

// onlyPublic refuses to dial what is not on the internet. It sees the address after the name was
// resolved, so a name that changes its mind does not help.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: address %s cannot be read", ErrRefused, address)
	}
	if !public(ap.Addr().Unmap()) {
		return fmt.Errorf("%w: the address is not on the internet", ErrRefused)
	}
	return nil
}

func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
