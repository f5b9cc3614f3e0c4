package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Run sends what was recorded until ctx ends, and what is left then.
func (t *Tracer) Run(ctx context.Context) {
	if t == nil {
		return
	}
	tick := time.NewTicker(t.o.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			_ = t.export(ctx) // nobody is left to be told
			return
		case <-tick.C:
		case <-t.full:
		}
		err := t.export(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			t.o.Log.Warn("spans are not taken by the collector and are dropped", "err", err)
		}
		failing = err != nil
	}
}

// export sends all that waits, in pieces. What fails is dropped: a trace is not worth a backlog.
func (t *Tracer) export(ctx context.Context) error {
	for {
		t.mu.Lock()
		n := min(maxExport, len(t.queue))
		batch := t.queue[:n:n]
		if t.queue = t.queue[n:]; len(t.queue) == 0 {
			t.queue = nil
		}
		t.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := t.post(ctx, batch); err != nil {
			t.dropped.Add(int64(n))
			return err
		}
		t.sent.Add(int64(n))
	}
}

func (t *Tracer) post(ctx context.Context, spans []*Span) error {
	body, err := json.Marshal(t.request(spans))
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what is under way at the end is still sent; the client bounds it
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %s", resp.Status)
	}
	return nil
}

type object = map[string]any

// request is an ExportTraceServiceRequest in the JSON form of OTLP 1.
func (t *Tracer) request(spans []*Span) object {
	resource := []object{keyValue("service.name", t.o.Service)}
	for k, v := range t.o.Resource {
		resource = append(resource, keyValue(k, v))
	}
	out := make([]object, len(spans))
	for i, s := range spans {
		out[i] = s.json()
	}
	return object{"resourceSpans": []object{{
		"resource":   object{"attributes": resource},
		"scopeSpans": []object{{"scope": object{"name": "headcount"}, "spans": out}},
	}}}
}

func keyValue(key string, value any) object {
	if n, ok := value.(int64); ok {
		return object{"key": key, "value": object{"intValue": strconv.FormatInt(n, 10)}}
	}
	return object{"key": key, "value": object{"stringValue": fmt.Sprint(value)}}
}

// kindInternal is SPAN_KIND_INTERNAL, statusError STATUS_CODE_ERROR.
const (
	kindInternal = 1
	statusError  = 2
)

func (s *Span) json() object {
	o := object{
		"traceId": s.trace, "spanId": s.id, "name": s.name, "kind": kindInternal,
		"startTimeUnixNano": strconv.FormatInt(s.started.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.ended.UnixNano(), 10),
	}
	if s.parent != "" {
		o["parentSpanId"] = s.parent
	}
	attributes := make([]object, len(s.attributes))
	for i, a := range s.attributes {
		attributes[i] = keyValue(a.key, a.value)
	}
	o["attributes"] = attributes
	if s.err != "" {
		o["status"] = object{"code": statusError, "message": s.err}
	}
	return o
}
