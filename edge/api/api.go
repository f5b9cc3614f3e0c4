// Package api is the hub's HTTP interface: JSON under /v1 with an OpenAPI 3.1 description, the
// live streams, health, metrics, and the plain names (/rooms, /sensors) of older systems as a
// thin view of the same data.
//
// It guarantees that every answer comes from an immutable snapshot or the journal, so that no
// request can hold up the engine; that what changes something is a command answered after its
// commit; that errors are RFC 9457 problems; and that unknown is null, never zero.
//
// It guarantees that every route has a policy: one without it is refused by New.
//
// It refuses requests without a token when tokens are configured, listeners beyond loopback
// when none are, foreign host names on an open listener (DNS rebinding), and state-changing
// requests from other origins.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/sync/token"
)

// Site is the running site. Its methods may be called from many goroutines.
type Site interface {
	// Snapshot is the newest published state; never nil.
	Snapshot() *edge.Snapshot

	// Changed returns a channel that is closed when a snapshot newer than at the time of this
	// call is published (see live.Signal).
	Changed() <-chan struct{}

	// Do carries out a command and returns after its commit. An error means that nothing is
	// known about it; a refusal is a result.
	Do(ctx context.Context, c edge.Command) (edge.CommandResult, error)
}

// ErrGone means that what was asked for is older than what the hub still keeps.
var ErrGone = errors.New("older than what is kept")

// History is the past of a site. Its methods may be called from many goroutines; results
// belong to the caller.
type History interface {
	// Occupancy returns the step function of a space's finally revised occupancy: first the
	// one that held at from, if there is any (its AsOf may be earlier), then every change up to
	// and including to, oldest first, at most limit in all.
	Occupancy(ctx context.Context, space string, from, to time.Time, limit int) ([]edge.Occupancy, error)

	// Occupancies calls see with the occupancies of all spaces that were written for times in
	// [from, to], and those of shortly before that may hold at from, each space's in order.
	Occupancies(ctx context.Context, from, to time.Time, see func(edge.Occupancy)) error

	// Events returns the records of the events lane, inputs and outputs, of the present epoch
	// that follow sequence after, without gap, at most limit. After 0 begins with the oldest
	// one kept; otherwise ErrGone says that the record after+1 is no longer kept.
	Events(ctx context.Context, after uint64, limit int) ([]edge.Record, error)

	// Readings returns a sensor's readings with from <= At <= to, oldest first, at most limit.
	Readings(ctx context.Context, sensor string, from, to time.Time, limit int) ([]edge.Reading, error)
}

// Reporter says how the hub itself is doing.
type Reporter interface{ Status() Status }

// Options of New. Site, History and Status are required.
type Options struct {
	Site    Site
	History History
	Status  Reporter

	Web    http.Handler            // the page and its files, for every path that nothing else has; nil = none
	Routes map[string]http.Handler // further patterns of net/http.ServeMux, such as those of drivers; they bound their own bodies
	Needs  map[string]Need         // policies of those of Routes that the hub's own table does not have

	Gateway gateway.Options // what the configuration says of proxies, origins and rates; the rest is set here
	Tokens  []gateway.Token // who may use the API; empty = everybody who reaches it

	// Verify tells whose a signed token is; its error says why the token is refused. Domains are
	// those that the hub belongs to, the organisation first; a caller's role in them is its role
	// on the hub. Without both, signed tokens are refused.
	Verify  func(raw string) (*token.Identity, error)
	Domains func() []string

	Messages Messages // what sensors send over Socket.IO; nil = nothing is taken

	Hosts   []string      // further names under which an API without tokens may be called (localhost and addresses always are)
	Clients *live.Clients // bound of live clients; nil = live.DefaultMaxClients
	Log     *slog.Logger  // nil = silent
}

// API is the HTTP interface of one site.
type API struct {
	opts    Options
	log     *slog.Logger
	mux     *router
	source  *Source
	auth    *auth
	metrics *metrics
	needs   map[string]Need // by pattern
	handler http.Handler
}

// New builds the interface. It does no I/O; an error is a mistake in the options, such as two
// routes of the same pattern.
func New(o Options) (_ *API, err error) {
	if o.Site == nil || o.History == nil || o.Status == nil {
		return nil, errors.New("api: Site, History and Status are required")
	}
	if o.Clients == nil {
		o.Clients = live.NewClients(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{opts: o, log: o.Log, mux: &router{ServeMux: http.NewServeMux()}, needs: map[string]Need{}, auth: newAuth(o)}
	a.source = NewSource(o.Site, o.History)
	a.source.domains = o.Domains
	a.metrics = newMetrics(o)
	if err := a.route(); err != nil {
		return nil, err
	}
	if err := a.holdToPolicy(); err != nil {
		return nil, err
	}
	gw, err := a.newGateway()
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	a.handler = gw.Wrap(a.admit(a.mux))
	return a, nil
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// route registers everything. ServeMux panics on patterns that collide; drivers bring patterns
// of their own, so that is an error here.
func (a *API) route() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("api: routes: %v", p)
		}
	}()
	h := humago.New(a.mux, a.config())
	a.spaceRoutes(h)
	a.sensorRoutes(h)
	a.deviceRoutes(h)
	a.alertRoutes(h)
	a.eventRoutes(h)
	a.statusRoutes(h)
	a.plainRoutes(h)
	a.usageRoutes(h)
	a.mux.Handle("/v1/", http.HandlerFunc(a.notFound))
	web := a.opts.Web
	if web == nil {
		web = http.HandlerFunc(a.notFound)
	}
	a.mux.Handle("/", a.onlyGet(web))
	for pattern, handler := range a.opts.Routes {
		a.mux.Handle(pattern, handler)
		describe(h.OpenAPI(), pattern)
	}
	describe(h.OpenAPI(), "GET /metrics")
	return nil
}

func (a *API) config() huma.Config {
	c := huma.DefaultConfig("Headcount hub", a.opts.Status.Status().Version)
	c.CreateHooks = nil // no $schema in answers: they are the documented shapes and nothing else
	c.DocsPath, c.SchemasPath = "", ""
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.Info.Description = "Occupancy of the spaces of one site. Unknown is null, never zero."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	if len(a.opts.Tokens) > 0 {
		c.Security = []map[string][]string{{"token": {}}}
	}
	registerSchemas(c.Components.Schemas)
	return c
}

// notFound answers paths and methods that no route has.
func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	if allow := a.allowed(r); len(allow) > 0 {
		for _, m := range allow {
			w.Header().Add("Allow", m)
		}
		problem(w, http.StatusMethodNotAllowed, "this path does not take "+r.Method)
		return
	}
	problem(w, http.StatusNotFound, "there is nothing at this path; /openapi.json lists what there is")
}

// allowed lists the methods for which the request's path has a route.
func (a *API) allowed(r *http.Request) []string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := *r
		probe.Method = m
		if _, pattern := a.mux.Handler(&probe); !slices.Contains([]string{"", "/", "/v1/"}, pattern) {
			out = append(out, m)
		}
	}
	return out
}

func (a *API) onlyGet(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			a.notFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// operation is what all typed routes have in common.
func operation(method, path, id, tag, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary, Errors: errs,
		MaxBodyBytes: maxBody, RejectUnknownQueryParameters: true,
	}
}

// maxBody bounds the requests that the API itself takes, in bytes; the largest one approves a
// device and has a handful of fields.
const maxBody = 16 << 10

// body is an answer of 200 with a JSON body.
type body[T any] struct{ Body T }

func answer[T any](v T) *body[T] { return &body[T]{Body: v} }
