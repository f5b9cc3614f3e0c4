package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// desk is a rig with people, an API and time that stands still until it is moved.
type desk struct {
	*rig
	api   *route.Router
	acked []string
	hook  *httptest.Server
	calls chan string // titles or types that the hook got
}

var people = map[string]Person{
	"ada": {ID: "ada", Email: "ada@example.org", Name: "Ada", Active: true},
	"bob": {ID: "bob", Email: "bob@example.org", Name: "Bob", Active: true},
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{rig: newRig(t), calls: make(chan string, 100)}
	d.hook = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Type string }
		_ = json.NewDecoder(r.Body).Decode(&e)
		d.calls <- e.Type
	}))
	t.Cleanup(d.hook.Close)
	var err error
	d.n, err = New(t.Context(), Options{
		DB: d.db, Private: true, Public: func() string { return "https://hc.example.org" },
		Members: func(_ context.Context, domain string, least token.Role) ([]Person, error) {
			if least > token.Operator {
				return []Person{people["bob"]}, nil
			}
			return []Person{people["ada"], people["bob"]}, nil
		},
		User: func(_ context.Context, id string) (Person, error) {
			if p, ok := people[id]; ok {
				return p, nil
			}
			return Person{}, store.ErrNotFound
		},
		Acknowledge: func(_ context.Context, s store.Site, alert, by string) error {
			d.acked = append(d.acked, alert+" by "+by)
			return nil
		},
	})
	d.must(err)
	d.n.now = func() time.Time { return d.now }
	d.api = route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	d.must(d.api.Add(d.n.Routes()...))
	d.call(admin, "POST", "/v1/orgs/acme/channels", map[string]any{"name": "pager", "spec": map[string]any{"kind": "webhook", "url": d.hook.URL}}, 201)
	return d
}

func as(name string, role token.Role) *token.Identity {
	return &token.Identity{Kind: token.User, Subject: name, Name: name, Memberships: []token.Membership{{Domain: "acme", Role: role}}}
}

var admin = as("root", token.Admin)

// call calls the API and returns the answer, which must have the status.
func (d *desk) call(who *token.Identity, method, path string, body any, status int, header ...string) map[string]any {
	d.Helper()
	b, err := json.Marshal(body)
	d.must(err)
	if body == nil {
		b = nil
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(b))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r = r.WithContext(token.Into(d.Context(), who))
	w := httptest.NewRecorder()
	d.api.ServeHTTP(w, r)
	if w.Code != status {
		d.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	out := map[string]any{"etag": w.Header().Get("Etag"), "raw": w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	return out
}

// work decides and fires until nothing is left to be done now.
func (d *desk) work() {
	d.Helper()
	for more := true; more; {
		var err error
		more, err = d.n.Decide(d.Context())
		d.must(err)
	}
	_, err := d.n.Fire(d.Context())
	d.must(err)
}

// later moves the time and works.
func (d *desk) later(by time.Duration) {
	d.Helper()
	d.now = d.now.Add(by)
	d.work()
}

// inbox lists the titles in a person's inbox, oldest first.
func (d *desk) inbox(who string) (out []string) {
	d.Helper()
	items := d.call(as(who, token.Viewer), "GET", "/v1/inbox", nil, 200)["items"].([]any)
	for _, i := range slices.Backward(items) {
		out = append(out, i.(map[string]any)["title"].(string))
	}
	return out
}

// queued lists channel:type=state of the queue, oldest first.
func (d *desk) queued() (out []string) {
	d.Helper()
	rows, err := List(d.Context(), d.db, Query{Limit: 1000})
	d.must(err)
	for _, r := range slices.Backward(rows) {
		out = append(out, fmt.Sprintf("%s:%s=%s", strings.TrimPrefix(r.Channel, "acme/"), r.Message.Type, r.State))
	}
	return out
}

func (d *desk) addRoute(spec map[string]any) string {
	d.Helper()
	if spec["name"] == nil {
		spec["name"] = "test"
	}
	return d.call(admin, "POST", "/v1/orgs/acme/routes", spec, 201)["id"].(string)
}

func step(after string, more map[string]any) map[string]any {
	s := map[string]any{"after": after}
	for k, v := range more {
		s[k] = v
	}
	return s
}

func TestEscalationGoesOnUntilSomebodyAcknowledges(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{
		step("0s", map[string]any{"users": []string{"ada"}}),
		step("15m", map[string]any{"roles": []string{"manager"}, "repeat": "30m"}),
	}})
	a := alert("a1")
	a.Message = "Hall is crowded"
	d.tell(edge.AlertRaised, start, a)
	d.work()
	const title = "[warning] hq: Hall is crowded"
	d.expect("ada at once", d.inbox("ada"), []string{title})
	d.expect("bob at once", d.inbox("bob"), nil)
	d.later(14 * time.Minute)
	d.expect("bob after 14 min", d.inbox("bob"), nil)
	d.later(time.Minute)
	d.expect("bob after 15 min", d.inbox("bob"), []string{title})
	d.later(30 * time.Minute)
	d.expect("bob again after 45 min", d.inbox("bob"), []string{title, title})
	d.tell(edge.AlertAcknowledged, d.now, a)
	d.later(2 * time.Hour)
	d.expect("bob after the acknowledgement", d.inbox("bob"), []string{title, title})
	d.tell(edge.AlertCleared, d.now, cleared(a))
	d.work()
	d.expect("ada when it cleared", d.inbox("ada"), []string{title, "[cleared] hq: Hall is crowded"})
	d.later(24 * time.Hour)
	d.expect("ada later", d.inbox("ada"), []string{title, "[cleared] hq: Hall is crowded"})
}

