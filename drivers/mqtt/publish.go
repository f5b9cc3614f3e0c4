package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Publisher publishes single messages, each over a connection of its own: for alerts, which are
// rare. It may be used from many goroutines; nothing of it is left between messages.
type Publisher struct {
	Server       string // mqtt://HOST:1883 or mqtts://HOST:8883
	Username     string
	PasswordFile string // read for each message; mode 0600
	CAFile       string // certificates to trust instead of the system's
}

// Check says what is wrong with the settings.
func (p *Publisher) Check() error {
	_, err := p.options()
	return err
}

func (p *Publisher) options() (*paho.ClientOptions, error) {
	u, err := url.Parse(p.Server)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" {
		return nil, errors.New("want mqtt://HOST:1883 or mqtts://HOST:8883")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme]
	}
	scheme := map[string]string{"mqtt": "tcp", "mqtts": "ssl"}[u.Scheme]
	o := paho.NewClientOptions().AddBroker(scheme + "://" + u.Hostname() + ":" + port).SetClientID("headcount-" + rand.Text()[:12]).
		SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetConnectTimeout(connectTimeout).SetWriteTimeout(writeTimeout).SetUsername(p.Username)
	if p.PasswordFile != "" {
		password, err := readSecret(p.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
		o.SetPassword(password)
	}
	if u.Scheme == "mqtts" {
		c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
		if p.CAFile != "" {
			pem, err := os.ReadFile(p.CAFile)
			if err != nil {
				return nil, fmt.Errorf("ca_file: %w", err)
			}
			if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca_file: %s holds no certificate", p.CAFile)
			}
		}
		o.SetTLSConfig(c)
	}
	return o, nil
}

// Publish sends one message with QoS 1 and returns when the broker has acknowledged it.
func (p *Publisher) Publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	o, err := p.options()
	if err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	client := paho.NewClient(o)
	defer client.Disconnect(250)
	if err := wait(ctx, client.Connect(), connectTimeout); err != nil {
		return fmt.Errorf("mqtt: reach broker %s: %w", p.Server, err)
	}
	if err := wait(ctx, client.Publish(topic, 1, retain, payload), connectTimeout); err != nil {
		return fmt.Errorf("mqtt: publish to %s: %w", topic, err)
	}
	return nil
}
