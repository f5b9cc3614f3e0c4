package live

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// The defaults of Options.
const (
	DefaultHeartbeat    = 15 * time.Second // below the 30 s idle limit of common proxies
	DefaultWriteTimeout = 10 * time.Second // a phone that lost its network for longer reconnects anyway
	DefaultBatch        = 64
	DefaultMaxClients   = 256
)

// Options of SSE and WebSocket. The zero value has the defaults.
type Options struct {
	// Filter makes the filter of a request; an error is answered 400 with its text. Nil means
	// ParseFilter.
	Filter func(*http.Request) (Filter, error)

	// Good tells whether the caller behind a filter is still who it was; when not, its stream ends.
	// It is asked with every heartbeat, and when the channel of Rights is closed. Nil = always;
	// Rights may be nil.
	Good   func(Filter) bool
	Rights func() <-chan struct{}

	// OnMessage takes what a client of WebSocket sends and returns what it is answered, nil for
	// nothing; an error ends the connection. It is called by one goroutine per client, which reads
	// on when it has returned. Nil = clients only listen.
	OnMessage func(ctx context.Context, message []byte) ([]byte, error)

	Heartbeat    time.Duration // pause between signs of life; 0 = DefaultHeartbeat
	WriteTimeout time.Duration // longest time for one batch to leave; 0 = DefaultWriteTimeout
	Batch        int           // most events per After; 0 = DefaultBatch
	Clients      *Clients      // shared bound of several handlers; nil = an own one of DefaultMaxClients
	Origins      []string      // WebSocket only: host patterns allowed besides the request's own host
	Log          *slog.Logger  // nil = silent
}

func (o Options) withDefaults() Options {
	if o.Filter == nil {
		o.Filter = ParseFilter
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	if o.Clients == nil {
		o.Clients = NewClients(DefaultMaxClients)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Clients bounds how many clients are served at once and ends them all at shutdown, which
// http.Server.Shutdown does not do for streams. Share one among handlers to bound their sum.
type Clients struct {
	max int

	mu     sync.Mutex // guards what follows
	active map[*client]struct{}
	closed bool
	idle   chan struct{} // closed when closed and active is empty
}

type client struct{ cancel context.CancelFunc }

// NewClients returns a bound of limit clients; limit < 1 means DefaultMaxClients.
func NewClients(limit int) *Clients {
	if limit < 1 {
		limit = DefaultMaxClients
	}
	return &Clients{max: limit, active: map[*client]struct{}{}, idle: make(chan struct{})}
}

// Max is how many clients there may be.
func (c *Clients) Max() int { return c.max }

// Len is the number of clients now.
func (c *Clients) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.active)
}

// Close ends all clients, refuses new ones and waits until the last handler has let go of its
// stream or ctx ends. It may be called more than once.
func (c *Clients) Close(ctx context.Context) error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		for cl := range c.active {
			cl.cancel()
		}
		c.leaveLocked()
	}
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Enter admits a client, or returns ok false when there are too many. The context ends with ctx
// and with Close, which waits until the caller has called leave.
func (c *Clients) Enter(ctx context.Context) (_ context.Context, leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.active) >= c.max {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	cl := &client{cancel: cancel}
	c.active[cl] = struct{}{}
	return ctx, func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.active, cl)
		c.leaveLocked()
	}, true
}

// leaveLocked closes idle when the last client of a closed bound is gone.
func (c *Clients) leaveLocked() {
	if c.closed && len(c.active) == 0 {
		select {
		case <-c.idle:
		default:
			close(c.idle)
		}
	}
}
