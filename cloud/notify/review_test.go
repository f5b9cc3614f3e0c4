package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// What one organisation's dead receiver cannot take must not keep others' messages waiting.
func TestADeadChannelHoldsUpNoOther(t *testing.T) {
	r := newRig(t)
	dead, good := &receiver{}, &receiver{}
	dead.set(errors.New("connection refused"))
	r.n = r.notifier(Webhook{Org: "globex", Name: "dead", Channel: dead}, Webhook{Org: "acme", Name: "good", Channel: good})
	r.must(r.db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range pageDue + 10 {
			m := deliver.Message{Key: fmt.Sprint(i), Type: "notification.x", At: r.now}
			if _, err := add(tx, Delivery{Org: "globex", Channel: "globex/dead", State: Due, Updated: r.now, Message: m}); err != nil {
				return err
			}
		}
		m := deliver.Message{Key: "last", Type: "notification.x", Subject: "ours", At: r.now}
		_, err := add(tx, Delivery{Org: "acme", Channel: "acme/good", State: Due, Updated: r.now, Message: m})
		return err
	}))
	r.during(r.n, "ours was told", func() bool { return len(good.steps()) == 1 })
}

// share makes a site belong to domains, the owner first.
func (d *desk) share(domains ...string) {
	d.Helper()
	d.n.o.Domains = func(s store.Site) []string { return s.Domains }
	d.must(d.db.Update(d.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", d.now)
		if err != nil {
			return err
		}
		return tx.PutDomains(s.ID, domains)
	}))
}

var foreign = &token.Identity{Kind: token.User, Subject: "eve", Name: "Eve", Memberships: []token.Membership{{Domain: "globex", Role: token.Admin}}}

func crowd(id string, actions ...string) edge.Alert {
	return edge.Alert{ID: id, Rule: "crowd", Severity: edge.Critical, State: edge.StateFiring, Actions: actions}
}

func (d *desk) channel(org *token.Identity, name string) {
	d.Helper()
	d.call(org, "POST", "/v1/orgs/"+org.Memberships[0].Domain+"/channels", map[string]any{"name": name, "spec": map[string]any{"kind": "webhook", "url": d.hook.URL}}, 201)
}

func (d *desk) route(org *token.Identity, step map[string]any) {
	d.Helper()
	d.call(org, "POST", "/v1/orgs/"+org.Memberships[0].Domain+"/routes", map[string]any{"name": "all", "steps": []any{step}}, 201)
}

// told lists the deliveries as org/channel=state, in order.
func (d *desk) told() (out []string) {
	d.Helper()
	rows, err := List(d.Context(), d.db, Query{Limit: 1000})
	d.must(err)
	for _, r := range slices.Backward(rows) {
		out = append(out, fmt.Sprintf("%s %s %s=%s", r.Org, r.Site, r.Channel, r.State))
	}
	return out
}

func TestASharedSiteIsToldToEachOrganisationByItsOwnRoutes(t *testing.T) {
	d := newDesk(t)
	d.share("acme", "globex/night")
	d.channel(foreign, "desk")
	d.route(admin, map[string]any{"channels": []string{"pager"}})
	d.route(foreign, map[string]any{"channels": []string{"desk"}, "users": []string{"ada"}})
	d.tell(edge.AlertRaised, d.now, crowd("a1", "desk")) // the hub's own "desk" is not globex's
	d.work()
	d.tell(edge.AlertCleared, d.now, crowd("a1", "desk"))
	d.work()
	want := []string{"acme hq acme/pager=due", "globex acme/hq globex/desk=due", "acme hq acme/pager=due", "globex acme/hq globex/desk=due"}
	if got := d.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	var org string
	var notices int
	d.must(d.db.QueryRow(t.Context(), `SELECT max(org), count(*) FROM notify_inbox WHERE person = 'ada'`).Scan(&org, &notices))
	if org != "globex" || notices != 2 {
		t.Errorf("ada has %d notices of %s, want 2 of globex", notices, org)
	}
}

