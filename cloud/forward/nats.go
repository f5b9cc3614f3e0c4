package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS publishes each event to a subject of a NATS server that is not the cloud's own.
type NATS struct {
	URL         string // nats://HOST:4222 or tls://HOST:4222
	Credentials string // file; empty = none
	CAFile      string // certificates to trust instead of the system's
	Subject     string // headcount.{org}.{site}.{type} by default
	// JetStream waits until a stream has the event, and sends its id as Nats-Msg-Id; without it an
	// event is done with when the server has it, whoever listens.
	JetStream bool
}

const defaultSubject = "headcount.{org}.{site}.{type}"

func (c *NATS) check() error {
	if c.Subject == "" {
		c.Subject = defaultSubject
	}
	if _, err := checkAddress(c.URL, "nats", "tls"); err != nil {
		return err
	}
	return checkPattern("subject", c.Subject, "*>")
}

type natsSink struct {
	c    NATS
	conn *nats.Conn
	js   jetstream.JetStream
}

// openNATS makes the connection in the background: a server that is away is no mistake.
func openNATS(c NATS) (Sink, error) {
	opts := []nats.Option{nats.Name("headcount-cloud"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.Timeout(5 * time.Second)}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	conn, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &natsSink{c, conn, js}, nil
}

// Send is of Sink.
func (s *natsSink) Send(ctx context.Context, events []Event) (sent int, err error) {
	if !s.conn.IsConnected() {
		return 0, fmt.Errorf("nats: %s is not connected: %w", s.c.URL, errors.Join(s.conn.LastError()))
	}
	for i, e := range events {
		m := &nats.Msg{Subject: fill(s.c.Subject, e), Data: e.Body, Header: nats.Header{"Content-Type": {"application/cloudevents+json"}}}
		if !s.c.JetStream {
			err = s.conn.PublishMsg(m)
		} else if _, err = s.js.PublishMsg(ctx, m, jetstream.WithMsgID(e.Org+"-"+e.Key())); err == nil {
			sent = i + 1
		}
		if err != nil {
			return sent, fmt.Errorf("nats: publish to %s: %w", m.Subject, err)
		}
	}
	if !s.c.JetStream {
		if err := s.conn.FlushWithContext(ctx); err != nil {
			return 0, fmt.Errorf("nats: %w", err)
		}
	}
	return len(events), nil
}

// Close is of Sink.
func (s *natsSink) Close() { s.conn.Close() }
