package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// NtfyOptions say which topic of which ntfy server. URL is required.
type NtfyOptions struct {
	URL        string // https://HOST/TOPIC
	Token      string // access token; empty = none
	PublicOnly bool
	Timeout    time.Duration // 0 = 10 s
}

// Ntfy is a channel that publishes to a topic of an ntfy server. A message that can be
// acknowledged has a button for it.
type Ntfy struct {
	caller
	root, topic, token string
}

// NewNtfy makes an ntfy channel.
func NewNtfy(o NtfyOptions) (*Ntfy, error) {
	c, err := newCaller("ntfy", o.URL, o.Timeout, o.PublicOnly)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("ntfy URL cannot be read")
	}
	topic := strings.Trim(u.Path, "/")
	if topic == "" || strings.Contains(topic, "/") {
		return nil, errors.New("ntfy URL has no topic: want https://HOST/TOPIC")
	}
	return &Ntfy{caller: c, root: u.Scheme + "://" + u.Host + "/", topic: topic, token: o.Token}, nil
}

// Deliver is Channel.
func (n *Ntfy) Deliver(ctx context.Context, m Message) error {
	w := m.words()
	type action struct {
		Action string `json:"action"`
		Label  string `json:"label"`
		URL    string `json:"url"`
		Method string `json:"method,omitempty"`
		Clear  bool   `json:"clear,omitempty"`
	}
	var actions []action
	if w.Ack != "" {
		actions = append(actions, action{"http", "Acknowledge", w.Ack, http.MethodPost, true})
	}
	body, err := json.Marshal(map[string]any{
		"topic": n.topic, "title": cut(w.Title, 250), "message": cut(strings.TrimSpace(w.Text), 3500),
		"priority": map[string]int{"critical": 5, "warning": 4}[string(w.Severity)], "click": w.Link, "actions": actions,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	header := http.Header{"Content-Type": {"application/json"}, HeaderKey: {m.Key}}
	if n.token != "" {
		header.Set("Authorization", "Bearer "+n.token)
	}
	return n.call(ctx, http.MethodPost, n.root, header, body)
}
