package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

func TestInboxOfAPerson(t *testing.T) {
	d := newDesk(t)
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range 5 {
			for _, who := range []string{"ada", "bob"} {
				if err := d.n.Tell(tx, Notice{Key: fmt.Sprint("k", i), Org: "acme", User: who, Kind: "message", Title: fmt.Sprint("n", i)}); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	ada := as("ada", token.Viewer)
	page := d.call(ada, "GET", "/v1/inbox?limit=2", nil, 200)
	if page["unread"] != 5.0 || len(page["items"].([]any)) != 2 {
		t.Fatalf("first page is %v", page)
	}
	next := d.call(ada, "GET", "/v1/inbox?limit=10&cursor="+page["cursor"].(string), nil, 200)["items"].([]any)
	if len(next) != 3 || next[0].(map[string]any)["title"] != "n2" {
		t.Errorf("second page is %v", next)
	}
	id := next[0].(map[string]any)["id"].(string)
	if got := d.call(ada, "POST", "/v1/inbox/"+id+"/read", nil, 200); got["read_at"] == nil {
		t.Errorf("read notice is %v", got)
	}
	d.call(as("bob", token.Viewer), "POST", "/v1/inbox/"+id+"/read", nil, 404)
	if got := d.call(ada, "GET", "/v1/inbox/unread", nil, 200)["unread"]; got != 4.0 {
		t.Errorf("unread %v, want 4", got)
	}
	d.call(ada, "POST", "/v1/inbox/read", nil, 200)
	if got := d.call(ada, "GET", "/v1/inbox?unread=true", nil, 200); got["unread"] != 0.0 || len(got["items"].([]any)) != 0 {
		t.Errorf("after all were read: %v", got)
	}
	if got := d.call(as("bob", token.Viewer), "GET", "/v1/inbox/unread", nil, 200)["unread"]; got != 5.0 {
		t.Errorf("bob has %v unread, want 5", got)
	}
	service := as("robot", token.Manager)
	service.Kind, service.Permissions = token.Service, []string{"read"}
	d.call(service, "GET", "/v1/inbox", nil, 403)
}

func TestNoticeIsAnEventForThePersonAlone(t *testing.T) {
	d := newDesk(t)
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		return d.n.Tell(tx, Notice{Key: "k", Org: "acme", User: "ada", Kind: "message", Title: "Hello"})
	}))
	events, err := d.db.EventsAfter(t.Context(), 0, 0, 10)
	d.must(err)
	if len(events) != 1 || events[0].Audience != "user:ada" || events[0].Type != string(InboxAdded) {
		t.Errorf("events are %+v", events)
	}
}

func TestSendByWhoMay(t *testing.T) {
	d := newDesk(t)
	body := map[string]any{"org": "acme", "title": "Fire drill at noon", "roles": []string{"operator"}, "channels": []string{"pager"}}
	service := &token.Identity{Kind: token.Service, Subject: "crm", Memberships: []token.Membership{{Domain: "acme", Role: token.Viewer}}}
	d.call(as("vera", token.Viewer), "POST", "/v1/notifications/send", body, 403)
	d.call(service, "POST", "/v1/notifications/send", body, 403)
	d.call(&token.Identity{Kind: token.User, Subject: "eve", Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}, "POST", "/v1/notifications/send", body, 404)
	d.expect("refused ones", d.queued(), nil)
	service.Permissions = []string{SendPermission}
	for range 2 {
		got := d.call(service, "POST", "/notifications/send", body, 202, deliver.HeaderKey, "drill-1")
		if got["receivers"] != 3.0 {
			t.Errorf("receivers %v, want 3", got["receivers"])
		}
	}
	d.expect("ada, told once", d.inbox("ada"), []string{"Fire drill at noon"})
	d.expect("queue", d.queued(), []string{"pager:notification.message=due"})
	for name, bad := range map[string]map[string]any{
		"nobody": {"org": "acme", "title": "x"}, "no title": {"org": "acme", "users": []string{"ada"}},
		"no such user": {"org": "acme", "title": "x", "users": []string{"zoe"}}, "no such channel": {"org": "acme", "title": "x", "channels": []string{"fax"}},
		"foreign domain": {"org": "acme", "domain": "acmeco", "title": "x", "users": []string{"ada"}}, "two lines": {"org": "acme", "title": "a\nb", "users": []string{"ada"}},
	} {
		t.Run(name, func(*testing.T) {
			everywhere := &token.Identity{Kind: token.Local, Subject: "local", Everywhere: token.Admin}
			d.call(everywhere, "POST", "/v1/notifications/send", bad, 422)
		})
	}
}

