package forward

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/headcount-hub/headcount/edge/deliver"
)

// Spec describes a webhook: the body of POST and PUT /v1/orgs/{org}/webhooks.
type Spec struct {
	Name   string   `json:"name"`             // for people
	URL    string   `json:"url"`              // https://HOST/PATH
	Types  []string `json:"types,omitempty"`  // such as alert.raised or alert.*; empty = all
	Sites  []string `json:"sites,omitempty"`  // ids; empty = all
	Batch  int      `json:"batch,omitempty"`  // events in one call: 1 (default) is one CloudEvents object, more is an array of up to so many
	Secret string   `json:"secret,omitempty"` // signs the calls; made when it is left out, and shown once
	Active *bool    `json:"active,omitempty"` // true by default
}

// The bounds of a Spec.
const (
	maxName     = 100
	maxURL      = 2000
	minSecret   = 16
	maxSecret   = 200
	secretBytes = 24
)

// check says what is wrong, as problems.
func (s *Spec) check() error {
	if s.Name = strings.TrimSpace(s.Name); s.Name == "" || len(s.Name) > maxName || strings.ContainsFunc(s.Name, func(c rune) bool { return c < ' ' }) {
		return invalid("name: want 1 to %d bytes on one line", maxName)
	}
	if len(s.URL) > maxURL {
		return invalid("url has %d bytes, at most %d are possible", len(s.URL), maxURL)
	}
	if s.Batch < 0 || s.Batch > maxBatch {
		return invalid("batch %d: want 1 to %d", s.Batch, maxBatch)
	}
	if s.Secret != "" && (len(s.Secret) < minSecret || len(s.Secret) > maxSecret) {
		return invalid("secret: want %d to %d characters, or none to have one made", minSecret, maxSecret)
	}
	if err := checkFilter(s.Types, s.Sites); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// newSecret makes a secret for signatures.
func newSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// hook is a webhook as a Sink.
type hook struct {
	*deliver.Webhook
	batch bool
}

// newHook makes the sender of a webhook; an error says what is wrong with its address.
func (f *Forwarder) newHook(s Spec) (*hook, error) {
	w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: s.URL, Secret: []byte(s.Secret), PublicOnly: !f.o.Private})
	if err != nil {
		return nil, err
	}
	return &hook{w, s.Batch > 1}, nil
}

// HeaderReplay names the replay that a call belongs to.
const HeaderReplay = "Headcount-Replay"

type replayKey struct{}

func withReplay(ctx context.Context, r *replay) context.Context {
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, replayKey{}, r.ID)
}

// Send is of Sink. The key of a call is the id of its event, or FIRST-LAST of several; that of a
// replay ends with the replay's id, so that receivers who know the key take it all the same.
func (h *hook) Send(ctx context.Context, events []Event) (sent int, err error) {
	header := http.Header{}
	key, body, contentType := events[0].Key(), events[0].Body, "application/cloudevents+json; charset=utf-8"
	if h.batch {
		if len(events) > 1 {
			key += "-" + events[len(events)-1].Key()
		}
		bodies := make([][]byte, len(events))
		for i, e := range events {
			bodies[i] = e.Body
		}
		body, contentType = slicesOf(bodies), "application/cloudevents-batch+json; charset=utf-8"
	}
	if id, ok := ctx.Value(replayKey{}).(string); ok {
		header.Set(HeaderReplay, id)
		key += "-" + id
	}
	header.Set(deliver.HeaderKey, key)
	header.Set("Content-Type", contentType)
	if err := h.Post(ctx, header, body); err != nil {
		return 0, err
	}
	return len(events), nil
}

// slicesOf is a JSON array of JSON values.
func slicesOf(bodies [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(bodies, []byte{','})...), ']')
}

// hostOf is the scheme and host of an address: what others than admins may see of it.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// reachable makes the hook once, to learn what is wrong with its address before it is stored.
func (f *Forwarder) reachable(s Spec) error {
	h, err := f.newHook(s)
	if err != nil {
		return invalid("url: %v", err)
	}
	h.Close()
	return nil
}

// plain is the text of an error without what only the log should hold.
func plain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", callTimeout)
	}
	return err.Error()
}
