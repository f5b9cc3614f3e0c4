package tier

import (
	"context"
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/sync/token"
)

// openSocket serves the live streams; what a client gets of them is by its roles.
func (t *Tier) openSocket(context.Context) (part, error) {
	options := func(change func(*http.Request, *live.Filter)) live.Options {
		return live.Options{Clients: t.clients, Log: t.cfg.Log, Origins: gateway.OriginHosts(t.cfg.HTTP.CORSOrigins), Filter: func(r *http.Request) (live.Filter, error) {
			f, err := live.ParseFilter(r)
			f.Scope = token.From(r.Context())
			change(r, &f)
			return f, err
		}}
	}
	all := options(func(*http.Request, *live.Filter) {})
	one := options(func(r *http.Request, f *live.Filter) {
		site := route.Found(r.Context()).(store.Site)
		f.Sites, f.Org = []string{site.Site}, site.Org
	})
	alerts := options(func(_ *http.Request, f *live.Filter) { f.Types = []string{live.SnapshotType, "alert.*"} })
	stream := func(path, summary string, need route.Need, h http.Handler) route.Route {
		return route.Route{Method: http.MethodGet, Path: path, Tag: "socket", Summary: summary, Need: need, Serve: h}
	}
	signedIn, ofSite := route.Need{SignedIn: true}, route.Need{Of: t.twin.OfSite, Role: token.Viewer}
	return part{routes: []route.Route{
		stream("/v1/stream", "Events as they happen (SSE, or WebSocket by upgrade)", signedIn, live.Stream(t.socket, all)),
		stream("/v1/stream/ws", "Events as they happen (WebSocket)", signedIn, live.WebSocket(t.socket, all)),
		stream("/v1/sites/{site}/stream", "Events of one site (SSE, or WebSocket by upgrade)", ofSite, live.Stream(t.socket, one)),
		stream("/v1/sites/{site}/stream/ws", "Events of one site (WebSocket)", ofSite, live.WebSocket(t.socket, one)),
		stream("/ws/notifications", "Alerts as they happen (WebSocket)", signedIn, live.WebSocket(t.socket, alerts)),
	}}, nil
}

// states tells the socket the present state of sites.
type states struct{ t *Tier }

// States returns the state of each of these sites.
func (s states) States(ctx context.Context, sites []store.Site) ([]live.State, error) {
	out := make([]live.State, len(sites))
	for i, site := range sites {
		v, err := s.t.twin.View(ctx, site)
		if err != nil {
			return nil, err
		}
		out[i] = live.State{Site: site.Site, Name: site.Name, AsOf: v.AsOf, Spaces: v.Spaces, Alerts: v.Alerts, Sensors: v.Sensors}
	}
	return out, nil
}
