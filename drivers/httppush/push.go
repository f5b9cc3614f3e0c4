// Package httppush takes readings that sensors and systems POST to the hub's own port:
// /v1/readings in the hub's own vocabulary, /v1/push/{profile} in a device's. [Messages] takes the
// former by Socket.IO.
//
// It answers 2xx only after the commit, and says per item what became of it. What cannot be
// understood is counted before it is answered. It holds at most [Options.MaxInFlight] bytes of
// bodies at once and tells senders to come again (429, 503 with Retry-After) rather than queue.
// Who may send is not its business, as the hub's API wraps its routes, but for devices: from a
// device's token it takes that device's readings only.
package httppush

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// Name is the driver's name in the catalog and in rejections.
const Name = "httppush"

// Limits that are not options.
const (
	maxBody  = 1 << 20 // bytes of a body, as sent and as decompressed
	maxItems = 20_000  // readings of a body
	maxItem  = 64 << 10
)

// Options are the input's own options.
type Options struct {
	// Paths are further URL paths, each bound to a profile: its name, or an object
	// {profile, …} whose other members are options of the profile's codec.
	Paths       map[string]json.RawMessage `json:"paths"`
	MaxInFlight int64                      `json:"max_in_flight"` // bytes of bodies held at once; 0 = 16 MiB
}

// Driver serves the routes; its Run only says for how long they take readings.
type Driver struct {
	log      *slog.Logger
	routes   map[string]http.Handler
	profiles map[string]*profiles.Decoder
	names    *names

	maxInFlight int64
	inFlight    atomic.Int64

	mu   sync.Mutex
	out  drivers.Sink    // nil while Run is not running
	ctx  context.Context // Run's
	busy sync.WaitGroup  // handlers that hold out
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Mounter = (*Driver)(nil)
	_ drivers.Factory = New
)

// New makes the driver from its options.
func New(cfg drivers.Config, log *slog.Logger) (drivers.Driver, error) {
	var o Options
	if err := drivers.DecodeOptions(cfg.Options, &o); err != nil {
		return nil, err
	}
	d := &Driver{log: log, maxInFlight: o.MaxInFlight, names: newNames(cfg.Sensors)}
	if d.maxInFlight == 0 {
		d.maxInFlight = 16 << 20
	}
	if d.maxInFlight < 2*maxBody {
		return nil, fmt.Errorf("max_in_flight %d: want at least %d", o.MaxInFlight, 2*maxBody)
	}
	var err error
	if d.profiles, err = openAll(); err != nil {
		return nil, err
	}
	d.routes = map[string]http.Handler{
		"POST /v1/readings":       http.HandlerFunc(d.serveReadings),
		"POST /sensors/data":      http.HandlerFunc(d.serveReadings),
		"POST /v1/push/{profile}": http.HandlerFunc(d.serveProfile),
	}
	for path, raw := range o.Paths {
		if err := checkPath(path); err != nil {
			return nil, err
		}
		decoder, err := openBinding(raw)
		if err != nil {
			return nil, fmt.Errorf("paths: %q: %w", path, err)
		}
		d.routes["POST "+path] = d.push(decoder)
	}
	return d, nil
}

// checkPath refuses what would hide other routes of the hub's port.
func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/") || path == "/" || strings.HasSuffix(path, "/"):
		return fmt.Errorf("paths: %q: want a path like /old/url", path)
	case strings.ContainsAny(path, "{}? #\t\n"):
		return fmt.Errorf("paths: %q: want plain characters, no wildcard or query", path)
	case path == "/v1" || strings.HasPrefix(path, "/v1/") || path == "/sensors/data":
		return fmt.Errorf("paths: %q belongs to the hub's own API; choose another", path)
	}
	return nil
}

// Routes are the patterns to mount on the hub's port. They answer 503 while Run is not running.
func (d *Driver) Routes() map[string]http.Handler { return d.routes }

// Run takes readings until ctx ends, then waits for the deliveries that are under way; those
// that the hub has not committed by then are answered 503.
func (d *Driver) Run(ctx context.Context, out drivers.Sink) error {
	paths := make([]string, 0, len(d.routes))
	for p := range d.routes {
		paths = append(paths, strings.TrimPrefix(p, "POST "))
	}
	slices.Sort(paths)
	return d.serve(ctx, out, "takes POST on "+strings.Join(paths, ", "))
}

func (d *Driver) serve(ctx context.Context, out drivers.Sink, detail string) error {
	d.mu.Lock()
	d.out, d.ctx = out, ctx
	d.mu.Unlock()
	out.Status(drivers.Status{Up: true, Detail: detail})
	<-ctx.Done()
	d.mu.Lock()
	d.out, d.ctx = nil, nil
	d.mu.Unlock()
	d.busy.Wait()
	return nil
}

// errStopped: Run is not running, or ended while the delivery was under way.
var errStopped = errors.New("the hub is starting or stopping; send again")

// with runs f with the sink and a context that ends with the request or with Run.
func (d *Driver) with(req context.Context, f func(ctx context.Context, out drivers.Sink) error) error {
	d.mu.Lock()
	out, run := d.out, d.ctx
	if out == nil || run.Err() != nil {
		d.mu.Unlock()
		return errStopped
	}
	d.busy.Add(1)
	d.mu.Unlock()
	defer d.busy.Done()
	ctx, cancel := context.WithCancel(req)
	defer cancel()
	stop := context.AfterFunc(run, cancel)
	defer stop()
	return f(ctx, out)
}
