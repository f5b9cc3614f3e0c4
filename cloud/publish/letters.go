package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/sync/token"
)

// The streams of published events and of those that a consumer gave up.
const (
	EventStream      = "EV"
	DeadLetterStream = "DLQ"
)

// The headers of a dead letter, besides those that the message had.
const (
	HeaderSubject  = "Headcount-Subject"  // where it was published first
	HeaderError    = "Headcount-Error"    // why it is here
	HeaderSequence = "Headcount-Sequence" // its place in the stream EV
)

// advisories is where the server tells of messages that a consumer gave up.
const advisories = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + EventStream + ".*"

// advisory is what it tells.
type advisory struct {
	Consumer   string `json:"consumer"`
	Sequence   uint64 `json:"stream_seq"`
	Deliveries uint64 `json:"deliveries"`
}

// catch moves messages that a consumer of EV was given as often as it allows, without having
// acknowledged them, to the stream DLQ, until ctx ends. The consumer goes on with the next one
// by itself.
func (p *Publisher) catch(ctx context.Context) {
	told := make(chan *nats.Msg, 256)
	sub, err := p.o.Conn.ChanQueueSubscribe(advisories, "headcount-dead-letters", told)
	if err != nil {
		p.o.Log.Error("dead letters of NATS consumers are not caught", "err", err)
		return
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be closed already
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-told:
			if err := p.bury(ctx, m.Data); err != nil && ctx.Err() == nil {
				p.o.Log.Error("a dead letter was not kept; the message stays in the stream EV until it ages out", "advisory", string(m.Data), "err", err)
			}
		}
	}
}

func (p *Publisher) bury(ctx context.Context, body []byte) error {
	var a advisory
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("read advisory: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream, err := p.o.JetStream.Stream(ctx, EventStream)
	if err != nil {
		return err
	}
	raw, err := stream.GetMsg(ctx, a.Sequence)
	if err != nil {
		return fmt.Errorf("read message %d: %w", a.Sequence, err)
	}
	m := &nats.Msg{Subject: "dlq." + EventStream + "." + a.Consumer, Header: nats.Header{}, Data: raw.Data}
	for k, v := range raw.Header {
		m.Header[k] = v
	}
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s/%d/%d", a.Consumer, a.Sequence, a.Deliveries))
	m.Header.Set(HeaderSubject, raw.Subject)
	m.Header.Set(HeaderSequence, strconv.FormatUint(a.Sequence, 10))
	m.Header.Set(HeaderError, fmt.Sprintf("consumer %s did not acknowledge it in %d deliveries", a.Consumer, a.Deliveries))
	if _, err := p.o.JetStream.PublishMsg(ctx, m); err != nil {
		return err
	}
	p.stats.DeadLetters.Add(1)
	p.o.Log.Warn("a NATS consumer gave a message up", "consumer", a.Consumer, "subject", raw.Subject, "deliveries", a.Deliveries)
	return nil
}

// Letter is a message that a consumer gave up.
type Letter struct {
	ID       uint64          `json:"id"`
	Consumer string          `json:"consumer"`
	Subject  string          `json:"subject"` // where it was published first
	Error    string          `json:"error"`
	At       time.Time       `json:"at"`
	Event    json.RawMessage `json:"event"`
}

// maxLetters bounds one listing.
const maxLetters = 200

// Routes is the module's part of the API: dead letters of NATS consumers, for administrators of
// the organisation whose event it is.
func (p *Publisher) Routes() []route.Route {
	row := func(method, path, summary string, need route.Need, out any, h func(*route.Request) (any, error)) route.Route {
		return route.Route{Method: method, Path: "/v1/bus/dead-letters" + path, Tag: "services", Summary: summary, Need: need, Out: out, Handle: h}
	}
	own := route.Need{Of: p.ofLetter, Role: token.Admin}
	return []route.Route{
		row(http.MethodGet, "", "Events that a NATS consumer gave up, newest first", route.Need{SignedIn: true}, nil, p.list),
		row(http.MethodGet, "/{id}", "One of them", own, Letter{}, func(r *route.Request) (any, error) { return r.Found.(Letter), nil }),
		row(http.MethodPost, "/{id}/retry", "Publish it once more", own, nil, p.retry),
		row(http.MethodDelete, "/{id}", "Dismiss it", own, nil, p.drop),
	}
}

func letter(raw *jetstream.RawStreamMsg) Letter {
	l := Letter{
		ID: raw.Sequence, Consumer: strings.TrimPrefix(raw.Subject, "dlq."+EventStream+"."), Subject: raw.Header.Get(HeaderSubject),
		Error: raw.Header.Get(HeaderError), At: raw.Time.UTC(), Event: raw.Data,
	}
	if !json.Valid(raw.Data) {
		l.Event, _ = json.Marshal(string(raw.Data)) // a text always encodes
	}
	return l
}

// org is the organisation whose event a letter is.
func (l Letter) org() string {
	parts := strings.SplitN(l.Subject, ".", 3)
	if len(parts) < 3 || parts[0] != "ev" {
		return ""
	}
	return parts[1]
}

func (p *Publisher) ofLetter(r *route.Request) ([]string, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, route.ErrNotFound
	}
	stream, err := p.o.JetStream.Stream(r.Context(), DeadLetterStream)
	if err != nil {
		return nil, unavailable(err)
	}
	raw, err := stream.GetMsg(r.Context(), id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, route.ErrNotFound
	}
	if err != nil {
		return nil, unavailable(err)
	}
	l := letter(raw)
	r.Found = l
	return []string{l.org()}, nil
}

func unavailable(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return route.ErrNotFound
	}
	return route.Problem(http.StatusServiceUnavailable, "NATS does not answer; try again")
}

func (p *Publisher) list(r *route.Request) (any, error) {
	out := []Letter{}
	stream, err := p.o.JetStream.Stream(r.Context(), DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return map[string][]Letter{"dead_letters": out}, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	info := stream.CachedInfo().State
	for seq := info.LastSeq; seq >= info.FirstSeq && seq > 0 && len(out) < maxLetters && info.LastSeq-seq < 10*maxLetters; seq-- {
		raw, err := stream.GetMsg(r.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, unavailable(err)
		}
		if l := letter(raw); r.Who.Role(l.org()) >= token.Admin {
			out = append(out, l)
		}
	}
	return map[string][]Letter{"dead_letters": out}, nil
}

// retry publishes a letter's event again and takes the letter away.
func (p *Publisher) retry(r *route.Request) (any, error) {
	l := r.Found.(Letter)
	m := &nats.Msg{Subject: l.Subject, Data: l.Event, Header: nats.Header{"Content-Type": {contentType}}}
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("retry/%d", l.ID))
	if _, err := p.o.JetStream.PublishMsg(r.Context(), m); err != nil {
		return nil, unavailable(err)
	}
	return p.drop(r)
}

func (p *Publisher) drop(r *route.Request) (any, error) {
	stream, err := p.o.JetStream.Stream(r.Context(), DeadLetterStream)
	if err != nil {
		return nil, unavailable(err)
	}
	if err := stream.DeleteMsg(r.Context(), r.Found.(Letter).ID); err != nil {
		return nil, unavailable(err)
	}
	return nil, nil
}
