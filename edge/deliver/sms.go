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
	"unicode"
)

// SMSOptions say how a provider sends text messages. URL and Body may hold {to}, {text}, {key} and
// {secret}; in the URL they are escaped for a query, in a body that begins with { as JSON strings,
// in another body as form values.
type SMSOptions struct {
	URL        string            // POST when there is a body, else GET
	Body       string            // such as {"to": "{to}", "body": "{text}"} or To={to}&Body={text}
	Header     map[string]string // may hold {secret}
	Secret     string
	To         []string // numbers, such as +4790000000
	PublicOnly bool
	Timeout    time.Duration // 0 = 10 s
}

// maxSMS bounds a text in characters: three parts of one message.
const maxSMS = 459

// SMS is a channel that sends text messages through a provider's HTTP API.
type SMS struct {
	caller
	o SMSOptions
}

// NewSMS makes an SMS channel.
func NewSMS(o SMSOptions) (*SMS, error) {
	c, err := newCaller("sms provider", strings.NewReplacer("{to}", "0", "{text}", "x", "{key}", "x", "{secret}", "x").Replace(o.URL), o.Timeout, o.PublicOnly)
	if err != nil {
		return nil, err
	}
	if err := checkNumbers(o.To); err != nil {
		return nil, err
	}
	if !strings.Contains(o.URL+o.Body, "{to}") || !strings.Contains(o.URL+o.Body, "{text}") {
		return nil, errors.New("sms: the URL or the body must say where {to} and {text} go")
	}
	if i := strings.IndexAny(o.URL, "?"); strings.Contains(o.URL[:max(0, indexOr(i, len(o.URL)))], "{text}") {
		return nil, errors.New("sms: {text} belongs into the query or the body, not the path")
	}
	return &SMS{caller: c, o: o}, nil
}

func indexOr(i, other int) int {
	if i < 0 {
		return other
	}
	return i
}

func checkNumbers(to []string) error {
	if len(to) == 0 {
		return errors.New("sms: to has no number")
	}
	for _, n := range to {
		digits := strings.TrimPrefix(n, "+")
		if len(digits) < 3 || len(digits) > 15 || strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
			return fmt.Errorf("sms: %q is no number such as +4790000000", n)
		}
	}
	return nil
}

// Deliver is Channel. With several numbers, all get it again when one of them failed.
func (s *SMS) Deliver(ctx context.Context, m Message) error {
	text := smsText(m.words())
	for _, to := range recipients(m, s.o.To) {
		if err := s.send(ctx, to, text, m.Key); err != nil {
			return err
		}
	}
	return nil
}

func recipients(m Message, own []string) []string {
	if len(m.To) > 0 {
		return m.To
	}
	return own
}

func (s *SMS) send(ctx context.Context, to, text, key string) error {
	fill := func(template string, escape func(string) string) string {
		return strings.NewReplacer("{to}", escape(to), "{text}", escape(text), "{key}", escape(key), "{secret}", escape(s.o.Secret)).Replace(template)
	}
	header := http.Header{HeaderKey: {key + "/" + to}}
	for k, v := range s.o.Header {
		header.Set(k, strings.ReplaceAll(v, "{secret}", s.o.Secret))
	}
	method, body := http.MethodGet, ""
	if s.o.Body != "" {
		method = http.MethodPost
		escape, contentType := url.QueryEscape, "application/x-www-form-urlencoded"
		if strings.HasPrefix(strings.TrimSpace(s.o.Body), "{") && !strings.HasPrefix(s.o.Body, "{to}") {
			escape, contentType = jsonEscape, "application/json"
		}
		body = fill(s.o.Body, escape)
		if header.Get("Content-Type") == "" {
			header.Set("Content-Type", contentType)
		}
	}
	return s.call(ctx, method, fill(s.o.URL, url.QueryEscape), header, []byte(body))
}

// jsonEscape is s as the inside of a JSON string.
func jsonEscape(s string) string {
	b, _ := json.Marshal(s) // of a string
	return string(b[1 : len(b)-1])
}

// smsText is a title and link, as short as a text message.
func smsText(w Words) string {
	text := w.Title
	if w.Ack != "" {
		text += "\nAck: " + w.Ack
	}
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, text))
	return string(runes[:min(len(runes), maxSMS)])
}
