package twin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

var epoch = strings.Repeat("a", 32)

// rig is a twin over a real database at a time the test sets.
type rig struct {
	*testing.T
	db   *store.DB
	twin *Twin
	now  time.Time
	mux  *http.ServeMux
	seq  uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db := storetest.Open(t)
	r := &rig{T: t, db: db, twin: New(db, nil), now: start, mux: http.NewServeMux()}
	r.twin.now = func() time.Time { return r.now }
	r.twin.started = start
	if err := r.twin.Open(t.Context(), Hooks{}); err != nil {
		t.Fatal(err)
	}
	router := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	if err := router.Add(r.twin.Routes()...); err != nil {
		t.Fatal(err)
	}
	ada := &token.Identity{Kind: token.User, Subject: "ada", Everywhere: token.Admin}
	r.mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		router.ServeHTTP(w, q.WithContext(token.Into(q.Context(), ada)))
	})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// update runs fn for a site in a transaction.
func (r *rig) update(org, site string, fn func(*store.Tx, store.Site) error) {
	r.Helper()
	r.must(r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site(org, site, r.now)
		if err != nil {
			return err
		}
		return fn(tx, s)
	}))
}

func (r *rig) beat(site string) {
	r.Helper()
	r.update("acme", site, func(tx *store.Tx, s store.Site) error {
		return r.twin.Beat(tx, s, wire.Heartbeat{Name: "HQ", Epoch: epoch, Software: "1.2", Events: wire.Position{Head: 90, Mark: 40}}, r.now)
	})
}

// tell stores and projects one event at a minute after start.
func (r *rig) tell(site string, typ edge.EventType, subject string, minute int, fact any) {
	r.Helper()
	r.seq++
	r.update("acme", site, func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		if err != nil {
			return err
		}
		data, err := json.Marshal(fact)
		if err != nil {
			return err
		}
		at := start.Add(time.Duration(minute) * time.Minute)
		rec := edge.Record{Epoch: epoch, Lane: edge.Events, Seq: r.seq, Commit: r.seq, Source: site, Type: string(typ), Subject: subject, Time: at, Data: data}
		events := []store.Event{{
			Site: s.ID, Position: store.Position{Epoch: id, Seq: r.seq}, Type: rec.Type, Subject: subject, Time: at, At: at,
			Body: rec.AppendJSON(nil), Data: data, Fact: fact,
		}}
		if err := tx.AddEvents(events); err != nil {
			return err
		}
		return r.twin.Events(tx, s, events)
	})
}

func (r *rig) occupancy(site, space string, count, minute int) {
	r.Helper()
	at := start.Add(time.Duration(minute) * time.Minute)
	r.tell(site, edge.OccupancyChanged, space, minute, edge.Occupancy{Space: space, State: edge.Occupied, Count: &count, Low: &count, High: &count, Quality: edge.QualityGood, AsOf: at, Since: at})
}

// get decodes the answer of a path and fails unless it has this status.
func (r *rig) get(path string, status int, into any) {
	r.Helper()
	r.do(http.MethodGet, path, "", status, into)
}

