package tier

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/headcount-hub/headcount/cloud/forward"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Sink is a system that gets the events of an organisation, in order: one of MQTT, NATS and SNS.
type Sink struct {
	Name  string    `yaml:"name"`  // of 1 to 32 of a-z 0-9 -; where it is in the events is kept under it
	Org   string    `yaml:"org"`   // whose events
	Types []string  `yaml:"types"` // such as alert.*; all by default
	Sites []string  `yaml:"sites"` // ids; all by default
	MQTT  *SinkMQTT `yaml:"mqtt"`
	NATS  *SinkNATS `yaml:"nats"`
	SNS   *SinkSNS  `yaml:"sns"`
}

// SinkMQTT is a broker that each event is published to, with QoS 1.
type SinkMQTT struct {
	URL          string `yaml:"url"` // mqtt://HOST:1883 or mqtts://HOST:8883
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // mode 0600
	CAFile       string `yaml:"ca_file"`       // certificates to trust instead of the system's
	Topic        string `yaml:"topic"`         // headcount/{org}/{site}/{type} by default
	Retain       bool   `yaml:"retain"`        // the broker keeps the newest of each topic
}

// SinkNATS is a NATS server that is not the cloud's own.
type SinkNATS struct {
	URL             string `yaml:"url"` // nats://HOST:4222 or tls://HOST:4222
	CredentialsFile string `yaml:"credentials_file"`
	CAFile          string `yaml:"ca_file"`   // certificates to trust instead of the system's
	Subject         string `yaml:"subject"`   // headcount.{org}.{site}.{type} by default
	JetStream       bool   `yaml:"jetstream"` // wait until a stream has it
}

// SinkSNS is a topic of AWS SNS.
type SinkSNS struct {
	TopicARN      string `yaml:"topic_arn"`       // arn:aws:sns:REGION:ACCOUNT:NAME
	AccessKeyID   string `yaml:"access_key_id"`   //
	SecretKeyFile string `yaml:"secret_key_file"` // mode 0600
	SessionFile   string `yaml:"session_token_file"`
	Endpoint      string `yaml:"endpoint"` // https://sns.REGION.amazonaws.com by default
}

// Sinks are those of a configuration.
type Sinks []Sink

// paths lists the files that the sinks name.
func (c Sinks) paths() []*string {
	var out []*string
	for i := range c {
		switch s := &c[i]; {
		case s.MQTT != nil:
			out = append(out, &s.MQTT.PasswordFile, &s.MQTT.CAFile)
		case s.NATS != nil:
			out = append(out, &s.NATS.CredentialsFile, &s.NATS.CAFile)
		case s.SNS != nil:
			out = append(out, &s.SNS.SecretKeyFile, &s.SNS.SessionFile)
		}
	}
	return out
}

func (c Sinks) check(bad func(string, ...any)) {
	names := map[string]bool{}
	for _, s := range c {
		o := s.plain()
		if err := o.Check(); err != nil {
			bad("sink %q: %v", s.Name, err)
		}
		if names[s.Name] {
			bad("sink %q is there twice", s.Name)
		}
		names[s.Name] = true
		if s.SNS != nil && s.SNS.SecretKeyFile == "" {
			bad("sink %q: secret_key_file is missing", s.Name)
		}
	}
}

// plain is the sink without what stands in files.
func (s *Sink) plain() forward.SinkConfig {
	out := forward.SinkConfig{Name: s.Name, Org: s.Org, Types: s.Types, Sites: s.Sites}
	if m := s.MQTT; m != nil {
		out.MQTT = &forward.MQTT{URL: m.URL, Username: m.Username, Topic: m.Topic, Retain: m.Retain}
	}
	if n := s.NATS; n != nil {
		out.NATS = &forward.NATS{URL: n.URL, Credentials: n.CredentialsFile, CAFile: n.CAFile, Subject: n.Subject, JetStream: n.JetStream}
	}
	if n := s.SNS; n != nil {
		out.SNS = &forward.SNS{TopicARN: n.TopicARN, AccessKeyID: n.AccessKeyID, Endpoint: n.Endpoint}
	}
	return out
}

// read is the sink with what stands in files.
func (s *Sink) read() (out forward.SinkConfig, err error) {
	out = s.plain()
	switch {
	case s.MQTT != nil:
		if out.MQTT.Password, err = readPassword(s.MQTT.PasswordFile); err != nil || s.MQTT.CAFile == "" {
			return out, err
		}
		pem, err := os.ReadFile(s.MQTT.CAFile)
		if err != nil {
			return out, err
		}
		if out.MQTT.Roots = x509.NewCertPool(); !out.MQTT.Roots.AppendCertsFromPEM(pem) {
			return out, fmt.Errorf("ca_file %s holds no certificate", s.MQTT.CAFile)
		}
	case s.SNS != nil:
		if out.SNS.SecretKey, err = readPassword(s.SNS.SecretKeyFile); err != nil {
			return out, err
		}
		out.SNS.SessionToken, err = readPassword(s.SNS.SessionFile)
	}
	return out, err
}

// openForward builds the module that sends events to systems outside.
func (t *Tier) openForward(ctx context.Context) (part, error) {
	where, err := t.cfg.database()
	if err != nil {
		return part{}, err
	}
	o := forward.Options{
		DB: t.db, Domains: twin.Domains, Private: t.cfg.Notify.AllowPrivate, Alone: !store.IsURL(where), Log: t.cfg.Log,
		Tell: func(tx *store.Tx, org, key, title, text, link string) error {
			return t.tellAdmins(ctx, tx, org, notify.Notice{Key: key, Org: org, Kind: "webhook", Title: title, Text: text, Link: link, Severity: edge.Warning})
		},
	}
	for _, s := range t.cfg.Sinks {
		sink, err := s.read()
		if err != nil {
			return part{}, fmt.Errorf("%w: sink %s: %w", ErrConfig, s.Name, err)
		}
		o.Sinks = append(o.Sinks, sink)
	}
	m, err := forward.Open(ctx, o)
	if err != nil {
		return part{}, err
	}
	return part{routes: m.Routes(), run: m.Run, close: m.Close}, nil
}

// tellAdmins puts a notice into the inbox of each admin of an organisation.
func (t *Tier) tellAdmins(ctx context.Context, tx *store.Tx, org string, n notify.Notice) error {
	admins, err := t.accounts.Members(context.WithoutCancel(ctx), org, token.Admin)
	if err != nil {
		return err
	}
	for _, a := range admins {
		if strings.TrimSpace(a.ID) == "" || !a.Active {
			continue
		}
		n.User = a.ID
		if err := t.notify.Tell(tx, n); err != nil {
			return err
		}
	}
	return nil
}