func TestASilenceIsOfOneOrganisationsRoutes(t *testing.T) {
	d := newDesk(t)
	d.share("acme", "globex")
	d.channel(foreign, "desk")
	d.route(admin, map[string]any{"channels": []string{"pager"}})
	d.route(foreign, map[string]any{"channels": []string{"desk"}})
	id := d.call(foreign, "POST", "/v1/silences", map[string]any{"org": "globex", "reason": "works", "until": d.now.Add(time.Hour)}, 201)["id"].(string)
	d.tell(edge.AlertRaised, d.now, crowd("a1"))
	d.work()
	want := []string{"acme hq acme/pager=due", "globex acme/hq globex/route:all=silenced"}
	if got := d.told(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	d.call(foreign, "DELETE", "/v1/silences/"+id, nil, 204)
	d.later(time.Second)
	if got := d.told(); len(got) != 3 || got[2] != "globex acme/hq globex/desk=due" {
		t.Errorf("after the silence: %q", got)
	}
}

func TestASiteThatWasGivenAwayIsNotToldAnyMore(t *testing.T) {
	d := newDesk(t)
	d.share("globex")
	d.route(admin, map[string]any{"channels": []string{"pager"}})
	d.n.hooks = []Webhook{{Org: "acme", Name: "facilities", MaxAge: DefaultMaxAge, Channel: d.rec}}
	d.tell(edge.AlertRaised, d.now, crowd("a1"))
	d.work()
	if got := d.told(); len(got) != 0 {
		t.Errorf("told %q, want nothing", got)
	}
}

func TestWhoHasLeftIsNotTold(t *testing.T) {
	d := newDesk(t)
	d.route(admin, map[string]any{"users": []string{"ada", "bob"}})
	d.n.o.Members = func(context.Context, string, token.Role) ([]Person, error) { return []Person{people["bob"]}, nil }
	d.tell(edge.AlertRaised, d.now, crowd("a1"))
	d.work()
	var who string
	d.must(d.db.QueryRow(t.Context(), `SELECT max(person) || count(*) FROM notify_inbox`).Scan(&who))
	if who != "bob1" {
		t.Errorf("told: %s, want bob alone", who)
	}
}

func TestADeletedSiteIsForgottenAndDoesNotComeBack(t *testing.T) {
	d := newDesk(t)
	d.share("acme", "globex")
	d.channel(foreign, "desk")
	d.route(admin, map[string]any{"channels": []string{"pager"}, "after": "1h"})
	d.route(foreign, map[string]any{"channels": []string{"desk"}})
	d.tell(edge.AlertRaised, d.now, crowd("a1"))
	d.work()
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Site("acme", "hq", d.now)
		if err != nil {
			return err
		}
		return errors.Join(Forget(tx, s), tx.DeleteSite(s.ID))
	}))
	d.later(2 * time.Hour)
	for _, table := range []string{"notify_alerts", "notify_timers", "notify_told", "notify_acks", "notify_deliveries"} {
		var count int
		d.must(d.db.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&count))
		if count != 0 {
			t.Errorf("%d rows are left in %s", count, table)
		}
	}
	if sites, err := d.db.FindSites(t.Context(), "acme", "hq"); err != nil || len(sites) != 0 {
		t.Errorf("the site is back: %v, %v", sites, err)
	}
}

func TestSilencesAreBoundedAndListedByOrganisation(t *testing.T) {
	d := newDesk(t)
	body := map[string]any{"org": "globex", "reason": "works", "until_cleared": true}
	d.call(admin, "POST", "/v1/silences", map[string]any{"org": "acme", "reason": "ours", "until_cleared": true}, 201)
	for range maxSilences {
		d.call(foreign, "POST", "/v1/silences", body, 201)
	}
	d.call(foreign, "POST", "/v1/silences", body, 422)
	if got := d.call(admin, "GET", "/v1/silences", nil, 200)["silences"].([]any); len(got) != 1 {
		t.Errorf("acme sees %d silences, want its own", len(got))
	}
}

