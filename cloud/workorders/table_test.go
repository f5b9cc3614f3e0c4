package workorders

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// table is what was agreed: state, where it goes, with ! = a reason is needed, + = a manager's.
const table = `
draft: open
open: acknowledged in_progress resolved! postponed!
acknowledged: in_progress resolved! postponed!
in_progress: waiting_approval! resolved postponed!
waiting_approval: approved+ rejected+! in_progress! postponed!
approved: in_progress resolved postponed!
rejected: in_progress closed+! postponed!
postponed: open acknowledged in_progress waiting_approval approved rejected reopened
reopened: acknowledged in_progress resolved! postponed!
resolved: closed reopened!
closed: reopened!
`

func TestTableIsWhatWasAgreed(t *testing.T) {
	want := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for _, s := range strings.Fields(to) {
			want[from+" "+s] = true
		}
	}
	for _, tr := range Transitions {
		s := string(tr.From) + " " + string(tr.To)
		if tr.Least == token.Manager {
			s += "+"
		}
		if tr.Reason {
			s += "!"
		}
		if !want[s] {
			t.Errorf("%s is in the table and was not agreed, or is there twice", s)
		}
		delete(want, s)
	}
	for s := range want {
		t.Errorf("%s is missing in the table", s)
	}
}

// TestOnlyListedTransitions walks orders at random and holds every answer to the table.
func TestOnlyListedTransitions(t *testing.T) {
	r := newRig(t)
	rapid.Check(t, func(rt *rapid.T) {
		o, err := r.m.open(t.Context(), Wanted{Org: "acme", Domain: "acme", Title: "x", Draft: rapid.Bool().Draw(rt, "draft")}, actor{id: "ole", name: "Ole"})
		must(t, err)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			mv := move{
				to: rapid.SampledFrom(States).Draw(rt, "to"), reason: rapid.SampledFrom([]string{"", " ", "because"}).Draw(rt, "reason"),
				by: actor{id: rapid.SampledFrom([]string{"ole", "mia", "max"}).Draw(rt, "who"), role: rapid.SampledFrom([]token.Role{token.Viewer, token.Operator, token.Manager}).Draw(rt, "role")},
			}
			want := wantMove(r, t, o, mv)
			after, err := r.m.change(t.Context(), o.ID, o.Version, func(tx *store.Tx, o *Order) error { return r.m.apply(tx, o, mv) })
			var p *gateway.Problem
			switch {
			case want != 0 && (!errors.As(err, &p) || p.Status != want):
				rt.Fatalf("%s to %s as %s with %q: got %v, want %d", o.State, mv.to, mv.by.role, mv.reason, err, want)
			case want == 0 && (err != nil || after.State != mv.to):
				rt.Fatalf("%s to %s as %s with %q: got %v in %s, want it done", o.State, mv.to, mv.by.role, mv.reason, err, after.State)
			case want == 0:
				o = after
			}
		}
		stored, err := r.m.order(t.Context(), o.ID)
		must(t, err)
		if stored.State != o.State || stored.Version != o.Version {
			rt.Fatalf("stored is %s v%d, want %s v%d", stored.State, stored.Version, o.State, o.Version)
		}
		holdsTogether(rt, stored)
	})
}

// wantMove is the status with which a move is refused; 0 = it is done.
func wantMove(r *rig, t *testing.T, o Order, mv move) int {
	tr, ok := findTransition(o.State, mv.to)
	switch {
	case !ok || o.State == Postponed && mv.to != o.PostponedFrom:
		return http.StatusConflict
	case mv.by.role < tr.Least:
		return http.StatusForbidden
	case tr.Reason && strings.TrimSpace(mv.reason) == "":
		return http.StatusUnprocessableEntity
	case mv.to == Reopened && o.State != Postponed && o.Reopens == 3:
		return http.StatusConflict
	}
	if o.State == WaitingApproval && (mv.to == Approved || mv.to == Rejected) {
		list, err := r.m.approvals(t.Context(), o.ID)
		must(t, err)
		if list[len(list)-1].AskedBy == mv.by.id {
			return http.StatusForbidden
		}
	}
	return 0
}

// holdsTogether checks what is true of every order.
func holdsTogether(t *rapid.T, o Order) {
	for what, wrong := range map[string]bool{
		"a draft with a number, or an order without one": (o.State == Draft) != (o.Number == ""),
		"resolved without a time":                        o.State == Resolved && o.ResolvedAt.IsZero(),
		"more than 3 reopenings":                         o.Reopens > 3,
		"postponed from nowhere":                         (o.State == Postponed) != (o.PostponedFrom != ""),
	} {
		if wrong {
			t.Fatalf("%s: %+v", what, o)
		}
	}
}

