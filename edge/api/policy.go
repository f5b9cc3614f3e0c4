package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Need is a route's policy: what a caller must be. All of a hub belongs to the hub's domains, so
// it is decided by the route alone, before anything is looked up: a refusal is the same whether
// the thing exists or not.
type Need struct {
	Public bool       // everybody; the other fields do not count then
	Role   token.Role // at least, in one of the hub's domains
	Ingest bool       // brings readings in: devices may, for themselves, and services with the permission "readings"
	Stream bool       // stays open: it ends when the caller's token does
}

// The needs of the hub's routes.
var (
	public  = Need{Public: true}
	sees    = Need{Role: token.Viewer}
	follows = Need{Role: token.Viewer, Stream: true}
	acts    = Need{Role: token.Operator}
	changes = Need{Role: token.Manager}
	sends   = Need{Role: token.Operator, Ingest: true}
)

// Ingest is the need of routes by which readings come in.
func Ingest() Need { return sends }

// Acts is the need of routes that act on the site.
func Acts() Need { return acts }

// needs has a row for each route of the hub's own and for those of inputs whose paths are
// fixed. Others are in Options.Needs. New refuses a route without a row.
var needs = map[string]Need{
	"/":                 public, // the page
	"GET /openapi.json": public,
	"GET /openapi.yaml": public,

	"GET /openapi-3.0.json": public, // for readers of older documents
	"GET /openapi-3.0.yaml": public,

	"GET /health":        public,
	"GET /health/live":   public,
	"GET /health/ready":  public,
	"GET /metrics":       sees,
	"/v1/":               sees, // what is not there
	"GET /v1/status":     sees,
	"GET /v1/journal":    sees,
	"GET /v1/loss":       sees,
	"GET /v1/events":     sees,
	"GET /v1/stream":     follows,
	"GET /v1/stream/ws":  follows,
	"GET /v1/spaces":     sees,
	"GET /v1/sensors":    sees,
	"GET /v1/devices":    sees,
	"GET /v1/alerts":     sees,
	"POST /v1/readings":  sends,
	"POST /sensors/data": sends,

	"GET /v1/analytics/summary":        sees,
	"GET /v1/spaces/{id}":              sees,
	"GET /v1/spaces/{id}/history":      sees,
	"PUT /v1/spaces/{id}/count":        acts,
	"GET /v1/sensors/{id}":             sees,
	"GET /v1/sensors/{id}/readings":    sees,
	"POST /v1/devices/{id}/approve":    changes,
	"POST /v1/devices/{id}/ignore":     changes,
	"POST /v1/alerts/{id}/acknowledge": acts,
	"POST /v1/push/{profile}":          sends,

	"GET /ws/notifications":   follows,
	"GET /socket.io/":         public, // decided when a client connects to the namespace: see socketIO
	"POST /socket.io/":        public,
	"GET /sensors":            sees,
	"GET /sensors/{id}/data":  sees,
	"GET /rooms":              sees,
	"GET /rooms/{id}/metrics": sees,
	"GET /rooms/{id}/history": sees,
}

// Policy is a route with its need.
type Policy struct {
	Pattern string // of net/http.ServeMux
	Need
}

// Policies lists all routes in order of their patterns.
func (a *API) Policies() []Policy {
	var out []Policy
	for _, pattern := range slices.Sorted(slices.Values(a.mux.patterns)) {
		out = append(out, Policy{pattern, a.needs[pattern]})
	}
	return out
}

// router is a ServeMux that remembers its patterns, so that none escapes its policy.
type router struct {
	*http.ServeMux
	patterns []string
}

// Handle is ServeMux's.
func (m *router) Handle(pattern string, h http.Handler) {
	m.ServeMux.Handle(pattern, h)
	m.patterns = append(m.patterns, pattern)
}

// HandleFunc is ServeMux's.
func (m *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(h))
}

