package trace_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/sync/trace"
)

const patience = 5 * time.Second

type span struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
	Parent  string `json:"parentSpanId"`
	Name    string
	Status  struct{ Code int }
}

// collector takes OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
	fail  bool
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		var in struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []struct{ Key string } }
				ScopeSpans []struct{ Spans []span }
			}
		}
		err := json.NewDecoder(r.Body).Decode(&in)
		if c.fail || err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || len(in.ResourceSpans) != 1 || in.ResourceSpans[0].Resource.Attributes[0].Key != "service.name" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.spans = append(c.spans, in.ResourceSpans[0].ScopeSpans[0].Spans...)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) got() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans
}

func run(t *testing.T, c *collector, sample float64) (*trace.Tracer, func()) {
	t.Helper()
	tr, err := trace.New(trace.Options{Endpoint: c.URL, Sample: sample, Service: "test", Every: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { tr.Run(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return tr, stop
}

func TestStepsOfATraceAreJoined(t *testing.T) {
	c := newCollector(t)
	tr, stop := run(t, c, 1)
	first := tr.Start("first", "").Set("n", 3).Set("of", "x")
	second := tr.Start("second", first.Context())
	second.End(errors.New("refused"))
	first.End(nil)
	stop() // what is left is sent
	got := c.got()
	if len(got) != 2 || got[0].TraceID != got[1].TraceID || got[0].Parent != got[1].SpanID || got[1].Parent != "" || got[0].Status.Code != 2 || got[1].Status.Code != 0 {
		t.Errorf("sent %+v, want second under first, which has no parent, and second failed", got)
	}
	if sent, dropped := tr.Counts(); sent != 2 || dropped != 0 {
		t.Errorf("counts %d sent, %d dropped", sent, dropped)
	}
}

func TestTheCallersDecisionIsKept(t *testing.T) {
	c := newCollector(t)
	tr, _ := run(t, c, 0)
	id := strings.Repeat("ab", 16)
	if s := tr.Start("x", "00-"+id+"-00f067aa0ba902b7-01"); !strings.HasPrefix(s.Context(), "00-"+id+"-") {
		t.Errorf("a recorded trace goes on as %q", s.Context())
	}
	for _, parent := range []string{"", "00-" + id + "-00f067aa0ba902b7-00", "garbage"} {
		if s := tr.Start("x", parent); s != nil {
			t.Errorf("%q is recorded", parent)
		}
	}
}

func TestACollectorThatFailsHoldsNothingUp(t *testing.T) {
	c := newCollector(t)
	c.fail = true
	tr, _ := run(t, c, 1)
	for range 10_000 {
		tr.Start("x", "").End(nil)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if _, dropped := tr.Counts(); dropped == 10_000 {
			break
		}
		if time.Now().After(deadline) {
			sent, dropped := tr.Counts()
			t.Fatalf("%d sent, %d dropped, want all dropped", sent, dropped)
		}
	}
}

func TestSwitchedOff(t *testing.T) {
	var tr *trace.Tracer
	s := tr.Start("x", "").Set("a", 1)
	s.End(nil)
	if s.Context() != "" || trace.From(trace.Into(t.Context(), s.Context())) != "" {
		t.Error("there is a context without a tracer")
	}
	tr.Run(t.Context())
	for _, o := range []trace.Options{{}, {Endpoint: "collector:4318"}, {Endpoint: "ftp://x"}, {Endpoint: "http://x", Sample: 2}} {
		if _, err := trace.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestMemoryFindsTheNewestRuns(t *testing.T) {
	var m trace.Memory
	for i := range uint64(3000) {
		m.Add(trace.Records{Of: "a", First: i * 10, Last: i*10 + 4, Context: "c"})
	}
	if got := m.Find("a", 29_990, 29_999); len(got) != 1 || got[0].First != 29_990 {
		t.Errorf("newest: %v", got)
	}
	if got := m.Find("a", 0, 9); len(got) != 0 {
		t.Errorf("the oldest are still there: %v", got)
	}
	if got := m.Find("b", 29_990, 29_999); len(got) != 0 {
		t.Errorf("another journal: %v", got)
	}
	if got := m.Find("a", 29_995, 29_999); len(got) != 0 {
		t.Errorf("between runs: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f.Add(good, "1-5 "+good)
	f.Add("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "5-1 "+good)
	f.Fuzz(func(t *testing.T, parent, run string) {
		if id, span, _ := trace.Parse(parent); id != "" && (len(id) != 32 || len(span) != 16 || strings.ToLower(id) != id) {
			t.Errorf("%q is taken as %q %q", parent, id, span)
		}
		for _, r := range trace.ParseRecords("x", []string{run}, 3, 9) {
			if again := trace.ParseRecords("x", []string{r.String()}, 3, 9); len(again) != 1 || again[0] != r || r.First < 3 || r.Last > 9 || r.First > r.Last {
				t.Errorf("%q becomes %+v, then %+v", run, r, again)
			}
		}
	})
}
