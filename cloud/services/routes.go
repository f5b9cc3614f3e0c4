package services

import (
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// permission is what a service's token must carry to register.
const permission = "services:register"

// listing is the answer of the catalogue's lists.
type listing struct {
	Services []Service `json:"services"`
}

// Routes is the module's part of the API.
func (c *Catalogue) Routes() []route.Route {
	var out []route.Route
	add := func(method, path, summary string, need route.Need, in, answer any, h func(*route.Request) (any, error)) {
		out = append(out, route.Route{Method: method, Path: path, Tag: "services", Summary: summary, Need: need, In: in, Out: answer, Handle: h})
	}
	read, own := route.Need{SignedIn: true}, route.Need{Of: c.ofService, Role: token.Operator, Permission: permission}
	for _, prefix := range []string{"/v1/services", "/services"} {
		add(http.MethodGet, prefix, "What runs: parts of the cloud, hubs, services from outside; ?name= ?kind= ?org= ?site= select", read, nil, listing{}, c.list)
		add(http.MethodGet, prefix+"/{name}", "The instances of a service, by its name, or one by its id", read, nil, listing{}, c.named)
	}
	add(http.MethodGet, "/v1/services/{name}/pick", "One instance of a service, the next one with each call", read, nil, Service{}, c.pick)
	add(http.MethodPost, "/v1/services", "Register a service from outside", route.Need{SignedIn: true, Permission: permission}, Registration{}, Service{}, c.add)
	add(http.MethodPut, "/v1/services/{id}/heartbeat", "Say that a registered service still runs", own, nil, Service{}, c.heartbeat)
	add(http.MethodDelete, "/v1/services/{id}", "Take a registered service out", own, nil, nil, c.remove)
	return out
}

// ofService is the policy of paths with {id}: it leaves the Service in Request.Found.
func (c *Catalogue) ofService(r *route.Request) ([]string, error) {
	s, err := c.find(r.Context(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, route.ErrNotFound
	}
	r.Found = s
	return s.domains, err
}

func (c *Catalogue) list(r *route.Request) (any, error) {
	q := r.URL.Query()
	all, err := c.List(r.Context(), r.Who)
	all = slices.DeleteFunc(all, func(s Service) bool {
		for key, have := range map[string]string{"name": s.Name, "kind": string(s.Kind), "org": s.Org, "site": s.Site} {
			if want := q.Get(key); want != "" && want != have && (have != "" || s.Kind != Tier || key == "name" || key == "kind") {
				return true
			}
		}
		return false
	})
	if all == nil {
		all = []Service{}
	}
	return listing{all}, err
}

// instances are those of a name that the caller may see, or the one of an id.
func (c *Catalogue) instances(r *route.Request) ([]Service, error) {
	name := r.PathValue("name")
	all, err := c.List(r.Context(), r.Who)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s Service) bool { return s.Name != name && s.ID != name })
	if len(all) == 0 {
		return nil, route.ErrNotFound
	}
	return all, nil
}

func (c *Catalogue) named(r *route.Request) (any, error) {
	found, err := c.instances(r)
	if err != nil {
		return nil, err
	}
	return listing{found}, nil
}

func (c *Catalogue) pick(r *route.Request) (any, error) {
	found, err := c.instances(r)
	if err != nil {
		return nil, err
	}
	if best := slices.DeleteFunc(slices.Clone(found), func(s Service) bool { return s.Status != "UP" }); len(best) > 0 {
		found = best
	}
	return found[c.picks.take(r.PathValue("name"), len(found))], nil
}

// picks counts the picks of each name, so that they go round. What is forgotten begins anew.
type picks struct {
	mu   sync.Mutex
	next map[string]int
}

const maxPicks = 10_000

func (p *picks) take(name string, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) > maxPicks {
		clear(p.next)
	}
	i := p.next[name]
	p.next[name] = i + 1
	return i % n
}

func (c *Catalogue) add(r *route.Request) (any, error) {
	in := Registration{TTL: defaultTTL}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Org == "" {
		in.Org = onlyOrg(r.Who)
	}
	switch have := r.Who.Role(in.Org); {
	case in.Org == "":
		return nil, route.Problem(http.StatusBadRequest, "say in which organisation: \"org\"")
	case have == token.None:
		return nil, route.ErrNotFound
	case have < token.Operator:
		return nil, route.Problem(http.StatusForbidden, "this needs the role %s; yours is %s", token.Operator, have)
	}
	if bad := in.problems(); len(bad) > 0 {
		p := gateway.NewProblem(http.StatusUnprocessableEntity, "the service cannot be registered")
		p.Errors = bad
		return nil, p
	}
	s, fresh, err := c.register(r.Context(), in, r.Who.Who())
	switch {
	case errors.Is(err, errTooMany):
		return nil, route.Problem(http.StatusConflict, "the organisation has %d services registered; take some out", maxPerOrg)
	case err != nil:
		return nil, err
	case fresh:
		return route.Created("/v1/services/"+s.ID, s), nil
	}
	return s, nil
}

// onlyOrg is the one organisation of a caller who has no other; empty otherwise.
func onlyOrg(who *token.Identity) string {
	var orgs []string
	for _, m := range who.Memberships {
		if !slices.Contains(orgs, m.Domain) {
			orgs = append(orgs, m.Domain)
		}
	}
	if len(orgs) != 1 {
		return ""
	}
	return orgs[0]
}

func (c *Catalogue) heartbeat(r *route.Request) (any, error) {
	s, kept, err := c.beat(r.Context(), r.Found.(Service))
	if err == nil && !kept {
		return nil, route.ErrNotFound
	}
	return s, err
}

func (c *Catalogue) remove(r *route.Request) (any, error) {
	return nil, c.deregister(r.Context(), r.Found.(Service).ID)
}
