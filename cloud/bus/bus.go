// Package bus is the cloud's NATS: an embedded server with JetStream, or an external cluster by
// URL; the streams that store what hubs send; the credentials hubs come with.
//
// It guarantees that the stream of an organisation exists while it is served, that a site's
// credentials reach that site's subjects and nothing else, and that a revoked site is cut off at
// once, also after a restart. It refuses to listen beyond loopback without TLS.
//
// JetStream is a buffer here and never the truth: its store may be lost at any time, as hubs
// forget nothing before the cloud's own mark has passed it.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say which NATS to use. The zero value of a field means its default.
type Options struct {
	// Dir holds keys, account and the record of issued credentials (0600 in 0700), and in
	// "jetstream" the embedded server's streams. Required unless URL is set.
	Dir string
	// Listen is the embedded server's address, "127.0.0.1:4222" by default; port 0 takes any free
	// one. Anything beyond loopback requires TLS.
	Listen string
	// TLS secures Listen; nil is plain text.
	TLS *tls.Config
	// AllowPlain permits Listen beyond loopback without TLS, for test networks.
	AllowPlain bool
	// Advertise is the URL that hubs are told to use; the listener's own by default.
	Advertise string

	// URL names an external NATS cluster; then no server is embedded. CredentialsFile is the
	// cloud's user there. AccountSeedFile is the seed of the account or of one of its signing
	// keys; without it Enrol is refused and hubs get their credentials from whoever runs NATS.
	// An external server must allow the cloud's user JetStream, up.> and down.>.
	URL             string
	CredentialsFile string
	AccountSeedFile string
	// AccountID is the account's public key, needed when AccountSeedFile holds a signing key.
	AccountID string

	// Orgs are the organisations served from the start; EnsureOrg adds others.
	Orgs []string
	// Replicas of each stream, 1 by default. MaxAge is how long a stream keeps batches, 30 days
	// by default; MaxBytes bounds a stream, 8 GiB by default. A full stream refuses what is new:
	// hubs keep it.
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
	// SyncInterval is how often the embedded server syncs its streams to disk, 10 s by default;
	// SyncAlways syncs every message. Neither matters for safety: hubs re-send what is lost.
	SyncInterval time.Duration
	SyncAlways   bool

	Log *slog.Logger
}

// The defaults of Options.
const (
	defaultListen   = "127.0.0.1:4222"
	defaultMaxAge   = 30 * 24 * time.Hour
	defaultMaxBytes = 8 << 30
	defaultSync     = 10 * time.Second
)

// startTimeout bounds how long Start waits for the embedded server or the external cluster.
const startTimeout = 10 * time.Second

// ErrExternal is returned by what only the embedded server can do.
var ErrExternal = errors.New("not possible with an external NATS cluster")

// Bus is a running connection to NATS, and the embedded server if there is one. Its methods may be
// called from many goroutines.
type Bus struct {
	opts Options
	srv  *server.Server // nil when external
	conn *nats.Conn
	js   jetstream.JetStream

	mu   sync.Mutex // guards auth and the files it writes
	auth *issuer
}

// Start starts the embedded server or connects to the external one, and sees to it that the
// streams of all organisations exist. ctx bounds the start only; Shutdown ends what runs.
func Start(ctx context.Context, opts Options) (*Bus, error) {
	opts.setDefaults()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	b := &Bus{opts: opts}
	if err := b.start(ctx); err != nil {
		b.Shutdown()
		return nil, err
	}
	return b, nil
}

