package tier

import (
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

// health answers whether the tier works: without its database or NATS it does not; when some
// stream waits it is degraded.
func (t *Tier) health(w http.ResponseWriter, _ *http.Request) {
	ctx, cancel := t.queryContext()
	defer cancel()
	database, nats, ingest := check{Name: "database", Status: up}, check{Name: "nats", Status: up}, check{Name: "ingest", Status: up}
	if err := t.db.Ping(ctx); err != nil {
		database.Status, database.Detail = down, "the database does not answer"
		t.cfg.Log.Error("database does not answer", "err", err)
	}
	if !t.bus.Conn().IsConnected() {
		nats.Status, nats.Detail = down, "not connected"
	}
	if t.ingest.Err() != nil {
		ingest.Status, ingest.Detail = degraded, "something waits to be taken in; the log says what and why"
	}
	checks := []check{database, nats, ingest}
	for _, p := range t.parts {
		if p.checks != nil {
			checks = append(checks, p.checks(ctx)...)
		}
	}
	writeHealth(w, checks)
}

func writeHealth(w http.ResponseWriter, checks []check) {
	status, code := up, http.StatusOK
	for _, c := range checks {
		switch {
		case c.Status == down:
			status, code = down, http.StatusServiceUnavailable
		case c.Status == degraded && status == up:
			status = degraded
		}
	}
	if checks == nil {
		checks = []check{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "checks": checks}) // a failing write: the client is gone
}
