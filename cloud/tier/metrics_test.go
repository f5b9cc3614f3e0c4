package tier

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/headcount-hub/headcount/edge"
)

var metricName = regexp.MustCompile(`\b(?:headcount|process)_[a-z0-9_]+`)

// samples are the names in a scrape.
func samples(text string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		if name := metricName.FindString(line); name != "" && !strings.HasPrefix(line, "#") && strings.HasPrefix(line, name) {
			out[name] = true
		}
	}
	return out
}

// packaged are the metrics that the dashboard and the alert rules ask for.
func packaged(t *testing.T) []string {
	t.Helper()
	var names []string
	add := func(expr string) { names = append(names, metricName.FindAllString(expr, -1)...) }
	b, err := os.ReadFile(filepath.Join("..", "..", "packaging", "grafana", "headcount.json"))
	must(t, err)
	var dash struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(b, &dash))
	for _, p := range dash.Panels {
		for _, q := range p.Targets {
			add(q.Expr)
		}
	}
	b, err = os.ReadFile(filepath.Join("..", "..", "packaging", "prometheus", "headcount.rules.yml"))
	must(t, err)
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	must(t, yaml.Unmarshal(b, &rules))
	for _, r := range rules.Groups[0].Rules {
		if r.Alert == "" || r.Expr == "" {
			t.Errorf("rule %+v has no name or condition", r)
		}
		add(r.Expr)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Every metric that the dashboard or a rule asks for is there: those of the cloud in the scrape
// of a started one, those of a hub in the table of docs/operations.md, which the hub's own test
// holds against its scrape.
func TestTheDashboardAsksForMetricsThatExist(t *testing.T) {
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	t.Cleanup(hook.Close)
	cfg := config(t.TempDir())
	cfg.Organisations = []Organisation{{ID: "acme", Webhooks: []Webhook{{Name: "hook", URL: hook.URL}}}}
	tier := startTier(t, cfg)
	h := newHub(t, tier, "acme", "hq")
	h.occupancy(3)
	h.tell(edge.AlertRaised, "a1", time.Now(), edge.Alert{ID: "a1", Rule: "over", Severity: edge.Critical, State: edge.StateFiring, RaisedAt: time.Now()})
	var text string
	eventually(t, "all is counted", func() bool {
		text = string(get(t, tier, "/metrics", http.StatusOK))
		return strings.Contains(text, `headcount_cloud_deliveries{state="failed"} 1`) && strings.Contains(text, "headcount_cloud_publish_lag_events 0") &&
			strings.Contains(text, `headcount_cloud_ingest_lag_messages{stream="UP_acme"} 0`) && strings.Contains(text, `headcount_cloud_channel_breaker`)
	})
	have := samples(text)
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	must(t, err)
	for _, name := range packaged(t) {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		switch {
		case have[name]:
		case strings.HasPrefix(name, "headcount_cloud_"):
			t.Errorf("the dashboard or a rule asks for %s, which a started cloud does not have", name)
		case !strings.Contains(string(doc), "`"+name+"`") && !strings.Contains(string(doc), "`"+base+"`"):
			t.Errorf("the dashboard or a rule asks for %s, which is in no scrape and not in docs/operations.md", name)
		}
	}
	for name := range have {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if strings.HasPrefix(name, "headcount_") && !strings.Contains(string(doc), "`"+base+"`") {
			t.Errorf("docs/operations.md does not list %s", base)
		}
	}
	if len(have) < 30 {
		t.Errorf("only %d metrics in the scrape", len(have))
	}
}

func TestWithoutNATSTheTierIsDegradedAndServes(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	h := newHub(t, tier, "acme", "hq")
	h.occupancy(3)
	tier.bus.Shutdown()
	var got struct {
		Status string
		Checks []check
	}
	eventually(t, "it says that NATS is away", func() bool {
		must(t, json.Unmarshal(get(t, tier, "/health", http.StatusOK), &got))
		return got.Status == degraded
	})
	must(t, json.Unmarshal(get(t, tier, "/health/ready", http.StatusOK), &got))
	if got.Status != up {
		t.Errorf("ready says %+v, want UP: pages and API are served", got)
	}
	get(t, tier, "/v1/sites", http.StatusOK)
	get(t, tier, "/health/live", http.StatusOK)
}