func (o *Options) setDefaults() {
	setDefault(&o.Listen, defaultListen)
	setDefault(&o.Replicas, 1)
	setDefault(&o.MaxAge, defaultMaxAge)
	setDefault(&o.MaxBytes, defaultMaxBytes)
	setDefault(&o.SyncInterval, defaultSync)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (b *Bus) start(ctx context.Context) error {
	connect := b.startEmbedded
	if b.opts.URL != "" {
		connect = b.connectExternal
	}
	if err := connect(ctx); err != nil {
		return err
	}
	var err error
	if b.js, err = jetstream.New(b.conn); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	for _, org := range b.opts.Orgs {
		if err := b.EnsureOrg(ctx, org); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) startEmbedded(ctx context.Context) error {
	if b.opts.Dir == "" {
		return errors.New("start NATS: no directory given for its keys and streams")
	}
	host, port, err := listenAddress(b.opts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("create the NATS directory: %w", err)
	}
	if b.auth, err = openIssuer(b.opts.Dir); err != nil {
		return err
	}
	resolver := &server.MemAccResolver{}
	for id, token := range b.auth.accounts() {
		if err := resolver.Store(id, token); err != nil {
			return fmt.Errorf("store NATS account: %w", err)
		}
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "headcount", Host: host, Port: port,
		TLS: b.opts.TLS != nil, TLSConfig: b.opts.TLS, TLSTimeout: 5,
		NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(b.opts.Dir, "jetstream"), JetStreamMaxStore: 1 << 50,
		SyncInterval: b.opts.SyncInterval, SyncAlways: b.opts.SyncAlways,
		TrustedOperators: b.auth.operators(), AccountResolver: resolver, SystemAccount: b.auth.systemID(),
	})
	if err != nil {
		return fmt.Errorf("start NATS server: %w", err)
	}
	b.srv = srv
	log := &serverLog{log: b.opts.Log, fatal: make(chan string, 1)}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if err := awaitReady(ctx, srv, log.fatal); err != nil {
		return err
	}
	user, seed, err := b.auth.cloudUser()
	if err != nil {
		return err
	}
	return b.connect("", nats.InProcessServer(srv), nats.UserJWTAndSeed(user, seed))
}

// awaitReady waits until the server takes connections or says why it cannot.
func awaitReady(ctx context.Context, srv *server.Server, fatal <-chan string) error {
	for {
		select {
		case why := <-fatal:
			return fmt.Errorf("start NATS server: %s", why)
		case <-ctx.Done():
			return fmt.Errorf("start NATS server: not ready: %w", ctx.Err())
		default:
		}
		if srv.ReadyForConnections(20 * time.Millisecond) {
			return nil
		}
	}
}

func (b *Bus) connectExternal(context.Context) error {
	if b.opts.AccountSeedFile != "" {
		var err error
		if b.auth, err = externalIssuer(b.opts.AccountSeedFile, b.opts.AccountID); err != nil {
			return err
		}
	}
	var opts []nats.Option
	if b.opts.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(b.opts.CredentialsFile))
	}
	if b.opts.TLS != nil {
		opts = append(opts, nats.Secure(b.opts.TLS))
	}
	return b.connect(b.opts.URL, opts...)
}

func (b *Bus) connect(url string, opts ...nats.Option) error {
	log := b.opts.Log
	opts = append(opts, nats.Name("headcount-cloud"), nats.Timeout(5*time.Second),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS connection is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Error("NATS error", "error", err, "subject", subject)
		}))
	conn, err := nats.Connect(url, opts...)
	if err != nil {
		return fmt.Errorf("connect to NATS %s: %w", url, err)
	}
	b.conn = conn
	return nil
}

// listenAddress splits Listen and refuses plain text beyond loopback.
func listenAddress(o Options) (host string, port int, err error) {
	addr, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("NATS listen address %q: %w", o.Listen, err)
	}
	if o.TLS == nil && !o.AllowPlain && !addr.IP.IsLoopback() {
		return "", 0, fmt.Errorf("NATS listen address %q is beyond loopback and has no TLS: configure a certificate", o.Listen)
	}
	host = "0.0.0.0"
	if addr.IP != nil {
		host = addr.IP.String()
	}
	port = addr.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Conn is the cloud's own connection: in process to the embedded server. It stays valid, and
// reconnects by itself, until Shutdown.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream is the JetStream API on Conn.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// ClientURL is the URL hubs connect to.
func (b *Bus) ClientURL() string {
	switch {
	case b.opts.Advertise != "":
		return b.opts.Advertise
	case b.srv != nil:
		return b.srv.ClientURL()
	}
	return b.opts.URL
}

// Shutdown closes the connection and stops the embedded server; it returns when both have ended.
// It may be called more than once.
func (b *Bus) Shutdown() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
	}
}
