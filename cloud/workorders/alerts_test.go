package workorders

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// raise raises or clears an alert as the projection of a hub's events does.
func (r *rig) raise(site store.Site, a edge.Alert, typ edge.EventType) {
	r.t.Helper()
	data, err := json.Marshal(a)
	must(r.t, err)
	must(r.t, r.db.Update(r.t.Context(), func(tx *store.Tx) error {
		p, err := tx.AddCloudEvent(site, edge.Event{Type: typ, Subject: a.ID, At: r.clock(), Data: data})
		if err != nil {
			return err
		}
		return tx.PutAlert(store.Alert{Site: site.ID, Alert: a, Position: p})
	}))
}

func alertOf(id, rule string, severity edge.Severity) edge.Alert {
	return edge.Alert{ID: id, Rule: rule, Subject: "hall", SubjectKind: "room", Severity: severity, State: edge.StateFiring, Message: "the hall is over-full", Since: start, RaisedAt: start}
}

func cleared(a edge.Alert, at time.Time) edge.Alert {
	a.State, a.ClearedAt = edge.StateCleared, at
	return a
}

func (r *rig) follow() {
	r.t.Helper()
	for more := true; more; {
		var err error
		more, err = r.m.nextAlerts(r.t.Context())
		must(r.t, err)
	}
}

func TestAnAlertHasOneWorkOrder(t *testing.T) {
	r := newRig(t)
	site := r.site("acme", "hq")
	r.raise(site, alertOf("a1", "over-capacity", edge.Critical), edge.AlertRaised)
	path := "/v1/sites/hq/alerts/a1/work-order"
	var v, again View
	r.call("vera", "POST", path, nil, 403, nil)
	r.call("ole", "POST", "/v1/sites/hq/alerts/none/work-order", nil, 404, nil)
	r.call("ole", "POST", path, `{"draft":true}`, 422, nil)
	r.call("ole", "POST", path, nil, 201, &v)
	r.call("olga", "POST", path, `{"title":"mine"}`, 200, &again)
	if v.ID != again.ID || v.Title != "the hall is over-full" || v.Priority != Urgent || v.Space != "hall" || v.Alert != "a1" {
		t.Errorf("orders are %+v and %+v, want one of the alert", v.Order, again.Order)
	}
	r.raise(site, cleared(alertOf("a1", "over-capacity", edge.Critical), start.Add(time.Minute)), edge.AlertCleared)
	r.follow()
	r.follow()
	v = r.show(v)
	steps := r.steps(v)
	if v.AlertClearedAt.IsZero() || v.State != Opened || steps[len(steps)-1].What != "alert_cleared" || len(steps) != 2 {
		t.Errorf("order is %+v with %+v, want it noted and left open", v.Order, steps)
	}
}

func TestRulesOpenWorkOrders(t *testing.T) {
	r := newRig(t)
	site := r.site("acme", "hq")
	r.raise(site, alertOf("old", "over-capacity", edge.Critical), edge.AlertRaised)
	put := func(name, body string, want int) {
		t.Helper()
		r.call("mia", "PUT", "/v1/orgs/acme/work-order-rules/"+name, body, want, nil)
	}
	put("a", `{"alert":"over-*","min_severity":"warning","assignee":"ole","labels":["crowd"],"auto_resolve":true}`, 200)
	put("b", `{"site":"elsewhere"}`, 200)
	put("c", `{"alert":"silent","sla":"gone"}`, 200)
	put("bad", `{"alert":"["}`, 422)
	put("bad", `{"min_severity":"mild"}`, 422)
	put("bad", `{"domain":"globex"}`, 422)
	put("bad", `{"assignee":"vera"}`, 422)
	r.follow()
	for i, severity := range []edge.Severity{edge.Critical, edge.Info} {
		r.raise(site, alertOf(fmt.Sprint("new", i), "over-capacity", severity), edge.AlertRaised)
	}
	r.raise(site, alertOf("silent", "silent", edge.Info), edge.AlertRaised)
	gone := cleared(alertOf("brief", "over-capacity", edge.Critical), start)
	r.raise(site, gone, edge.AlertRaised)
	r.follow()
	var list struct {
		WorkOrders []Card `json:"work_orders"`
	}
	r.call("vera", "GET", "/v1/work-orders?site=hq", nil, 200, &list)
	var alerts []string
	for _, c := range list.WorkOrders {
		alerts = append(alerts, c.Alert)
	}
	slices.Sort(alerts)
	if fmt.Sprint(alerts) != "[new0 old silent]" {
		t.Fatalf("orders of alerts %v, want new0, old and silent", alerts)
	}
	r.raise(site, cleared(alertOf("new0", "over-capacity", edge.Critical), start.Add(time.Hour)), edge.AlertCleared)
	r.follow()
	r.call("vera", "GET", "/v1/work-orders?alert=new0", nil, 200, &list)
	if c := list.WorkOrders[0]; c.State != Resolved || c.Assignee != "ole" || c.Reason != "its alert has cleared" {
		t.Errorf("order is %+v, want resolved by itself", c.Order)
	}
}

func TestAlertsFromBeforeOpenNothing(t *testing.T) {
	r := newRig(t)
	r.call("mia", "PUT", "/v1/orgs/acme/work-order-rules/all", `{}`, 200, nil)
	site := r.site("acme", "hq")
	r.follow()
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutCursor(follower, store.Cursor{}) }))
	r.raise(site, alertOf("past", "over-capacity", edge.Critical), edge.AlertRaised)
	r.m.Close()
	r.open() // a module that has never followed begins now
	r.follow()
	if got, _ := r.found("vera", ""); len(got) != 0 {
		t.Errorf("orders are %v, want none", got)
	}
}

func TestRunFollowsAlerts(t *testing.T) {
	r := newRig(t)
	r.run()
	r.call("mia", "PUT", "/v1/orgs/acme/work-order-rules/all", `{}`, 200, nil)
	r.raise(r.site("acme", "hq"), alertOf("a", "over-capacity", edge.Critical), edge.AlertRaised)
	eventually(t, "opened by the rule", func() bool { got, _ := r.found("vera", ""); return len(got) == 1 })
}