// holdToPolicy finds the need of every route that is registered.
func (a *API) holdToPolicy() error {
	for _, pattern := range a.mux.patterns {
		need, ok := needs[pattern]
		if more, given := a.opts.Needs[pattern]; given && !ok {
			need, ok = more, true
		}
		if !ok || !need.Public && need.Role <= token.None {
			return fmt.Errorf("api: route %q has no policy: give it a row in the table of needs, or in Options.Needs", pattern)
		}
		a.needs[pattern] = need
	}
	return nil
}

// admit lets a request through when its route's need is met; otherwise it answers.
func (a *API) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := a.mux.Handler(r)
		need, ok := a.needs[pattern]
		if !ok {
			need = sees // no route at all; who may look is told so
		}
		if p := a.refusal(r, need); p != nil {
			gateway.WriteProblem(w, p)
			return
		}
		if who := token.From(r.Context()); need.Stream && who != nil && !who.Issued.IsZero() {
			ctx, cancel := a.whileGood(r, who)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// refusal says why the caller may not use a route with this need; nil = it may.
func (a *API) refusal(r *http.Request, need Need) *gateway.Problem {
	call := gateway.CallOf(r.Context())
	switch {
	case need.Public || call.Who != nil && a.meets(call.Who, need, r.Method):
		return nil
	case call.Who != nil:
		return gateway.NewProblem(http.StatusForbidden, "%s", required(need))
	case call.Refused == nil && len(a.opts.Tokens) == 0:
		return nil // an open hub: who says nothing is this machine's own user
	}
	p := gateway.NewProblem(http.StatusUnauthorized, "send a token of the hub's token file, or one of its cloud: Authorization: Bearer TOKEN")
	p.Header = http.Header{"Www-Authenticate": {`Bearer realm="headcount"`}}
	if call.Refused != nil {
		p.Header.Set("Www-Authenticate", `Bearer realm="headcount", error="invalid_token"`)
		p.Detail = call.Refused.Error() + "; send another one: Authorization: Bearer TOKEN"
	}
	return p
}

// required tells what a route asks for, in the words of a refusal. It does not tell what the
// caller has.
func required(need Need) string {
	if need.Ingest {
		return "readings are taken from role operator, from services with the permission readings, and from devices"
	}
	return fmt.Sprintf("this takes role %s in the organisation of this hub", need.Role)
}

// meets tells whether a caller is what a route needs.
func (a *API) meets(who *token.Identity, need Need, method string) bool {
	role := a.role(who)
	switch who.Kind {
	case token.Device:
		return need.Ingest && (who.Issued.IsZero() || role > token.None)
	case token.Service:
		if need.Ingest {
			return role > token.None && who.Allows("readings")
		}
		return role >= need.Role && who.Allows(permission(method))
	}
	return role >= need.Role
}

// role is the caller's on this hub.
func (a *API) role(who *token.Identity) token.Role {
	if a.opts.Domains == nil {
		return who.Everywhere
	}
	return max(who.Everywhere, who.RoleIn(a.opts.Domains()))
}

// permission is what a service must have to use a method.
func permission(method string) string {
	if method == http.MethodGet || method == http.MethodHead {
		return "read"
	}
	return "write"
}

// mayRead tells whether the caller may see what is not for everybody.
func (a *API) mayRead(ctx context.Context) bool {
	who := gateway.CallOf(ctx).Who
	return len(a.opts.Tokens) == 0 || who != nil && a.meets(who, sees, http.MethodGet)
}

// recheck is how often the token of an open stream is looked at again: a caller who was locked
// out is gone within it.
const recheck = 10 * time.Second

// whileGood is the request's context until its token expires, is revoked or loses its role. The
// caller must call cancel.
func (a *API) whileGood(r *http.Request, who *token.Identity) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(r.Context(), who.Expires)
	raw, _ := bearer(r)
	ticker := time.NewTicker(recheck)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if again, err := a.opts.Verify(raw); err != nil || !a.meets(again, follows, http.MethodGet) {
				a.log.Info("live stream ended: its token is no longer good", "who", who.Who(), "err", err)
				cancel()
				return
			}
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// looksSigned tells a signed token from a secret: it has three parts.
func looksSigned(secret string) bool { return strings.Count(secret, ".") == 2 }