func TestOfManyWhoMoveAtOnceOneWins(t *testing.T) {
	r := newRig(t)
	v := r.order()
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			to := []State{Acknowledged, InProgress}[i%2]
			body := fmt.Sprintf(`{"to":%q,"version":%d}`, to, v.Version)
			req, err := http.NewRequest("POST", r.url+"/v1/work-orders/"+v.ID+"/move", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer ole")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			got[resp.StatusCode]++
		})
	}
	all.Wait()
	if got[200] != 1 || got[409] != 11 {
		t.Errorf("answers are %v, want one 200 and eleven 409", got)
	}
	if steps := r.steps(v); len(steps) != 2 {
		t.Errorf("history is %+v, want opened and one move", steps)
	}
}

func TestAStaleVersionIsRefused(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID
	etag := r.call("ole", "GET", at, nil, 200, nil).Get("Etag")
	r.call("ole", "POST", at+"/move", moving{To: Acknowledged}, 428, nil)
	r.call("ole", "POST", at+"/move", moving{To: Acknowledged}, 200, nil, "If-Match", etag)
	r.call("olga", "POST", at+"/move", moving{To: InProgress}, 412, nil, "If-Match", etag)
	r.call("olga", "PATCH", at, `{"title":"other"}`, 412, nil, "If-Match", etag)
	r.call("olga", "PATCH", at, `{"title":"other"}`, 428, nil)
	etag = r.call("olga", "GET", at, nil, 200, nil).Get("Etag")
	r.call("olga", "PATCH", at, `{"title":"other","assignee":"ole"}`, 200, &v, "If-Match", etag)
	if v.Title != "other" || v.Assignee != "ole" || len(r.told("assigned")) != 1 {
		t.Errorf("order is %+v, want title and assignee changed and the assignee told", v.Order)
	}
	r.call("olga", "PATCH", at, `{"assignee":"vera"}`, 422, nil, "If-Match", "*")
}

func TestReopenedThreeTimesAtMost(t *testing.T) {
	r := newRig(t)
	v := r.order()
	for range 3 {
		v = r.move("ole", v, Resolved, "done")
		v = r.move("ole", v, Reopened, "not done")
	}
	v = r.move("ole", v, Resolved, "done")
	if slices.Contains(r.show(v).Moves, Reopened) {
		t.Error("reopening is offered for the fourth time")
	}
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: Reopened, Reason: "again", Version: v.Version}, 409, nil)
}

func TestSubTasksHoldTheOrder(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID
	var task Task
	r.call("ole", "POST", at+"/tasks", `{"title":"order a hinge","assignee":"olga"}`, 201, &task)
	if told := r.told("assigned"); len(told) != 1 || told[0].User != "olga" {
		t.Errorf("told %+v, want olga", told)
	}
	r.call("ole", "POST", at+"/tasks", `{"title":"","assignee":"olga"}`, 422, nil)
	r.call("ole", "POST", at+"/tasks", `{"title":"x","assignee":"nobody"}`, 422, nil)
	r.call("ole", "POST", at+"/move", moving{To: Resolved, Reason: "done", Version: v.Version}, 409, nil)
	r.call("olga", "PATCH", at+"/tasks/"+task.ID, `{"done":true}`, 200, &task)
	if !task.Done || task.DoneBy != "Olga Operator" {
		t.Errorf("task is %+v, want done by olga", task)
	}
	v = r.move("ole", v, Resolved, "done")
	r.call("ole", "POST", at+"/tasks", `{"title":"late"}`, 409, nil)
	r.call("olga", "PATCH", at+"/tasks/"+task.ID, `{"done":false}`, 409, nil)
	v = r.move("ole", v, Reopened, "no")
	r.call("ole", "DELETE", at+"/tasks/"+task.ID, nil, 204, nil)
	r.call("ole", "DELETE", at+"/tasks/"+task.ID, nil, 404, nil)
}

func TestADraftIsItsAuthorsAndExpires(t *testing.T) {
	r := newRig(t)
	draft := func() View { return r.order(func(w *Wanted) { w.Draft = true }) }
	v := draft()
	r.call("mia", "GET", "/v1/work-orders/"+v.ID, nil, 404, nil)
	var list struct {
		WorkOrders []Card `json:"work_orders"`
	}
	r.call("mia", "GET", "/v1/work-orders", nil, 200, &list)
	if len(list.WorkOrders) != 0 {
		t.Errorf("others see %+v, want no drafts", list)
	}
	v = r.move("ole", v, Opened, "")
	if v.Number != "WO-2026-0001" || !v.ExpiresAt.IsZero() {
		t.Errorf("submitted is %+v, want a number and no end", v.Order)
	}
	old := draft()
	r.fire(7*24*time.Hour + time.Second)
	r.call("ole", "GET", "/v1/work-orders/"+old.ID, nil, 404, nil)
	r.show(v)
}