func (r *rig) do(method, path, body string, status int, into any) {
	r.Helper()
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != status {
		r.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	want := "application/json"
	if status >= 400 {
		want = "application/problem+json"
	}
	if got := w.Header().Get("Content-Type"); got != want {
		r.Errorf("%s %s: content type %s, want %s", method, path, got, want)
	}
	r.must(json.Unmarshal(w.Body.Bytes(), into))
}

type problemBody struct{ Title, Detail string }

func TestStaleAfterThreeBeats(t *testing.T) {
	for _, tc := range []struct {
		since time.Duration
		stale bool
	}{{0, false}, {45 * time.Second, false}, {45*time.Second + 1, true}, {time.Hour, true}} {
		if got := Stale(start, start.Add(tc.since)); got != tc.stale {
			t.Errorf("stale after %s is %v", tc.since, got)
		}
	}
	if !Stale(time.Time{}, start) {
		t.Error("a hub that was never heard is believed")
	}
}

func TestSilentHubIsShownStaleAndRaisedOnce(t *testing.T) {
	r := newRig(t)
	r.beat("hq")
	r.occupancy("hq", "room-1", 4, 1)
	var one edge.SpaceView
	r.get("/v1/sites/hq/spaces/room-1", 200, &one)
	if one.Occupancy.Quality != edge.QualityGood || *one.Occupancy.Count != 4 {
		t.Fatalf("room-1 is %+v", one.Occupancy)
	}
	r.now = start.Add(46 * time.Second)
	for range 3 {
		r.must(r.twin.check(t.Context(), r.now))
	}
	r.get("/v1/sites/hq/spaces/room-1", 200, &one)
	if one.Occupancy.Quality != edge.QualityStale {
		t.Errorf("an old number is shown with quality %s", one.Occupancy.Quality)
	}
	var list struct{ Sites []Summary }
	r.get("/v1/sites", 200, &list)
	if s := list.Sites[0]; s.Online || !s.Stale || s.OpenAlerts != 1 || s.Name != "HQ" || *s.Backlog != 50 {
		t.Errorf("summary is %+v, want stale with one alert and 50 behind", s)
	}
	var alerts struct{ Alerts []edge.Alert }
	r.get("/v1/sites/hq/alerts", 200, &alerts)
	if len(alerts.Alerts) != 1 || alerts.Alerts[0].Rule != store.RuleHubOffline || !alerts.Alerts[0].Since.Equal(start) {
		t.Fatalf("alerts are %+v, want one hub-offline since the last heartbeat", alerts.Alerts)
	}
	r.now = start.Add(time.Minute)
	r.beat("hq")
	r.get("/v1/sites/hq/alerts", 200, &alerts)
	if alerts.Alerts[0].State != edge.StateCleared {
		t.Errorf("the alert is %s after a heartbeat, want cleared", alerts.Alerts[0].State)
	}
	r.get("/v1/sites/hq/spaces/room-1", 200, &one)
	if one.Occupancy.Quality != edge.QualityGood {
		t.Errorf("quality is %s after a heartbeat", one.Occupancy.Quality)
	}
}

func TestRestartOfTheCloudRaisesNothingForItsOwnAbsence(t *testing.T) {
	r := newRig(t)
	r.beat("hq")
	r.twin.started = start.Add(time.Hour) // the cloud was away for an hour
	r.now = r.twin.started.Add(StaleAfter)
	r.must(r.twin.check(t.Context(), r.now))
	if open, err := r.db.CountOpenAlerts(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("alerts %v (%v) before hubs had time to come back", open, err)
	}
	r.now = r.now.Add(time.Second)
	r.must(r.twin.check(t.Context(), r.now))
	if open, err := r.db.CountOpenAlerts(t.Context()); err != nil || len(open) != 1 {
		t.Errorf("alerts %v (%v), want hub-offline after that time", open, err)
	}
}

func TestUnknownIsNullAndTheModelsOrderIsKept(t *testing.T) {
	r := newRig(t)
	r.update("acme", "hq", func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		r.must(err)
		return r.twin.Snapshot(tx, s, id, wire.Snapshot{Epoch: epoch, Time: start, Site: edge.Site{ID: "hq", Name: "HQ", Spaces: []edge.Space{
			{ID: "z-building", Kind: edge.Building}, {ID: "a-room", Kind: edge.Room, Parent: "z-building", Capacity: 8},
		}}})
	})
	r.occupancy("hq", "new-room", 2, 1)
	var raw struct {
		Spaces []struct {
			ID        string
			Occupancy map[string]any
		}
	}
	r.get("/v1/sites/hq/spaces", 200, &raw)
	if len(raw.Spaces) != 3 || raw.Spaces[0].ID != "z-building" || raw.Spaces[1].ID != "a-room" || raw.Spaces[2].ID != "new-room" {
		t.Fatalf("spaces are %+v", raw.Spaces)
	}
	if o := raw.Spaces[1].Occupancy; o["count"] != nil || o["state"] != "unknown" || o["quality"] != "none" {
		t.Errorf("a space without evidence is %v, want unknown and null", o)
	}
	var list struct{ Sites []Summary }
	r.get("/v1/sites", 200, &list)
	if list.Sites[0].People != nil {
		t.Errorf("people are %d, want not known", *list.Sites[0].People)
	}
	r.occupancy("hq", "z-building", 11, 2)
	r.get("/v1/sites", 200, &list)
	if p := list.Sites[0].People; p == nil || *p != 11 {
		t.Errorf("people are %v, want the building's 11", p)
	}
}

