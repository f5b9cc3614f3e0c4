package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Rule opens a work order for each alert that it matches, once.
type Rule struct {
	Name        string        `json:"name"`
	Alert       string        `json:"alert,omitempty"`        // the alert's rule, with * for anything; every rule by default
	Site        string        `json:"site,omitempty"`         // every site by default
	MinSeverity edge.Severity `json:"min_severity,omitempty"` // info by default
	Domain      string        `json:"domain,omitempty"`       // the site's by default
	Priority    Priority      `json:"priority,omitempty"`     // by the severity by default
	Assignee    string        `json:"assignee,omitempty"`
	Labels      []string      `json:"labels,omitempty"`
	SLA         string        `json:"sla,omitempty"`
	AutoResolve bool          `json:"auto_resolve,omitempty"` // resolved when the alert clears
}

var severities = []edge.Severity{edge.Info, edge.Warning, edge.Critical}

func (r *Rule) check(org string) error {
	if _, err := path.Match(r.Alert, ""); err != nil {
		return fmt.Errorf("alert %q is no pattern", r.Alert)
	}
	switch {
	case r.MinSeverity != "" && !slices.Contains(severities, r.MinSeverity):
		return fmt.Errorf("min_severity %q: want info, warning or critical", r.MinSeverity)
	case r.Priority != "" && !slices.Contains(priorities, r.Priority):
		return fmt.Errorf("priority %q: want urgent, high, medium or low", r.Priority)
	case r.Domain != "" && (!validDomain(r.Domain) || !token.Within(r.Domain, org)):
		return fmt.Errorf("domain %q is not of %s", r.Domain, org)
	case len(r.Labels) > maxList || strings.Contains(strings.Join(r.Labels, ""), ","):
		return errors.New("labels: want at most 50, without commas")
	}
	return nil
}

// domain is the rule's own, or else another one.
func (r *Rule) domain(otherwise string) string {
	if r.Domain == "" {
		return otherwise
	}
	return r.Domain
}

func (r *Rule) matches(site string, a *edge.Alert) bool {
	match, _ := path.Match(r.Alert, a.Rule)
	return (match || r.Alert == "") && (r.Site == "" || r.Site == site) && slices.Index(severities, a.Severity) >= slices.Index(severities, r.MinSeverity)
}

// home is the first of a site's domains that is of its own organisation; empty when the site was
// given to another one.
func (m *Module) home(s store.Site) string {
	for _, d := range m.o.Domains(s) {
		if token.Organisation(d) == s.Org {
			return d
		}
	}
	return ""
}

// priorityOf is the priority of an alert that nobody has given one.
func priorityOf(s edge.Severity) Priority {
	switch s {
	case edge.Critical:
		return Urgent
	case edge.Warning:
		return High
	}
	return Medium
}

// fromAlert answers POST /v1/sites/{site}/alerts/{id}/work-order: 201 with a new order, or 200
// with the one that the alert has already.
func (m *Module) fromAlert(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	var w Wanted
	if r.ContentLength != 0 {
		if err := r.Decode(&w); err != nil {
			return nil, err
		}
	}
	if w.Draft {
		return nil, route.Problem(http.StatusUnprocessableEntity, "the work order of an alert is no draft")
	}
	w.Org, w.Site = site.Org, site.Site
	if w.Domain == "" {
		w.Domain = m.domainFor(site, r.Who)
	}
	if !validDomain(w.Domain) || !token.Within(w.Domain, site.Org) || r.Who.Role(w.Domain) < token.Operator {
		return nil, route.Problem(http.StatusUnprocessableEntity, "domain %q is none of %s in which you work", w.Domain, site.Org)
	}
	by := actorOf(r, w.Domain)
	o := m.from(w, by)
	if o.Title == "" {
		o.Title = "alert" // until the alert's own is known
	}
	if err := m.check(r.Context(), &o); err != nil {
		return nil, err
	}
	fresh, err := m.openForAlert(r.Context(), site, r.PathValue("id"), &o, w, by)
	if err != nil {
		return nil, err
	}
	if fresh {
		return m.created(r, o)
	}
	if r.Who.Role(o.Domain) < token.Viewer {
		return nil, route.Problem(http.StatusConflict, "the alert has a work order already, in another domain than yours")
	}
	return m.answer(r, o)
}

func (m *Module) openForAlert(ctx context.Context, site store.Site, alert string, o *Order, w Wanted, by actor) (fresh bool, err error) {
	err = m.db.Update(ctx, func(tx *store.Tx) error {
		a, err := tx.Alert(site.ID, alert)
		if errors.Is(err, store.ErrNotFound) {
			return route.ErrNotFound
		}
		if err != nil {
			return err
		}
		fillFrom(o, w, &a.Alert)
		fresh, err = m.ofAlert(tx, site, a.Alert, o, w.SLA, by)
		return err
	})
	return fresh, err
}

// fillFrom takes from an alert what was not said.
func fillFrom(o *Order, w Wanted, a *edge.Alert) {
	if strings.TrimSpace(w.Title) == "" {
		o.Title = titleOf(a)
	}
	if w.Priority == "" {
		o.Priority = priorityOf(a.Severity)
	}
	if w.Space == "" && a.SubjectKind != "hub" && a.SubjectKind != "sensor" && a.SubjectKind != "door" {
		o.Space = a.Subject
	}
	if a.State == edge.StateCleared {
		o.AlertClearedAt = a.ClearedAt
	}
}

