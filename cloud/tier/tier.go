// Package tier composes the cloud: bus, store, ingest, twin, notify, socket, HTTP. One process
// is a whole tier; its configuration says which NATS it uses.
//
// It guarantees that a data directory is worked on by one process at a time, that Close returns
// when nothing it started is left, and that nothing beyond loopback is served without a token.
package tier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/ingest"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/publish"
	"github.com/headcount-hub/headcount/cloud/services"
	"github.com/headcount-hub/headcount/cloud/socket"
	"github.com/headcount-hub/headcount/cloud/steer"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/sync/trace"
)

// The files of a data directory.
const (
	lockFile       = "lock"
	databaseFile   = "cloud.db"
	natsDir        = "nats"
	adminTokenFile = "admin.token" // by which this machine's administrator commands a running tier
	adminAddrFile  = "admin.addr"  // where it listens for that; there while it runs
)

// watchInterval is how often events of other processes are looked for.
const watchInterval = time.Second

// maxLiveClients bounds the open live streams of one process.
const maxLiveClients = 2000

// Tier is a running cloud tier. Its methods may be called from many goroutines.
type Tier struct {
	cfg     Config
	lock    *store.Lock
	db      *store.DB
	bus     *bus.Bus
	twin    *twin.Twin
	ingest  *ingest.Ingest
	notify  *notify.Notifier
	socket  *socket.Source
	clients *live.Clients
	metrics *metrics
	parts   []part
	door    *doorkeeper
	api     http.Handler // the routes, without the gateway

	accounts *accounts.Accounts
	steer    *steer.Steer
	publish  *publish.Publisher
	tracer   *trace.Tracer // nil = nobody traces
	traces   trace.Memory  // which events belong to which trace
	services *services.Catalogue

	listener    net.Listener
	server      *http.Server
	admin       net.Listener
	control     *http.Server
	secure      bool
	fingerprint string // of a self-signed certificate
	running     bool   // Start has come to its end

	ctx    context.Context // of all that runs; ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once
	failed chan error // size 1: why a part ended that must not
}

