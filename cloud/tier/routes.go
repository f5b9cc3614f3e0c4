package tier

import (
	"context"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/web"
)

// routes registers everything the tier serves.
func (t *Tier) routes(mux *http.ServeMux) {
	t.twin.Routes(mux, who)
	o := live.Options{Clients: t.clients, Log: t.cfg.Log}
	mux.Handle("GET /v1/stream", live.Stream(t.socket, o))
	mux.Handle("GET /v1/stream/ws", live.WebSocket(t.socket, o))
	one := o
	one.Filter = func(r *http.Request) (live.Filter, error) {
		f, err := live.ParseFilter(r)
		f.Sites = []string{r.PathValue("site")}
		return f, err
	}
	mux.Handle("GET /v1/sites/{site}/stream", live.Stream(t.socket, one))
	mux.Handle("GET /v1/sites/{site}/stream/ws", live.WebSocket(t.socket, one))
	alerts := o
	alerts.Filter = func(r *http.Request) (live.Filter, error) {
		f, err := live.ParseFilter(r)
		f.Types = []string{live.SnapshotType, "alert.*"}
		return f, err
	}
	mux.Handle("GET /ws/notifications", live.WebSocket(t.socket, alerts))
	mux.HandleFunc("GET /health", t.health)
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, nil) })
	mux.HandleFunc("GET /health/ready", t.health)
	mux.Handle("GET /metrics", t.metrics.handler())
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		twin.WriteProblem(w, http.StatusNotFound, "there is nothing at "+r.Method+" "+r.URL.Path)
	})
	mux.Handle("/", web.Handler(web.Page{Cloud: true}))
}

// queryContext bounds what health and metrics ask the database.
func (t *Tier) queryContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, 2*time.Second)
}

// countSites counts the sites whose hub is heard and those whose hub is not.
func (t *Tier) countSites(ctx context.Context) (online, stale int, err error) {
	sites, err := t.db.Sites(ctx)
	now := time.Now()
	for _, s := range sites {
		if twin.Stale(s.LastHeartbeat, now) {
			stale++
		} else {
			online++
		}
	}
	return online, stale, err
}

// states tells the socket the present state of sites.
type states struct{ t *Tier }

// States returns the state of these sites, of all when the list is empty.
func (s states) States(ctx context.Context, ids []string) ([]live.State, error) {
	var rows []store.Site
	var err error
	if len(ids) == 0 {
		rows, err = s.t.db.Sites(ctx)
	}
	for _, id := range ids {
		found, e := s.t.db.FindSites(ctx, "", id)
		if e != nil {
			return nil, e
		}
		rows = append(rows, found...)
	}
	if err != nil {
		return nil, err
	}
	out := make([]live.State, len(rows))
	for i, row := range rows {
		v, err := s.t.twin.View(ctx, row)
		if err != nil {
			return nil, err
		}
		out[i] = live.State{Site: row.Site, Name: row.Name, AsOf: v.AsOf, Spaces: v.Spaces, Alerts: v.Alerts, Sensors: v.Sensors}
	}
	return out, nil
}
