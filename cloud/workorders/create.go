package workorders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Wanted is what the body of a new order says.
type Wanted struct {
	Org         string   `json:"org"`    // needed when neither site nor domain says it
	Domain      string   `json:"domain"` // the site's, or the organisation, by default
	Site        string   `json:"site"`
	Space       string   `json:"space"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Priority    Priority `json:"priority"` // medium by default
	Assignee    string   `json:"assignee"`
	Watchers    []string `json:"watchers"`
	Labels      []string `json:"labels"`
	SLA         string   `json:"sla"` // name of a template; "default" by default, if there is one
	AutoResolve bool     `json:"auto_resolve"`
	Draft       bool     `json:"draft"`
}

// The bounds of an order's fields.
const (
	maxTitle       = 200   // bytes
	maxDescription = 20000 // bytes
	maxList        = 50    // watchers, labels
	maxWord        = 128   // bytes of ids and labels
)

// create answers POST /v1/work-orders.
func (m *Module) create(r *route.Request) (any, error) {
	var w Wanted
	if err := r.Decode(&w); err != nil {
		return nil, err
	}
	if err := m.place(r, &w); err != nil {
		return nil, err
	}
	if role := r.Who.Role(w.Domain); role < token.Operator {
		return nil, route.Problem(http.StatusForbidden, "to open a work order in %s needs the role operator; yours is %s", w.Domain, role)
	}
	o, err := m.open(r.Context(), w, actorOf(r, w.Domain))
	if err != nil {
		return nil, err
	}
	return m.created(r, o)
}

func (m *Module) created(r *route.Request, o Order) (any, error) {
	v, err := m.view(r, o)
	if err != nil {
		return nil, err
	}
	resp := route.Created("/v1/work-orders/"+o.ID, v)
	resp.Header.Set("Etag", o.etag())
	return resp, nil
}

// place fills in organisation and domain from what is given.
func (m *Module) place(r *route.Request, w *Wanted) error {
	if w.Org == "" && w.Domain != "" {
		w.Org = token.Organisation(w.Domain)
	}
	if w.Site != "" {
		if err := m.placeAtSite(r, w); err != nil {
			return err
		}
	}
	if w.Org == "" {
		return route.Problem(http.StatusUnprocessableEntity, "say where: site, domain or org")
	}
	if w.Domain == "" {
		w.Domain = w.Org
	}
	if token.Organisation(w.Domain) != w.Org || !validDomain(w.Domain) {
		return route.Problem(http.StatusUnprocessableEntity, "domain %q is not of the organisation %s", w.Domain, w.Org)
	}
	if r.Who.Role(w.Domain) == token.None {
		return route.Problem(http.StatusNotFound, "there is no domain %q that you may see", w.Domain)
	}
	return nil
}

func (m *Module) placeAtSite(r *route.Request, w *Wanted) error {
	found, err := m.db.FindSites(r.Context(), w.Org, w.Site)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(s store.Site) bool { return r.Who.RoleIn(m.o.Domains(s)) == token.None })
	switch len(found) {
	case 0:
		return route.Problem(http.StatusNotFound, "there is no site %q that you may see", w.Site)
	case 1:
		w.Org = found[0].Org
		if w.Domain == "" {
			w.Domain = m.domainFor(found[0], r.Who)
		}
		return nil
	}
	return route.Problem(http.StatusConflict, "%d organisations have a site %q; say which one with org", len(found), w.Site)
}

// domainFor is the first of a site's domains in which the caller may work.
func (m *Module) domainFor(s store.Site, who *token.Identity) string {
	for _, d := range m.o.Domains(s) {
		if token.Organisation(d) == s.Org && who.Role(d) >= token.Operator {
			return d
		}
	}
	return m.home(s)
}

func validDomain(d string) bool {
	for part := range strings.SplitSeq(d, "/") {
		if part == "" || len(part) > 64 || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return len(d) <= 300
}

// open makes an order or a draft of what was wanted.
func (m *Module) open(ctx context.Context, w Wanted, by actor) (Order, error) {
	o := m.from(w, by)
	if err := m.check(ctx, &o); err != nil {
		return o, err
	}
	return o, m.db.Update(ctx, func(tx *store.Tx) error { return m.insert(tx, &o, w.SLA, by) })
}

// from is the order as it was wanted, still without a number.
func (m *Module) from(w Wanted, by actor) Order {
	now := m.now()
	o := Order{
		ID: newID(), Org: w.Org, Domain: w.Domain, Site: w.Site, Space: w.Space, Title: strings.TrimSpace(w.Title), Description: w.Description,
		Priority: w.Priority, State: Opened, Assignee: w.Assignee, Watchers: tidy(w.Watchers), Labels: tidy(w.Labels), AutoResolve: w.AutoResolve,
		CreatedAt: now, UpdatedAt: now, CreatedBy: by.id, CreatorName: by.name,
	}
	if o.Priority == "" {
		o.Priority = Medium
	}
	if w.Draft {
		o.State, o.ExpiresAt = Draft, now.Add(draftLife)
		if w.SLA != "" {
			o.Deadlines = &Deadlines{Template: Template{Name: w.SLA}} // the clocks begin when it is submitted
		}
	}
	return o
}

// tidy sorts a list and leaves out what is empty or twice there.
func tidy(list []string) []string {
	out := []string{}
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// insert writes a new order with its number, clocks, history and notices.
func (m *Module) insert(tx *store.Tx, o *Order, sla string, by actor) (err error) {
	what := "drafted"
	if o.State != Draft {
		what = "opened"
		if o.Number, err = m.number(tx, o.Org, o.CreatedAt); err != nil {
			return err
		}
		if err := m.begin(tx, o, sla, o.CreatedAt); err != nil {
			return err
		}
	}
	if err := insertOrder(tx, o); err != nil {
		return err
	}
	if err := errors.Join(setClocks(tx, o), setLife(tx, o, o.CreatedAt)); err != nil {
		return err
	}
	if err := m.record(tx, o, by, Step{What: what, To: o.State}, nil); err != nil {
		return err
	}
	return m.notify(tx, o, by, []string{o.Assignee}, notice{kind: "assigned", text: "you are to take care of it"})
}

// check finds what is wrong with an order's fields.
func (m *Module) check(ctx context.Context, o *Order) error {
	bad := func(format string, args ...any) error {
		return route.Problem(http.StatusUnprocessableEntity, format, args...)
	}
	switch {
	case o.Title == "" || len(o.Title) > maxTitle || strings.ContainsAny(o.Title, "\r\n\x00"):
		return bad("title: want one line of 1 to %d bytes", maxTitle)
	case len(o.Description) > maxDescription:
		return bad("description: longer than %d bytes", maxDescription)
	case !slices.Contains(priorities, o.Priority):
		return bad("priority %q: want urgent, high, medium or low", o.Priority)
	case len(o.Watchers) > maxList || len(o.Labels) > maxList:
		return bad("more than %d watchers or labels", maxList)
	case len(o.Space) > maxWord:
		return bad("space: longer than %d bytes", maxWord)
	}
	for _, l := range o.Labels {
		if len(l) > maxWord || strings.ContainsAny(l, ",\n") {
			return bad("label %q: want at most %d bytes without a comma", l, maxWord)
		}
	}
	if err := m.canWork(ctx, o.Domain, o.Assignee); err != nil {
		return err
	}
	return m.canSee(ctx, o.Domain, o.Watchers)
}

// canWork refuses assignees who are no operators of the domain.
func (m *Module) canWork(ctx context.Context, domain, user string) error {
	if len(user) > maxWord {
		return route.Problem(http.StatusUnprocessableEntity, "assignee: longer than %d bytes", maxWord)
	}
	if user == "" || !m.accounts() {
		return nil
	}
	people, err := m.people(ctx, domain, token.Operator)
	if err != nil {
		return fmt.Errorf("look up assignee: %w", err)
	}
	if !slices.Contains(ids(people), user) {
		return route.Problem(http.StatusUnprocessableEntity, "assignee %q is no operator of %s", user, domain)
	}
	return nil
}

// canSee refuses watchers who may not see the domain.
func (m *Module) canSee(ctx context.Context, domain string, users []string) error {
	if len(users) == 0 || !m.accounts() {
		return nil
	}
	people, err := m.people(ctx, domain, token.Viewer)
	if err != nil {
		return fmt.Errorf("look up watchers: %w", err)
	}
	known := ids(people)
	for _, u := range users {
		if !slices.Contains(known, u) {
			return route.Problem(http.StatusUnprocessableEntity, "watcher %q may not see %s", u, domain)
		}
	}
	return nil
}

// ofAlert is the work order of an alert, made unless there is one already.
func (m *Module) ofAlert(tx *store.Tx, site store.Site, a edge.Alert, o *Order, sla string, by actor) (fresh bool, err error) {
	const query = `SELECT ` + orderColumns + ` FROM workorders_orders WHERE org = ? AND site = ? AND alert = ?`
	have, err := scanOrder(tx.QueryRow(query, site.Org, site.Site, a.ID))
	if err == nil {
		*o = have
		return false, nil
	}
	if !errors.Is(err, route.ErrNotFound) {
		return false, err
	}
	o.Alert = a.ID
	return true, m.insert(tx, o, sla, by)
}