// Start starts a tier and returns when it serves. ctx bounds the start only; Close ends what
// runs. Errors that wrap ErrConfig are mended by changing the configuration, store.ErrInUse says
// that the data directory is another process's.
func Start(ctx context.Context, cfg Config) (*Tier, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	t := &Tier{cfg: cfg, clients: live.NewClients(maxLiveClients), metrics: newMetrics(), failed: make(chan error, 1)}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := t.start(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// start builds sink first: database, bus, ingest, then who serves.
func (t *Tier) start(ctx context.Context) error {
	var err error
	if t.lock, t.db, err = openData(ctx, t.cfg); err != nil {
		return err
	}
	if t.bus, err = startBus(ctx, t.cfg, t.db); err != nil {
		return err
	}
	log := t.cfg.Log
	if err := t.openTracer(); err != nil {
		return err
	}
	t.twin = twin.New(t.db, log)
	t.ingest = ingest.New(ingest.Config{DB: t.db, Conn: t.bus.Conn(), JetStream: t.bus.JetStream(), MakeStream: t.bus.EnsureOrg, Projector: t.twin, Complete: t.complete, Begin: t.traceBatch(), Log: log})
	t.socket = socket.New(t.db, states{t}, twin.StateEvent, twin.Domains)
	t.metrics.watch(t)
	if err := t.newParts(ctx); err != nil {
		return err
	}
	if err := t.openHTTP(); err != nil {
		return err
	}
	if err := t.openAdmin(); err != nil {
		return err
	}
	t.wg.Go(func() { t.tracer.Run(t.ctx) })
	t.wg.Go(func() { t.db.Watch(t.ctx, watchInterval) })
	for _, p := range t.parts {
		if p.run != nil {
			t.wg.Go(func() { t.end(p.run(t.ctx)) })
		}
	}
	t.wg.Go(func() { t.end(t.ingest.Run(t.ctx)) })
	t.wg.Go(func() { t.serve(t.server, t.listener) })
	t.wg.Go(func() { t.serve(t.control, t.admin) })
	t.running = true
	log.Info("cloud tier runs", "http", t.HTTPAddr(), "nats", t.NATSURL(), "data", t.cfg.Data, "version", t.cfg.Version)
	return nil
}

// startBus starts NATS with a stream for every organisation that is configured or known.
func startBus(ctx context.Context, cfg Config, db *store.DB) (*bus.Bus, error) {
	var orgs []string
	for _, o := range cfg.Organisations {
		orgs = append(orgs, o.ID)
	}
	sites, err := db.Sites(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range sites {
		if !slices.Contains(orgs, s.Org) {
			orgs = append(orgs, s.Org)
		}
	}
	opts := bus.Options{
		Dir: filepath.Join(cfg.Data, natsDir), Listen: cfg.NATS.Listen, Advertise: cfg.NATS.Advertise, Orgs: orgs, Log: cfg.Log,
		URL: cfg.NATS.URL, CredentialsFile: cfg.NATS.CredentialsFile, AccountSeedFile: cfg.NATS.AccountSeedFile, AccountID: cfg.NATS.AccountID,
	}
	if cfg.NATS.Certificate != "" {
		if opts.TLS, err = serverTLS(cfg.NATS.Certificate, cfg.NATS.Key); err != nil {
			return nil, err
		}
	}
	return bus.Start(ctx, opts)
}

// openHTTP opens the API's listener; nothing is served yet.
func (t *Tier) openHTTP() error {
	d := &doorkeeper{accounts: t.accounts}
	t.door = d
	var err error
	if t.cfg.HTTP.TokenFile != "" {
		if d.tokens, err = loadTokens(t.cfg.HTTP.TokenFile); err != nil {
			return fmt.Errorf("%w: http: %w", ErrConfig, err)
		}
	}
	if t.listener, err = t.listen(d.open()); err != nil {
		return err
	}
	router, err := t.router()
	if err != nil {
		return err
	}
	t.api = router
	g, err := t.newGateway(d)
	if err != nil {
		return fmt.Errorf("%w: http: %w", ErrConfig, err)
	}
	t.server = gateway.NewServer(g.Wrap(router), t.cfg.Log)
	return nil
}

// serve serves until Close; ending before is a failure of the tier.
func (t *Tier) serve(s *http.Server, ln net.Listener) {
	err := s.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	t.end(err)
}

// end notes the first part that ended with an error.
func (t *Tier) end(err error) {
	if err == nil || t.ctx.Err() != nil {
		return
	}
	select {
	case t.failed <- err:
	default:
	}
}

// Failed delivers why the tier cannot go on, should it come to that; then Close it.
func (t *Tier) Failed() <-chan error { return t.failed }

// HTTPAddr is the URL of API and page.
func (t *Tier) HTTPAddr() string {
	scheme := "http://"
	if t.secure {
		scheme = "https://"
	}
	return scheme + t.listener.Addr().String()
}

// NATSURL is where hubs connect.
func (t *Tier) NATSURL() string { return t.bus.ClientURL() }

// Enrol registers a site and returns the text of its hub's credentials file. Credentials issued
// before stay valid.
func (t *Tier) Enrol(org, site string) ([]byte, error) {
	defer t.ingest.Look() // the organisation may be new
	return enrol(t.ctx, t.bus, t.db, org, site)
}

// Revoke cuts a site's hub off; what it has sent stays.
func (t *Tier) Revoke(org, site string) error { return t.bus.Revoke(org, site) }

// Close stops source first: no more requests, then who follows, then bus and database. It
// returns when all have ended, and may be called more than once.
func (t *Tier) Close() {
	t.closed.Do(func() {
		grace, cancel := context.WithTimeout(context.Background(), gateway.ShutdownTimeout)
		defer cancel()
		_ = t.clients.Close(grace) // those left are cut with the server
		for _, s := range []*http.Server{t.server, t.control} {
			if s != nil {
				gateway.Stop(grace, s)
			}
		}
		for _, ln := range []net.Listener{t.listener, t.admin} {
			if ln != nil {
				_ = ln.Close() // of a start that did not come to serving
			}
		}
		t.cancel()
		t.wg.Wait()
		for _, p := range slices.Backward(t.parts) {
			if p.close != nil {
				p.close()
			}
		}
		_ = os.Remove(filepath.Join(t.cfg.Data, adminAddrFile))
		if t.bus != nil {
			t.bus.Shutdown()
		}
		if t.db != nil {
			if err := t.db.Close(); err != nil {
				t.cfg.Log.Error("database not closed cleanly", "err", err)
			}
		}
		if t.lock != nil {
			_ = t.lock.Release() // it ends with the process anyway
		}
		if t.running {
			t.cfg.Log.Info("cloud tier stopped")
		}
	})
}