func TestChannelsKeepTheirSecrets(t *testing.T) {
	d := newDesk(t)
	const secret, hook = "0123456789abcdef0123", "https://hooks.slack.com/services/T0/B0/topsecret"
	d.call(as("olga", token.Operator), "GET", "/v1/orgs/acme/channels", nil, 403)
	d.call(as("olga", token.Operator), "POST", "/v1/orgs/acme/channels", map[string]any{"name": "x"}, 403)
	d.call(admin, "POST", "/v1/orgs/globex/channels", map[string]any{"name": "x"}, 404)
	chat := d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "chat", "spec": map[string]any{"kind": "chat", "url": hook}}, 201)
	hooked := d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "hook", "spec": map[string]any{"kind": "webhook", "url": d.hook.URL, "secret": secret}}, 201)
	list := d.call(admin, "GET", "/v1/orgs/acme/channels", nil, 200)
	for _, answer := range []map[string]any{chat, hooked, list} {
		if s := answer["raw"].(string); strings.Contains(s, secret) || strings.Contains(s, "topsecret") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
	one := d.call(admin, "GET", "/v1/orgs/acme/channels/hook", nil, 200)
	if one["secret_set"] != true {
		t.Errorf("channel is %v", one)
	}
	spec := map[string]any{"spec": map[string]any{"kind": "webhook", "url": d.hook.URL + "/new"}}
	d.call(admin, "PUT", "/v1/orgs/acme/channels/hook", spec, 428)
	got := d.call(admin, "PUT", "/v1/orgs/acme/channels/hook", spec, 200, "If-Match", one["etag"].(string))
	if got["secret_set"] != true {
		t.Errorf("the secret was lost: %v", got)
	}
	elsewhere := map[string]any{"spec": map[string]any{"kind": "webhook", "url": "https://evil.example.org"}}
	if got := d.call(admin, "PUT", "/v1/orgs/acme/channels/hook", elsewhere, 200, "If-Match", "*"); got["secret_set"] != false {
		t.Errorf("the secret follows to another host: %v", got)
	}
	d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "hook", "spec": map[string]any{"kind": "webhook", "url": d.hook.URL}}, 409)
	d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "odd", "spec": map[string]any{"kind": "fax"}}, 422)
	d.call(admin, "DELETE", "/v1/orgs/acme/channels/hook", nil, 204)
	d.call(admin, "GET", "/v1/orgs/acme/channels/hook", nil, 404)
}

func TestChannelIsTestedAtOnce(t *testing.T) {
	d := newDesk(t)
	d.call(admin, "POST", "/v1/orgs/acme/channels/pager/test", nil, 200)
	if got := <-d.calls; got != "notification.test" {
		t.Errorf("the receiver got %q", got)
	}
	d.hook.Close()
	if got := d.call(admin, "POST", "/v1/orgs/acme/channels/pager/test", nil, 502); !strings.Contains(fmt.Sprint(got["detail"]), "not delivered") {
		t.Errorf("answer is %v", got)
	}
}

func TestPrivateAddressesAreRefusedUnlessAllowed(t *testing.T) {
	d := newDesk(t)
	o := d.n.o
	o.Private = false
	n, err := New(t.Context(), o)
	d.must(err)
	err = n.channel("acme/pager").deliver(t.Context(), Delivery{Message: deliver.Message{Key: "k", Type: "x"}})
	if !errors.Is(err, deliver.ErrRefused) || len(d.calls) != 0 {
		t.Errorf("a loopback address was called: %v", err)
	}
}

func TestDeadLettersAreListedRetriedAndDropped(t *testing.T) {
	d := newDesk(t)
	var sweet atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !sweet.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer server.Close()
	d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "sour", "spec": map[string]any{"kind": "webhook", "url": server.URL}}, 201)
	for i, c := range []string{"sour", "pager", "sour"} {
		d.call(admin, "POST", "/v1/notifications/send", map[string]any{"org": "acme", "title": "hello", "channels": []string{c}, "key": fmt.Sprint(i)}, 202)
	}
	d.now = time.Now()
	none := func() bool {
		due, err := List(t.Context(), d.db, Query{State: Due})
		d.must(err)
		return len(due) == 0
	}
	d.during(d.n, "nothing is due", none)
	d.expect("the queue moves", d.queued(), []string{"sour:notification.message=failed", "pager:notification.message=delivered", "sour:notification.message=failed"})
	list := d.call(admin, "GET", "/v1/dead-letters?org=acme", nil, 200)["dead_letters"].([]any)
	d.call(as("olga", token.Operator), "GET", "/v1/dead-letters?org=acme", nil, 403)
	if len(list) != 2 || !strings.Contains(list[0].(map[string]any)["reason"].(string), "400") {
		t.Fatalf("dead letters are %v", list)
	}
	id := strconv.Itoa(int(list[0].(map[string]any)["id"].(float64)))
	other := strconv.Itoa(int(list[1].(map[string]any)["id"].(float64)))
	if one := d.call(admin, "GET", "/v1/dead-letters/"+id, nil, 200); one["message"].(map[string]any)["words"].(map[string]any)["title"] != "hello" {
		t.Errorf("dead letter is %v", one)
	}
	d.call(as("olga", token.Operator), "POST", "/v1/dead-letters/"+id+"/retry", nil, 403)
	d.call(as("eve", token.None), "GET", "/v1/dead-letters/"+id, nil, 404)
	sweet.Store(true)
	d.call(admin, "POST", "/v1/dead-letters/"+id+"/retry", nil, 204)
	d.call(admin, "DELETE", "/v1/dead-letters/"+other, nil, 204)
	d.call(admin, "DELETE", "/v1/dead-letters/"+other, nil, 409)
	again, err := New(t.Context(), d.n.o) // as after a restart
	d.must(err)
	d.during(again, "nothing is due", none)
	d.expect("afterwards", d.queued(), []string{"sour:notification.message=dropped", "pager:notification.message=delivered", "sour:notification.message=delivered"})
}