func TestInboxesAreBounded(t *testing.T) {
	d := newDesk(t)
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range maxInbox + 5 {
			if err := d.n.Tell(tx, Notice{Key: fmt.Sprint(i), Org: "acme", User: "ada", Kind: "x", Title: "x", At: d.now}); err != nil {
				return err
			}
		}
		return d.n.Tell(tx, Notice{Key: "old", Org: "acme", User: "bob", Kind: "x", Title: "x", At: d.now.Add(-keepUnread - time.Hour)})
	}))
	d.must(d.n.clean(t.Context()))
	for who, want := range map[string]int{"ada": maxInbox, "bob": 0} {
		var count int
		d.must(d.db.QueryRow(t.Context(), `SELECT count(*) FROM notify_inbox WHERE person = ?`, who).Scan(&count))
		if count != want {
			t.Errorf("%s has %d notices, want %d", who, count, want)
		}
	}
}

// A notice may hold a link by which its reader answers in their own name; managers who look at
// deliveries must not get it.
func TestWhatIsForOnePersonIsNotShownToManagers(t *testing.T) {
	d := newDesk(t)
	d.n.o.Mail = d.rec
	d.must(d.n.reload(t.Context()))
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		return d.n.Tell(tx, Notice{Key: "k", Org: "acme", User: "ada", Kind: "workorder.approval", Title: "WO-1", Text: "approve it", Link: "https://hc.example.org/v1/approvals/SECRET"})
	}))
	list := d.call(admin, "GET", "/v1/deliveries?org=acme", nil, 200)["deliveries"].([]any)
	id := list[0].(map[string]any)["id"]
	got := d.call(admin, "GET", fmt.Sprintf("/v1/dead-letters/%v", id), nil, 200)["raw"].(string)
	if strings.Contains(got, "SECRET") || strings.Contains(got, "approve it") || !strings.Contains(got, "WO-1") {
		t.Errorf("a manager is shown %s", got)
	}
}

// Of several who have seen the same version one changes it, however close together they come.
func TestOneOfManyChangesARouteThatAllHaveSeen(t *testing.T) {
	d := newDesk(t)
	d.route(admin, map[string]any{"channels": []string{"pager"}})
	var id string
	d.must(d.db.QueryRow(t.Context(), `SELECT id FROM notify_routes`).Scan(&id))
	etag := d.call(admin, "GET", "/v1/orgs/acme/routes/"+id, nil, 200)["etag"].(string)
	var wins atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			body := fmt.Sprintf(`{"name":"n%d","org":"acme","steps":[{"channels":["pager"]}]}`, i)
			r := httptest.NewRequest("PUT", "/v1/orgs/acme/routes/"+id, strings.NewReader(body)).WithContext(token.Into(t.Context(), admin))
			r.Header.Set("If-Match", etag)
			w := httptest.NewRecorder()
			d.api.ServeHTTP(w, r)
			if w.Code == 200 {
				wins.Add(1)
			} else if w.Code != 412 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d have changed it, want 1", wins.Load())
	}
}

func TestALinkGivesNoRoleThatItsReaderHasNot(t *testing.T) {
	d := newDesk(t)
	d.n.o.Members = func(_ context.Context, _ string, least token.Role) ([]Person, error) {
		if least > token.Viewer {
			return []Person{people["bob"]}, nil
		}
		return []Person{people["ada"], people["bob"]}, nil
	}
	link := func(who string) (secret string) {
		d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
			f := &fact{Event: store.Event{Org: "acme", SiteName: "hq"}, alert: crowd("a1")}
			address, err := d.n.ackLink(tx, []*fact{f}, who, "title")
			_, secret, _ = strings.Cut(address, "/v1/ack/")
			return err
		}))
		return secret
	}
	d.share("acme")
	d.call(nil, "POST", "/v1/ack/"+link("ada"), nil, 403)
	d.call(nil, "POST", "/v1/ack/"+link("bob"), nil, 200)
	d.call(nil, "POST", "/v1/ack/"+link("link to pager"), nil, 200)
	if len(d.acked) != 2 {
		t.Errorf("acknowledged: %v", d.acked)
	}
}
