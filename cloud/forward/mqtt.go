package forward

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// MQTT publishes each event to a topic of a broker, with QoS 1.
type MQTT struct {
	URL      string // mqtt://HOST:1883 or mqtts://HOST:8883
	Username string
	Password string
	Roots    *x509.CertPool // instead of the system's; nil = those
	Topic    string         // headcount/{org}/{site}/{type} by default
	Retain   bool           // the broker keeps the newest of each topic
}

const defaultTopic = "headcount/{org}/{site}/{type}"

func (c *MQTT) check() error {
	if c.Topic == "" {
		c.Topic = defaultTopic
	}
	if _, err := checkAddress(c.URL, "mqtt", "mqtts"); err != nil {
		return err
	}
	return checkPattern("topic", c.Topic, "+#\x00")
}

// mqttTimeout bounds connecting and writing.
const mqttTimeout = 10 * time.Second

// mqttSink keeps a connection as long as it works.
type mqttSink struct {
	c      MQTT
	opts   *paho.ClientOptions
	client paho.Client // nil = not connected
}

func openMQTT(c MQTT) (Sink, error) {
	u, err := checkAddress(c.URL, "mqtt", "mqtts")
	if err != nil {
		return nil, err
	}
	scheme, port := "tcp", "1883"
	if u.Scheme == "mqtts" {
		scheme, port = "ssl", "8883"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	o := paho.NewClientOptions().AddBroker(scheme + "://" + u.Hostname() + ":" + port).SetClientID("headcount-cloud-" + rand.Text()[:8]).
		SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetConnectTimeout(mqttTimeout).SetWriteTimeout(mqttTimeout).SetUsername(c.Username).SetPassword(c.Password)
	if scheme == "ssl" {
		o.SetTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: c.Roots})
	}
	return &mqttSink{c: c, opts: o}, nil
}

// Send is of Sink: all events are on their way before the first acknowledgement is waited for.
func (s *mqttSink) Send(ctx context.Context, events []Event) (sent int, err error) {
	if s.client == nil || !s.client.IsConnectionOpen() {
		s.Close()
		client := paho.NewClient(s.opts)
		if err := wait(ctx, client.Connect()); err != nil {
			client.Disconnect(0)
			return 0, fmt.Errorf("mqtt: reach broker %s: %w", s.c.URL, err)
		}
		s.client = client
	}
	tokens := make([]paho.Token, len(events))
	for i, e := range events {
		tokens[i] = s.client.Publish(fill(s.c.Topic, e), 1, s.c.Retain, e.Body)
	}
	for i, t := range tokens {
		if err := wait(ctx, t); err != nil {
			s.Close() // what it still had to send must not come after what is sent again
			return i, fmt.Errorf("mqtt: publish to %s: %w", fill(s.c.Topic, events[i]), err)
		}
	}
	return len(events), nil
}

// wait waits for an acknowledgement.
func wait(ctx context.Context, t paho.Token) error {
	timer := time.NewTimer(mqttTimeout)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("no answer from the broker")
	}
}

// Close is of Sink.
func (s *mqttSink) Close() {
	if s.client != nil {
		s.client.Disconnect(100)
		s.client = nil
	}
}
