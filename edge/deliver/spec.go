package deliver

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind says what a channel of a Spec is.
type Kind string

// The kinds of channel that a Spec can describe.
const (
	KindWebhook Kind = "webhook" // a POST to a URL, signed
	KindMail    Kind = "mail"    // by the mail server there is
	KindNtfy    Kind = "ntfy"    // a topic of an ntfy server
	KindChat    Kind = "chat"    // a chat service's webhook URL
	KindSMS     Kind = "sms"     // a provider of text messages, by HTTP
)

// Spec describes a channel as data: what an API takes and a database holds.
type Spec struct {
	Kind    Kind              `json:"kind"`
	URL     string            `json:"url,omitempty"`     // of webhook, ntfy, chat and sms; of chat and sms it is a secret
	Format  Format            `json:"format,omitempty"`  // of a webhook
	Header  map[string]string `json:"header,omitempty"`  // further headers of a webhook or sms; their values are secrets
	To      []string          `json:"to,omitempty"`      // addresses of mail, numbers of sms
	Body    string            `json:"body,omitempty"`    // of an sms request, see SMSOptions
	Secret  string            `json:"secret,omitempty"`  // of webhook (signs), ntfy (access token) and sms ({secret})
	Timeout string            `json:"timeout,omitempty"` // of one attempt, such as 10s; at most 1m
}

// Means is what channels of a Spec can use.
type Means struct {
	Mail       Channel // nil = no mail server is configured
	PublicOnly bool    // refuse addresses that are not on the internet
}

// maxRecipients bounds the addresses of one channel.
const maxRecipients = 50

// Channel makes the channel. An error says what is wrong.
func (s Spec) Channel(m Means) (Channel, error) {
	timeout, err := s.timeout()
	if err != nil {
		return nil, err
	}
	if len(s.To) > maxRecipients {
		return nil, fmt.Errorf("to has %d addresses, at most %d are possible", len(s.To), maxRecipients)
	}
	switch s.Kind {
	case KindWebhook:
		if s.Secret != "" && len(s.Secret) < 16 {
			return nil, errors.New("secret is shorter than 16 characters; make one with: openssl rand -hex 24")
		}
		return made(NewWebhook(WebhookOptions{URL: s.URL, Secret: []byte(s.Secret), Header: s.Header, Format: s.Format, PublicOnly: m.PublicOnly, Timeout: timeout}))
	case KindMail:
		return s.mail(m)
	case KindNtfy:
		return made(NewNtfy(NtfyOptions{URL: s.URL, Token: s.Secret, PublicOnly: m.PublicOnly, Timeout: timeout}))
	case KindChat:
		return made(NewChat(ChatOptions{URL: s.URL, PublicOnly: m.PublicOnly, Timeout: timeout}))
	case KindSMS:
		return made(NewSMS(SMSOptions{URL: s.URL, Body: s.Body, Header: s.Header, Secret: s.Secret, To: s.To, PublicOnly: m.PublicOnly, Timeout: timeout}))
	}
	return nil, fmt.Errorf("kind is %q: want webhook, mail, ntfy, chat or sms", s.Kind)
}

// made keeps a nil pointer from becoming a Channel that is not nil.
func made[C Channel](c C, err error) (Channel, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s Spec) timeout() (time.Duration, error) {
	if s.Timeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s.Timeout)
	if err != nil || d < time.Second || d > time.Minute {
		return 0, fmt.Errorf("timeout is %q: want 1s to 1m", s.Timeout)
	}
	return d, nil
}

func (s Spec) mail(m Means) (Channel, error) {
	if len(s.To) == 0 {
		return nil, errors.New("to: a mail channel needs addresses")
	}
	for _, to := range s.To {
		if err := CheckAddress(to); err != nil {
			return nil, err
		}
	}
	if m.Mail == nil {
		return nil, errors.New("no mail server is configured: set mail.smtp in the configuration file")
	}
	return &addressed{m.Mail, s.To}, nil
}

// Redacted is the description without what is secret in it.
func (s Spec) Redacted() Spec {
	s.Secret = ""
	if s.Kind == KindChat || s.Kind == KindSMS {
		s.URL = redactURL(s.URL)
	}
	if len(s.Header) > 0 {
		hidden := map[string]string{}
		for k := range s.Header {
			hidden[k] = hiddenValue
		}
		s.Header = hidden
	}
	return s
}

const hiddenValue = "…"

func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return hiddenValue
	}
	return u.Scheme + "://" + u.Host + "/" + hiddenValue
}

// Keep takes over from old what is secret there and was left out, or sent back as it was shown. A
// secret does not follow to another host: whoever may change the address does not learn it.
func (s *Spec) Keep(old Spec) {
	if s.Kind != old.Kind {
		return
	}
	if s.URL == "" || s.URL == old.Redacted().URL {
		s.URL = old.URL
	}
	if hostName(s.URL) != hostName(old.URL) {
		return
	}
	if s.Secret == "" {
		s.Secret = old.Secret
	}
	for k, v := range s.Header {
		if v == hiddenValue {
			s.Header[k] = old.Header[k]
		}
	}
}

// CheckAddress refuses what is no plain mail address.
func CheckAddress(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || len(s) > 254 || strings.ContainsAny(s, " \r\n\t<>,;\"") || slices.Contains([]byte(domain), '@') {
		return fmt.Errorf("%q is no mail address", s)
	}
	return nil
}