func titleOf(a *edge.Alert) string {
	title := strings.Join(strings.Fields(a.Message), " ")
	if title == "" {
		title = a.Rule + " " + a.Subject
	}
	if len(title) > maxTitle {
		title = strings.ToValidUTF8(title[:maxTitle], "")
	}
	return title
}

// follower is the name of the module's place in the events.
const follower = "workorders"

// beginFollowing starts at the newest event: alerts of the past open nothing.
func (m *Module) beginFollowing(ctx context.Context) error {
	newest, err := m.db.NewestEvent(ctx)
	if err != nil {
		return err
	}
	return m.db.Update(ctx, func(tx *store.Tx) error {
		c, err := tx.Cursor(follower)
		if err != nil || c.Tag != "" {
			return err
		}
		return tx.PutCursor(follower, store.Cursor{Position: uint64(newest), Tag: follower})
	})
}

// followAlerts opens orders by the rules and notes alerts that clear.
func (m *Module) followAlerts(ctx context.Context) {
	for ctx.Err() == nil {
		changed := m.db.Changed()
		more, err := m.nextAlerts(ctx)
		wait := maxWait
		switch {
		case more:
			continue
		case err != nil && ctx.Err() == nil:
			m.o.Log.Error("work orders follow alerts", "err", err)
			wait, changed = 5*time.Second, nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// nextAlerts looks at the next events; what they cause and the new place are one transaction each.
func (m *Module) nextAlerts(ctx context.Context) (more bool, err error) {
	c, err := m.db.Cursor(ctx, follower)
	if err != nil {
		return false, err
	}
	const batch = 100
	events, err := m.db.NotifyEvents(ctx, int64(c.Position), batch)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		err := m.db.Update(ctx, func(tx *store.Tx) error {
			now, err := tx.Cursor(follower)
			if err != nil || now.Position >= uint64(e.ID) {
				return err // another process was faster
			}
			if err := m.heed(ctx, tx, e); err != nil {
				return err
			}
			return tx.PutCursor(follower, store.Cursor{Position: uint64(e.ID), Tag: follower})
		})
		if err != nil {
			return false, fmt.Errorf("event %d: %w", e.ID, err)
		}
	}
	return len(events) == batch, nil
}

// heed does what one event asks for.
func (m *Module) heed(ctx context.Context, tx *store.Tx, e store.Event) error {
	raised := e.Type == string(edge.AlertRaised)
	if !raised && e.Type != string(edge.AlertCleared) {
		return nil
	}
	rec, err := edge.ParseRecord(e.Body)
	var a edge.Alert
	if err == nil {
		err = json.Unmarshal(rec.Data, &a)
	}
	if err != nil {
		m.o.Log.Warn("work orders pass over an event that cannot be read", "event", e.ID, "err", err)
		return nil
	}
	if raised {
		return m.openByRule(ctx, tx, e, a)
	}
	return m.alertCleared(tx, e, a)
}

// openByRule opens the order of an alert by the first rule that matches; history that arrives
// late and alerts that are over open none.
func (m *Module) openByRule(ctx context.Context, tx *store.Tx, e store.Event, a edge.Alert) error {
	if now, err := tx.Alert(e.Site, a.ID); e.Backfill || err == nil && now.Alert.State == edge.StateCleared {
		return nil
	}
	rows, err := tx.Query(`SELECT doc FROM workorders_rules WHERE org = ? ORDER BY name`, e.Org)
	rules, err := store.Collect(rows, err, func(r *sql.Rows) (Rule, error) { return decode[Rule](r) })
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.matches(e.SiteName, &a) })
	if i < 0 {
		return nil
	}
	rule := rules[i]
	found, err := m.db.FindSites(ctx, e.Org, e.SiteName)
	if err != nil || len(found) != 1 || m.home(found[0]) == "" {
		return err // deleted, or given away
	}
	site := found[0]
	w := Wanted{
		Org: e.Org, Site: e.SiteName, Domain: rule.domain(m.home(site)), Priority: rule.Priority, Assignee: rule.Assignee, Labels: rule.Labels, AutoResolve: rule.AutoResolve,
	}
	o := m.from(w, itself)
	fillFrom(&o, w, &a)
	var p *gateway.Problem
	if _, err = m.ofAlert(tx, site, a, &o, rule.SLA, itself); errors.As(err, &p) {
		m.o.Log.Warn("rule opens a work order without deadlines", "rule", rule.Name, "err", err)
		_, err = m.ofAlert(tx, site, a, &o, "", itself)
	}
	return err
}

// alertCleared notes it in the order's history, and resolves the order if that was wanted.
func (m *Module) alertCleared(tx *store.Tx, e store.Event, a edge.Alert) error {
	o, err := scanOrder(tx.QueryRow(`SELECT `+orderColumns+` FROM workorders_orders WHERE org = ? AND site = ? AND alert = ?`, e.Org, e.SiteName, a.ID))
	if errors.Is(err, route.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	o.AlertClearedAt = a.ClearedAt
	if o.AlertClearedAt.IsZero() {
		o.AlertClearedAt = m.now()
	}
	if err := saveOrder(tx, &o); err != nil {
		return err
	}
	if err := m.record(tx, &o, itself, Step{What: "alert_cleared"}, nil); err != nil {
		return err
	}
	if _, can := findTransition(o.State, Resolved); !o.AutoResolve || !can {
		return nil
	}
	return m.applyQuietly(tx, &o, move{to: Resolved, reason: "its alert has cleared", by: itself})
}