func TestMailIsKeptUntilThereIsAServer(t *testing.T) {
	d := newDesk(t)
	d.now = time.Now()
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		m := Mail{Key: "reset", Org: "acme", To: "ada@example.org", Subject: "Set a password", Text: "https://hc.example.org/reset?secret=1"}
		if err := d.n.Mail(tx, m); err != nil {
			return err
		}
		return d.n.Mail(tx, m)
	}))
	list, err := Dead(t.Context(), d.db, "")
	d.must(err)
	if len(list) != 1 || list[0].State != Held || list[0].Reason != noMailServer {
		t.Fatalf("held mails are %+v", list)
	}
	if s := d.call(admin, "GET", fmt.Sprint("/v1/dead-letters/", list[0].ID), nil, 200)["raw"].(string); strings.Contains(s, "secret=1") {
		t.Errorf("the API shows the text of a mail: %s", s)
	}
	o, mail := d.n.o, &receiver{}
	o.Mail = mail
	n, err := New(t.Context(), o)
	d.must(err)
	d.during(n, "the mail is sent", func() bool {
		done, err := List(t.Context(), d.db, Query{State: Done})
		d.must(err)
		return len(done) == 1
	})
	if mail.got[0].Text == "" || mail.got[0].To[0] != "ada@example.org" {
		t.Errorf("mail is %+v", mail.got[0])
	}
	l, err := Show(t.Context(), d.db, list[0].ID)
	d.must(err)
	if l.Message.Text != "" {
		t.Error("the text of a delivered mail is kept")
	}
}

func TestKilledBetweenDecidingAndSending(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"channels": []string{"pager"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work() // decided and queued; then the process is gone
	again, err := New(t.Context(), d.n.o)
	d.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go again.Run(ctx)
	select {
	case got := <-d.calls:
		if got != "alert.raised" {
			t.Errorf("sent %q", got)
		}
	case <-ctx.Done():
		t.Fatal("nothing was sent after the restart")
	}
}

func TestRoutesOfADomain(t *testing.T) {
	d := newDesk(t)
	north := &token.Identity{Kind: token.User, Subject: "nora", Memberships: []token.Membership{{Domain: "acme/north", Role: token.Manager}}}
	steps := []any{step("0s", map[string]any{"users": []string{"ada"}})}
	d.call(north, "POST", "/v1/orgs/acme/routes", map[string]any{"name": "all", "steps": steps}, 404)
	id := d.call(north, "POST", "/v1/orgs/acme/routes", map[string]any{"name": "ours", "domain": "acme/north", "steps": steps}, 201)["id"].(string)
	all := d.addRoute(map[string]any{"steps": steps})
	if list := d.call(north, "GET", "/v1/orgs/acme/routes", nil, 200)["routes"].([]any); len(list) != 1 {
		t.Errorf("nora sees %v", list)
	}
	d.call(north, "DELETE", "/v1/orgs/acme/routes/"+all, nil, 404)
	got := d.call(north, "GET", "/v1/orgs/acme/routes/"+id, nil, 200)
	d.call(north, "PUT", "/v1/orgs/acme/routes/"+id, map[string]any{"name": "wider", "domain": "acme", "steps": steps}, 403, "If-Match", got["etag"].(string))
	d.call(north, "PUT", "/v1/orgs/acme/routes/"+id, map[string]any{"name": "ours too", "domain": "acme/north", "steps": steps}, 200, "If-Match", got["etag"].(string))
	d.call(north, "PUT", "/v1/orgs/acme/routes/"+id, map[string]any{"name": "late", "domain": "acme/north", "steps": steps}, 412, "If-Match", got["etag"].(string))
	for name, bad := range map[string]map[string]any{
		"no step":      {"name": "x", "steps": []any{}},
		"tells nobody": {"name": "x", "steps": []any{step("0s", nil)}},
		"repeat":       {"name": "x", "steps": []any{step("0s", map[string]any{"users": []string{"ada"}, "repeat": "1s"})}},
		"channel":      {"name": "x", "steps": []any{step("0s", map[string]any{"channels": []string{"fax"}})}},
		"hours":        {"name": "x", "steps": steps, "hours": map[string]any{"from": "25:00", "to": "1"}},
		"severity":     {"name": "x", "steps": steps, "match": map[string]any{"min_severity": "loud"}},
	} {
		t.Run(name, func(*testing.T) { d.call(admin, "POST", "/v1/orgs/acme/routes", bad, 422) })
	}
	d.call(north, "DELETE", "/v1/orgs/acme/routes/"+id, nil, 204)
}
