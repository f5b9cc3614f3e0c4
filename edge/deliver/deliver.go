// Package deliver tells people and systems about events: channels that carry one message, and a
// Runner that keeps trying what a durable queue holds.
//
// A message is delivered at least once, with the same key each time, and ends in exactly one
// result: delivered, or given up with the reason. The queue is the caller's and survives it: the
// hub keeps it in its journal, a cloud in SQL. Messages of one channel with the same Order arrive
// in the order of the queue; a message that fails holds up nothing else. A channel that keeps
// failing is left alone for a while.
//
// It refuses to follow redirects, and, where asked to, to call private addresses.
package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Message is one event for one receiver.
type Message struct {
	Key     string                  `json:"key"`               // the same when it is sent again; the CloudEvents id
	Source  string                  `json:"source,omitempty"`  // where it happened: the site
	Type    string                  `json:"type"`              // of the event
	Subject string                  `json:"subject,omitempty"` // what it is about; may be empty
	At      time.Time               `json:"at"`                // when it happened
	Data    json.RawMessage         `json:"data,omitempty"`    // a JSON object
	Trace   string                  `json:"trace,omitempty"`   // W3C traceparent of what it belongs to; empty = none
	To      []string                `json:"to,omitempty"`      // addresses; empty = those of the channel
	Words   `json:"words,omitzero"` // for channels that people read
}

// Words is what people read of a message. Channels for machines ignore it.
type Words struct {
	Title    string        `json:"title,omitempty"` // one line
	Text     string        `json:"text,omitempty"`  // what, where, since when, what to do
	Severity edge.Severity `json:"severity,omitempty"`
	Link     string        `json:"link,omitempty"` // where there is more
	Ack      string        `json:"ack,omitempty"`  // one-time address by which an alert is acknowledged
}

// Channel carries a message and returns when the receiver has it. It may be called from several
// goroutines. An error that wraps ErrRefused will not be better another time; one that wraps
// RetryAfter says when it may be.
type Channel interface {
	Deliver(ctx context.Context, m Message) error
}

// ErrRefused says that the receiver does not want this message, now or later.
var ErrRefused = errors.New("refused by the receiver")

// RetryAfter is the error of a receiver that asks to be left alone for a time.
type RetryAfter struct {
	Wait time.Duration
	Err  error
}

func (e *RetryAfter) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RetryAfter) Unwrap() error { return e.Err }

// CloudEvent is the message as a CloudEvents 1.0 JSON object, what a webhook gets.
func (m Message) CloudEvent() ([]byte, error) {
	return json.Marshal(struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject,omitempty"`
		Time        time.Time       `json:"time,omitzero"`
		ContentType string          `json:"datacontenttype"`
		Data        json.RawMessage `json:"data,omitempty"`
	}{"1.0", m.Key, m.Source, m.Type, m.Subject, m.At.UTC(), "application/json", m.Data})
}

// Log is a channel that writes messages to a log.
type Log struct{ Log *slog.Logger }

// Deliver is Channel.
func (l Log) Deliver(ctx context.Context, m Message) error {
	l.Log.LogAttrs(ctx, slog.LevelWarn, "event", slog.String("type", m.Type), slog.String("subject", m.Subject),
		slog.String("source", m.Source), slog.Time("at", m.At), slog.String("key", m.Key), slog.String("data", string(m.Data)))
	return nil
}
