// Package trace follows a reading on its way, from where it was accepted to whom it was told: spans
// with W3C trace context, sent to an OpenTelemetry collector as OTLP/HTTP JSON.
//
// It guarantees that tracing never holds anything up and never changes what is stored: spans that
// the collector does not take are dropped and counted. A nil *Tracer is tracing switched off; all
// methods may be called on it. It refuses to put readings, names or tokens into spans: attributes
// are ids and numbers.
package trace

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Header carries the context of a span, in HTTP and NATS.
const Header = "Traceparent"

// Options of New.
type Options struct {
	Endpoint string            // of the collector, such as http://collector:4318; spans go to /v1/traces below it
	Sample   float64           // share of traces begun here that are recorded, 0 to 1; a caller's own decision is kept
	Service  string            // service.name
	Resource map[string]string // further attributes of this process
	Every    time.Duration     // between exports; 0 = 2 s
	Log      *slog.Logger      // nil = silent
}

// The bounds of what waits to be sent.
const (
	maxQueue      = 4096
	maxExport     = 512
	defaultEvery  = 2 * time.Second
	exportTimeout = 2 * time.Second
)

// Tracer records spans. Its methods may be called from many goroutines.
type Tracer struct {
	o       Options
	url     string
	client  *http.Client
	dropped atomic.Int64
	sent    atomic.Int64
	full    chan struct{} // size 1: there is enough for an export

	mu    sync.Mutex // guards queue
	queue []*Span
}

// New makes a Tracer; Run sends what it records. An error says what is wrong with the options.
func New(o Options) (*Tracer, error) {
	if err := Check(o.Endpoint, o.Sample); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	return &Tracer{
		o: o, url: strings.TrimSuffix(o.Endpoint, "/") + "/v1/traces", full: make(chan struct{}, 1),
		client: &http.Client{Timeout: exportTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Check says what is wrong with an endpoint and a share.
func Check(endpoint string, sample float64) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("otlp %q: want the address of an OpenTelemetry collector, such as http://collector:4318", endpoint)
	}
	if !(sample >= 0 && sample <= 1) {
		return fmt.Errorf("sample %v: want 0 to 1", sample)
	}
	return nil
}

// Span is one step of a trace. A nil *Span is one that is not recorded; all methods may be called
// on it. It belongs to one goroutine until End.
type Span struct {
	tracer         *Tracer
	trace, id      string
	parent         string
	name           string
	started, ended time.Time
	attributes     []attribute
	err            string
}

type attribute struct {
	key   string
	value any // string or int64
}

// Start begins a step. parent is the context of the step before, empty for none: then a share of
// the steps begins a trace of its own.
func (t *Tracer) Start(name, parent string) *Span {
	if t == nil {
		return nil
	}
	s := &Span{tracer: t, name: name, started: time.Now()}
	switch trace, id, sampled := Parse(parent); {
	case trace == "" && rand.Float64() >= t.o.Sample:
		return nil
	case trace == "":
		s.trace = random(16)
	case !sampled:
		return nil
	default:
		s.trace, s.parent = trace, id
	}
	s.id = random(8)
	return s
}

// Set adds an attribute: an id or a number.
func (s *Span) Set(key string, value any) *Span {
	if s == nil {
		return nil
	}
	if n, ok := value.(int); ok {
		value = int64(n)
	}
	s.attributes = append(s.attributes, attribute{key, value})
	return s
}

// Context is the span's W3C traceparent, for the next step; empty when it is not recorded.
func (s *Span) Context() string {
	if s == nil {
		return ""
	}
	return "00-" + s.trace + "-" + s.id + "-01"
}

// End ends the step. With an error it has failed.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	s.ended = time.Now()
	if err != nil {
		s.err = err.Error()
	}
	s.tracer.add(s)
}

func (t *Tracer) add(s *Span) {
	t.mu.Lock()
	n := len(t.queue)
	if n < maxQueue {
		t.queue = append(t.queue, s)
	}
	t.mu.Unlock()
	if n >= maxQueue {
		t.dropped.Add(1)
	}
	if n >= maxExport {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
}

// Counts tells how many spans were sent, and how many were dropped.
func (t *Tracer) Counts() (sent, dropped int64) {
	if t == nil {
		return 0, 0
	}
	return t.sent.Load(), t.dropped.Load()
}

// Parse takes a W3C traceparent of version 00 apart; trace is empty when it is not valid.
func Parse(parent string) (trace, span string, sampled bool) {
	if len(parent) != 55 || parent[:3] != "00-" || parent[35] != '-' || parent[52] != '-' {
		return "", "", false
	}
	trace, span = parent[3:35], parent[36:52]
	flags, err := hex.DecodeString(parent[53:])
	other := func(c rune) bool { return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') }
	if err != nil || strings.ContainsFunc(trace+span+parent[53:], other) || strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return "", "", false
	}
	return trace, span, flags[0]&1 == 1
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = crand.Read(b) // never fails
	return hex.EncodeToString(b)
}

type key struct{}

// Into keeps the context of a span for calls below.
func Into(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return context.WithValue(ctx, key{}, parent)
}

// From is what Into kept; empty when there is none.
func From(ctx context.Context) string {
	parent, _ := ctx.Value(key{}).(string)
	return parent
}
