// Package hub composes a site out of its configuration: journal, engine, drivers, uplink,
// delivery, API. It is the hub's composition root, the one place that sees them all.
//
// Open checks and builds everything and takes the store; Run starts it sink first and stops it
// source first, so that nothing is taken in that could not be stored.
package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/catalog"
	"github.com/headcount-hub/headcount/drivers/profiles"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/clock"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/journal"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/occupancy"
	"github.com/headcount-hub/headcount/edge/web"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/trace"
)

// Options of a hub.
type Options struct {
	Config  *config.Config
	Version string
	Log     *slog.Logger
	Routes  map[string]http.Handler // further routes on the hub's port, for the demo
}

// Hub is one site.
type Hub struct {
	opts    Options
	cfg     *config.Config // as it was at the start; see effective
	layered atomic.Pointer[config.Config]
	steered *steered // nil without an uplink
	log     *slog.Logger
	clock   *clock.Clock
	journal *journal.Journal
	engine  *engine.Engine
	api     *api.API
	inputs  []*input
	actions *deliver.Runner
	uplink  *link
	boot    string
	started time.Time
	state   atomic.Value // api.Starting, Running, Stopping
	ln      net.Listener
	parts   parts
	rate    rate
	recent  recent        // lines of the log
	tracer  *trace.Tracer // nil = nobody traces
	traces  trace.Memory  // which records were written in which trace
}

// ConfigOptions are what the hub's parts have to say about a configuration: which drivers there
// are and what options they take, and whether alert conditions compile.
func ConfigOptions(env []string, dir string) config.Options {
	var builtin []string
	for _, r := range alerts.Builtin() {
		builtin = append(builtin, r.Name)
	}
	return config.Options{
		Env: env, Dir: dir, Builtin: builtin,
		CheckInput: func(name string, options json.RawMessage) error {
			_, err := catalog.All().New(name, drivers.Config{ID: name, Options: options, StateDir: stateDir(dir, name)}, slog.New(slog.DiscardHandler))
			return err
		},
		CheckSensor: occupancy.Check,
		CheckAlert:  func(a config.Alert) error { return alerts.Check(merged(rule(a))) },
	}
}

func rule(a config.Alert) alerts.Rule {
	return alerts.Rule{
		Name: a.Name, ForEach: a.ForEach, When: a.When, Clear: a.Clear, For: a.For, KeepFor: a.KeepFor,
		Severity: a.Severity, Actions: a.Actions, Message: a.Message, Disabled: a.Disabled,
	}
}

// merged is the user's rule with what it inherits from a built-in one of its name.
func merged(r alerts.Rule) alerts.Rule {
	for _, m := range alerts.Merge(alerts.Builtin(), []alerts.Rule{r}) {
		if m.Name == r.Name {
			return m
		}
	}
	return r
}

// parts is what Open makes before it takes the store.
type parts struct {
	channels map[string]deliver.Channel
	routes   map[string]http.Handler
	needs    map[string]api.Need // of routes
	tokens   []gateway.Token
}

