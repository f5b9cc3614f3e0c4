package workorders

import (
	"strings"
	"testing"
	"time"
)

// asked is an order that waits for approval, with what the approvers were told.
func asked(r *rig, by string) (View, []Notice) {
	r.t.Helper()
	v := r.order()
	v = r.move("ole", v, InProgress, "")
	var out View
	r.call(by, "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: WaitingApproval, Reason: "a new door", Cost: "1200 NOK", Version: v.Version}, 200, &out)
	return out, r.told("approval")
}

func TestASecondPersonApproves(t *testing.T) {
	r := newRig(t)
	v, told := asked(r, "mia")
	if len(told) != 2 || strings.Contains(told[0].User+told[1].User, "mia") {
		t.Fatalf("asked %+v, want ada and max", told)
	}
	if len(v.Approvals) != 1 || v.Approvals[0].Cost != "1200 NOK" || v.State != WaitingApproval {
		t.Fatalf("order is %+v, want a pending approval", v)
	}
	at := "/v1/work-orders/" + v.ID + "/approvals/" + v.Approvals[0].ID
	r.call("mia", "POST", at, `{"decision":"approve"}`, 403, nil)
	r.call("ole", "POST", at, `{"decision":"approve"}`, 403, nil)
	r.call("mia", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: Approved, Version: v.Version}, 403, nil)
	r.call("max", "POST", at, `{"decision":"perhaps"}`, 422, nil)
	r.call("max", "POST", at, `{"decision":"reject"}`, 422, nil)
	r.call("max", "POST", at, `{"decision":"approve"}`, 200, nil)
	r.call("ada", "POST", at, `{"decision":"approve"}`, 410, nil)
	v = r.show(v)
	if v.State != Approved || v.Approvals[0].DecidedBy != "max" || v.Cost != "1200 NOK" {
		t.Errorf("order is %+v, want approved by max", v)
	}
}

func TestALinkAnswersOnce(t *testing.T) {
	r := newRig(t)
	v, told := asked(r, "ole")
	var link, other string
	for _, n := range told {
		switch n.User {
		case "mia":
			link = n.Link
		case "max":
			other = n.Link
		}
	}
	var shown struct{ Number, As string }
	r.call("", "GET", link, nil, 200, &shown)
	r.call("", "GET", link, nil, 200, &shown) // a mail program looks at it
	var html []byte
	r.call("", "GET", link, nil, 200, &html, "Accept", "text/html")
	if shown.As != "Mia Manager" || !strings.Contains(string(html), "1200 NOK") || r.show(v).State != WaitingApproval {
		t.Fatalf("shown %+v %s, want whose it is and nothing changed", shown, html)
	}
	for _, forged := range []string{link + "x", link[:len(link)-2], "/v1/approvals/abc", "/v1/approvals/YWJj.YWJj"} {
		r.call("", "POST", forged, `{"decision":"approve"}`, 404, nil)
	}
	r.call("", "POST", link, "decision=reject&reason=too+dear", 200, nil, "Content-Type", "application/x-www-form-urlencoded")
	r.call("", "POST", link, `{"decision":"approve"}`, 410, nil)
	r.call("", "POST", other, `{"decision":"approve"}`, 410, nil)
	v = r.show(v)
	if v.State != Rejected || v.Reason != "too dear" || v.Approvals[0].Decider != "Mia Manager" {
		t.Errorf("order is %+v, want rejected by Mia", v)
	}
}

func TestALinkOfWhomNobodyTrustsAnyMore(t *testing.T) {
	r := newRig(t)
	v, told := asked(r, "ole")
	for _, n := range told {
		r.mu.Lock()
		r.revoked[n.User] = true
		r.mu.Unlock()
		r.call("", "POST", n.Link, `{"decision":"approve"}`, 403, nil)
	}
	r.pass(8 * 24 * time.Hour)
	r.call("", "POST", told[0].Link, `{"decision":"approve"}`, 410, nil)
	if v = r.show(v); v.State != WaitingApproval {
		t.Errorf("state is %s, want waiting_approval", v.State)
	}
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: InProgress, Reason: "not needed", Version: v.Version}, 200, nil)
	if v = r.show(v); v.Approvals[0].State != "withdrawn" {
		t.Errorf("approval is %+v, want withdrawn", v.Approvals[0])
	}
}

func TestOnlyTheNamedApproverApproves(t *testing.T) {
	r := newRig(t)
	v := r.move("ole", r.order(), InProgress, "")
	path := "/v1/work-orders/" + v.ID + "/move"
	r.call("ole", "POST", path, moving{To: WaitingApproval, Reason: "x", Approver: "olga", Version: v.Version}, 422, nil)
	r.call("mia", "POST", path, moving{To: WaitingApproval, Reason: "x", Approver: "mia", Version: v.Version}, 422, nil)
	var out View
	r.call("ole", "POST", path, moving{To: WaitingApproval, Reason: "x", Approver: "max", Version: v.Version}, 200, &out)
	if told := r.told("approval"); len(told) != 1 || told[0].User != "max" {
		t.Errorf("asked %+v, want max", told)
	}
	at := "/v1/work-orders/" + v.ID + "/approvals/" + out.Approvals[0].ID
	r.call("mia", "POST", at, `{"decision":"approve"}`, 403, nil)
	r.call("max", "POST", at, `{"decision":"approve"}`, 200, nil)
}

func FuzzReadLink(f *testing.F) {
	m := &Module{key: []byte("a key"), o: Options{Now: func() time.Time { return start }, PublicURL: func() string { return "" }}}
	f.Add(strings.TrimPrefix(m.approvalLink("approval", "mia", start), "/v1/approvals/"))
	f.Add("YWJj.YWJj")
	f.Fuzz(func(t *testing.T, link string) {
		approval, user, err := m.readLink(link)
		if err == nil && "/v1/approvals/"+link != m.approvalLink(approval, user, start) {
			t.Errorf("%q was taken, which nobody signed", link)
		}
	})
}
