package workorders

import (
	"testing"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

func TestADeletedSitesWorkOrdersAreForgotten(t *testing.T) {
	r := newRig(t)
	site := r.site("acme", "hq")
	r.site("acme", "annex")
	gone := r.order(func(w *Wanted) { w.Site = "hq" })
	kept := r.order(func(w *Wanted) { w.Site = "annex" })
	for _, v := range []View{gone, kept} {
		r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/notes", noting{Text: "hello"}, 201, nil)
		r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/tasks", map[string]any{"title": "look"}, 201, nil)
	}
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return Forget(tx, site) }))
	r.call("ole", "GET", "/v1/work-orders/"+gone.ID, nil, 404, nil)
	r.call("ole", "GET", "/v1/work-orders/"+kept.ID, nil, 200, nil)
	for _, table := range parts {
		var n int
		must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM workorders_`+table+` WHERE workorder = ?`, gone.ID).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows are left in workorders_%s", n, table)
		}
	}
	if len(r.steps(kept)) == 0 {
		t.Error("the other site's order lost its history")
	}
}

// A rule must not bring back a site that was deleted, or open orders about one that was given away.
func TestRulesOpenNothingAboutSitesThatAreGone(t *testing.T) {
	for name, end := range map[string]func(*store.Tx, store.Site) error{
		"deleted":    func(tx *store.Tx, s store.Site) error { return tx.DeleteSite(s.ID) },
		"given away": func(tx *store.Tx, s store.Site) error { return tx.PutDomains(s.ID, []string{"globex"}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Domains = func(s store.Site) []string { return s.Domains } })
			site := r.site("acme", "hq")
			r.call("mia", "PUT", "/v1/orgs/acme/work-order-rules/all", `{}`, 200, nil)
			a := alertOf("a1", "over-capacity", edge.Critical)
			r.raise(site, a, edge.AlertRaised)
			events, err := r.db.NotifyEvents(t.Context(), 0, 10)
			must(t, err)
			must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return end(tx, site) }))
			must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return r.m.heed(t.Context(), tx, events[0]) }))
			var orders int
			must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM workorders_orders`).Scan(&orders))
			sites, err := r.db.FindSites(t.Context(), "acme", "hq")
			must(t, err)
			if orders != 0 || name == "deleted" && len(sites) != 0 {
				t.Errorf("%d orders, sites %+v", orders, sites)
			}
		})
	}
}

func TestAnAlertsWorkOrderInAnotherDomainIsNotShown(t *testing.T) {
	r := newRig(t)
	site := r.site("acme", "hq")
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutDomains(site.ID, []string{"acme", "acme/north"}) }))
	r.raise(site, alertOf("a1", "over-capacity", edge.Critical), edge.AlertRaised)
	var v View
	r.call("mia", "POST", "/v1/sites/hq/alerts/a1/work-order", `{"domain":"acme","description":"confidential"}`, 201, &v)
	r.call("north", "GET", "/v1/work-orders/"+v.ID, nil, 404, nil)
	r.call("north", "POST", "/v1/sites/hq/alerts/a1/work-order", `{"domain":"acme/north"}`, 409, nil)
}
