package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Publisher publishes one MQTT message and returns when the broker has it.
type Publisher interface {
	Publish(ctx context.Context, topic string, payload []byte, retain bool) error
}

// MQTTOptions say what is published where: for a lamp or a sign.
type MQTTOptions struct {
	Topic   string // without wildcards
	Payload string // may hold {state} (on, off), {title}, {text}, {severity} and {subject}; empty = a CloudEvents JSON object
	Retain  bool   // the broker keeps it for who subscribes later
}

// MQTT is a channel that publishes to a topic.
type MQTT struct {
	to Publisher
	o  MQTTOptions
}

// NewMQTT makes an MQTT channel.
func NewMQTT(to Publisher, o MQTTOptions) (*MQTT, error) {
	if o.Topic == "" || strings.ContainsAny(o.Topic, "+#\x00") || len(o.Topic) > 1000 {
		return nil, fmt.Errorf("mqtt topic %q: want one without + and #", o.Topic)
	}
	if to == nil {
		return nil, errors.New("mqtt: no broker")
	}
	return &MQTT{to: to, o: o}, nil
}

// Deliver is Channel.
func (c *MQTT) Deliver(ctx context.Context, m Message) error {
	payload, err := c.payload(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return c.to.Publish(ctx, c.o.Topic, payload, c.o.Retain)
}

func (c *MQTT) payload(m Message) ([]byte, error) {
	if c.o.Payload == "" {
		return m.CloudEvent()
	}
	w := m.words()
	state := "on"
	if m.Type == "alert.cleared" {
		state = "off"
	}
	escape := func(s string) string { return s }
	if json.Valid([]byte(strings.NewReplacer("{state}", "", "{title}", "", "{text}", "", "{severity}", "", "{subject}", "").Replace(c.o.Payload))) {
		escape = jsonEscape
	}
	return []byte(strings.NewReplacer("{state}", state, "{title}", escape(w.Title), "{text}", escape(strings.TrimSpace(w.Text)),
		"{severity}", string(w.Severity), "{subject}", escape(m.Subject)).Replace(c.o.Payload)), nil
}
