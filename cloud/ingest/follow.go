package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/wire"
)

// The sizes of one group: what is applied in one transaction.
const (
	groupMessages = 256
	groupRecords  = 4096 // bounds memory whatever the messages' compression
	fetchMessages = 64
)

const requestTimeout = 5 * time.Second

// message is one batch message as it came from a stream.
type message struct {
	org, site, what string
	header          map[string][]string
	body            []byte
	seq             uint64 // its place in the stream
}

// follow applies an organisation's stream until ctx ends, and begins again at the stored place
// whenever something fails.
func (in *Ingest) follow(ctx context.Context, org string) {
	what := "stream " + wire.StreamName(org)
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		started := time.Now()
		err := in.followOnce(ctx, org, what)
		if time.Since(started) > 10*time.Second {
			wait = 100 * time.Millisecond
		}
		if !errors.Is(err, errAnew) {
			in.report(ctx, what, err)
			wait = min(2*wait, 5*time.Second)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// errAnew says that the stream is another one now, or that messages were lost between it and
// here: begin again at the stored place.
var errAnew = errors.New("begin again")

// reader reads one stream in order.
type reader struct {
	stream   jetstream.Stream
	consumer jetstream.Consumer
	tag      string // identity of the stream
	expected uint64 // consumer sequence of the next message
	idle     time.Duration
}

// open begins after the stored place; a stream that was made anew is read from its beginning.
func (in *Ingest) open(ctx context.Context, org string) (*reader, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := in.cfg.JetStream.Stream(ctx, wire.StreamName(org))
	if errors.Is(err, jetstream.ErrStreamNotFound) && in.cfg.MakeStream != nil {
		in.cfg.Log.Warn("the stream is gone and is made anew", "stream", wire.StreamName(org))
		if err = in.cfg.MakeStream(ctx, org); err == nil {
			stream, err = in.cfg.JetStream.Stream(ctx, wire.StreamName(org))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	cursor, err := in.cfg.DB.Cursor(ctx, wire.StreamName(org))
	if err != nil {
		return nil, err
	}
	r := &reader{stream: stream, tag: identity(stream.CachedInfo()), expected: 1, idle: in.cfg.Discover}
	if cursor.Tag != r.tag || cursor.Position > stream.CachedInfo().State.LastSeq {
		cursor.Position = 0
	}
	r.consumer, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: cursor.Position + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	return r, nil
}

// identity tells one stream from another that was made under the same name.
func identity(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

func (in *Ingest) followOnce(ctx context.Context, org, what string) error {
	r, err := in.open(ctx, org)
	if err != nil {
		return err
	}
	in.report(ctx, what, nil)
	for ctx.Err() == nil {
		group, err := r.next(ctx)
		if err != nil {
			return err
		}
		if len(group) == 0 {
			continue
		}
		place := store.Cursor{Position: group[len(group)-1].seq, Tag: r.tag}
		if err := in.apply(ctx, wire.StreamName(org), place, group); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// next waits for one message and takes what else is there, up to a group. Nothing after a
// while is no error.
func (r *reader) next(ctx context.Context) ([]message, error) {
	waiting, cancel := context.WithTimeout(ctx, r.idle)
	defer cancel()
	first, err := r.consumer.Next(jetstream.FetchContext(waiting))
	if ctx.Err() == nil && (errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)) {
		return nil, r.check(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	group, records, err := r.take(nil, 0, first)
	for err == nil && len(group) < groupMessages && records < groupRecords {
		var more jetstream.MessageBatch
		if more, err = r.consumer.FetchNoWait(fetchMessages); err != nil {
			return nil, fmt.Errorf("read stream: %w", err)
		}
		before := len(group)
		for m := range more.Messages() {
			if err == nil {
				group, records, err = r.take(group, records, m)
			}
		}
		if err == nil {
			err = more.Error()
		}
		if len(group)-before < fetchMessages {
			break
		}
	}
	if err != nil && len(group) == 0 {
		return nil, err
	}
	return group, nil // what is in order is applied; a fault shows again on the next call
}

// take adds a message to the group when it is the next one.
func (r *reader) take(group []message, records int, m jetstream.Msg) ([]message, int, error) {
	meta, err := m.Metadata()
	if err != nil {
		return group, records, fmt.Errorf("read stream: %w", err)
	}
	if meta.Sequence.Consumer != r.expected {
		return group, records, errAnew
	}
	r.expected++
	msg := message{header: m.Headers(), body: m.Data(), seq: meta.Sequence.Stream}
	var ok bool
	if msg.org, msg.site, msg.what, ok = wire.ParseUp(m.Subject()); !ok {
		msg.what = m.Subject()
	}
	n, _ := strconv.Atoi(m.Headers().Get(wire.HeaderCount)) // checked when it is decoded
	return append(group, msg), records + max(1, n), nil
}

// check tells whether the stream is still the one that was opened.
func (r *reader) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at stream: %w", err)
	}
	if identity(info) != r.tag {
		return errAnew
	}
	if _, err := r.consumer.Info(ctx); err != nil { // the server may have dropped it
		return errAnew
	}
	return nil
}
