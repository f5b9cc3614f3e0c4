package tier

import (
	"fmt"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/trace"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Telemetry is where traces are sent.
type Telemetry struct {
	OTLP   string   `yaml:"otlp"`   // address of an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector:4318; empty = nobody traces
	Sample *float64 `yaml:"sample"` // share of traces begun here, 0 to 1; 0.1 by default; the hub's and callers' own decisions are kept
}

// defaultSample is the share of traces that are recorded unless the configuration says.
const defaultSample = 0.1

func (c *Telemetry) sample() float64 {
	if c.Sample == nil {
		return defaultSample
	}
	return *c.Sample
}

func (c *Telemetry) check(bad func(string, ...any)) {
	switch {
	case c.OTLP == "" && c.Sample != nil:
		bad("telemetry: otlp is missing: the address of a collector")
	case c.OTLP == "":
	default:
		if err := trace.Check(c.OTLP, c.sample()); err != nil {
			bad("telemetry: %w", err)
		}
	}
}

// openTracer makes the tracer, if spans are to be sent anywhere.
func (t *Tier) openTracer() (err error) {
	c := t.cfg.Telemetry
	if c.OTLP == "" {
		return nil
	}
	t.tracer, err = trace.New(trace.Options{
		Endpoint: c.OTLP, Sample: c.sample(), Service: "headcount-cloud", Log: t.cfg.Log, Resource: map[string]string{"service.version": t.cfg.Version},
	})
	if err != nil {
		return fmt.Errorf("%w: telemetry: %w", ErrConfig, err)
	}
	return nil
}

// traceBatch goes on with the traces that a hub's batch names, and remembers which of its events
// belong to which.
func (t *Tier) traceBatch() func(org, site string, header map[string][]string, b *wire.Batch) func(error) {
	if t.tracer == nil {
		return nil
	}
	return func(org, site string, header map[string][]string, b *wire.Batch) func(error) {
		of := trace.Of(org, site, b.Epoch, string(b.Lane))
		var spans []*trace.Span
		for _, r := range trace.ParseRecords(of, header[trace.HeaderRecords], b.First, b.Last()) {
			span := t.tracer.Start("batch apply", r.Context).Set("headcount.org", org).Set("headcount.site", site).Set("headcount.lane", string(b.Lane))
			r.Context = span.Context()
			t.traces.Add(r)
			spans = append(spans, span)
		}
		return func(err error) {
			for _, s := range spans {
				s.End(err)
			}
		}
	}
}

// traceOf finds the trace that an event belongs to. It is known to the process that took the event
// in, and for the newest events.
func (t *Tier) traceOf() func(store.Event) string {
	if t.tracer == nil {
		return nil
	}
	return func(e store.Event) string {
		rec, err := edge.ParseRecord(e.Body)
		if err != nil {
			return ""
		}
		found := t.traces.Find(trace.Of(e.Org, e.SiteName, rec.Epoch, string(rec.Lane)), rec.Seq, rec.Seq)
		if len(found) == 0 {
			return ""
		}
		return found[0].Context
	}
}

// deliverySpan is a step of a trace: one attempt to deliver a notification.
func (t *Tier) deliverySpan() func(channel, parent string) (string, func(error)) {
	if t.tracer == nil {
		return nil
	}
	return func(channel, parent string) (string, func(error)) {
		span := t.tracer.Start("notification deliver", parent).Set("headcount.channel", channel)
		return span.Context(), span.End
	}
}
