package workorders

import (
	"fmt"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
)

// found lists the titles that somebody sees.
func (r *rig) found(who, query string) (titles []string, next string) {
	r.t.Helper()
	var list struct {
		WorkOrders []Card `json:"work_orders"`
		Next       string
	}
	r.call(who, "GET", "/v1/work-orders?"+query, nil, 200, &list)
	titles = []string{}
	for _, c := range list.WorkOrders {
		titles = append(titles, c.Title)
	}
	return titles, list.Next
}

func TestEverybodySeesTheirDomains(t *testing.T) {
	r := newRig(t)
	north := r.order(func(w *Wanted) { w.Title = "of the whole" })
	r.call("ole", "POST", "/v1/work-orders", Wanted{Domain: "acme/north", Title: "of the north"}, 201, &north)
	r.call("ole", "POST", "/v1/work-orders", Wanted{Domain: "acme/northern", Title: "of the far north"}, 201, nil)
	for who, want := range map[string]string{
		"vera": "[of the far north of the north of the whole]", "north": "[of the north]", "other": "[]",
	} {
		if got, _ := r.found(who, ""); fmt.Sprint(got) != want {
			t.Errorf("%s sees %v, want %s", who, got, want)
		}
	}
	r.call("north", "GET", "/v1/work-orders/"+north.ID, nil, 200, nil)
	r.call("other", "GET", "/v1/work-orders/"+north.ID, nil, 404, nil)
	r.call("vera", "POST", "/v1/work-orders/"+north.ID+"/move", moving{To: Acknowledged, Version: 1}, 403, nil)
	r.call("vera", "POST", "/v1/work-orders", Wanted{Org: "acme", Title: "x"}, 403, nil)
	r.call("other", "POST", "/v1/work-orders", Wanted{Org: "acme", Title: "x"}, 404, nil)
	r.call("ole", "POST", "/v1/work-orders", Wanted{Domain: "acme/North", Title: "x"}, 422, nil)
	r.call("", "GET", "/v1/work-orders", nil, 401, nil)
}

// TestEventsReachNobodyWhoMayNotSeeTheOrder: a site's events are seen by all who see the site.
func TestEventsReachNobodyWhoMayNotSeeTheOrder(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Domains = func(store.Site) []string { return []string{"acme/north", "globex"} } })
	r.site("acme", "hq")
	r.order(func(w *Wanted) { w.Org, w.Site = "acme", "hq" })
	r.order(func(w *Wanted) { w.Site, w.Domain = "hq", "acme" })
	rows, err := r.db.EventsAfter(t.Context(), 0, 0, 100)
	must(t, err)
	for _, e := range rows {
		if e.SiteName != store.OrgSite {
			t.Errorf("%s is an event of the site %s, which globex sees too", e.Type, e.SiteName)
		}
	}
	if got, _ := r.found("north", ""); len(got) != 1 {
		t.Errorf("the site's own domain sees %v, want the order that names no other", got)
	}
}

func TestListIsFilteredAndPaged(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.order(func(w *Wanted) {
			w.Title, w.Labels = fmt.Sprintf("n%d 100%%_sure", i), []string{fmt.Sprintf("l%d", i%2)}
			if i == 3 {
				w.Assignee, w.Priority = "olga", Urgent
			}
		})
	}
	for query, want := range map[string]string{
		"label=l1": "[n3 100%_sure n1 100%_sure]", "assignee=olga": "[n3 100%_sure]", "assignee=none&label=l1": "[n1 100%_sure]",
		"priority=urgent,high": "[n3 100%_sure]", "state=closed": "[]", "q=100%25_SURE&label=l1&assignee=none": "[n1 100%_sure]", "q=100__sure": "[]",
		"q=wo-2026-0002": "[n1 100%_sure]", "overdue=true": "[]", "org=globex": "[]", "site=none": "[]",
	} {
		if got, _ := r.found("vera", query); fmt.Sprint(got) != want {
			t.Errorf("?%s: %v, want %s", query, got, want)
		}
	}
	first, next := r.found("vera", "limit=3")
	second, end := r.found("vera", "limit=3&cursor="+next)
	if len(first) != 3 || len(second) != 2 || end != "" {
		t.Errorf("pages are %v and %v, then %q", first, second, end)
	}
	for _, bad := range []string{"state=lost", "priority=x", "limit=0", "limit=9999", "overdue=maybe"} {
		r.call("vera", "GET", "/v1/work-orders?"+bad, nil, 400, nil)
	}
}

