package tier

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// Mail is the server that mail is sent by.
type Mail struct {
	SMTP         string `yaml:"smtp"`          // smtps://user@host:465, smtp://user@host:587 (STARTTLS) or smtp+plain://host:25; empty = mail is kept
	From         string `yaml:"from"`          // address, or "Name <address>"
	PasswordFile string `yaml:"password_file"` // mode 0600
	CAFile       string `yaml:"ca_file"`       // certificates to trust instead of the system's
}

func (m *Mail) check(bad func(string, ...any)) {
	switch {
	case m.SMTP == "" && (m.From != "" || m.PasswordFile != ""):
		bad("mail: smtp is missing")
	case m.SMTP == "":
	case m.From == "":
		bad("mail: from is missing: the address that mail comes from")
	default:
		if _, err := deliver.NewMailer(deliver.MailOptions{Server: m.SMTP, From: m.From}); err != nil {
			bad("mail: %w", err)
		}
	}
}

// Notify is how people and systems are told.
type Notify struct {
	AllowPrivate bool   `yaml:"allow_private"` // channels made by the API may call private addresses
	PushContact  string `yaml:"push_contact"`  // mail address or https URL that push services are given
}

// vapidFile holds the key of Web Push.
const vapidFile = "vapid.key"

// openNotify builds the module that tells people and systems.
func (t *Tier) openNotify(ctx context.Context) (part, error) {
	hooks, err := webhooks(t.cfg)
	if err != nil {
		return part{}, err
	}
	mailer, err := t.cfg.Mail.channel()
	if err != nil {
		return part{}, fmt.Errorf("%w: mail: %w", ErrConfig, err)
	}
	push, err := deliver.NewPush(deliver.PushOptions{
		KeyFile: filepath.Join(t.cfg.Data, vapidFile), Contact: t.cfg.Notify.PushContact, PublicOnly: !t.cfg.Notify.AllowPrivate,
	})
	if err != nil {
		return part{}, err
	}
	t.notify, err = notify.New(ctx, notify.Options{
		DB: t.db, Webhooks: hooks, Mail: mailer, Push: push, Public: t.PublicURL, Private: t.cfg.Notify.AllowPrivate,
		Trace: t.traceOf(), Span: t.deliverySpan(),
		Members: t.notifyMembers(), User: t.notifyUser(), Domains: twin.Domains, Log: t.cfg.Log,
		Acknowledge: func(ctx context.Context, s store.Site, alert, by string) error {
			_, err := t.twin.Acknowledge(ctx, s, alert, by, "")
			return err
		},
	})
	if err != nil {
		return part{}, err
	}
	t.metrics.registry.MustRegister(&deliveries{t})
	routes := append(t.notify.Routes(), route.Route{
		Method: http.MethodGet, Path: "/v1/sites/{site}/deliveries", Tag: "notify", Summary: "What was told to whom about a site",
		Need:   route.Need{Of: t.twin.OfSite, Role: token.Viewer},
		Handle: func(r *route.Request) (any, error) { return t.notify.SiteDeliveries(r, r.Found.(store.Site)) },
	})
	return part{routes: routes, run: func(ctx context.Context) error { t.notify.Run(ctx); return nil }}, nil
}

// channel makes the channel to the mail server; nil when there is none.
func (m *Mail) channel() (deliver.Channel, error) {
	if m.SMTP == "" {
		return nil, nil
	}
	password, err := readPassword(m.PasswordFile)
	if err != nil {
		return nil, err
	}
	opts := deliver.MailOptions{Server: m.SMTP, From: m.From, Password: password}
	if m.CAFile != "" {
		pem, err := os.ReadFile(m.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		opts.Roots = x509.NewCertPool()
		if !opts.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate", m.CAFile)
		}
	}
	mailer, err := deliver.NewMailer(opts)
	if err != nil {
		return nil, err
	}
	return mailer, nil
}

// readPassword reads a password; it may be shorter than a secret of our own.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := readPrivate(path)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readPrivate reads a file that other users of this machine may not.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s is open to every user of this machine (%04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return os.ReadFile(path)
}

// webhooks makes the configured channels of all organisations.
func webhooks(c Config) ([]notify.Webhook, error) {
	var out []notify.Webhook
	for _, o := range c.Organisations {
		for _, w := range o.Webhooks {
			secret, err := readSecret(w.SecretFile)
			if err != nil {
				return nil, fmt.Errorf("%w: organisation %s: webhook %s: %w", ErrConfig, o.ID, w.Name, err)
			}
			channel, err := deliver.NewWebhook(deliver.WebhookOptions{URL: w.URL, Secret: []byte(secret), Format: w.Format})
			if err != nil {
				return nil, fmt.Errorf("%w: organisation %s: webhook %s: %w", ErrConfig, o.ID, w.Name, err)
			}
			out = append(out, notify.Webhook{Org: o.ID, Name: w.Name, MinSeverity: w.MinSeverity, MaxAge: w.MaxAge, Channel: channel})
		}
	}
	return out, nil
}

// readSecret reads the file that holds the key for signatures; empty without a file.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := readPrivate(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if len(s) < minSecret {
		return "", fmt.Errorf("secret file %s: the secret is shorter than %d characters; make one with: openssl rand -hex 24", path, minSecret)
	}
	return s, nil
}

// deliveries collects how notifications fare.
type deliveries struct{ t *Tier }

var (
	deliveriesDesc = prometheus.NewDesc("headcount_cloud_deliveries", "Notifications by state.", []string{"state"}, nil)
	channelsDesc   = prometheus.NewDesc("headcount_cloud_channel_deliveries", "Notifications by channel and state.", []string{"channel", "state"}, nil)
	breakersDesc   = prometheus.NewDesc("headcount_cloud_channel_breaker", "Circuit breaker of a channel: 1 for the state it is in.", []string{"channel", "state"}, nil)
)

// Describe lists the metrics.
func (c *deliveries) Describe(ch chan<- *prometheus.Desc) {
	ch <- deliveriesDesc
	ch <- channelsDesc
	ch <- breakersDesc
}

// Collect reads the tables; what cannot be read is left out and health says so.
func (c *deliveries) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := c.t.queryContext()
	defer cancel()
	gauge := func(desc *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v), labels...)
	}
	if counts, err := notify.Counts(ctx, c.t.db); err == nil {
		sums := map[notify.State]int{}
		for _, n := range counts {
			sums[n.State] += n.N
			gauge(channelsDesc, n.N, n.Channel, string(n.State))
		}
		for _, state := range notify.States {
			gauge(deliveriesDesc, sums[state], string(state))
		}
	}
	for _, s := range c.t.notify.Channels() {
		for _, state := range []deliver.Breaker{deliver.Closed, deliver.HalfOpen, deliver.Open} {
			v := 0
			if s.Breaker == state {
				v = 1
			}
			gauge(breakersDesc, v, s.Name, string(state))
		}
	}
}
