package tier

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/feed"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/sync/token"
)

// openSocket serves the live streams; what a client gets of them is by its roles.
func (t *Tier) openSocket(context.Context) (part, error) {
	options := func(change func(*http.Request, *live.Filter)) live.Options {
		return live.Options{Good: t.stillGood, Rights: t.accounts.Changed, Clients: t.clients, Log: t.cfg.Log, Origins: gateway.OriginHosts(t.cfg.HTTP.CORSOrigins), Filter: func(r *http.Request) (live.Filter, error) {
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
	io := t.socketIO()
	rooms := func(method string) route.Route {
		return route.Route{Method: method, Path: "/socket.io/", Tag: "socket", Summary: "Events as they happen (Socket.IO); the token is asked for when a client connects to the namespace",
			Need: route.Need{Public: true}, Serve: io, MaxBody: socketio.DefaultMaxPayload + 1}
	}
	return part{routes: []route.Route{
		rooms(http.MethodGet), rooms(http.MethodPost),
		stream("/v1/stream", "Events as they happen (SSE, or WebSocket by upgrade)", signedIn, live.Stream(t.socket, all)),
		stream("/v1/stream/ws", "Events as they happen (WebSocket)", signedIn, live.WebSocket(t.socket, all)),
		stream("/v1/sites/{site}/stream", "Events of one site (SSE, or WebSocket by upgrade)", ofSite, live.Stream(t.socket, one)),
		stream("/v1/sites/{site}/stream/ws", "Events of one site (WebSocket)", ofSite, live.WebSocket(t.socket, one)),
		stream("/ws/notifications", "Alerts as they happen (WebSocket)", signedIn, live.WebSocket(t.socket, alerts)),
	}}, nil
}

// stillGood tells whether the caller of a stream is who it was when the stream began.
func (t *Tier) stillGood(f live.Filter) bool {
	who, _ := f.Scope.(*token.Identity)
	if who == nil || !who.Expires.IsZero() && !time.Now().Before(who.Expires) {
		return false
	}
	return !t.accounts.Revoked(who)
}

// socketIO serves wallboards and apps.
func (t *Tier) socketIO() http.Handler {
	main := feed.New(feed.Options{
		Source: t.socket, Who: t.whoConnects, Buildings: t.buildings, Changed: t.accounts.Changed, Log: t.cfg.Log,
		Good: func(who *token.Identity, _ string) bool { return t.stillGood(live.Filter{Scope: who}) },
	})
	return socketio.New(map[string]socketio.Namespace{"/": main}, socketio.Options{
		Clients: t.clients, Origins: gateway.OriginHosts(t.cfg.HTTP.CORSOrigins), Log: t.cfg.Log,
	})
}

// whoConnects is the caller of a Socket.IO client: by the token that it sends when it connects,
// else as any request.
func (t *Tier) whoConnects(r *http.Request, raw string) (who *token.Identity, credential string, err error) {
	if raw != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	who, err = t.door.identify(r)
	switch {
	case err != nil:
		return nil, "", err
	case who == nil:
		return nil, "", errors.New("send a token: auth: {token: \"…\"}")
	case who.Kind == token.Device:
		return nil, "", errors.New("a device's token is for sending readings to its hub")
	case !who.Allows("read"):
		return nil, "", errors.New("the service's token lacks the permission \"read\"")
	}
	return who, "", nil
}

// buildings finds SITE, SITE/SPACE, ORG/SITE and ORG/SITE/SPACE, the space of kind building, where
// the caller may see it.
func (t *Tier) buildings(ctx context.Context, who *token.Identity, id string) ([]feed.Building, error) {
	parts := strings.Split(id, "/")
	var out []feed.Building
	find := func(org, site, space string) error {
		sites, err := t.socket.Sites(ctx, live.Filter{Scope: who, Org: org, Sites: []string{site}})
		for _, s := range sites {
			if space == "" || isBuilding(s, space) {
				out = append(out, feed.Building{Org: s.Org, Site: s.Site, Space: space})
			}
		}
		return err
	}
	switch len(parts) {
	case 1:
		err := find("", parts[0], "")
		return out, err
	case 2:
		err := errors.Join(find("", parts[0], parts[1]), find(parts[0], parts[1], ""))
		return out, err
	case 3:
		err := find(parts[0], parts[1], parts[2])
		return out, err
	}
	return nil, nil
}

func isBuilding(s store.Site, space string) bool {
	var model edge.Site
	if json.Unmarshal(s.Model, &model) != nil {
		return false // a site that has never sent its model
	}
	sp, ok := model.Space(space)
	return ok && sp.Kind == edge.Building
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

// rawToken is the token of a request: in its header, as cookie or, for live streams only, where
// browsers can send no header, as ?token=.
func rawToken(r *http.Request) string {
	if raw := accounts.Raw(r); raw != "" || !isStream(r.URL.Path) {
		return raw
	}
	return r.URL.Query().Get("token")
}

func isStream(path string) bool {
	return strings.HasPrefix(path, "/ws/") || path == "/socket.io/" || strings.HasSuffix(path, "/stream") || strings.HasSuffix(path, "/stream/ws")
}
