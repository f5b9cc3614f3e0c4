package deliver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Headers of a webhook call. The body is a CloudEvents 1.0 JSON object.
//
// HeaderSignature is "t=SECONDS,v1=HEX": SECONDS is the time of the call since 1970, HEX the
// HMAC-SHA256, by the shared secret, of SECONDS, a dot and the body. A receiver computes it over
// the bytes as they came, compares in constant time, and refuses times that are minutes away; see
// [Verify]. HeaderKey is the same when a message comes again: a receiver that has seen it answers
// 2xx and does nothing.
const (
	HeaderSignature = "Headcount-Signature"
	HeaderKey       = "Idempotency-Key"
)

// webhookTimeout bounds one call unless the options say otherwise.
const webhookTimeout = 10 * time.Second

// Webhook is a channel that posts messages to a URL. Any 2xx means delivered. 4xx but 408, 425 and
// 429 means refused for good; everything else may be better later.
type Webhook struct {
	url    string
	host   string // what errors say instead of the URL, which may hold a secret
	opts   WebhookOptions
	client *http.Client
}

// WebhookOptions say where to post. URL is required.
type WebhookOptions struct {
	URL    string            // http or https
	Secret []byte            // signs each call; empty = not signed
	Header map[string]string // further headers, such as Authorization
	// PublicOnly refuses receivers on loopback, private, link-local and other addresses that are
	// not on the internet, after the name was resolved: for a cloud whose users give the URL.
	PublicOnly bool
	// Timeout bounds one call from dialling to the end of the answer; 0 = 10 s.
	Timeout time.Duration
}

// NewWebhook makes a webhook channel. An error says what is wrong with the options.
func NewWebhook(opts WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(opts.URL)
	switch {
	case err != nil:
		return nil, errors.New("webhook URL cannot be read: want https://HOST/PATH")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("webhook URL has scheme %q and host %q: want https://HOST/PATH", u.Scheme, u.Hostname())
	case u.User != nil:
		return nil, errors.New("webhook URL holds a user or password: give them as an Authorization header")
	}
	timeout := opts.Timeout
	if timeout <= 0 {
		timeout = webhookTimeout
	}
	dialer := &net.Dialer{Timeout: timeout}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if opts.PublicOnly {
		dialer.Control = publicOnly
		transport.Proxy = nil // it would be asked to call the private address
	}
	return &Webhook{url: opts.URL, host: u.Host, opts: opts, client: &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// Deliver is Channel.
func (w *Webhook) Deliver(ctx context.Context, m Message) error {
	body, err := m.CloudEvent()
	if err != nil {
		return fmt.Errorf("%w: message cannot be written: %w", ErrRefused, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: webhook %s: %w", ErrRefused, w.host, err)
	}
	req.Header.Set("User-Agent", "headcount")
	for k, v := range w.opts.Header {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	req.Header.Set(HeaderKey, m.Key)
	if len(w.opts.Secret) > 0 {
		req.Header.Set(HeaderSignature, Sign(w.opts.Secret, body, time.Now()))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL
		}
		return fmt.Errorf("webhook %s: %w", w.host, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return w.judge(resp)
}

// judge turns the receiver's answer into an error.
func (w *Webhook) judge(resp *http.Response) error {
	err := fmt.Errorf("webhook %s answers %s", w.host, resp.Status)
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

// Sign makes the value of HeaderSignature.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

// Verify checks a HeaderSignature as a receiver does: made by secret over body, at most tolerance
// from now.
func Verify(secret []byte, signature string, body []byte, now time.Time, tolerance time.Duration) error {
	t, sum, ok := strings.Cut(signature, ",v1=")
	t, ok2 := strings.CutPrefix(t, "t=")
	if !ok || !ok2 {
		return errors.New("signature: want t=SECONDS,v1=HEX")
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return errors.New("signature: time is no number")
	}
	got, err := hex.DecodeString(sum)
	if err != nil || !hmac.Equal(got, mac(secret, t, body)) {
		return errors.New("signature: not made with this secret over this body")
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); age > tolerance {
		return fmt.Errorf("signature: its time is %v away", age.Round(time.Second))
	}
	return nil
}

func mac(secret []byte, t string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
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

// publicOnly refuses to dial what is not on the internet. It sees the address after the name was
// resolved, so a name that changes its mind does not help.
func publicOnly(_, address string, _ syscall.RawConn) error {
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