// Open builds the site and takes its HTTP port and its store. An error leaves nothing behind. The
// store comes last: a hub that cannot run, and is started again and again, writes nothing to it.
func Open(o Options) (_ *Hub, err error) {
	h := &Hub{opts: o, cfg: o.Config, log: o.Log, boot: random(8)}
	h.state.Store(api.Starting)
	h.log = h.recent.beside(o.Log)
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	for _, step := range [...]func() error{
		h.recall, h.openTracer, h.buildInputs, h.buildChannels, h.buildRoutes, h.loadTokens, h.listen, h.openLink, h.openStore, h.buildPump, h.buildActions, h.buildAPI,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, in := range h.inputs {
		in.engine, in.tracer = h.engine, h.tracer
	}
	return h, nil
}

// listen takes the HTTP port.
func (h *Hub) listen() (err error) {
	if h.ln, err = net.Listen("tcp", h.cfg.HTTP.Listen); err != nil {
		return fmt.Errorf("http.listen %s: %w; stop whoever has the port, or choose another", h.cfg.HTTP.Listen, err)
	}
	h.ln, err = h.secure(h.ln)
	return err
}

// buildInputs makes every input.
func (h *Hub) buildInputs() error {
	built, err := buildDrivers(h.cfg, h.log)
	for i, d := range built {
		in := h.cfg.Inputs[i]
		h.inputs = append(h.inputs, newInput(in.ID, in.Driver, d, h.log))
	}
	return err
}

// buildDrivers makes the driver of every input, or none. It does no I/O.
func buildDrivers(cfg *config.Config, log *slog.Logger) ([]drivers.Driver, error) {
	known := catalog.All()
	var built []drivers.Driver
	var errs []error
	for _, in := range cfg.Inputs {
		d, err := known.New(in.Driver, drivers.Config{
			ID: in.ID, Options: in.Options, Sensors: cfg.Site.Sensors, StateDir: stateDir(cfg.Storage.Dir, in.ID),
		}, log)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", in.Pos, err))
			continue
		}
		built = append(built, d)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return built, nil
}

// openStore opens the journal and rebuilds the engine's state from it.
func (h *Hub) openStore() error {
	var err error
	h.journal, err = journal.Open(journal.Options{
		Dir: journalDir(h.cfg.Storage.Dir), Source: h.cfg.Site.ID,
		History: h.cfg.Storage.History, MaxSize: h.cfg.Storage.MaxSize, Log: h.log,
	})
	if err != nil {
		return err
	}
	_, newest := h.journal.LastCommit()
	h.clock = clock.New(newest)
	h.started = h.clock.Now()
	hide, err := badgeHider(h.cfg.Storage.Dir, h.log)
	if err != nil {
		return err
	}
	h.engine, err = engine.Open(engine.Options{
		Trace: h.traceOf(), Traced: h.traced(), Hide: hide, Journal: h.journal, Setup: setup(h.cfg, h.steered.revision()), Now: h.clock.Now, Budget: h.budget(), Log: h.log,
		Boot: engine.Boot{ID: h.boot, Version: h.opts.Version, Clock: string(h.clock.State()), Uplink: h.cfg.Uplink != nil},
	})
	return err
}

// setup is what of a configuration the engine needs to know.
func setup(cfg *config.Config, revision uint64) engine.Setup {
	var rules []alerts.Rule
	for _, a := range cfg.Alerts {
		rules = append(rules, rule(a))
	}
	return engine.Setup{Hash: cfg.Hash, Revision: revision, Site: classed(cfg.Site), Rules: alerts.Merge(alerts.Builtin(), rules)}
}

// classed gives every sensor that names only its model the model's class.
func classed(site edge.Site) edge.Site {
	site.Sensors = slices.Clone(site.Sensors)
	for i := range site.Sensors {
		if s := &site.Sensors[i]; s.Class == "" {
			p, _ := profiles.Lookup(s.Profile)
			s.Class = p.Class
		}
	}
	return site
}

// budget is the flash-wear budget, if the store lies on a card or one is configured.
func (h *Hub) budget() *engine.Budget {
	perDay, auto := h.cfg.Storage.WearBytes()
	if auto && onCard(h.cfg.Storage.Dir) {
		perDay = cardBudget
	}
	if perDay <= 0 {
		return nil
	}
	h.log.Info("the store has a flash-wear budget", "bytes_per_day", perDay)
	return engine.NewBudget(perDay)
}

// buildRoutes collects what inputs serve on the hub's port.
func (h *Hub) buildRoutes() error {
	routes, needs := map[string]http.Handler{}, map[string]api.Need{}
	add := func(more map[string]http.Handler, need api.Need) error {
		for pattern, handler := range more {
			if routes[pattern] != nil {
				return fmt.Errorf("two inputs serve %s; remove one of them", pattern)
			}
			routes[pattern], needs[pattern] = handler, need
		}
		return nil
	}
	if err := add(h.opts.Routes, api.Acts()); err != nil {
		return err
	}
	own := map[string]http.Handler{"GET /v1/backup": http.HandlerFunc(h.serveBackup), "GET /v1/logs": &h.recent}
	if err := add(own, api.Need{Role: token.Admin}); err != nil {
		return err
	}
	for _, in := range h.inputs {
		if m, ok := in.driver.(drivers.Mounter); ok {
			if err := add(in.mount(m.Routes()), api.Ingest()); err != nil {
				return err
			}
		}
	}
	h.parts.routes, h.parts.needs = routes, needs
	return nil
}

func (h *Hub) loadTokens() (err error) {
	if f := h.cfg.HTTP.TokenFile; f != "" {
		if h.parts.tokens, err = gateway.LoadTokens(f); err != nil {
			return fmt.Errorf("http.token_file: %w", err)
		}
	}
	return nil
}

func (h *Hub) buildAPI() error {
	way, err := gatewayOptions(h.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	h.api, err = api.New(api.Options{
		Site: commands{h.engine}, History: history{h.journal}, Status: h, Web: web.Handler(web.Page{Demo: len(h.opts.Routes) > 0}), Routes: h.parts.routes, Messages: h.messages(), Needs: h.parts.needs,
		Tokens: h.parts.tokens, Verify: h.steered.verify(), Domains: h.steered.domains, Gateway: way, Clients: live.NewClients(0), Log: h.log,
	})
	return err
}

// Run runs the site until ctx ends or a commit fails, and closes it.
func (h *Hub) Run(ctx context.Context) error {
	defer h.close()
	// Each stage outlives those after it: the engine is the first to start and the last to stop.
	var engineDone, senders, sources sync.WaitGroup
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	sendCtx, stopSenders := context.WithCancel(context.WithoutCancel(ctx))
	sourceCtx, stopSources := context.WithCancel(ctx)
	defer func() { stopSources(); stopSenders(); stopEngine() }()

	var failure error
	engineDone.Go(func() {
		failure = h.engine.Run(engineCtx)
		stopSources()
	})
	senders.Go(func() { _ = h.actions.Run(sendCtx) }) // ends with ctx only
	if h.uplink != nil {
		senders.Go(func() { h.uplink.run(sendCtx) })
	} else {
		senders.Go(func() { h.keepToItself(sendCtx) })
	}
	senders.Go(func() { h.tracer.Run(sendCtx) })
	senders.Go(func() { watchdog(sendCtx, h.alive) })
	for _, in := range h.inputs {
		sources.Go(func() { in.run(sourceCtx) })
	}
	var serveErr error
	sources.Go(func() {
		if serveErr = h.api.Serve(sourceCtx, h.ln); serveErr != nil {
			stopSources()
		}
	})
	h.awaitInputs(sourceCtx)
	defer h.announce()()
	h.state.Store(api.Running)
	notify("READY=1\nSTATUS=serving " + h.Address())
	h.log.Info("hub is serving", "site", h.cfg.Site.ID, "http", h.Address(), "inputs", len(h.inputs), "version", h.opts.Version)

	<-sourceCtx.Done()
	h.state.Store(api.Stopping)
	notify("STOPPING=1")
	sources.Wait()
	stopSenders()
	senders.Wait()
	stopEngine()
	engineDone.Wait()
	return errors.Join(failure, serveErr)
}

// inputsWait is how long the start waits for drivers to say how they are. A broker that cannot be
// reached takes longer than that and is no reason not to serve.
const inputsWait = time.Second

// awaitInputs waits until every driver has first said how it is, so that a hub that calls itself
// running takes what is posted to it.
func (h *Hub) awaitInputs(ctx context.Context) {
	limit := time.NewTimer(inputsWait)
	defer limit.Stop()
	for _, in := range h.inputs {
		select {
		case <-in.heard:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// close gives the store and the port back.
func (h *Hub) close() {
	if h.ln != nil {
		h.ln.Close()
	}
	if h.uplink != nil {
		h.uplink.close()
	}
	if h.journal != nil {
		if err := h.journal.Close(); err != nil {
			h.log.Error("close the journal", "err", err)
		}
	}
}

// Address is the URL of the hub's page.
func (h *Hub) Address() string {
	scheme := "http"
	if h.cfg.HTTP.TLSCertFile != "" || h.cfg.HTTP.SelfSigned() {
		scheme = "https"
	}
	return scheme + "://" + h.ln.Addr().String()
}

// Snapshot is the site's present state.
func (h *Hub) Snapshot() *edge.Snapshot { return h.engine.Snapshot() }

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
