package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/trace"
	"github.com/headcount-hub/headcount/sync/wire"
)

// openTracer makes the tracer, if spans are to be sent anywhere.
func (h *Hub) openTracer() (err error) {
	c := h.cfg.Telemetry
	if c == nil {
		return nil
	}
	h.tracer, err = trace.New(trace.Options{
		Endpoint: c.OTLP, Sample: c.Sample, Service: "headcount-hub", Log: h.log.With("part", "trace"),
		Resource: map[string]string{"headcount.site": h.cfg.Site.ID, "service.version": h.opts.Version},
	})
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}

// accept begins the span of readings on their way into the store. The caller's own trace, where
// it came by HTTP, is gone on with.
func (in *input) accept(ctx context.Context, readings int) (context.Context, *trace.Span) {
	if in.tracer == nil {
		return ctx, nil
	}
	span := in.tracer.Start("readings accept", gateway.CallOf(ctx).Trace).Set("headcount.input", in.id).Set("headcount.readings", readings)
	return trace.Into(ctx, span.Context()), span
}

// traceOf tells the engine how to find the trace of a call.
func (h *Hub) traceOf() func(context.Context) string {
	if h.tracer == nil {
		return nil
	}
	return trace.From
}

// lingers is how long after a reading what falls due by a timer, such as the count that follows from
// it and its alerts, is taken to belong to its trace.
const lingers = 10 * time.Second

// traced notes which records a commit wrote in which traces, for the batches that carry them up.
func (h *Hub) traced() func(engine.Traced) {
	if h.tracer == nil {
		return nil
	}
	var newest []string
	var at time.Time
	return func(t engine.Traced) { // called by one goroutine
		switch now := time.Now(); {
		case len(t.Traces) > 0:
			newest, at = t.Traces, now
		case now.Sub(at) < lingers:
			t.Traces = newest
		}
		for _, parent := range t.Traces[:min(len(t.Traces), trace.MaxRecords)] {
			for lane, run := range map[edge.Lane]engine.Run{edge.Events: t.Events, edge.Readings: t.Readings} {
				if run.First <= run.Last {
					h.traces.Add(trace.Records{Of: trace.Of("", "", t.Epoch, string(lane)), First: run.First, Last: run.Last, Context: parent})
				}
			}
		}
	}
}

// traceHeader is what a batch says of the traces that its records were written in.
func (h *Hub) traceHeader(b wire.Batch) map[string][]string {
	if h.tracer == nil {
		return nil
	}
	found := h.traces.Find(trace.Of("", "", b.Epoch, string(b.Lane)), b.First, b.Last())
	if len(found) == 0 {
		return nil
	}
	header := map[string][]string{}
	for _, r := range found {
		span := h.tracer.Start("batch send", r.Context).Set("headcount.lane", string(b.Lane)).Set("headcount.first", int(b.First)).Set("headcount.records", len(b.Records))
		r.Context = span.Context()
		span.End(nil)
		header[trace.HeaderRecords] = append(header[trace.HeaderRecords], r.String())
	}
	header[trace.Header] = []string{found[0].Context}
	return header
}