func TestBoardSummaryAndTickets(t *testing.T) {
	r := newRig(t)
	a := r.order(func(w *Wanted) { w.Assignee = "ole" })
	r.order()
	r.move("ole", a, InProgress, "")
	var board struct{ Columns []Column }
	r.call("vera", "GET", "/v1/work-orders/board", nil, 200, &board)
	for i, c := range board.Columns {
		want := map[State]int{Opened: 1, InProgress: 1}[c.State]
		if c.State != States[i] || c.Count != want || len(c.Cards) != want {
			t.Errorf("column %d is %s with %d, want %s with %d", i, c.State, c.Count, States[i], want)
		}
	}
	var sum Summary
	r.call("ole", "GET", "/v1/work-orders/summary", nil, 200, &sum)
	if sum.Open != 2 || sum.Unassigned != 1 || sum.Mine != 1 || sum.ByState[InProgress] != 1 || sum.ByPriority[Medium] != 2 {
		t.Errorf("summary is %+v", sum)
	}
	var ticket Ticket
	r.call("vera", "GET", "/v1/work-orders/"+a.ID+"?view=ticket", nil, 200, &ticket)
	if ticket.Status != "In Progress" || ticket.Number != a.Number || ticket.Priority != "Medium" || ticket.Department != "acme" {
		t.Errorf("ticket is %+v", ticket)
	}
}

func TestNumbersFollowTheLocalYear(t *testing.T) {
	oslo, err := time.LoadLocation("Europe/Oslo")
	must(t, err)
	r := newRig(t, func(o *Options) { o.Zones = map[string]*time.Location{"acme": oslo} })
	r.now = time.Date(2026, 12, 31, 22, 30, 0, 0, time.UTC)
	if v := r.order(); v.Number != "WO-2026-0001" {
		t.Errorf("number is %s before midnight", v.Number)
	}
	r.pass(time.Hour) // 00:30 in Oslo, 23:30 UTC
	if v := r.order(); v.Number != "WO-2027-0001" {
		t.Errorf("number is %s after midnight in Oslo", v.Number)
	}
	var globex View
	r.call("other", "POST", "/v1/work-orders", Wanted{Org: "globex", Title: "x"}, 201, &globex)
	if globex.Number != "WO-2026-0001" {
		t.Errorf("number is %s of another organisation", globex.Number)
	}
}

func TestDeletedIsGoneWithAllThatBelongsToIt(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID
	r.call("ole", "POST", at+"/notes", `{"text":"x"}`, 201, nil)
	r.call("ole", "DELETE", at, nil, 403, nil, "If-Match", "*")
	r.call("mia", "DELETE", at, nil, 428, nil)
	r.call("mia", "DELETE", at, nil, 204, nil, "If-Match", "*")
	r.call("mia", "GET", at, nil, 404, nil)
	for _, table := range []string{"orders", "history", "timers", "notes", "notelog"} {
		var n int
		must(t, r.db.QueryRow(t.Context(), "SELECT count(*) FROM workorders_"+table).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if e := r.events(); e[len(e)-1] != "workorder.deleted" {
		t.Errorf("events are %v", e)
	}
}

func TestBadOrdersAreRefused(t *testing.T) {
	r := newRig(t)
	for _, bad := range []string{`{"org":"acme"}`, `{"title":"x"}`, `{"org":"acme","title":"a\nb"}`, `{"org":"acme","title":"x","priority":"huge"}`,
		`{"org":"acme","title":"x","labels":["a,b"]}`, `{"org":"acme","title":"x","assignee":"vera"}`, `{"org":"acme","title":"x","watchers":["other"]}`,
		`{"org":"acme","domain":"globex","title":"x"}`} {
		r.call("ole", "POST", "/v1/work-orders", bad, 422, nil)
	}
	r.call("ole", "POST", "/v1/work-orders", `{"org":"acme","titel":"x"}`, 400, nil)
	r.call("ole", "POST", "/v1/work-orders", `{"site":"nowhere","title":"x"}`, 404, nil)
	if e := r.events(); len(e) != 0 {
		t.Errorf("refusals left events: %v", e)
	}
}
