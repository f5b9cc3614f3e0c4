package twin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// plainAs serves the plain names to a caller.
func (r *rig) plainAs(who *token.Identity) {
	r.Helper()
	router := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	r.must(router.Add(r.twin.PlainRoutes()...))
	r.mux = http.NewServeMux()
	r.mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		router.ServeHTTP(w, q.WithContext(token.Into(q.Context(), who)))
	})
}

func viewerOf(domain string) *token.Identity {
	return &token.Identity{Kind: token.User, Subject: "vera", Memberships: []token.Membership{{Domain: domain, Role: token.Viewer}}}
}

// model gives a site a building with a lobby and a room.
func (r *rig) model(org, site string) {
	r.Helper()
	r.update(org, site, func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch+org, r.now)
		r.must(err)
		return r.twin.Snapshot(tx, s, id, wire.Snapshot{Epoch: epoch, Time: start, Site: edge.Site{ID: site, Spaces: []edge.Space{
			{ID: "house", Kind: edge.Building}, {ID: "lobby", Kind: edge.Room, Parent: "house", Capacity: 8},
		}}})
	})
}

func TestRoomsOfTheSitesThatTheCallerMaySee(t *testing.T) {
	r := newRig(t)
	r.model("acme", "hq")
	r.model("globex", "lab")
	r.beat("hq")
	r.occupancy("hq", "lobby", 3, 1)
	r.plainAs(viewerOf("acme"))
	var list Rooms
	r.get("/rooms", 200, &list)
	if len(list.Rooms) != 1 || list.Rooms[0].Site != "hq" || list.Rooms[0].ID != "lobby" || *list.Rooms[0].Count != 3 || list.Rooms[0].Stale {
		t.Fatalf("rooms are %+v, want the lobby of hq", list.Rooms)
	}
	var room Room
	r.get("/rooms/lobby/metrics", 200, &room)
	if *room.Count != 3 || room.Capacity != 8 || room.Floor != "house" {
		t.Errorf("the lobby is %+v", room)
	}
	r.now = start.Add(2 * time.Hour)
	r.get("/rooms/lobby/metrics", 200, &room)
	if !room.Stale || room.Quality != edge.QualityStale {
		t.Errorf("without heartbeat the lobby is %+v, want stale", room)
	}
	var h History
	r.get("/rooms/lobby/history?from=2026-03-02T08:00:00Z&to=2026-03-02T08:10:00Z&interval=5m", 200, &h)
	if len(h.Points) != 3 || h.Points[0].Count != nil || *h.Points[2].Count != 3 || h.Every != "5m" {
		t.Errorf("history is %+v", h)
	}
	var p problemBody
	r.get("/rooms/house/metrics", 404, &p)
	r.get("/rooms/lobby/metrics?site=lab", 404, &p)
	r.plainAs(viewerOf("globex"))
	r.get("/rooms/lobby/metrics", 200, &room)
	if room.Site != "lab" || room.Count != nil || room.State != edge.Unknown {
		t.Errorf("a room without evidence is %+v, want unknown", room)
	}
	r.plainAs(&token.Identity{Kind: token.User, Everywhere: token.Admin})
	r.get("/rooms/lobby/metrics", 409, &p)
}

func TestSensorDataIsPagedWithoutRepetition(t *testing.T) {
	r := newRig(t)
	const records, each = 40, 7
	r.update("acme", "hq", func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		r.must(err)
		for seq := uint64(1); seq <= records; seq++ {
			var rs []edge.Reading
			for i := range each {
				rs = append(rs, edge.Reading{Sensor: "a", Device: "d", At: start, Received: start, Seq: fmt.Sprint(seq, "/", i), Values: []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, 400)}})
				rs = append(rs, edge.Reading{Sensor: "b", Device: "e", At: start, Received: start})
			}
			data, err := json.Marshal(rs)
			r.must(err)
			rec := edge.Record{Epoch: epoch, Lane: edge.Readings, Seq: seq, Source: "hq", Type: "readings", Time: start, Data: data}
			r.must(tx.AddReadings([]store.Reading{{Site: s.ID, Position: store.Position{Epoch: id, Seq: seq}, Time: start, Body: rec.AppendJSON(nil), Sensors: []string{"a", "b"}}}))
		}
		return r.twin.Readings(tx, s, map[string]edge.Reading{"a": {Sensor: "a", At: start, Received: start}})
	})
	r.plainAs(viewerOf("acme"))
	for _, limit := range []int{1, 5, 7, 9, 1000} {
		seen, after := map[string]bool{}, ""
		for {
			var page SensorPage
			r.get(fmt.Sprintf("/sensors/a/data?limit=%d&after=%s", limit, after), 200, &page)
			for _, d := range page.Readings {
				if seen[d.Seq] || d.Device != "d" {
					t.Fatalf("limit %d: %+v comes twice, or is another's", limit, d)
				}
				seen[d.Seq] = true
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if len(seen) != records*each {
			t.Errorf("limit %d: %d readings, want %d", limit, len(seen), records*each)
		}
	}
	var p problemBody
	for _, bad := range []string{"after=x", "after=1.2", "after=-1.2.3", "after=1.99999999999999999999.0", "limit=0", "from=yesterday"} {
		r.get("/sensors/a/data?"+bad, 400, &p)
	}
	r.get("/sensors/b/data", 404, &p) // no sensor of that name was ever shown
	var list PlainSensors
	r.get("/sensors", 200, &list)
	if len(list.Sensors) != 1 || list.Sensors[0].ID != "a" || list.Sensors[0].Site != "hq" {
		t.Errorf("sensors are %+v", list.Sensors)
	}
}

func TestTheCloudTakesNoReadings(t *testing.T) {
	r := newRig(t)
	r.plainAs(nil)
	var p problemBody
	r.do(http.MethodPost, "/sensors/data", `{"sensor":"a"}`, 421, &p)
	if p.Detail == "" {
		t.Error("it does not say who does")
	}
}

func TestOverviewIsOneCall(t *testing.T) {
	r := newRig(t)
	r.model("acme", "hq")
	r.beat("hq")
	r.occupancy("hq", "house", 11, 1)
	r.tell("hq", edge.AlertRaised, "a1", 2, edge.Alert{ID: "a1", Rule: "over", State: edge.StateFiring})
	r.plainAs(viewerOf("acme"))
	for _, path := range []string{"/v1/overview", "/v1/overview?site=hq"} {
		var o struct {
			Site   Summary
			Status Status
			Spaces []edge.SpaceView
			Alerts []edge.Alert
			Counts Counts
		}
		r.get(path, 200, &o)
		if o.Site.ID != "hq" || o.Status.State != "running" || len(o.Spaces) != 2 || len(o.Alerts) != 1 || o.Counts.Occupied != 1 || o.Counts.Unknown != 1 || *o.Counts.People != 11 {
			t.Errorf("%s is %+v", path, o)
		}
	}
	var p problemBody
	r.get("/v1/overview?site=lab", 404, &p)
	r.plainAs(viewerOf("nobody"))
	r.get("/v1/overview", 400, &p)
	r.get("/v1/overview?site=hq", 404, &p)
}

func FuzzPlace(f *testing.F) {
	f.Add("1.2.3")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := parsePlace(s); ok {
			if again, ok := parsePlace(p.String()); !ok || again != p {
				t.Fatalf("%q is %+v, written and read again %+v", s, p, again)
			}
		}
	})
}
