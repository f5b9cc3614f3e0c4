// Package services is the catalogue of what runs: the parts of this tier, the hubs that are
// heard, and services from outside that register themselves. It is served as REST and, by the
// protocol of NATS micro services, on $SRV.
//
// It guarantees that a hub is listed as long as its heartbeats are fresh and no longer, that a
// service from outside whose own heartbeats stop is gone after its time to live, and that callers
// see the services of their organisations only. It never calls the addresses it is given.
package services

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Kind says where a service comes from.
type Kind string

// The kinds of service.
const (
	Tier    Kind = "tier"    // a part of this cloud
	Hub     Kind = "hub"     // a site's hub, as its heartbeats tell
	Outside Kind = "outside" // registered by the API
)

// HubName is the name of all hubs in the catalogue.
const HubName = "headcount-hub"

// HubTTL is how long after its last heartbeat a hub is listed: three that did not come.
const HubTTL = 45 * time.Second

// Service is one running instance.
type Service struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Kind     Kind              `json:"kind"`
	Version  string            `json:"version"`
	URL      string            `json:"url,omitempty"`
	Org      string            `json:"org,omitempty"`
	Site     string            `json:"site,omitempty"` // of a hub
	Status   string            `json:"status"`         // UP or DEGRADED
	Metadata map[string]string `json:"metadata,omitempty"`
	Started  time.Time         `json:"started_at,omitzero"`
	Beat     time.Time         `json:"last_heartbeat,omitzero"` // by the cloud's clock
	TTL      int64             `json:"ttl,omitempty"`           // seconds; of a service from outside
	Expires  time.Time         `json:"expires,omitzero"`        // when it is gone unless it is heard again

	domains []string // who may see it; nil = everybody who has proved who it is
}

// Part is one part of this tier.
type Part struct {
	Name        string // "headcount-ingest"
	Description string
	Endpoints   []Endpoint
}

// Endpoint answers requests on NATS with what a GET of the API answers the same caller.
type Endpoint struct {
	Name    string // "overview"
	Subject string // "svc.twin.overview"
	Path    string // "/v1/overview"
}

// Options are what a Catalogue needs. DB is required.
type Options struct {
	DB      *store.DB
	Conn    *nats.Conn // nil = nothing is served on NATS
	Parts   []Part
	ID      string // of this process
	Version string
	URL     func() string                                                // of the API; nil = not told
	Status  func(ctx context.Context) string                             // of this process; nil = UP
	Domains func(store.Site) []string                                    // whom a site belongs to; nil = its organisation
	Ask     func(ctx context.Context, bearer, path string) (int, []byte) // a GET of the API by the holder of a token; nil = no endpoints
	Log     *slog.Logger                                                 // nil = silent
	Now     func() time.Time                                             // nil = time.Now
}

//go:embed migrations/*.sql
var migrations embed.FS

// Catalogue knows what runs. Its methods may be called from many goroutines.
type Catalogue struct {
	o       Options
	db      *store.DB
	started time.Time
	picks   picks
	micro   []micro.Service
	subs    []*nats.Subscription
	stats   hubStats
}

// Open makes a Catalogue and brings its table up to date; Run serves it on NATS.
func Open(ctx context.Context, o Options) (*Catalogue, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Domains == nil {
		o.Domains = func(s store.Site) []string { return []string{s.Org} }
	}
	if o.Status == nil {
		o.Status = func(context.Context) string { return "UP" }
	}
	c := &Catalogue{o: o, db: o.DB, started: o.Now(), picks: picks{next: map[string]int{}}}
	return c, o.DB.Migrate(ctx, "services", migrations, "migrations")
}

// List lists what runs now and the caller may see, by name and id; nil is everything.
func (c *Catalogue) List(ctx context.Context, who *token.Identity) ([]Service, error) {
	all := c.parts(ctx)
	hubs, err := c.hubs(ctx)
	if err != nil {
		return nil, err
	}
	outside, err := c.registered(ctx)
	if err != nil {
		return nil, err
	}
	all = append(append(all, hubs...), outside...)
	all = slices.DeleteFunc(all, func(s Service) bool {
		return who != nil && s.domains != nil && who.RoleIn(s.domains) < token.Viewer
	})
	slices.SortStableFunc(all, func(a, b Service) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// parts lists the parts of this tier.
func (c *Catalogue) parts(ctx context.Context) []Service {
	status, url := c.o.Status(ctx), ""
	if c.o.URL != nil {
		url = c.o.URL()
	}
	var out []Service
	for _, p := range c.o.Parts {
		out = append(out, Service{
			ID: p.Name + "-" + c.o.ID, Name: p.Name, Kind: Tier, Version: c.o.Version, URL: url, Status: status,
			Metadata: map[string]string{"instance": c.o.ID}, Started: c.started, Beat: c.o.Now().UTC(),
		})
	}
	return out
}

// beat is what the catalogue reads of a heartbeat.
type beat struct {
	Boot     string    `json:"boot"`
	Software string    `json:"software"`
	Started  time.Time `json:"started_at"`
	Clock    string    `json:"clock"`
	Config   string    `json:"config_rev"`
}

// hubs lists the hubs that are heard.
func (c *Catalogue) hubs(ctx context.Context) ([]Service, error) {
	sites, err := c.db.Sites(ctx)
	if err != nil {
		return nil, err
	}
	now := c.o.Now()
	var out []Service
	for _, s := range sites {
		if s.LastHeartbeat.IsZero() || now.Sub(s.LastHeartbeat) > HubTTL {
			continue
		}
		var b beat
		_ = json.Unmarshal(s.Heartbeat, &b) // ingest has read it before
		out = append(out, Service{
			ID: s.Org + "-" + s.Site, Name: HubName, Kind: Hub, Version: b.Software, Org: s.Org, Site: s.Site, Status: "UP",
			Metadata: hubMetadata(s, b, now), Started: b.Started, Beat: s.LastHeartbeat, Expires: s.LastHeartbeat.Add(HubTTL),
			domains: c.o.Domains(s),
		})
	}
	return out, nil
}

func hubMetadata(s store.Site, b beat, now time.Time) map[string]string {
	m := map[string]string{"org": s.Org, "site": s.Site, "version": b.Software, "boot": b.Boot, "clock": b.Clock, "last_heartbeat": s.LastHeartbeat.Format(time.RFC3339)}
	if !b.Started.IsZero() {
		m["uptime"] = now.Sub(b.Started).Round(time.Second).String()
	}
	if s.Name != "" {
		m["name"] = s.Name
	}
	return m
}
