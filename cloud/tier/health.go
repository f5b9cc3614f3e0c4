package tier

import (
	"context"
	"encoding/json"
	"net/http"
)

// The verdicts of a health check.
const (
	up       = "UP"
	degraded = "DEGRADED"
	down     = "DOWN"
)

type check struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// health answers whether the tier works, with all checks: without its database it does not;
// while NATS is away, or some stream waits, it is degraded: pages and API go on, and hubs keep
// what they have.
func (t *Tier) health(w http.ResponseWriter, _ *http.Request) {
	ctx, cancel := t.queryContext()
	defer cancel()
	writeHealth(w, t.checks(ctx))
}

// ready answers whether requests should be sent here: it has come up and its database answers.
func (t *Tier) ready(w http.ResponseWriter, _ *http.Request) {
	ctx, cancel := t.queryContext()
	defer cancel()
	writeHealth(w, []check{t.checkDatabase(ctx), t.checkTier()})
}

// checks judges every part.
func (t *Tier) checks(ctx context.Context) []check {
	nats, ingest := check{Name: "nats", Status: up}, check{Name: "ingest", Status: up}
	if !t.bus.Conn().IsConnected() {
		nats.Status, nats.Detail = degraded, "not connected; hubs keep what they have until it is back"
	}
	if t.ingest.Err() != nil {
		ingest.Status, ingest.Detail = degraded, "something waits to be taken in; the log says what and why"
	}
	checks := []check{t.checkTier(), t.checkDatabase(ctx), nats, ingest}
	for _, p := range t.parts {
		if p.checks != nil {
			checks = append(checks, p.checks(ctx)...)
		}
	}
	return checks
}

// checkTier tells whether the tier is stopping.
func (t *Tier) checkTier() check {
	if t.ctx.Err() != nil {
		return check{Name: "tier", Status: down, Detail: "it is stopping"}
	}
	return check{Name: "tier", Status: up}
}

func (t *Tier) checkDatabase(ctx context.Context) check {
	if err := t.db.Ping(ctx); err != nil {
		t.cfg.Log.Error("database does not answer", "err", err)
		return check{Name: "database", Status: down, Detail: "the database does not answer"}
	}
	return check{Name: "database", Status: up}
}

// overall is the worst of the checks.
func overall(checks []check) string {
	status := up
	for _, c := range checks {
		if c.Status == down || c.Status == degraded && status == up {
			status = c.Status
		}
	}
	return status
}

func writeHealth(w http.ResponseWriter, checks []check) {
	status, code := overall(checks), http.StatusOK
	if status == down {
		code = http.StatusServiceUnavailable
	}
	if checks == nil {
		checks = []check{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "checks": checks}) // a failing write: the client is gone
}
