package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/tier"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
)

// traced is a collector of spans and a receiver of webhooks.
type traced struct {
	mu    sync.Mutex
	spans map[string]string // name of a span of the trace -> service
	hook  string            // traceparent of the webhook
}

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func (c *traced) collect(_ http.ResponseWriter, r *http.Request) {
	var in struct {
		ResourceSpans []struct {
			Resource struct {
				Attributes []struct {
					Key   string
					Value struct{ StringValue string }
				}
			}
			ScopeSpans []struct {
				Spans []struct{ TraceID, Name string }
			}
		}
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range in.ResourceSpans {
		for _, s := range rs.ScopeSpans[0].Spans {
			if s.TraceID == traceID {
				c.spans[s.Name] = rs.Resource.Attributes[0].Value.StringValue
			}
		}
	}
}

func (c *traced) receive(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook += " " + r.Header.Get("Traceparent")
}

// A reading that comes with a trace is followed through hub, NATS and cloud to the webhook.
func TestOneTraceFromReadingToWebhook(t *testing.T) {
	c := &traced{spans: map[string]string{}}
	collector := httptest.NewServer(http.HandlerFunc(c.collect))
	t.Cleanup(collector.Close)
	receiver := httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(receiver.Close)
	dir, none := t.TempDir(), 0.0
	cloud, err := tier.Start(t.Context(), tier.Config{
		Data: filepath.Join(dir, "cloud"), HTTP: tier.HTTP{Listen: "127.0.0.1:0"}, NATS: tier.NATS{Listen: "127.0.0.1:0"},
		Organisations: []tier.Organisation{{ID: "acme", Webhooks: []tier.Webhook{{Name: "cloud-hook", URL: receiver.URL}}}},
		Telemetry:     tier.Telemetry{OTLP: collector.URL, Sample: &none},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	creds, err := cloud.Enrol("acme", "hq")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "site.creds"), creds, 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf(`site: {id: hq}
spaces: [{id: lobby, capacity: 2}]
doors: [{id: front, between: [outside, lobby]}]
sensors: [{id: door-7, class: line-tof, door: front}]
inputs: [{driver: httppush}]
alerts: [{name: crowd, for_each: room, when: "count_low > capacity", severity: critical}]
uplink: {url: "%s", credentials_file: site.creds}
http: {listen: "127.0.0.1:0"}
storage: {dir: hub}
telemetry: {otlp: "%s", sample: 0}
`, cloud.NATSURL(), collector.URL)
	file := filepath.Join(dir, "headcount.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, hub.ConfigOptions(nil, dir))
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(hub.Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	post := func(body, parent string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.Address()+"/v1/readings", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", parent)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	until(t, "the hub takes readings", func() string { return "" }, func() bool { return post(`{"sensor":"door-7","count_in":0,"count_out":0}`, "") == http.StatusOK })
	if status := post(`{"sensor":"door-7","count_in":9,"count_out":0}`, "00-"+traceID+"-00f067aa0ba902b7-01"); status != http.StatusOK {
		t.Fatalf("the reading is answered %d", status)
	}
	want := map[string]string{"readings accept": "headcount-hub", "batch send": "headcount-hub", "batch apply": "headcount-cloud", "notification deliver": "headcount-cloud"}
	state := func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Sprintf("; spans %v, webhook %q", c.spans, c.hook)
	}
	until(t, "all steps are told to the collector", state, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for name, service := range want {
			if c.spans[name] != service {
				return false
			}
		}
		return strings.Contains(c.hook, " 00-"+traceID+"-")
	})
}

// until polls a condition that has no event of its own.
func until(t *testing.T, what string, state func() string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s%s", what, state())
		}
	}
}
