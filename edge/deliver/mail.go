package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// MailOptions say by which server mail is sent. Server and From are required.
type MailOptions struct {
	// Server is smtps://USER@HOST:465 (TLS from the start), smtp://USER@HOST:587 (STARTTLS is
	// demanded) or smtp+plain://HOST:25 (no encryption: for a relay on this machine).
	Server   string
	From     string // address, or "Name <address>"
	Password string
	To       []string       // used when a message has none
	Roots    *x509.CertPool // trusted authorities; nil = the system's
	Timeout  time.Duration  // of one mail; 0 = 30 s
}

const mailTimeout = 30 * time.Second

// Mailer is a channel that sends mail by SMTP, one connection per message. It may be called from
// several goroutines.
type Mailer struct {
	host    string
	options []mail.Option
	from    string
	to      []string
}

// NewMailer makes a mail channel.
func NewMailer(o MailOptions) (*Mailer, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("mail server: want smtps://USER@HOST:465, smtp://USER@HOST:587 or smtp+plain://HOST:25")
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("mail server: the password belongs into a file, not the address")
	}
	ports := map[string]int{"smtps": 465, "smtp": 587, "smtp+plain": 25}
	port, ok := ports[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("mail server: scheme %q, want smtps (TLS), smtp (STARTTLS) or smtp+plain", u.Scheme)
	}
	if s := u.Port(); s != "" {
		if port, err = strconv.Atoi(s); err != nil {
			return nil, fmt.Errorf("mail server: port %q is no number", s)
		}
	}
	if err := new(mail.Msg).From(o.From); err != nil {
		return nil, fmt.Errorf("mail sender %q: %w", o.From, err)
	}
	if o.Timeout <= 0 {
		o.Timeout = mailTimeout
	}
	options := []mail.Option{mail.WithPort(port), mail.WithTimeout(o.Timeout), mail.WithTLSConfig(&tls.Config{ServerName: u.Hostname(), RootCAs: o.Roots, MinVersion: tls.VersionTLS12})}
	switch u.Scheme {
	case "smtps":
		options = append(options, mail.WithSSL())
	case "smtp":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	default:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if user := u.User.Username(); user != "" {
		if u.Scheme == "smtp+plain" {
			return nil, errors.New("mail server: smtp+plain would send the password in the clear; use smtps or smtp")
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(user), mail.WithPassword(o.Password))
	}
	if _, err := mail.NewClient(u.Hostname(), options...); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return &Mailer{host: u.Hostname(), options: options, from: o.From, to: o.To}, nil
}

// Deliver is Channel: one mail to the message's addresses, or else the channel's.
func (s *Mailer) Deliver(ctx context.Context, m Message) error {
	msg, err := s.message(m)
	if err != nil {
		return fmt.Errorf("%w: mail: %w", ErrRefused, err)
	}
	client, err := mail.NewClient(s.host, s.options...)
	if err != nil {
		return fmt.Errorf("%w: mail server: %w", ErrRefused, err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err != nil && msg.IsDelivered() {
		return nil // it only did not say goodbye
	}
	return s.judge(err)
}

// judge tells apart what the server refuses for good.
func (s *Mailer) judge(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("mail server %s: %w", s.host, err)
	var sending *mail.SendError
	if errors.As(err, &sending) && !sending.IsTemp() && sending.ErrorCode() >= 500 {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var answer *textproto.Error
	if errors.As(err, &answer) && answer.Code >= 550 && answer.Code < 560 {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// message makes a mail with text and HTML. Its Message-ID is made of the key, so that what is sent
// again can be known.
func (s *Mailer) message(m Message) (*mail.Msg, error) {
	w := m.words()
	to := recipients(m, s.to)
	if len(to) == 0 {
		return nil, errors.New("nobody to send to")
	}
	msg := mail.NewMsg()
	if err := msg.From(s.from); err != nil {
		return nil, err
	}
	if err := msg.To(to...); err != nil {
		return nil, err
	}
	msg.Subject(cut(oneLine(w.Title), 200))
	msg.SetDate()
	msg.SetMessageIDWithValue(fingerprint(m.Key+strings.Join(to, ",")) + "." + fingerprint(m.Key) + "@" + domainOf(s.from))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, strings.TrimSpace(w.Text+ackLine(w))+"\n")
	msg.AddAlternativeString(mail.TypeTextHTML, htmlBody(w))
	return msg, nil
}

func domainOf(from string) string {
	_, domain, ok := strings.Cut(strings.TrimSuffix(from, ">"), "@")
	if !ok {
		return "localhost"
	}
	return domain
}

// htmlBody is the mail for those who read HTML; what came from outside is escaped.
func htmlBody(w Words) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html><html><body><h2>%s</h2>\n<pre style=\"font:inherit;white-space:pre-wrap\">%s</pre>\n",
		html.EscapeString(w.Title), html.EscapeString(strings.TrimSpace(w.Text)))
	for _, l := range []struct{ url, label string }{{w.Ack, "Acknowledge"}, {w.Link, "Open"}} {
		if strings.HasPrefix(l.url, "http://") || strings.HasPrefix(l.url, "https://") {
			fmt.Fprintf(&b, "<p><a href=\"%s\">%s</a></p>\n", html.EscapeString(l.url), l.label)
		}
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

// addressed is a mail channel to certain addresses.
type addressed struct {
	mail Channel
	to   []string
}

// Deliver is Channel.
func (a *addressed) Deliver(ctx context.Context, m Message) error {
	m.To = a.to
	return a.mail.Deliver(ctx, m)
}