func TestHistoryIsTheStepFunction(t *testing.T) {
	r := newRig(t)
	for i, count := range []int{1, 2, 3, 4} {
		r.occupancy("hq", "room", count, 10*i)
	}
	at := func(minute int) string { return start.Add(time.Duration(minute) * time.Minute).Format(time.RFC3339) }
	counts := func(h History) (out []int) {
		for _, p := range h.Points {
			n := -1
			if p.Count != nil {
				n = *p.Count
			}
			out = append(out, n)
		}
		return out
	}
	for _, tc := range []struct {
		query string
		want  []int
	}{
		{"from=" + at(15) + "&to=" + at(30), []int{2, 3, 4}},
		{"from=" + at(-20) + "&to=" + at(25) + "&every=10m", []int{-1, -1, 1, 2, 3}},
		{"from=" + at(100) + "&to=" + at(120) + "&every=20m", []int{4, 4}},
		{"from=" + at(-60) + "&to=" + at(-30), nil},
	} {
		var h History
		r.get("/v1/sites/hq/spaces/room/history?"+tc.query, 200, &h)
		if got := counts(h); len(got) != len(tc.want) {
			t.Errorf("%s: %v, want %v", tc.query, got, tc.want)
		} else {
			for i := range got {
				if got[i] != tc.want[i] {
					t.Errorf("%s: %v, want %v", tc.query, got, tc.want)
				}
			}
		}
	}
	for _, bad := range []string{"every=1ms", "every=x", "from=yesterday", "from=" + at(5) + "&to=" + at(1), "from=2000-01-01T00:00:00Z&every=1s"} {
		var p problemBody
		r.get("/v1/sites/hq/spaces/room/history?"+bad, 400, &p)
		if p.Detail == "" {
			t.Errorf("%s is refused without a reason", bad)
		}
		var none struct{ Detail string }
		r.get("/v1/sites/hq/spaces/nowhere/history", 404, &none)
		if !strings.Contains(none.Detail, "nowhere") {
			t.Errorf("the history of a space that is none answers %q", none.Detail)
		}
	}
}

func TestAcknowledgementOfTheCloudStaysBesideTheHubs(t *testing.T) {
	r := newRig(t)
	a := edge.Alert{ID: "over/room@1", Rule: "over", Subject: "room", State: edge.StateFiring, Severity: edge.Warning, RaisedAt: start}
	r.tell("hq", edge.AlertRaised, a.ID, 0, a)
	path := "/v1/sites/hq/alerts/over%2Froom@1/acknowledge"
	var got edge.Alert
	r.now = start.Add(time.Minute)
	r.do("POST", path, `{"note":"on my way"}`, 200, &got)
	if got.State != edge.StateAcknowledged || got.AcknowledgedBy != "ada" || !got.AcknowledgedAt.Equal(r.now) {
		t.Errorf("acknowledged alert is %+v", got)
	}
	first := r.now
	a.State, a.AcknowledgedAt, a.AcknowledgedBy = edge.StateAcknowledged, start.Add(2*time.Minute), "bob at the hub"
	r.tell("hq", edge.AlertAcknowledged, a.ID, 2, a)
	r.now = start.Add(3 * time.Minute)
	r.do("POST", path, ``, 200, &got)
	if got.AcknowledgedBy != "ada" || !got.AcknowledgedAt.Equal(first) {
		t.Errorf("the first acknowledgement was replaced: %+v", got)
	}
	var events struct{ Events []Event }
	r.get("/v1/sites/hq/events", 200, &events)
	if n := len(events.Events); n != 3 {
		t.Errorf("%d events, want raised and both acknowledgements", n)
	}
	a.State, a.ClearedAt = edge.StateCleared, start.Add(4*time.Minute)
	r.tell("hq", edge.AlertCleared, a.ID, 4, a)
	var p problemBody
	r.do("POST", path, ``, 409, &p)
	r.do("POST", "/v1/sites/hq/alerts/nope/acknowledge", ``, 404, &p)
	r.do("POST", path, `[`, 400, &p)
}

func TestEventsArePagedByCursor(t *testing.T) {
	r := newRig(t)
	for i := range 25 {
		r.occupancy("hq", "room", i, i)
		r.occupancy("other", "room", i, i)
	}
	var seen []string
	after := ""
	for range 10 {
		var page struct {
			Events []Event
			Next   string
		}
		r.get("/v1/sites/hq/events?limit=10&after="+after, 200, &page)
		for _, e := range page.Events {
			seen = append(seen, e.Record)
			if e.Site != "hq" || e.Type != string(edge.OccupancyChanged) || len(e.Data) == 0 {
				t.Fatalf("event is %+v", e)
			}
		}
		if after = page.Next; len(page.Events) == 0 {
			break
		}
	}
	if len(seen) != 25 {
		t.Errorf("paged through %d events, want 25", len(seen))
	}
}

