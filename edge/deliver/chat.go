package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ChatOptions say which chat. URL is the address that the service gave for posting; it is a secret.
// The service is known by the host, or named before the address: mattermost+https://….
type ChatOptions struct {
	URL        string
	PublicOnly bool
	Timeout    time.Duration // 0 = 10 s
}

// chatService is how a service wants its messages.
type chatService struct {
	host string // the end of its host names; empty = it is run by everybody
	body func(Words, *url.URL) any
}

// chatServices are those we know. A library for many more would follow redirects and call private
// addresses: its HTTP client cannot be replaced.
var chatServices = map[string]chatService{
	"slack":      {"hooks.slack.com", textBody},
	"mattermost": {"", textBody},
	"rocketchat": {"", textBody},
	"googlechat": {"chat.googleapis.com", textBody},
	"discord":    {"discord.com", discordBody},
	"teams":      {".logic.azure.com", teamsBody},
	"telegram":   {"api.telegram.org", telegramBody},
	"gotify":     {"", gotifyBody},
}

func textBody(w Words, _ *url.URL) any { return map[string]string{"text": w.plain()} }

func discordBody(w Words, _ *url.URL) any {
	// Nobody is mentioned by what a name or message holds.
	return map[string]any{"content": cut(w.plain(), 1900), "allowed_mentions": map[string]any{"parse": []string{}}}
}

func teamsBody(w Words, _ *url.URL) any {
	block := func(text, weight string) map[string]any {
		return map[string]any{"type": "TextBlock", "text": text, "wrap": true, "weight": weight}
	}
	return map[string]any{"type": "message", "attachments": []any{map[string]any{
		"contentType": "application/vnd.microsoft.card.adaptive",
		"content": map[string]any{
			"type": "AdaptiveCard", "version": "1.4", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
			"body": []any{block(w.Title, "bolder"), block(strings.ReplaceAll(strings.TrimSpace(w.Text), "\n", "\n\n"), "default")},
		},
	}}}
}

func telegramBody(w Words, u *url.URL) any {
	return map[string]any{"chat_id": u.Query().Get("chat_id"), "text": cut(w.plain(), 4000), "disable_web_page_preview": true}
}

func gotifyBody(w Words, _ *url.URL) any {
	return map[string]any{"title": w.Title, "message": w.Text, "priority": map[string]int{"critical": 8, "warning": 5}[string(w.Severity)]}
}

// Chat is a channel to a chat service.
type Chat struct {
	caller
	url     string
	parsed  *url.URL
	service chatService
}

// NewChat makes a chat channel.
func NewChat(o ChatOptions) (*Chat, error) {
	name, raw := splitService(o.URL)
	c, err := newCaller("chat", raw, o.Timeout, o.PublicOnly)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("chat URL cannot be read")
	}
	if name == "" {
		name = serviceOf(u.Hostname())
	}
	s, ok := chatServices[name]
	if !ok {
		return nil, fmt.Errorf("chat service of %s is not known: write it before the address, as in mattermost+https://…; known are %s",
			u.Host, strings.Join(slices.Sorted(maps.Keys(chatServices)), ", "))
	}
	if name == "telegram" && (u.Query().Get("chat_id") == "" || !strings.HasSuffix(u.Path, "/sendMessage")) {
		return nil, errors.New("telegram URL: want https://api.telegram.org/botTOKEN/sendMessage?chat_id=ID")
	}
	return &Chat{caller: c, url: raw, parsed: u, service: s}, nil
}

// splitService takes the service's name off an address such as mattermost+https://….
func splitService(raw string) (name, address string) {
	name, rest, ok := strings.Cut(raw, "+")
	if ok && (strings.HasPrefix(rest, "https://") || strings.HasPrefix(rest, "http://")) && !strings.Contains(name, "/") {
		return name, rest
	}
	return "", raw
}

func serviceOf(host string) string {
	for name, s := range chatServices {
		if s.host != "" && (host == strings.TrimPrefix(s.host, ".") || strings.HasSuffix(host, "."+strings.TrimPrefix(s.host, "."))) {
			return name
		}
	}
	return ""
}

// Deliver is Channel.
func (c *Chat) Deliver(ctx context.Context, m Message) error {
	body, err := json.Marshal(c.service.body(m.words(), c.parsed))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return c.call(ctx, http.MethodPost, c.url, http.Header{"Content-Type": {"application/json"}, HeaderKey: {m.Key}}, body)
}
