package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/sync/trace"
)

// input is one configured driver and what became of it.
type input struct {
	id, name string
	driver   drivers.Driver
	engine   *engine.Engine
	tracer   *trace.Tracer // nil = nobody traces
	log      *slog.Logger

	mounted map[string]*mounted // by pattern: what the driver serves on the hub's port

	mu     sync.Mutex
	stop   context.CancelFunc // of the present run of the driver
	status drivers.Status
	known  bool
	news   chan struct{} // size 1: a change that the engine has not been told
	heard  chan struct{} // closed when the driver has first said how it is
}

// The back-off between runs of a driver that was lost.
const (
	retryMin  = time.Second
	retryMax  = 30 * time.Second
	steadyRun = time.Minute // a run of this length starts the back-off anew

	reportEvery = 10 * time.Second
)

func newInput(id, name string, d drivers.Driver, log *slog.Logger) *input {
	return &input{id: id, name: name, driver: d, log: log.With("input", id, "driver", name), news: make(chan struct{}, 1), heard: make(chan struct{})}
}

// run keeps the driver running until ctx ends, with a capped and jittered back-off between
// runs, and tells the engine about its connection.
func (in *input) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { in.report(ctx) })
	wait := retryMin
	for ctx.Err() == nil {
		began := time.Now()
		d, present := in.present(ctx)
		err := in.once(present, d)
		if ctx.Err() != nil {
			return
		}
		if present.Err() != nil { // another driver takes over
			wait = retryMin
			continue
		}
		if time.Since(began) > steadyRun {
			wait = retryMin
		}
		if err == nil {
			err = errors.New("the driver ended by itself")
		}
		in.Status(drivers.Status{Detail: err.Error()})
		in.log.Warn("driver is down; it is started again", "err", err, "in", wait.Round(time.Millisecond))
		pause(present, wait/2+rand.N(wait/2+1))
		wait = min(2*wait, retryMax)
	}
}

// once runs the driver; a panic in it is an error of it, not the end of the hub.
func (in *input) once(ctx context.Context, d drivers.Driver) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("driver panicked: %v", p)
		}
	}()
	return d.Run(ctx, in)
}

// present is the driver to run, and a context that ends when another one takes over.
func (in *input) present(ctx context.Context) (drivers.Driver, context.Context) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stop != nil {
		in.stop()
	}
	ctx, in.stop = context.WithCancel(ctx)
	return in.driver, ctx
}

// replace has another driver take over, also for what is served on the hub's port.
func (in *input) replace(d drivers.Driver) {
	if m, ok := d.(drivers.Mounter); ok {
		for pattern, handler := range m.Routes() {
			if have := in.mounted[pattern]; have != nil {
				have.handler.Store(&handler)
			}
		}
	}
	in.Status(drivers.Status{Detail: "starting under another configuration"})
	in.mu.Lock()
	defer in.mu.Unlock()
	in.driver = d
	if in.stop != nil {
		in.stop()
	}
}

// mounted is a handler that can be replaced while it is served.
type mounted struct{ handler atomic.Pointer[http.Handler] }

// ServeHTTP is http.Handler.
func (m *mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*m.handler.Load()).ServeHTTP(w, r)
}

// mount makes a driver's routes replaceable.
func (in *input) mount(routes map[string]http.Handler) map[string]http.Handler {
	in.mounted = map[string]*mounted{}
	out := make(map[string]http.Handler, len(routes))
	for pattern, handler := range routes {
		m := &mounted{}
		m.handler.Store(&handler)
		in.mounted[pattern], out[pattern] = m, m
	}
	return out
}

// report hands changes of the connection to the engine, each of which is a record: only the
// newest matters, and a connection that flaps is told every reportEvery.
func (in *input) report(ctx context.Context) {
	var told *drivers.Status
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.news:
		}
		in.mu.Lock()
		s := in.status
		in.mu.Unlock()
		if told != nil && *told == s {
			continue
		}
		if err := in.engine.DriverChanged(ctx, engine.DriverStatus{ID: in.id, Driver: in.name, Up: s.Up, Detail: s.Detail}); err != nil {
			return
		}
		told = &s
		pause(ctx, reportEvery)
	}
}

// Put is drivers.Sink.
func (in *input) Put(ctx context.Context, rs ...edge.Reading) ([]edge.Outcome, error) {
	ctx, span := in.accept(ctx, len(rs))
	out, err := in.engine.Put(ctx, rs...)
	span.End(err)
	return out, err
}

// Reject is drivers.Sink.
func (in *input) Reject(ctx context.Context, r edge.Rejection) error {
	if r.Driver == "" {
		r.Driver = in.name
	}
	return in.engine.Reject(ctx, r)
}

// Status is drivers.Sink.
func (in *input) Status(s drivers.Status) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.known && in.status == s {
		return
	}
	if s.Up && (!in.known || !in.status.Up) {
		in.log.Info("driver is up", "detail", s.Detail)
	}
	if !in.known {
		close(in.heard)
	}
	in.status, in.known = s, true
	select {
	case in.news <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
