// Package natslink carries the uplink's messages over NATS. It is the only importer of nats.go on
// the hub's side.
//
// A link reconnects for ever, with growing jittered pauses. A line on which nothing comes back is
// noticed within 15 s. Nothing is buffered for later: what cannot be sent now is refused, as the
// journal keeps it. Being offline and not being allowed are told apart, and so is a server that
// takes a message and cannot store it. Beyond loopback it speaks TLS or not at all.
package natslink

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/sync/wire"
)

// Options say where to connect and as whom. URL, Org and Site are required.
type Options struct {
	URL  string // "tls://nats.example.org:4222", several separated by commas
	Org  string
	Site string
	// CredentialsFile is the .creds file the cloud issued. It must not be readable by everybody.
	CredentialsFile string
	// CAFile has the certificates to trust instead of the system's.
	CAFile string
	// TLS overrides how TLS is spoken; nil is the default.
	TLS *tls.Config
	// AllowPlain permits plain text beyond loopback, for test networks.
	AllowPlain bool
	// Ping is the time between pings, 5 s by default. A dead line is noticed when the third stays
	// without answer.
	Ping time.Duration
	// Header gives further headers of a batch's message; nil = none.
	Header func(wire.Batch) map[string][]string
	Log    *slog.Logger
}

// The default of Ping, and how many pings may be unanswered.
const (
	pingInterval = 5 * time.Second
	pingsOut     = 2
)

// The pauses between attempts to connect double from the first to the last.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

// writeTimeout bounds how long a write to a stalled line blocks.
const writeTimeout = 10 * time.Second

// Link is a connection that comes back. It may be used from any goroutine.
type Link struct {
	opts Options
	conn *nats.Conn
	acks string // where the server confirms or refuses what is published

	current atomic.Pointer[nats.Conn] // conn, for callbacks that may run before Open returns

	changed chan struct{} // of size 1: State has changed

	mu         sync.Mutex
	dialled    int    // connections so far
	connection int    // the present one, 0 = none
	reason     string // why there is none, or what the server refuses
}

// Open starts to connect and returns; State tells how it goes. An error means that the options
// cannot work.
func Open(opts Options) (*Link, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if !wire.ValidToken(opts.Org) || !wire.ValidToken(opts.Site) {
		return nil, fmt.Errorf("uplink: organisation %q, site %q: want 1 to 64 of a-z 0-9 _ -", opts.Org, opts.Site)
	}
	l := &Link{opts: opts, changed: make(chan struct{}, 1), reason: "offline: connecting to " + opts.URL}
	options, err := l.options()
	if err != nil {
		return nil, err
	}
	if l.conn, err = nats.Connect(opts.URL, options...); err != nil {
		return nil, fmt.Errorf("uplink: connect to %s: %w", opts.URL, err)
	}
	l.current.Store(l.conn)
	l.acks = l.conn.NewInbox()
	if _, err := l.conn.Subscribe(l.acks, l.acked); err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("uplink: %w", err)
	}
	return l, nil
}

// Close ends the connection.
func (l *Link) Close() { l.conn.Close() }

func (l *Link) options() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("headcount " + l.opts.Org + "/" + l.opts.Site),
		nats.CustomInboxPrefix(wire.InboxPrefix(l.opts.Org, l.opts.Site)),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), nats.CustomReconnectDelay(l.pause),
		nats.PingInterval(cmp.Or(l.opts.Ping, pingInterval)), nats.MaxPingsOutstanding(pingsOut),
		nats.Timeout(writeTimeout), nats.FlusherTimeout(writeTimeout),
		nats.ConnectHandler(l.up), nats.ReconnectHandler(l.up),
		nats.DisconnectErrHandler(l.lost), nats.ReconnectErrHandler(l.down),
		nats.ErrorHandler(l.failed),
	}
	if file := l.opts.CredentialsFile; file != "" {
		if err := checkSecret(file); err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserCredentials(file))
	}
	if file := l.opts.CAFile; file != "" {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("uplink: read CA certificates: %w", err)
		}
		opts = append(opts, nats.RootCAs(file))
	}
	switch local, err := allLoopback(l.opts.URL); {
	case err != nil:
		return nil, err
	case l.opts.TLS != nil:
		opts = append(opts, nats.Secure(l.opts.TLS))
	case !local && !l.opts.AllowPlain:
		opts = append(opts, nats.Secure())
	}
	return opts, nil
}

// pause is how long to wait before the next attempt: half of a doubling time, plus up to the
// other half at random, so that hubs do not come back all at once. An attempt that the server
// refused is reported nowhere else.
func (l *Link) pause(attempts int) time.Duration {
	if c := l.current.Load(); c != nil && authError(c.LastError()) != "" {
		l.down(c, c.LastError())
	}
	d := lastPause
	if attempts < 7 {
		d = min(lastPause, firstPause<<(attempts-1))
	}
	return d/2 + rand.N(d/2)
}

// checkSecret refuses a credentials file that is missing or that everybody may read.
func checkSecret(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("uplink: read credentials: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("uplink: credentials %s may be read by everybody (mode %04o): chmod 600", path, info.Mode().Perm())
	}
	return nil
}

