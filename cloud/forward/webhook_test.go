package forward_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/forward"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

func TestEventsArriveSignedAndInOrder(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	r.happen("hq", "", "alert.raised", 3) // before there was a webhook
	w := r.hook(fmt.Sprintf(`{"name":"all","url":%q}`, to.URL))
	if len(w.Secret) < 32 || r.see(w.ID).Secret != "" {
		t.Errorf("the secret is %q and then %q, want it shown once", w.Secret, r.see(w.ID).Secret)
	}
	want := append(r.happen("hq", "", "alert.raised", 5), r.happen("annex", "role:admin", "audit", 1)...)
	eventually(t, "all events arrive", func() bool { return len(to.got()) == len(want) })
	if got := to.ids(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c := to.got()[0]
	r.verify(c, w.Secret)
	if c.header.Get(deliver.HeaderKey) != want[0] || !strings.HasPrefix(c.header.Get("Content-Type"), "application/cloudevents+json") {
		t.Errorf("header is %v", c.header)
	}
	var e struct{ Source, Type, Org, Site, Record string }
	must(t, json.Unmarshal(c.body, &e))
	if e.Source != "/acme/hq" || e.Type != "alert.raised" || e.Org != "acme" || e.Site != "hq" || !strings.HasPrefix(e.Record, "cloud-events-") {
		t.Errorf("event is %s", c.body)
	}
	eventually(t, "the webhook has caught up", func() bool { w := r.see(w.ID); return w.Position == want[5] && w.Failures == 0 })
	if d := r.deliveries(w.ID, ""); len(d) != 6 || d[0].State != "delivered" || d[0].First != want[5] {
		t.Errorf("deliveries are %+v", d)
	}
}

func TestOnlyWhatWasAskedForAndMayBeSeen(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	must(t, r.db.Update(t.Context(), func(tx *store.Tx) error {
		shared, err := tx.Site("globex", "shared", time.Now())
		if err != nil {
			return err
		}
		return tx.PutDomains(shared.ID, []string{"globex", "acme/north"})
	}))
	r.hook(fmt.Sprintf(`{"name":"some","url":%q,"types":["alert.*","hub.status"],"sites":["hq","shared"]}`, to.URL))
	other := func(org, site, audience, typ string) {
		t.Helper()
		must(t, r.db.Update(t.Context(), func(tx *store.Tx) error {
			s, err := tx.Site(org, site, time.Now())
			if err != nil {
				return err
			}
			e, err := store.EventOf(edge.EventType(typ), site, time.Now(), struct{}{})
			if err != nil {
				return err
			}
			return tx.AddSiteEvent(s, audience, e)
		}))
	}
	other("globex", "hq", "", "alert.raised")         // another organisation's site of the same id
	other("acme", "annex", "", "alert.raised")        // not asked for
	other("acme", "hq", "", "occupancy.changed")      // not asked for
	other("acme", "hq", "user:ann", "alert.raised")   // for one person
	other("acme", "hq", "", "site.state")             // says nothing outside
	other("globex", "shared", "", "alert.raised")     // shared with acme
	other("acme", "hq", "role:admin", "alert.raised") // admins may see it
	last := r.happen("hq", "", "hub.status", 1)[0]
	eventually(t, "the last one arrives", func() bool { ids := to.ids(); return len(ids) > 0 && ids[len(ids)-1] == last })
	var types []string
	for _, c := range to.got() {
		types = append(types, c.types...)
	}
	if !slices.Equal(types, []string{"alert.raised", "alert.raised", "hub.status"}) {
		t.Errorf("got %v: %v", types, to.ids())
	}
}

func TestBatchesAndThePoisonInThem(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	to.set(func(_ int, c call) int {
		if slices.Contains(c.types, "poison") {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	w := r.hook(fmt.Sprintf(`{"name":"batched","url":%q,"batch":10,"active":false}`, to.URL))
	want := r.happen("hq", "", "good", 3)
	bad := r.happen("hq", "", "poison", 1)[0]
	want = append(want, r.happen("hq", "", "good", 12)...)
	r.do(admin, "PUT", hooks+"/"+w.ID, fmt.Sprintf(`{"name":"batched","url":%q,"batch":10,"active":true}`, to.URL), 200)
	eventually(t, "the last one arrives", func() bool { return slices.Contains(to.ids(), want[len(want)-1]) })
	var good []string
	batched := false
	for _, c := range to.got() {
		if !slices.Contains(c.types, "poison") {
			good = append(good, c.ids...)
			r.verify(c, w.Secret)
			batched = batched || len(c.ids) > 1 && c.header.Get(deliver.HeaderKey) == c.ids[0]+"-"+c.ids[len(c.ids)-1]
		}
	}
	if !slices.Equal(good, want) || !batched {
		t.Errorf("got %v (batched %v), want %v", good, batched, want)
	}
	eventually(t, "the dead letter is listed", func() bool {
		d := r.deliveries(w.ID, "?state=dead")
		return len(d) == 1 && d[0].First == bad && strings.Contains(d[0].Error, "400")
	})
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	w := r.hook(fmt.Sprintf(`{"name":"x","url":%q}`, to.URL))
	want := r.happen("hq", "", "one", 3)
	eventually(t, "they arrive", func() bool { return r.see(w.ID).Position == want[2] })
	to.set(func(int, call) int { return 503 })
	want = append(want, r.happen("hq", "", "two", 3)...)
	eventually(t, "it fails", func() bool { return r.see(w.ID).Failures > 0 })
	r.stop()
	to.set(nil)
	tried := len(to.got())
	want = append(want, r.happen("hq", "", "three", 3)...) // while nobody forwards
	r.start()
	eventually(t, "the rest arrives", func() bool { return r.see(w.ID).Position == want[8] })
	if got := slices.Compact(to.ids()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := to.ids()[tried:]; !slices.Equal(got, want[3:]) {
		t.Errorf("after the restart came %v, want %v and nothing twice", got, want[3:])
	}
}

func TestWebhookThatKeepsFailingIsPausedAndResumed(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	to.set(func(int, call) int { return 500 })
	w := r.hook(fmt.Sprintf(`{"name":"hr","url":%q,"types":["alert.*"]}`, to.URL))
	want := r.happen("hq", "", "alert.raised", 2)
	eventually(t, "it is paused", func() bool { return !r.see(w.ID).Paused.IsZero() })
	see := r.see(w.ID)
	if see.Failures != 4 || !strings.Contains(see.Error, "500") || see.Lag < 2 {
		t.Errorf("it is %+v", see)
	}
	var told []string
	must(t, r.db.Update(t.Context(), func(*store.Tx) error { told = slices.Clone(r.told); return nil }))
	if !slices.Equal(told, []string{"acme: Webhook hr is paused"}) {
		t.Errorf("told %v", told)
	}
	events, err := r.db.EventsAfter(t.Context(), 0, 0, 100)
	must(t, err)
	if e := events[len(events)-1]; e.Type != string(forward.PausedEvent) || e.Audience != "role:admin" || e.Org != "acme" {
		t.Errorf("the newest event is %+v", e)
	}
	tried := len(to.got())
	to.set(nil)
	manager := &token.Identity{Kind: token.User, Subject: "max", Memberships: []token.Membership{{Domain: "acme", Role: token.Manager}}}
	r.do(manager, "POST", hooks+"/"+w.ID+"/resume", "", 200)
	eventually(t, "the rest arrives", func() bool { return len(to.got()) == tried+2 })
	if got := to.ids()[tried:]; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReplay(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	old := r.happen("hq", "", "alert.raised", 4)
	w := r.hook(fmt.Sprintf(`{"name":"x","url":%q}`, to.URL))
	replay := func(body string, status int) string {
		t.Helper()
		return string(r.do(admin, "POST", hooks+"/"+w.ID+"/replay", body, status))
	}
	var one forward.Replay
	must(t, json.Unmarshal([]byte(replay(`{"from":"`+old[1]+`","to":`+old[2]+`}`, 202)), &one))
	finished := func(n int) func() bool {
		return func() bool {
			return strings.Count(string(r.do(admin, "GET", hooks+"/"+w.ID+"/replays", "", 200)), `"finished"`) == n
		}
	}
	eventually(t, "the replay ends", finished(1))
	if got := to.ids(); !slices.Equal(got, old[1:3]) {
		t.Errorf("got %v, want %v", got, old[1:3])
	}
	if c := to.got()[0]; c.header.Get(forward.HeaderReplay) != one.ID || c.header.Get(deliver.HeaderKey) != old[1]+"-"+one.ID {
		t.Errorf("header is %v", c.header)
	}
	replay(`{"from":"`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"}`, 202)
	eventually(t, "the second one ends", finished(2))
	if got := to.ids()[2:]; !slices.Equal(got, old) {
		t.Errorf("by time: got %v, want %v", got, old)
	}
	more := r.happen("hq", "", "news", 1) // where it is among the news has not moved
	eventually(t, "news arrive", func() bool { return len(to.ids()) == 7 })
	if got := to.ids()[6:]; !slices.Equal(got, more) {
		t.Errorf("got %v, want %v", got, more)
	}
	for body, want := range map[string]string{
		`{}`: "from is missing", `{"from":"yesterday"}`: "neither", `{"from":99999999}`: "no events", `{"from":-1}`: "neither",
		`{"from":"2190-01-01T00:00:00Z"}`: "nothing has happened", `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`: "no events", `{"from":1,"until":2}`: "until",
	} {
		if got := replay(body, 400); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want a refusal that says %q", body, got, want)
		}
	}
}

func TestReplayGoesOnAfterARestart(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	old := r.happen("hq", "", "alert.raised", 5)
	to.set(func(n int, _ call) int {
		if n > 2 {
			return 503
		}
		return 200
	})
	w := r.hook(fmt.Sprintf(`{"name":"x","url":%q}`, to.URL))
	r.do(admin, "POST", hooks+"/"+w.ID+"/replay", `{"from":`+old[0]+`}`, 202)
	eventually(t, "two arrive and one fails", func() bool { return len(to.got()) >= 3 })
	r.stop()
	to.set(nil)
	r.start()
	if !r.see(w.ID).Paused.IsZero() {
		r.do(admin, "POST", hooks+"/"+w.ID+"/resume", "", 200)
	}
	eventually(t, "the rest arrives", func() bool { return slices.Contains(to.ids(), old[4]) })
	if got := slices.Compact(to.ids()); !slices.Equal(got, old) {
		t.Errorf("got %v, want %v", got, old)
	}
}

func TestTwoProcessesSendOnce(t *testing.T) {
	r, to := newRig(t, func(o *forward.Options) { o.Alone = false }), newReceiver(t)
	w := r.hook(fmt.Sprintf(`{"name":"x","url":%q}`, to.URL))
	first := r.stop
	r.start() // a second one beside the first
	defer first()
	want := r.happen("hq", "", "alert.raised", 50)
	eventually(t, "all arrive", func() bool { return r.see(w.ID).Position == want[49] })
	if got := to.ids(); !slices.Equal(got, want) {
		t.Errorf("got %v, want each once", got)
	}
}

func TestTestSecretAndDelete(t *testing.T) {
	r, to := newRig(t, nil), newReceiver(t)
	w := r.hook(fmt.Sprintf(`{"name":"x","url":%q,"active":false,"secret":"0123456789abcdef0123"}`, to.URL))
	test := func() (out forward.Tested) {
		must(t, json.Unmarshal(r.do(admin, "POST", hooks+"/"+w.ID+"/test", "", 200), &out))
		return out
	}
	if got := test(); !got.Delivered || to.got()[0].types[0] != "webhook.test" || to.got()[0].header.Get(deliver.HeaderKey) != to.got()[0].ids[0] {
		t.Errorf("test: %+v", got)
	}
	r.verify(to.got()[0], "0123456789abcdef0123")
	to.set(func(int, call) int { return 418 })
	if got := test(); got.Delivered || !strings.Contains(got.Error, "418") {
		t.Errorf("test: %+v", got)
	}
	var rotated forward.Webhook
	must(t, json.Unmarshal(r.do(admin, "POST", hooks+"/"+w.ID+"/secret", "", 200), &rotated))
	test()
	r.verify(to.got()[2], rotated.Secret)
	if got := r.do(admin, "PUT", hooks+"/"+w.ID, `{"name":"x","url":"https://elsewhere.example.org/"}`, 400); !strings.Contains(string(got), "another host") {
		t.Errorf("a secret followed to another host: %s", got)
	}
	if list := r.do(admin, "GET", hooks, "", 200); strings.Contains(string(list), rotated.Secret) {
		t.Errorf("the list has the secret: %s", list)
	}
	r.do(admin, "DELETE", hooks+"/"+w.ID, "", 204)
	r.do(admin, "GET", hooks+"/"+w.ID, "", 404)
}

func TestWebhooksThatAreWrong(t *testing.T) {
	r := newRig(t, func(o *forward.Options) { o.Private = false })
	for body, want := range map[string]string{
		`{}`: "name", `{"name":"x"}`: "url", `{"name":"x","url":"ftp://x"}`: "https://", `{"name":"x","url":"https://u:p@x/"}`: "password",
		`{"name":"x","url":"https://x","types":["Alert"]}`: "alert.*", `{"name":"x","url":"https://x","sites":["a b"]}`: "site", `{"name":"x","url":"https://x","batch":101}`: "batch",
		`{"name":"x","url":"https://x","secret":"short"}`: "secret", `{"name":"x","url":"https://x","colour":1}`: "colour", `[`: "body",
	} {
		if got := string(r.do(admin, "POST", hooks, body, 400)); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want a refusal that says %q", body, got, want)
		}
	}
	to := newReceiver(t)
	w := r.hook(fmt.Sprintf(`{"name":"inward","url":%q}`, to.URL))
	if got := string(r.do(admin, "POST", hooks+"/"+w.ID+"/test", "", 200)); !strings.Contains(got, "not on the internet") || len(to.got()) > 0 {
		t.Errorf("a private address was called: %s", got)
	}
	for who, status := range map[*token.Identity]int{
		{Kind: token.User, Subject: "m", Memberships: []token.Membership{{Domain: "acme", Role: token.Manager}}}:     403,
		{Kind: token.User, Subject: "g", Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}:     404,
		{Kind: token.User, Subject: "n", Memberships: []token.Membership{{Domain: "acme/north", Role: token.Admin}}}: 404,
	} {
		r.do(who, "GET", hooks+"/"+w.ID, "", status)
		r.do(who, "POST", hooks, `{"name":"x","url":"https://x"}`, status)
	}
	r.do(&token.Identity{Kind: token.User, Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}, "GET", "/v1/orgs/globex/webhooks/"+w.ID, "", 404)
}
