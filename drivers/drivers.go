// Package drivers holds the contract between the hub and what brings readings in: [Driver],
// [Sink], [Factory], [Catalog]. One folder per transport or protocol, never per brand; a brand
// is a profile.
package drivers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Driver reads from devices and hands readings to a Sink.
//
// Run reads until ctx ends (then it returns nil or ctx's error), or returns an error when the
// device, port or broker is lost; it is then called again after a back-off. When it returns,
// nothing it started is left: no goroutine, no descriptor. Run is not called twice at once.
type Driver interface {
	Run(ctx context.Context, out Sink) error
}

// Sink takes what a driver read. Its methods may be called from many goroutines; readings of
// one device keep their order if its calls do.
type Sink interface {
	// Put blocks until all readings are durable and tells what became of each, in order. Only
	// then may the driver acknowledge the device. An error means that nothing is known to be
	// durable: do not acknowledge; the device will send again. Waiting in Put is the
	// back-pressure. Put keeps the Values of the readings; the caller must not change them
	// afterwards.
	Put(ctx context.Context, rs ...edge.Reading) ([]edge.Outcome, error)

	// Reject blocks until what could not be understood is counted durably in the loss ledger;
	// then it may be acknowledged, or its sender would repeat it for ever.
	Reject(ctx context.Context, r edge.Rejection) error

	// Status reports the state of the driver's connection (never of a sensor). It does not
	// block; only changes matter.
	Status(s Status)
}

// Status is the state of a driver's own connection: its broker, port or listener.
type Status struct {
	Up     bool
	Detail string // what an operator wants to know: address when up; what is wrong and what to do when down
}

// Config is what a Factory gets.
type Config struct {
	ID       string          // the input's id in the configuration, or driver-N; names it in logs and status
	Options  json.RawMessage // the input's own options: its YAML object as JSON, without "driver" and "id"
	Sensors  []edge.Sensor   // all sensors of the site: which device addresses and profiles are known
	StateDir string          // a directory of the driver's own that outlives restarts; created on demand
}

// Factory makes a driver from its configuration. It is pure: it checks every option (unknown
// ones are errors) and does no I/O; all I/O belongs to Run.
type Factory func(cfg Config, log *slog.Logger) (Driver, error)

// Mounter is implemented by drivers that serve on the hub's own HTTP port. The patterns are
// those of net/http.ServeMux. The handlers answer 503 while Run is not running.
type Mounter interface {
	Routes() map[string]http.Handler
}

// Messenger is implemented by drivers that take events of the hub's own Socket.IO endpoint. Its
// methods may be called from many goroutines.
type Messenger interface {
	// Names lists the events that it takes.
	Names() []string

	// Take stores the readings of events of one client, in order, and returns after the commit
	// what each is answered. While Run is not running the answer says so.
	Take(ctx context.Context, who *token.Identity, names []string, payloads []json.RawMessage) []any
}

// Catalog maps driver names to factories.
type Catalog map[string]Factory

// New makes the named driver; an unknown name is an error that lists the known ones.
func (c Catalog) New(name string, cfg Config, log *slog.Logger) (Driver, error) {
	f, ok := c[name]
	if !ok {
		return nil, fmt.Errorf("input %s: unknown driver %q; known drivers: %s", cfg.ID, name, strings.Join(c.Names(), ", "))
	}
	d, err := f(cfg, log.With("driver", name, "input", cfg.ID))
	if err != nil {
		return nil, fmt.Errorf("input %s: driver %s: %w", cfg.ID, name, err)
	}
	return d, nil
}

// Names lists the drivers, sorted.
func (c Catalog) Names() []string {
	names := make([]string, 0, len(c))
	for n := range c {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