// allLoopback tells whether all servers are on this machine.
func allLoopback(urls string) (bool, error) {
	for _, s := range strings.Split(urls, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return false, fmt.Errorf("uplink: %q is no URL of a NATS server, want tls://HOST:4222", s)
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false, nil
		}
	}
	return true, nil
}

// set notes a change of state.
func (l *Link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	connection, reason := l.connection, l.reason
	change()
	if connection == l.connection && reason == l.reason {
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *Link) up(c *nats.Conn) {
	l.opts.Log.Info("uplink connected", "server", c.ConnectedUrlRedacted())
	l.set(func() {
		l.dialled++
		l.connection, l.reason = l.dialled, ""
	})
}

// lost is told that the connection has ended. When the server ended it because of the
// credentials, it has said so before.
func (l *Link) lost(c *nats.Conn, err error) {
	if connection, reason := l.State(); connection == 0 && strings.HasPrefix(reason, notAllowed) {
		return
	}
	if err == nil {
		err = errors.New("connection lost")
	}
	l.down(c, err)
}

// down is told why there is no connection, and why each attempt to get one fails.
func (l *Link) down(c *nats.Conn, err error) {
	if c.IsClosed() {
		return
	}
	reason := authError(err)
	if reason == "" {
		reason = "offline: " + plain(err)
	}
	l.set(func() {
		if l.reason != reason {
			l.opts.Log.Warn("uplink down", "reason", reason)
		}
		l.connection, l.reason = 0, reason
	})
}

// plain says in words what the ends of a connection say in abbreviations.
func plain(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the other end closed the connection; trying again"
	}
	return err.Error()
}

// notAllowed begins the reasons that mean that the cloud does not want this hub.
const notAllowed = "not allowed: "

// authError says what is wrong with the credentials; empty for any other error.
func authError(err error) string {
	switch {
	case errors.Is(err, nats.ErrAuthRevoked):
		return notAllowed + "the credentials were revoked; enrol the hub anew"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return notAllowed + "the credentials have expired; enrol the hub anew"
	case errors.Is(err, nats.ErrAuthorization):
		return notAllowed + "the server refuses the credentials; enrol the hub anew"
	}
	return ""
}

// failed is told what goes wrong on a connection that stays. A permission violation comes this
// way only: the request that caused it just times out.
func (l *Link) failed(c *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		l.refused(notAllowed + err.Error())
	case authError(err) != "":
		l.down(c, err)
	default:
		l.opts.Log.Warn("uplink", "error", err)
	}
}

func (l *Link) refused(reason string) {
	l.set(func() {
		if l.connection == 0 {
			return
		}
		if l.reason != reason {
			l.opts.Log.Error("uplink refused", "reason", reason)
		}
		l.reason = reason
	})
}

// acked takes what the server says to a batch: stored, or why not. Stored means nothing for the
// journal, only the mark does.
func (l *Link) acked(m *nats.Msg) {
	if m.Header.Get("Status") == "503" {
		l.refused("refused: the cloud has no stream for organisation " + l.opts.Org)
		return
	}
	var ack struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		l.opts.Log.Warn("answer to a batch cannot be read", "error", err)
		return
	}
	if ack.Error != nil {
		l.refused("refused: the cloud cannot store what is sent: " + ack.Error.Description)
		return
	}
	l.set(func() {
		if l.connection > 0 {
			l.reason = ""
		}
	})
}

// State numbers the connection, 0 while there is none. reason says why it is down ("offline: …",
// "not allowed: …"), or, while it is up, why the server refuses what is sent.
func (l *Link) State() (connection int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connection, l.reason
}

// Changed holds a token after State has changed.
func (l *Link) Changed() <-chan struct{} { return l.changed }

// Publish hands a batch to the connection. It does not wait for the server.
func (l *Link) Publish(_ context.Context, b wire.Batch) error {
	header, payload, err := wire.Encode(b)
	if err != nil {
		return err
	}
	if l.opts.Header != nil {
		maps.Copy(header, l.opts.Header(b))
	}
	err = l.conn.PublishMsg(&nats.Msg{
		Subject: wire.UpSubject(l.opts.Org, l.opts.Site, string(b.Lane)),
		Reply:   l.acks, Header: header, Data: payload,
	})
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("publish %d bytes: %w (it takes %d bytes)", len(payload), wire.ErrTooLarge, l.conn.MaxPayload())
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", b.Lane, err)
	}
	return nil
}

// Request asks the cloud and waits for the answer until ctx ends.
func (l *Link) Request(ctx context.Context, what string, body []byte) ([]byte, error) {
	m, err := l.conn.RequestWithContext(ctx, wire.UpSubject(l.opts.Org, l.opts.Site, what), body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, errors.New("nobody listens there: its ingest is not running")
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("%s of %d bytes: %w", what, len(body), wire.ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return m.Data, nil
}

// Receive calls f, one call at a time, for each push of down.….<what> until stop is called. It
// lasts across reconnects.
func (l *Link) Receive(what string, f func(body []byte)) (stop func(), err error) {
	subject := wire.DownSubject(l.opts.Org, l.opts.Site, what)
	sub, err := l.conn.Subscribe(subject, func(m *nats.Msg) { f(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			l.opts.Log.Warn("stop listening", "subject", subject, "error", err)
		}
	}, nil
}