func TestReadingsOfASensorAndWhatItShows(t *testing.T) {
	r := newRig(t)
	reading := func(sensor string, minute int, v float64) edge.Reading {
		at := start.Add(time.Duration(minute) * time.Minute)
		return edge.Reading{Sensor: sensor, Device: "d", Received: at, At: at, Values: []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, v)}}
	}
	r.update("acme", "hq", func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		r.must(err)
		for seq := uint64(1); seq <= 3; seq++ {
			data, err := json.Marshal([]edge.Reading{reading("a", int(seq), float64(400+seq)), reading("b", int(seq), 1)})
			r.must(err)
			rec := edge.Record{Epoch: epoch, Lane: edge.Readings, Seq: seq, Source: "hq", Type: "readings", Time: start, Data: data}
			r.must(tx.AddReadings([]store.Reading{{Site: s.ID, Position: store.Position{Epoch: id, Seq: seq}, Time: start, Body: rec.AppendJSON(nil), Sensors: []string{"a", "b"}}}))
		}
		r.must(r.twin.Readings(tx, s, map[string]edge.Reading{"a": reading("a", 3, 403)}))
		return r.twin.Readings(tx, s, map[string]edge.Reading{"a": reading("a", 1, 999)}) // late: shows nothing new
	})
	var got struct{ Readings []edge.Reading }
	r.get("/v1/sites/hq/readings?sensor=a&limit=2", 200, &got)
	if len(got.Readings) != 2 || got.Readings[0].Values[0].Num != 403 || got.Readings[1].Values[0].Num != 402 {
		t.Errorf("readings are %+v, want the newest two of a", got.Readings)
	}
	var sensors struct{ Sensors []edge.SensorStatus }
	r.get("/v1/sites/hq/sensors", 200, &sensors)
	if len(sensors.Sensors) != 1 || sensors.Sensors[0].Last[0].Num != 403 {
		t.Errorf("sensors are %+v, want a with 403", sensors.Sensors)
	}
}

func TestSitesOfTheSameNameAreToldApart(t *testing.T) {
	r := newRig(t)
	r.beat("hq")
	r.update("globex", "hq", func(*store.Tx, store.Site) error { return nil })
	var p problemBody
	r.get("/v1/sites/hq", 409, &p)
	var s Summary
	r.get("/v1/sites/hq?org=globex", 200, &s)
	if s.Org != "globex" || s.Online {
		t.Errorf("got %+v, want the silent one of globex", s)
	}
	r.get("/v1/sites/nowhere", 404, &p)
	r.get("/v1/sites/hq/spaces/nothing?org=acme", 404, &p)
}

func TestStatusTellsWhatTheHeartbeatTold(t *testing.T) {
	r := newRig(t)
	r.beat("hq")
	var s Status
	r.get("/v1/sites/hq/status", 200, &s)
	if s.State != "running" || s.Version != "1.2" || s.Lanes.Events.BacklogRecords != 50 || s.Lanes.Events.Head != 90 || len(s.Warnings) != 0 {
		t.Errorf("status is %+v", s)
	}
	r.now = start.Add(time.Hour)
	r.get("/v1/sites/hq/status", 200, &s)
	if s.State != "unknown" || !s.Stale || len(s.Warnings) != 1 {
		t.Errorf("status of a silent hub is %+v", s)
	}
}

func TestEventsForOthersAreNotInASitesPast(t *testing.T) {
	r := newRig(t)
	r.update("acme", "oslo", func(tx *store.Tx, s store.Site) error {
		for _, audience := range []string{"", "user:bob", "role:admin"} {
			e, err := store.EventOf("note.added", audience, start, map[string]string{})
			if err != nil {
				return err
			}
			if err := tx.AddSiteEvent(s, audience, e); err != nil {
				return err
			}
		}
		return nil
	})
	for _, tc := range []struct {
		role token.Role
		path string
		want int
	}{
		{token.Viewer, "/v1/sites/oslo/events", 1}, {token.Admin, "/v1/sites/oslo/events", 2},
		{token.Admin, "/v1/sites/oslo/events?type=note.*", 2}, {token.Admin, "/v1/sites/oslo/events?type=alert.*,access.granted", 0},
	} {
		var page struct{ Events []Event }
		w := r.as(tc.role, "acme", "GET", tc.path, "", "")
		if r.must(json.Unmarshal(w.Body.Bytes(), &page)); len(page.Events) != tc.want {
			t.Errorf("%s as %s: %d events, want %d: %s", tc.path, tc.role, len(page.Events), tc.want, w.Body)
		}
	}
}
