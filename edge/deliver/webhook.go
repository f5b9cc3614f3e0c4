package deliver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
	HeaderTrace     = "Traceparent" // W3C trace context, where the event belongs to a trace
)

// Webhook is a channel that posts messages to a URL. Any 2xx means delivered. 4xx but 408, 425 and
// 429 means refused for good; everything else may be better later.
type Webhook struct {
	caller
	url  string
	opts WebhookOptions
}

// WebhookOptions say where to post. URL is required.
type WebhookOptions struct {
	URL    string            // http or https
	Secret []byte            // signs each call; empty = not signed
	Header map[string]string // further headers, such as Authorization
	Format Format            // of the body; empty = CloudEvents
	// PublicOnly refuses receivers on loopback, private, link-local and other addresses that are
	// not on the internet, after the name was resolved: for a cloud whose users give the URL.
	PublicOnly bool
	// Timeout bounds one call from dialling to the end of the answer; 0 = 10 s.
	Timeout time.Duration
}

// Format is the form of a webhook's body.
type Format string

// The formats.
const (
	CloudEvents  Format = "cloudevents"  // a CloudEvents 1.0 JSON object
	Alertmanager Format = "alertmanager" // what Prometheus Alertmanager posts, version 4
)

// NewWebhook makes a webhook channel. An error says what is wrong with the options.
func NewWebhook(opts WebhookOptions) (*Webhook, error) {
	if opts.Format != "" && opts.Format != CloudEvents && opts.Format != Alertmanager {
		return nil, fmt.Errorf("webhook format %q: want cloudevents or alertmanager", opts.Format)
	}
	c, err := newCaller("webhook", opts.URL, opts.Timeout, opts.PublicOnly)
	if err != nil {
		return nil, err
	}
	return &Webhook{caller: c, url: opts.URL, opts: opts}, nil
}

// Deliver is Channel.
func (w *Webhook) Deliver(ctx context.Context, m Message) error {
	body, contentType, err := w.body(m)
	if err != nil {
		return fmt.Errorf("%w: message cannot be written: %w", ErrRefused, err)
	}
	header := http.Header{}
	for k, v := range w.opts.Header {
		header.Set(k, v)
	}
	header.Set("Content-Type", contentType)
	header.Set(HeaderKey, m.Key)
	if m.Trace != "" {
		header.Set(HeaderTrace, m.Trace)
	}
	if len(w.opts.Secret) > 0 {
		header.Set(HeaderSignature, Sign(w.opts.Secret, body, time.Now()))
	}
	return w.call(ctx, http.MethodPost, w.url, header, body)
}

func (w *Webhook) body(m Message) (body []byte, contentType string, err error) {
	if w.opts.Format == Alertmanager {
		body, err = m.alertmanager()
		return body, "application/json", err
	}
	body, err = m.CloudEvent()
	return body, "application/cloudevents+json; charset=utf-8", err
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
