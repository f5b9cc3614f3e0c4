package tier

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/publish"
	"github.com/headcount-hub/headcount/cloud/services"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Bus is what systems outside are told by NATS.
type Bus struct {
	Readings bool `yaml:"readings"` // publish readings too, under ev.ORG.SITE.reading
}

// openPublish tells systems outside about events.
func (t *Tier) openPublish(context.Context) (part, error) {
	t.publish = publish.New(publish.Options{
		DB: t.db, Conn: t.bus.Conn(), JetStream: t.bus.JetStream(), Ensure: t.bus.EnsureEvents, Readings: t.cfg.Bus.Readings, Trace: t.traceOf(), Log: t.cfg.Log,
	})
	checks := func(context.Context) []check {
		c := check{Name: "publish", Status: up}
		if t.publish.Err() != nil {
			c.Status, c.Detail = degraded, "events wait to be published to NATS; the log says why"
		}
		return []check{c}
	}
	return part{routes: t.publish.Routes(), run: t.publish.Run, checks: checks}, nil
}

// tierParts are the parts of the tier as services.
var tierParts = []services.Part{
	{Name: "headcount-ingest", Description: "takes in what hubs send, each record once"},
	{Name: "headcount-twin", Description: "sites, spaces, sensors and alerts as they are now", Endpoints: []services.Endpoint{
		{Name: "overview", Subject: "svc.twin.overview", Path: "/v1/overview"},
		{Name: "sites", Subject: "svc.twin.sites", Path: "/v1/sites"},
		{Name: "buildings", Subject: "svc.twin.buildings", Path: "/twin/buildings"},
	}},
	{Name: "headcount-accounts", Description: "organisations, users, tokens", Endpoints: []services.Endpoint{
		{Name: "me", Subject: "svc.accounts.me", Path: "/auth/me"},
	}},
	{Name: "headcount-notify", Description: "tells people and systems", Endpoints: []services.Endpoint{
		{Name: "dead-letters", Subject: "svc.notify.dead-letters", Path: "/v1/dead-letters"},
	}},
	{Name: "headcount-socket", Description: "live streams: SSE, WebSocket, Socket.IO"},
	{Name: "headcount-workorders", Description: "work orders", Endpoints: []services.Endpoint{
		{Name: "list", Subject: "svc.workorders.list", Path: "/v1/work-orders"},
		{Name: "summary", Subject: "svc.workorders.summary", Path: "/v1/work-orders/summary"},
	}},
	{Name: "headcount-analytics", Description: "usage, trends, reports"},
	{Name: "headcount-assist", Description: "tools and answers for assistants"},
	{Name: "headcount-forward", Description: "signed webhooks with replay, and sinks"},
	{Name: "headcount-steer", Description: "configuration and commands down to hubs"},
	{Name: "headcount-publish", Description: "publishes events to NATS"},
	{Name: "headcount-services", Description: "what runs", Endpoints: []services.Endpoint{
		{Name: "list", Subject: "svc.services.list", Path: "/v1/services"},
	}},
}

// openServices lists what runs.
func (t *Tier) openServices(ctx context.Context) (part, error) {
	var err error
	t.services, err = services.Open(ctx, services.Options{
		DB: t.db, Conn: t.bus.Conn(), Parts: tierParts, ID: rand.Text()[:12], Version: t.cfg.Version, URL: t.PublicURL,
		Status: func(ctx context.Context) string { return overall(t.checks(ctx)) }, Domains: twin.Domains, Ask: t.askFor, Log: t.cfg.Log,
	})
	if err != nil {
		return part{}, err
	}
	t.metrics.watchFlow(t)
	return part{routes: t.services.Routes(), run: t.services.Run}, nil
}

// askFor is a GET of the API by the holder of a token.
func (t *Tier) askFor(ctx context.Context, bearer, path string) (int, []byte) {
	w := &kept{header: http.Header{}, status: http.StatusOK}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	who, err := t.door.identify(r)
	if err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnauthorized, "the token is not good"))
		return w.status, w.body.Bytes()
	}
	if who != nil {
		r = r.WithContext(token.Into(ctx, who))
	}
	t.api.ServeHTTP(w, r)
	return w.status, w.body.Bytes()
}

// NATSUser is a person or system outside that uses the tier's NATS.
type NATSUser struct {
	Name        string
	Org         string   // whose events it may read; empty = all
	Permissions []string // see bus.UserPermissions
}

func (u NATSUser) values() url.Values {
	return url.Values{"name": {u.Name}, "org": {u.Org}, "permission": u.Permissions}
}

// AddNATSUser makes credentials for a user from outside, in the same ways as Enrol. inbox is the
// prefix that the user's client must be told to use.
func AddNATSUser(ctx context.Context, cfg Config, u NATSUser) (creds []byte, natsURL, inbox string, err error) {
	err = administer(ctx, cfg, "/nats-user", u.values(), func(resp *http.Response) (err error) {
		natsURL = resp.Header.Get("Headcount-Nats-Url")
		creds, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		return err
	}, func(b *bus.Bus, _ *store.DB) (err error) {
		natsURL = cfg.NATS.Advertise
		creds, err = b.AddUser(u.Name, u.Org, u.Permissions)
		return err
	})
	return creds, natsURL, bus.UserInboxPrefix(u.Name), err
}

// RevokeNATSUser cuts a user from outside off.
func RevokeNATSUser(ctx context.Context, cfg Config, name string) error {
	return administer(ctx, cfg, "/nats-user/revoke", url.Values{"name": {name}}, func(*http.Response) error { return nil },
		func(b *bus.Bus, _ *store.DB) error { return b.RevokeUser(name) })
}

func (t *Tier) adminAddUser(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	creds, err := t.bus.AddUser(q.Get("name"), q.Get("org"), q["permission"])
	if err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnprocessableEntity, "%v", err))
		return
	}
	w.Header().Set("Headcount-Nats-Url", t.NATSURL())
	_, _ = w.Write(creds) // a failing write: the caller is gone
}

func (t *Tier) adminRevokeUser(w http.ResponseWriter, r *http.Request) {
	if err := t.bus.RevokeUser(r.URL.Query().Get("name")); err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnprocessableEntity, "%v", err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
