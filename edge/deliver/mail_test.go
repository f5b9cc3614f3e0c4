package deliver_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// sink is an SMTP server that keeps what it is sent.
type sink struct {
	mu     sync.Mutex
	mails  []string
	to     []string
	user   string
	refuse error // of RCPT
	addr   string
	roots  *x509.CertPool
}

// newSink starts a server; implicit is TLS from the start.
func newSink(t *testing.T, implicit bool) *sink {
	t.Helper()
	s := &sink{}
	cert, roots := selfSigned(t)
	s.roots = roots
	server := smtp.NewServer(s)
	server.Domain, server.AllowInsecureAuth = "localhost", false
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = "localhost:" + strings.Split(ln.Addr().String(), ":")[1]
	if implicit {
		ln = tls.NewListener(ln, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-done })
	return s
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// NewSession is smtp.Backend.
func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s}, nil }

type session struct{ s *sink }

func (c *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.s.user = user
		return nil
	}), nil
}
func (c *session) Mail(string, *smtp.MailOptions) error { return nil }
func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.refuse == nil {
		c.s.to = append(c.s.to, to)
	}
	return c.s.refuse
}
func (c *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.mails = append(c.s.mails, string(b))
	return err
}
func (c *session) Reset()        {}
func (c *session) Logout() error { return nil }

func crowded() deliver.Message {
	a := edge.Alert{ID: "a1", Rule: "crowded", Subject: "hall", SubjectKind: "room", Severity: edge.Critical, Message: "Großer Saal <is> crowded", Since: time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)}
	zone, _ := time.LoadLocation("Europe/Oslo")
	m := deliver.Message{Key: "acme/hq/a1/alert.raised", Source: "/acme/hq", Type: "alert.raised", Subject: "a1", At: time.Now(),
		Words: deliver.AlertWords(edge.AlertRaised, a, deliver.Place{Site: "Head office", Space: "Großer Saal", Zone: zone, Link: "https://hc.example.org/?site=hq"})}
	m.Ack = "https://hc.example.org/v1/ack/SECRET"
	m.To = []string{"ada@example.org", "bob@example.org"}
	return m
}

func TestMailByStartTLSAndTLS(t *testing.T) {
	for name, implicit := range map[string]bool{"smtp": false, "smtps": true} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, implicit)
			c, err := deliver.NewMailer(deliver.MailOptions{Server: name + "://hub@" + s.addr, Password: "right", From: "Hub <hub@example.org>", Roots: s.roots})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Deliver(t.Context(), crowded()); err != nil {
				t.Fatal(err)
			}
			if s.user != "hub" || strings.Join(s.to, " ") != "ada@example.org bob@example.org" || len(s.mails) != 1 {
				t.Fatalf("user %q, to %v, %d mails", s.user, s.to, len(s.mails))
			}
			m, err := mail.ReadMessage(strings.NewReader(s.mails[0]))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(m.Body)
			text := strings.ReplaceAll(string(body), "=\r\n", "")
			for _, want := range []string{"text/plain", "text/html", "Sat 21 Nov 2026 15:00:00 CET", "https://hc.example.org/v1/ack/SECRET", "&lt;is&gt;"} {
				if !strings.Contains(text, want) && !strings.Contains(m.Header.Get("Content-Type"), want) {
					t.Errorf("the mail lacks %q:\n%s", want, s.mails[0])
				}
			}
			if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" {
				t.Errorf("header is %v", m.Header)
			}
		})
	}
}

func TestMailThatIsSentAgainHasTheSameID(t *testing.T) {
	s := newSink(t, true)
	c, err := deliver.NewMailer(deliver.MailOptions{Server: "smtps://" + s.addr, From: "hub@example.org", Roots: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for range 2 {
		if err := c.Deliver(t.Context(), crowded()); err != nil {
			t.Fatal(err)
		}
	}
	for _, raw := range s.mails {
		m, err := mail.ReadMessage(bytes.NewReader([]byte(raw)))
		if err != nil {
			t.Fatal(err)
		}
		ids[m.Header.Get("Message-Id")] = true
	}
	if len(ids) != 1 {
		t.Errorf("message ids are %v", ids)
	}
}

func TestMailServersThatRefuse(t *testing.T) {
	s := newSink(t, false)
	send := func(o deliver.MailOptions) error {
		t.Helper()
		if o.Server == "" {
			o.Server = "smtp://" + s.addr
		}
		o.From, o.Roots = "hub@example.org", s.roots
		c, err := deliver.NewMailer(o)
		if err != nil {
			t.Fatal(err)
		}
		return c.Deliver(t.Context(), crowded())
	}
	s.refuse = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	if err := send(deliver.MailOptions{}); !errors.Is(err, deliver.ErrRefused) {
		t.Errorf("no such mailbox: %v, want it to be final", err)
	}
	s.refuse = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	if err := send(deliver.MailOptions{}); err == nil || errors.Is(err, deliver.ErrRefused) {
		t.Errorf("greylisted: %v, want it to be tried again", err)
	}
	s.refuse = nil
	if err := send(deliver.MailOptions{Server: "smtp://hub@" + s.addr, Password: "wrong"}); err == nil || errors.Is(err, deliver.ErrRefused) {
		t.Errorf("wrong password: %v, want it to be tried again: the operator mends it", err)
	}
	s.roots = x509.NewCertPool()
	if err := send(deliver.MailOptions{}); err == nil || len(s.mails) != 0 {
		t.Errorf("a certificate nobody vouches for was accepted: %v, %d mails", err, len(s.mails))
	}
}

func TestMailServerWithoutTLSGetsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	server := smtp.NewServer(&s)
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	c, err := deliver.NewMailer(deliver.MailOptions{Server: "smtp://" + ln.Addr().String(), From: "hub@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), crowded()); err == nil || len(s.mails) > 0 {
		t.Errorf("mail went without encryption: %v", err)
	}
	c, err = deliver.NewMailer(deliver.MailOptions{Server: "smtp+plain://" + ln.Addr().String(), From: "hub@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), crowded()); err != nil || len(s.mails) != 1 {
		t.Errorf("smtp+plain: %v, %d mails", err, len(s.mails))
	}
}

func TestMailOptionsThatAreWrong(t *testing.T) {
	for name, o := range map[string]deliver.MailOptions{
		"scheme":                {Server: "http://x", From: "a@b.example"},
		"no host":               {Server: "smtps://", From: "a@b.example"},
		"password in URL":       {Server: "smtps://u:p@x", From: "a@b.example"},
		"no sender":             {Server: "smtps://x"},
		"password in the clear": {Server: "smtp+plain://u@x", From: "a@b.example", Password: "p"},
	} {
		if _, err := deliver.NewMailer(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
