package tier

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/web"
	"github.com/headcount-hub/headcount/sync/token"
)

// part is one module of the tier: what it serves and what it runs. New modules add theirs to
// the list in newParts, with a file of their own that builds it.
type part struct {
	routes []route.Route
	run    func(context.Context) error // returns nil when ctx ends; nil = it runs nothing
	close  func()                      // after run has returned; nil = nothing to close
	checks func(context.Context) []check
}

// newParts builds the modules, those first that others ask.
func (t *Tier) newParts(ctx context.Context) error {
	for _, build := range []func(*Tier, context.Context) (part, error){
		(*Tier).openTwin,
		(*Tier).openAccounts,
		(*Tier).openSteer,
		(*Tier).openNotify,
		(*Tier).openPlain,
		(*Tier).openSocket,
		(*Tier).openWorkOrders,
		(*Tier).openAnalytics,
		(*Tier).openSchemas,
		(*Tier).openPublish,
		(*Tier).openServices,
		(*Tier).openAssist,
		(*Tier).openForward,
		(*Tier).openHealth,
	} {
		p, err := build(t, ctx)
		if err != nil {
			return err
		}
		t.parts = append(t.parts, p)
	}
	return nil
}

// router is the table of all routes.
func (t *Tier) router() (*route.Router, error) {
	page := web.Handler(web.Page{Cloud: true, Asks: t.cfg.Agent.URL != ""})
	rt := route.NewRouter(t.cfg.Log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v1/"):
			page.ServeHTTP(w, r)
		case token.From(r.Context()) == nil:
			gateway.WriteProblem(w, route.Unauthorized())
		default:
			gateway.WriteProblem(w, gateway.NewProblem(http.StatusNotFound, "there is nothing at %s %s", r.Method, r.URL.Path))
		}
	}))
	for _, p := range t.parts {
		if err := rt.Add(append(p.routes, aliases(p.routes)...)...); err != nil {
			return nil, err
		}
	}
	return rt, rt.Add(t.description(rt))
}

func (t *Tier) openTwin(context.Context) (part, error) {
	return part{routes: t.twin.Routes(), run: func(ctx context.Context) error { t.twin.Watch(ctx); return nil }}, nil
}

// openHealth serves health and metrics.
func (t *Tier) openHealth(context.Context) (part, error) {
	public := route.Need{Public: true}
	get := func(path, summary string, need route.Need, h http.Handler) route.Route {
		return route.Route{Method: http.MethodGet, Path: path, Tag: "health", Summary: summary, Need: need, Serve: h}
	}
	return part{routes: []route.Route{
		get("/health", "Whether the tier works", public, http.HandlerFunc(t.health)),
		get("/health/live", "Whether the process lives", public, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, nil) })),
		get("/health/ready", "Whether requests should be sent here", public, http.HandlerFunc(t.ready)),
		get("/metrics", "Metrics in the Prometheus text format", route.Need{Of: ofMetrics, Role: token.Viewer, Permission: accounts.MetricsPermission}, t.metrics.handler()),
	}}, nil
}

// ofMetrics is the policy of metrics, in which all organisations are: administrators of the whole
// cloud, and services to which one of them gave the permission.
func ofMetrics(r *route.Request) ([]string, error) {
	domains := []string{""}
	if r.Who.Kind == token.Service {
		for _, m := range r.Who.Memberships {
			domains = append(domains, m.Domain)
		}
	}
	return domains, nil
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