func TestTimersSurviveARestart(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("15m", map[string]any{"users": []string{"ada"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	again, err := New(t.Context(), d.n.o)
	d.must(err)
	again.now = d.n.now
	d.n = again
	d.later(15 * time.Minute)
	if got := d.inbox("ada"); len(got) != 1 {
		t.Errorf("after a restart ada got %v, want one notice", got)
	}
}

func TestAlertsOfAGroupAreToldTogether(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"group_wait": "30s", "steps": []any{step("0s", map[string]any{"channels": []string{"pager"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	d.later(20 * time.Second)
	d.tell(edge.AlertRaised, d.now, alert("a2"))
	other := alert("b1")
	other.Rule = "other"
	d.tell(edge.AlertRaised, d.now, other)
	d.work()
	d.expect("before the wait is over", d.queued(), nil)
	d.later(10 * time.Second)
	d.expect("after it", d.queued(), []string{"pager:alert.group=due"})
	rows, err := List(t.Context(), d.db, Query{})
	d.must(err)
	if m := rows[0].Message; !strings.Contains(m.Title, "2 alerts") || strings.Count(m.Text, "\n") != 2 {
		t.Errorf("message is %q: %q", m.Title, m.Text)
	}
	d.later(20 * time.Second)
	d.expect("the other rule", d.queued(), []string{"pager:alert.group=due", "pager:alert.raised=due"})
}

func TestRoutesSelect(t *testing.T) {
	for name, tc := range map[string]struct {
		match map[string]any
		more  map[string]any
		want  bool
	}{
		"everything":       {want: true},
		"the site":         {match: map[string]any{"sites": []string{"hq"}}, want: true},
		"another site":     {match: map[string]any{"sites": []string{"depot"}}},
		"the rule":         {match: map[string]any{"rules": []string{"over"}}, want: true},
		"another rule":     {match: map[string]any{"rules": []string{"silent"}}},
		"a graver one":     {match: map[string]any{"min_severity": "critical"}},
		"a milder one":     {match: map[string]any{"min_severity": "info"}, want: true},
		"another kind":     {match: map[string]any{"space_kinds": []string{"hub"}}},
		"another domain":   {more: map[string]any{"domain": "acme/north"}},
		"switched off":     {more: map[string]any{"disabled": true}},
		"outside of hours": {more: map[string]any{"hours": map[string]any{"from": "00:00", "to": "00:00", "outside": true}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			spec := map[string]any{"steps": []any{step("0s", map[string]any{"users": []string{"ada"}})}}
			if tc.match != nil {
				spec["match"] = tc.match
			}
			for k, v := range tc.more {
				spec[k] = v
			}
			d.addRoute(spec)
			d.tell(edge.AlertRaised, start, alert("a1"))
			d.work()
			if got := len(d.inbox("ada")) > 0; got != tc.want {
				t.Errorf("told: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSilenceKeepsAnAlertBackUntilItEnds(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"users": []string{"ada"}})}})
	id := d.call(as("olga", token.Operator), "POST", "/v1/silences", map[string]any{
		"match": map[string]any{"rules": []string{"over"}}, "until": d.now.Add(time.Hour), "reason": "concert",
	}, 201)["id"].(string)
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	d.expect("silenced", d.inbox("ada"), nil)
	d.expect("recorded", d.queued(), []string{"route:test:alert.raised=silenced"})
	d.call(as("vera", token.Viewer), "DELETE", "/v1/silences/"+id, nil, 403)
	d.call(as("olga", token.Operator), "DELETE", "/v1/silences/"+id, nil, 204)
	d.work()
	if got := d.inbox("ada"); len(got) != 1 {
		t.Errorf("after the silence was ended ada got %v", got)
	}
}

func TestSilenceUntilClearedEndsWithTheAlert(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"users": []string{"ada"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	d.later(time.Minute)
	d.call(admin, "POST", "/v1/silences", map[string]any{"match": map[string]any{"subjects": []string{"room"}}, "until_cleared": true, "reason": "known"}, 201)
	d.tell(edge.AlertRaised, d.now, alert("a2"))
	d.later(time.Minute)
	if got := d.inbox("ada"); len(got) != 1 {
		t.Fatalf("while it holds ada got %v", got)
	}
	d.tell(edge.AlertCleared, d.now, cleared(alert("a1")))
	d.tell(edge.AlertCleared, d.now, cleared(alert("a2")))
	d.later(time.Minute)
	d.tell(edge.AlertRaised, d.now, alert("a3"))
	d.work()
	if got := d.inbox("ada"); len(got) != 3 { // a1, that it cleared, a3
		t.Errorf("after it ended ada got %v", got)
	}
}

func TestHubThatIsOfflineExplainsSilentSensors(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"match": map[string]any{"rules": []string{"sensor-silent"}}, "steps": []any{step("0s", map[string]any{"users": []string{"ada"}})}})
	off, silent := alert("cloud:hub-offline:1"), alert("s1")
	off.Rule, silent.Rule = store.RuleHubOffline, "sensor-silent"
	d.tell(edge.AlertRaised, start, off)
	d.tell(edge.AlertRaised, start, silent)
	d.work()
	d.later(5 * time.Minute)
	d.expect("inhibited", d.inbox("ada"), nil)
	d.tell(edge.AlertCleared, d.now, cleared(off))
	d.later(2 * time.Minute)
	if got := d.inbox("ada"); len(got) != 1 {
		t.Errorf("when the hub was back and the sensor not, ada got %v", got)
	}
}

func TestWhatIsTooOldComesAsADigest(t *testing.T) {
	d := newDesk(t)
	d.now = start.Add(48 * time.Hour)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"users": []string{"ada"}, "channels": []string{"pager"}})}})
	for i := range 3 {
		a := alert(fmt.Sprint("a", i))
		d.tell(edge.AlertRaised, start, a)
		d.tell(edge.AlertCleared, start.Add(time.Hour), cleared(a))
	}
	d.work()
	d.expect("at first", d.inbox("ada"), nil)
	d.later(10 * time.Minute)
	d.expect("digest", d.inbox("ada"), []string{"hq: 3 alerts arrived too late to be told"})
	d.expect("queue", d.queued(), []string{"route:test:alert.raised=late", "route:test:alert.raised=late", "route:test:alert.raised=late", "pager:notification.digest=due"})
	d.later(24 * time.Hour)
	d.expect("once", d.inbox("ada"), []string{"hq: 3 alerts arrived too late to be told"})
}

func TestHubsOwnChannelIsLeftToTheHubByRoutesToo(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"channels": []string{"pager"}})}})
	a := alert("a1", "pager")
	d.tell(edge.AlertRaised, start, a)
	d.work()
	d.expect("left to the hub", d.queued(), []string{"pager:alert.raised=hub"})
	d.tell(edge.ActionFailed, start, report(a, "pager"))
	d.work()
	d.expect("taken over", d.queued(), []string{"pager:alert.raised=due"})
}

func TestAcknowledgeLinkIsGoodOnce(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"channels": []string{"pager"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	rows, err := List(t.Context(), d.db, Query{})
	d.must(err)
	link := strings.TrimPrefix(rows[0].Message.Ack, "https://hc.example.org")
	if !strings.HasPrefix(link, "/v1/ack/") {
		t.Fatalf("link is %q", rows[0].Message.Ack)
	}
	for range 2 { // a mail scanner fetches it
		if page := d.call(nil, "GET", link, nil, 200)["raw"].(string); !strings.Contains(page, "<button>") {
			t.Errorf("page is %s", page)
		}
	}
	d.expect("before", d.acked, nil)
	d.call(nil, "POST", link, nil, 200)
	d.expect("acknowledged", d.acked, []string{"a1 by link to pager"})
	d.call(nil, "POST", link, nil, 410)
	d.call(nil, "GET", link, nil, 410)
	d.call(nil, "POST", link+"x", nil, 404)
	d.expect("after the replay", d.acked, []string{"a1 by link to pager"})
}

func TestAcknowledgeLinkExpires(t *testing.T) {
	d := newDesk(t)
	d.addRoute(map[string]any{"steps": []any{step("0s", map[string]any{"channels": []string{"pager"}})}})
	d.tell(edge.AlertRaised, start, alert("a1"))
	d.work()
	rows, err := List(t.Context(), d.db, Query{})
	d.must(err)
	d.now = d.now.Add(49 * time.Hour)
	d.call(nil, "POST", strings.TrimPrefix(rows[0].Message.Ack, "https://hc.example.org"), nil, 410)
}

func TestQuietHours(t *testing.T) {
	q := &Quiet{From: "22:00", To: "07:00", Timezone: "Europe/Oslo"}
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"2026-11-21 21:59": "", "2026-11-21 22:00": "2026-11-22 07:00", "2026-11-22 06:59": "2026-11-22 07:00", "2026-11-22 07:00": "",
		"2026-10-25 02:30": "2026-10-25 07:00", // the night in which clocks go back
	} {
		now, err := time.ParseInLocation("2006-01-02 15:04", at, oslo)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if end := q.end(now); !end.IsZero() {
			got = end.In(oslo).Format("2006-01-02 15:04")
		}
		if got != want {
			t.Errorf("at %s quiet until %q, want %q", at, got, want)
		}
	}
	p := Preference{Quiet: &Quiet{From: "00:00", To: "00:00"}}
	if !p.after(start, edge.Critical).IsZero() || p.after(start, edge.Warning).IsZero() {
		t.Error("critical waits, or a warning does not")
	}
}

func TestMailAndPushOfNotices(t *testing.T) {
	d := newDesk(t)
	mail := &receiver{}
	o := d.n.o
	o.Mail = mail
	n, err := New(t.Context(), o)
	d.must(err)
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		c := Notice{Key: "k", Org: "acme", User: "ada", Kind: "message", Title: "Hello"}
		if err := n.Tell(tx, c); err != nil {
			return err
		}
		return n.Tell(tx, c)
	}))
	d.during(n, "the mail is sent", func() bool {
		done, err := List(t.Context(), d.db, Query{State: Done})
		d.must(err)
		return len(done) == 1
	})
	if m := mail.got[0]; !slices.Equal(m.To, []string{"ada@example.org"}) || m.Title != "Hello" {
		t.Errorf("mail is %+v", m)
	}
	d.call(as("ada", token.Viewer), "PUT", "/v1/preferences", map[string]any{"preferences": []any{map[string]any{"kind": "message", "inbox": true}}}, 200)
	d.must(d.db.Update(t.Context(), func(tx *store.Tx) error {
		return n.Tell(tx, Notice{Key: "k2", Org: "acme", User: "ada", Kind: "message", Title: "Again"})
	}))
	d.expect("inbox", d.inbox("ada"), []string{"Hello", "Again"})
	d.expect("queue", d.queued(), []string{"mail:notice.message=delivered"})
}

var _ deliver.Channel = (*receiver)(nil)
