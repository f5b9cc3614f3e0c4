package hub

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/headcount-hub/headcount/drivers/mqtt"
	"github.com/headcount-hub/headcount/drivers/serialport"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/edge/engine"
)

// buildChannels makes the channels that alerts can name.
func (h *Hub) buildChannels() error {
	channels := map[string]deliver.Channel{}
	for name, a := range h.cfg.Actions {
		c, err := h.channel(name, a)
		if err != nil {
			return fmt.Errorf("%s: action %s: %w", a.Pos, name, err)
		}
		channels[name] = c
	}
	h.parts.channels = channels
	return nil
}

// channel makes the channel of an action. What it talks to is not touched.
func (h *Hub) channel(name string, a config.Action) (deliver.Channel, error) {
	secret, err := secretOf(a.SecretFile)
	if err != nil {
		return nil, err
	}
	password, err := secretOf(a.Password)
	if err != nil {
		return nil, err
	}
	switch a.Kind {
	case config.LogAction:
		return deliver.Log{Log: h.log.With("action", name)}, nil
	case config.WebhookAction:
		return made(deliver.NewWebhook(deliver.WebhookOptions{URL: a.Webhook, Secret: []byte(secret), Format: deliver.Format(a.Format), Timeout: a.Timeout}))
	case config.MailAction:
		return mailChannel(a, password)
	case config.NtfyAction:
		return made(deliver.NewNtfy(deliver.NtfyOptions{URL: a.URL, Token: password, Timeout: a.Timeout}))
	case config.ChatAction:
		return made(deliver.NewChat(deliver.ChatOptions{URL: a.URL, Timeout: a.Timeout}))
	case config.MQTTAction:
		return mqttChannel(a)
	case config.SMSAction:
		if a.Modem != "" {
			return modemChannel(a, password)
		}
		return made(deliver.NewSMS(deliver.SMSOptions{URL: a.URL, Body: a.Body, Secret: secret, To: a.To, Timeout: a.Timeout}))
	}
	return nil, fmt.Errorf("no kind of action is called %q", a.Kind)
}

// made keeps a nil pointer from becoming a Channel that is not nil.
func made[C deliver.Channel](c C, err error) (deliver.Channel, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func secretOf(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := config.ReadSecret(file)
	return string(b), err
}

func mailChannel(a config.Action, password string) (deliver.Channel, error) {
	for _, to := range a.To {
		if err := deliver.CheckAddress(to); err != nil {
			return nil, err
		}
	}
	opts := deliver.MailOptions{Server: a.Server, From: a.From, Password: password, To: a.To, Timeout: a.Timeout}
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if opts.Roots = x509.NewCertPool(); !opts.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", a.CAFile)
		}
	}
	return made(deliver.NewMailer(opts))
}

// mqttChannel takes mqtt://user@host:1883/topic apart.
func mqttChannel(a config.Action) (deliver.Channel, error) {
	u, err := url.Parse(a.URL)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("mqtt: want mqtt://user@host:1883/topic")
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("mqtt: the password belongs into password_file")
	}
	to := &mqtt.Publisher{Server: u.Scheme + "://" + u.Host, Username: u.User.Username(), PasswordFile: a.Password, CAFile: a.CAFile}
	if err := to.Check(); err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	return made(deliver.NewMQTT(to, deliver.MQTTOptions{Topic: strings.TrimPrefix(u.Path, "/"), Payload: a.Payload, Retain: a.Retain}))
}

// actionStatus is how the actions fare, by name.
func (h *Hub) actionStatus(waiting []engine.Job) []api.Action {
	pending := map[string]int{}
	for _, j := range waiting {
		pending[j.Action]++
	}
	var out []api.Action
	for _, c := range h.actions.Status() {
		out = append(out, api.Action{
			Name: c.Name, Kind: string(h.cfg.Actions[c.Name].Kind), Pending: pending[c.Name], Breaker: string(c.Breaker),
			PausedTo: c.PausedTo, LastError: c.LastError, LastOK: c.LastOK,
		})
	}
	return out
}

func modemChannel(a config.Action, pin string) (deliver.Channel, error) {
	id, mode := serialport.Identity{Path: a.Modem}, serialport.Mode{Baud: a.Baud}
	if err := errors.Join(id.Check(), mode.Check()); err != nil {
		return nil, fmt.Errorf("modem: %w", err)
	}
	open := func() (deliver.Port, error) {
		port, err := serialport.Open(id, mode)
		if err != nil {
			return nil, err
		}
		return port, nil
	}
	return made(deliver.NewModem(deliver.ModemOptions{Open: open, To: a.To, PIN: pin, Timeout: a.Timeout}))
}
