package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
	"github.com/headcount-hub/headcount/edge/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is a fixed time in the past: what the hub answers must not depend on today.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newAPI(t *testing.T, site *apitest.Site, change func(*api.Options)) *api.API {
	t.Helper()
	o := api.Options{Site: site, History: site, Status: site}
	if change != nil {
		change(&o)
	}
	a, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type request struct {
	method, path, body string
	header             http.Header
	remote             string
}

func do(h http.Handler, rq request) *httptest.ResponseRecorder {
	r := httptest.NewRequest(rq.method, "http://localhost"+rq.path, strings.NewReader(rq.body))
	if rq.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range rq.header {
		r.Header[k] = v
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	if rq.remote != "" {
		r.RemoteAddr = rq.remote
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// get fetches a path that must answer 200 and decodes it strictly: an unknown field is a
// shape that this test does not know.
func get[T any](t *testing.T, h http.Handler, path string) T {
	t.Helper()
	w := do(h, request{method: "GET", path: path})
	if w.Code != 200 {
		t.Fatalf("GET %s: got %d %s", path, w.Code, w.Body)
	}
	var v T
	dec := json.NewDecoder(w.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return v
}

func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, about string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
		Errors        []struct{ Message, Location string }
	}
	b := w.Body.String()
	if err := json.Unmarshal([]byte(b), &p); err != nil {
		t.Fatalf("got %d %q, not a problem: %v", w.Code, b, err)
	}
	if w.Code != status || p.Status != status || p.Title != http.StatusText(status) || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %s %s, want problem %d", w.Code, w.Header().Get("Content-Type"), b, status)
	}
	if !strings.Contains(b, about) {
		t.Fatalf("problem %s does not speak of %q", b, about)
	}
}

func TestSpaces(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	list := get[api.SpaceList](t, a, "/v1/spaces")
	if len(list.Spaces) != 18 || !list.AsOf.Equal(noon) {
		t.Fatalf("got %d spaces as of %v, want 18 as of %v", len(list.Spaces), list.AsOf, noon)
	}
	if got := get[api.SpaceList](t, a, "/v1/spaces?kind=floor"); len(got.Spaces) != 3 {
		t.Fatalf("got %d floors, want 3", len(got.Spaces))
	}
	canteen := get[edge.SpaceView](t, a, "/v1/spaces/canteen")
	if canteen.Parent != "floor-1" || *canteen.Occupancy.Count != 33 || *canteen.Occupancy.High != 38 || canteen.Occupancy.State != edge.Occupied {
		t.Fatalf("got %+v", canteen)
	}
	wantProblem(t, do(a, request{method: "GET", path: "/v1/spaces/nowhere"}), 404, "nowhere")
	wantProblem(t, do(a, request{method: "GET", path: "/v1/spaces?kind=cellar"}), 422, "query.kind")
	wantProblem(t, do(a, request{method: "GET", path: "/v1/spaces?knid=room"}), 422, "knid")
}

// Unknown is never zero, on no route.
func TestUnknownIsNull(t *testing.T) {
	a := newAPI(t, apitest.Office(noon), nil)
	for _, path := range []string{"/v1/spaces/lab", "/rooms/lab/metrics"} {
		body := do(a, request{method: "GET", path: path}).Body.String()
		for _, key := range []string{"count", "low", "high", "p_occupied"} {
			if !strings.Contains(body, `"`+key+`":null`) {
				t.Errorf("GET %s: %s is not null: %s", path, key, body)
			}
		}
		if !strings.Contains(body, `"state":"unknown"`) {
			t.Errorf("GET %s: state is not unknown: %s", path, body)
		}
	}
	sampled := get[api.SpaceHistory](t, a, "/v1/spaces/lab/history?from=2026-11-20T10:00:00Z&to=2026-11-20T11:00:00Z&every=30m")
	for _, p := range sampled.Points {
		if p.State != edge.Unknown || p.Count != nil || p.Quality != edge.QualityNone {
			t.Errorf("sampled history of an unknown space: got %+v", p)
		}
	}
	metrics := do(a, request{method: "GET", path: "/metrics"}).Body.String()
	if strings.Contains(metrics, `headcount_space_count{kind="room",space="lab"}`) || !strings.Contains(metrics, `headcount_space_known{kind="room",space="lab"} 0`) {
		t.Errorf("metrics give an unknown space a count")
	}
}

func TestETagOfSpaces(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	for _, path := range []string{"/v1/spaces", "/v1/spaces/lobby"} {
		tag := do(a, request{method: "GET", path: path}).Header().Get("ETag")
		again := func() int {
			return do(a, request{method: "GET", path: path, header: http.Header{"If-None-Match": {`"x", ` + tag}}}).Code
		}
		if got := again(); tag == "" || got != 304 {
			t.Fatalf("GET %s with its own ETag %q: got %d, want 304", path, tag, got)
		}
		n := int(time.Now().UnixNano()%1000) + len(path)
		site.Set(apitest.Known(edge.Space{ID: "lobby", Capacity: 40}, n, n, n, edge.QualityGood, noon.Add(time.Minute)))
		if got := again(); got != 200 {
			t.Fatalf("GET %s after a change: got %d, want 200", path, got)
		}
	}
}

func TestHistory(t *testing.T) {
	site := apitest.New(apitest.Model(), noon)
	board := edge.Space{ID: "board", Capacity: 20}
	for i, n := range []int{3, 5, 4} {
		site.Past(apitest.Known(board, n, n-1, n+1, edge.QualityGood, noon.Add(time.Duration(i)*10*time.Minute)))
	}
	a := newAPI(t, site, nil)
	counts := func(path string) (out []string) {
		h := get[api.SpaceHistory](t, a, "/v1/spaces/board/history"+path)
		for _, p := range h.Points {
			s := p.AsOf.Format("15:04") + " ?"
			if p.Count != nil {
				s = fmt.Sprintf("%s %d", p.AsOf.Format("15:04"), *p.Count)
			}
			out = append(out, s)
		}
		return out
	}
	const day = "?from=2026-11-20T"
	for _, c := range []struct{ query, want string }{
		{day + "12:05:00Z&to=2026-11-20T13:00:00Z", "[12:00 3 12:10 5 12:20 4]"}, // what held at from comes first
		{day + "12:10:00Z&to=2026-11-20T12:15:00Z", "[12:10 5]"},
		{day + "11:00:00Z&to=2026-11-20T11:30:00Z", "[]"},
		{day + "11:55:00Z&to=2026-11-20T12:25:00Z&every=5m", "[11:55 ? 12:00 3 12:05 3 12:10 5 12:15 5 12:20 4 12:25 4]"},
		{day + "14:55:00%2B02:00&to=2026-11-20T12:56:00Z&every=30s", "[12:55 4 12:55 4 12:56 4]"},
	} {
		if got := fmt.Sprint(counts(c.query)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.query, got, c.want)
		}
	}
	if got := get[api.SpaceHistory](t, a, "/rooms/board/history?from=2026-11-20T12:00:00Z&to=2026-11-20T12:20:00Z&interval=10m&units=si"); len(got.Points) != 3 {
		t.Errorf("plain room history: got %d points, want 3", len(got.Points))
	}
	for query, about := range map[string]string{
		day + "12:00:00Z&to=2026-11-20T11:00:00Z": "before from",
		"?from=yesterday":                         "query.from",
		"?from=24h":                               "query.from", // the future
		"?every=5":                                "query.every",
		"?every=-5m":                              "query.every",
		"?every=100ms":                            "query.every",
		"?from=2016-11-20T12:00:00Z&every=1s":     "5000",
		"?from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z&every=1s": "5000",
	} {
		wantProblem(t, do(a, request{method: "GET", path: "/v1/spaces/board/history" + query}), 422, about)
	}
	wantProblem(t, do(a, request{method: "GET", path: "/v1/spaces/nowhere/history"}), 404, "nowhere")
	wantProblem(t, do(a, request{method: "GET", path: "/rooms/floor-1/history"}), 404, "floor")
	site.Fail(errors.New("disk on fire"))
	w := do(a, request{method: "GET", path: "/v1/spaces/board/history"})
	if strings.Contains(w.Body.String(), "fire") {
		t.Errorf("the answer tells inner errors: %s", w.Body)
	}
	wantProblem(t, w, 500, "request id")
}

// A long history comes in pages that join without gap or repetition, sampled or not.
func TestLongHistory(t *testing.T) {
	site := apitest.New(apitest.Model(), noon)
	board := edge.Space{ID: "board"}
	const n = 12000
	for i := range n {
		site.Past(apitest.Known(board, i, i, i, edge.QualityGood, noon.Add(time.Duration(i)*time.Second)))
	}
	a := newAPI(t, site, nil)
	from, seen := noon, 0
	for pages := 1; ; pages++ {
		h := get[api.SpaceHistory](t, a, "/v1/spaces/board/history?from="+from.Format(time.RFC3339)+"&to=2026-11-21T00:00:00Z")
		for _, p := range h.Points {
			if *p.Count != seen {
				t.Fatalf("page %d: got point %d, want %d", pages, *p.Count, seen)
			}
			seen++
		}
		if h.Next == nil {
			break
		}
		from = *h.Next
	}
	if seen != n {
		t.Fatalf("got %d points in all, want %d", seen, n)
	}
	h := get[api.SpaceHistory](t, a, "/v1/spaces/board/history?from=2026-11-20T12:00:00Z&to=2026-11-20T15:19:59Z&every=1m")
	for i, p := range h.Points {
		if *p.Count != i*60 {
			t.Fatalf("sampled point %d: got %d, want %d", i, *p.Count, i*60)
		}
	}
}

func TestSensors(t *testing.T) {
	site := apitest.Office(noon)
	r := edge.Reading{Sensor: "co2-board", Device: "mqtt:co2/board", Received: noon, Seq: "7", Values: []edge.Value{
		edge.NumberValue(edge.CO2PPM, edge.Absolute, 812.5), edge.BoolValue(edge.Presence, edge.State, true), edge.TextValue(edge.Health, edge.State, "ok")}}
	r.Fix()
	for i := range 3 {
		r.At = noon.Add(time.Duration(i) * time.Minute)
		site.AddReading(r)
	}
	a := newAPI(t, site, nil)
	if got := get[api.SensorList](t, a, "/v1/sensors"); len(got.Sensors) != 14 {
		t.Fatalf("got %d sensors, want 14", len(got.Sensors))
	}
	of := get[api.SensorList](t, a, "/v1/sensors?space=board")
	if len(of.Sensors) != 2 || of.Sensors[0].ID != "line-board" || of.Sensors[1].ID != "co2-board" {
		t.Fatalf("got sensors %+v of the board room, want its door's and its own", of.Sensors)
	}
	if got := get[edge.SensorStatus](t, a, "/v1/sensors/co2-board"); len(got.Last) != 2 || got.Last[0].Num != 812 {
		t.Fatalf("got %+v", got)
	}
	const path = "/v1/sensors/co2-board/readings?from=2026-11-20T12:00:00Z&to=2026-11-20T13:00:00Z"
	got := get[api.SensorReadings](t, a, path+"&limit=2")
	if len(got.Readings) != 2 || got.Next == nil || !got.Next.Equal(noon.Add(2*time.Minute)) {
		t.Fatalf("got %d readings, next %v", len(got.Readings), got.Next)
	}
	if v := fmt.Sprint(got.Readings[0].Values); v != "[{co2_ppm absolute 812.5} {presence state true} {health state ok}]" {
		t.Fatalf("got values %s", v)
	}
	if plain := get[api.SensorReadings](t, a, "/sensors/co2-board/data?from=2026-11-20T12:00:00Z&to=2026-11-20T13:00:00Z&x=y"); len(plain.Readings) != 3 {
		t.Fatalf("got %d readings under the plain name, want 3", len(plain.Readings))
	}
	if plain := get[api.SensorList](t, a, "/sensors"); len(plain.Sensors) != 14 {
		t.Fatalf("got %d sensors under the plain name, want 14", len(plain.Sensors))
	}
	wantProblem(t, do(a, request{method: "GET", path: "/v1/sensors/nope"}), 404, "nope")
	wantProblem(t, do(a, request{method: "GET", path: "/v1/sensors/nope/readings"}), 404, "nope")
	wantProblem(t, do(a, request{method: "GET", path: path + "&limit=0"}), 422, "query.limit")
	wantProblem(t, do(a, request{method: "GET", path: path + "&limit=many"}), 422, "query.limit")
}

func TestRooms(t *testing.T) {
	a := newAPI(t, apitest.Office(noon), nil)
	if got := get[api.RoomList](t, a, "/rooms"); len(got.Rooms) != 14 {
		t.Fatalf("got %d rooms, want 14 without floors and building", len(got.Rooms))
	}
	if got := get[api.Room](t, a, "/rooms/canteen/metrics"); *got.Count != 33 || got.Capacity != 80 || *got.Utilisation != 33.0/80 {
		t.Fatalf("got %+v", got)
	}
	wantProblem(t, do(a, request{method: "GET", path: "/rooms/floor-1/metrics"}), 404, "/v1/spaces/floor-1")
}

func TestDevices(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	if got := get[api.DeviceList](t, a, "/v1/devices"); len(got.Devices) != 2 {
		t.Fatalf("got %d devices, want 2", len(got.Devices))
	}
	pending := get[api.DeviceList](t, a, "/v1/devices?state=pending")
	if len(pending.Devices) != 1 {
		t.Fatalf("got %d pending devices, want 1", len(pending.Devices))
	}
	const approve = "/v1/devices/zigbee2mqtt%2Fpir%20kitchen/approve" // the address has a slash and a blank
	for body, about := range map[string]string{
		`{"id":"k"}`: "exactly one of space and door",
		`{"id":"k","space":"canteen","door":"entrance","class":"pir"}`:  "exactly one of space and door",
		`{"id":"k","space":"canteen"}`:                                  "class or a profile",
		`{"id":"k","space":"cellar","class":"pir"}`:                     "body.space",
		`{"id":"k","door":"trapdoor","class":"pir"}`:                    "body.door",
		`{"id":"","space":"canteen","class":"pir"}`:                     "body.id",
		`{"id":"a b","space":"canteen","class":"pir"}`:                  "body.id",
		`{"id":"k","space":"canteen","class":"radar"}`:                  "body.class",
		`{"id":"k","space":"canteen","class":"pir","colour":"red"}`:     "colour",
		`{"id":"k","space":"canteen","class":"pir","params":{"x":"y"}}`: "body.params",
	} {
		wantProblem(t, do(a, request{method: "POST", path: approve, body: body}), 422, about)
	}
	for _, body := range []string{`{"id":"k","id":"l","space":"canteen","class":"pir"}`, `{"id":`, `[[[[[[[[[[1]]]]]]]]]]`, `{} {}`} {
		if w := do(a, request{method: "POST", path: approve, body: body}); w.Code < 400 || w.Code > 422 {
			t.Errorf("body %s: got %d, want a refusal", body, w.Code)
		}
	}
	if n := len(site.Commands()); n != 0 {
		t.Fatalf("%d commands reached the hub from bad requests", n)
	}
	w := do(a, request{method: "POST", path: approve, body: `{"id":"pir-kitchen","space":"canteen","class":"pir"}`})
	if w.Code != 200 {
		t.Fatalf("approve: got %d %s", w.Code, w.Body)
	}
	c := site.Commands()[0]
	var sensor edge.Sensor
	if err := json.Unmarshal(c.Args, &sensor); err != nil || c.Subject != "zigbee2mqtt/pir kitchen" || sensor.ID != "pir-kitchen" || sensor.Space != "canteen" || c.By != "local" {
		t.Fatalf("got command %+v args %s", c, c.Args)
	}
	if got := get[api.DeviceList](t, a, "/v1/devices?state=pending"); len(got.Devices) != 0 {
		t.Fatalf("the approved device is still pending")
	}
	if w := do(a, request{method: "POST", path: "/v1/devices/zigbee2mqtt%2Fpir%20kitchen/ignore"}); w.Code != 200 {
		t.Fatalf("ignore: got %d %s", w.Code, w.Body)
	}
	wantProblem(t, do(a, request{method: "POST", path: "/v1/devices/ghost/ignore"}), 404, "ghost")
	wantProblem(t, do(a, request{method: "POST", path: "/v1/devices/ghost/approve", body: `{"id":"k","space":"canteen","class":"pir"}`}), 404, "ghost")
	wantProblem(t, do(a, request{method: "GET", path: "/v1/devices?state=new"}), 422, "query.state")
	wantProblem(t, do(a, request{method: "POST", path: approve, body: `{"id":"` + strings.Repeat("x", 20<<10) + `"}`}), 413, "")
}

func TestAlertsAndAcknowledge(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	if got := get[api.AlertList](t, a, "/v1/alerts?state=firing&subject=room-303"); len(got.Alerts) != 1 {
		t.Fatalf("got %d firing alerts of the room, want 1", len(got.Alerts))
	}
	path := "/v1/alerts/" + url.PathEscape("over-capacity:room-303:1") + "/acknowledge"
	rq := request{method: "POST", path: path, body: `{"note":"on my way"}`, header: http.Header{"Idempotency-Key": {"key-1"}}}
	for range 2 { // the repetition is answered, not applied
		if w := do(a, rq); w.Code != 200 {
			t.Fatalf("acknowledge: got %d %s", w.Code, w.Body)
		}
	}
	if cs := site.Commands(); len(cs) != 1 || cs[0].ID != "key-1" || string(cs[0].Args) != `{"note":"on my way"}` {
		t.Fatalf("got commands %+v", cs)
	}
	if got := get[api.AlertList](t, a, "/v1/alerts?state=acknowledged"); len(got.Alerts) != 1 || got.Alerts[0].AcknowledgedBy != "local" {
		t.Fatalf("got %+v", got)
	}
	wantProblem(t, do(a, request{method: "POST", path: path}), 409, "already")
	wantProblem(t, do(a, request{method: "POST", path: "/v1/alerts/none/acknowledge"}), 404, "none")
	wantProblem(t, do(a, request{method: "POST", path: path, body: `{"note":7}`}), 422, "body.note")
	wantProblem(t, do(a, request{method: "POST", path: path, header: http.Header{"Idempotency-Key": {"a b"}}}), 422, "Idempotency-Key")
	wantProblem(t, do(a, request{method: "GET", path: "/v1/alerts?state=loud"}), 422, "query.state")
	site.Fail(errors.New("journal closed"))
	wantProblem(t, do(a, request{method: "POST", path: path}), 503, "Idempotency-Key")
}

func TestCorrectCount(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	w := do(a, request{method: "PUT", path: "/v1/spaces/canteen/count", body: `{"count":30,"reason":"counted by hand"}`})
	if w.Code != 200 || string(site.Commands()[0].Args) != `{"count":30,"reason":"counted by hand"}` {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	wantProblem(t, do(a, request{method: "PUT", path: "/v1/spaces/canteen/count", body: `{"count":-1}`}), 422, "body.count")
	wantProblem(t, do(a, request{method: "PUT", path: "/v1/spaces/canteen/count", body: `{"count":1.5}`}), 422, "body.count")
	wantProblem(t, do(a, request{method: "PUT", path: "/v1/spaces/canteen/count", body: `{}`}), 422, "count")
	wantProblem(t, do(a, request{method: "PUT", path: "/v1/spaces/canteen/count"}), 400, "body")
	wantProblem(t, do(a, request{method: "PUT", path: "/v1/spaces/cellar/count", body: `{"count":1}`}), 404, "cellar")
}

func TestEventsArePagedByCursor(t *testing.T) {
	site := apitest.New(apitest.Model(), noon)
	for i := range 1000 {
		site.AddInput("command")
		site.Set(apitest.Known(edge.Space{ID: "board"}, i, i, i, edge.QualityGood, noon.Add(time.Duration(i)*time.Second)))
	}
	site.Update(noon.Add(time.Hour), func(*edge.Snapshot) {}, edge.Event{Type: edge.AlertRaised, Subject: "x", At: noon})
	a := newAPI(t, site, nil)
	next, seen := "", 0
	for {
		page := get[api.EventList](t, a, "/v1/events?limit=300&type=occupancy.changed&after="+next)
		if page.Next == next {
			break
		}
		for _, e := range page.Events {
			var o edge.Occupancy
			if err := json.Unmarshal(e.Data, &o); err != nil || e.Type != "occupancy.changed" || e.Subject != "board" || *o.Count != seen || !e.At.Equal(o.AsOf) {
				t.Fatalf("event %d: got %+v: %v", seen, e, err)
			}
			seen++
		}
		next = page.Next
	}
	if seen != 1000 {
		t.Fatalf("got %d events, want 1000: inputs and other types left out, nothing twice", seen)
	}
	if got := get[api.EventList](t, a, "/v1/events?type=alert.*"); len(got.Events) != 1 || got.Next != apitest.ID(2001) {
		t.Fatalf("got %d alert events, next %s", len(got.Events), got.Next)
	}
	site.Trim(101)
	wantProblem(t, do(a, request{method: "GET", path: "/v1/events?after=" + apitest.ID(99)}), 410, "no longer kept")
	if got := get[api.EventList](t, a, "/v1/events?after="+apitest.ID(100)+"&limit=1"); len(got.Events) != 1 || got.Events[0].ID != apitest.ID(102) {
		t.Fatalf("got %+v", got)
	}
	for _, after := range []string{"x", "fedcba9876543210fedcba9876543210-events-5", apitest.ID(9999), apitest.ID(1) + "x"} {
		wantProblem(t, do(a, request{method: "GET", path: "/v1/events?after=" + after}), 410, "begin without")
	}
	wantProblem(t, do(a, request{method: "GET", path: "/v1/events?limit=1001"}), 422, "query.limit")
}

func TestStatusJournalLoss(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	st := get[api.Status](t, a, "/v1/status")
	if st.Site != "hq-oslo" || *st.HorizonS != 11*86400+4*3600 || !st.Uplink.Connected || st.Warnings == nil {
		t.Fatalf("got %+v", st)
	}
	if j := get[api.Journal](t, a, "/v1/journal"); j.Epoch != apitest.Epoch || j.Storage.Segments != 7 || j.Lanes != st.Lanes {
		t.Fatalf("got %+v", j)
	}
	if l := get[api.LossList](t, a, "/v1/loss"); len(l.Loss) != 1 || l.Loss[0].Count != 3 {
		t.Fatalf("got %+v", l)
	}
}

func TestHealth(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	for _, c := range []struct {
		change       func(*api.Status)
		status       string
		health, live int
		ready        int
	}{
		{func(*api.Status) {}, api.Up, 200, 200, 200},
		{func(s *api.Status) { s.Uplink.Connected = false }, api.Degraded, 200, 200, 200},
		{func(s *api.Status) { s.Uplink = api.Uplink{} }, api.Up, 200, 200, 200},
		{func(s *api.Status) { s.Clock = "unsynced" }, api.Degraded, 200, 200, 200},
		{func(s *api.Status) { s.Clock, s.Storage.Quarantined = "synced", 1 }, api.Degraded, 200, 200, 200},
		{func(s *api.Status) { s.Storage.Quarantined, s.Storage.Bytes = 0, s.Storage.MaxSize }, api.Degraded, 200, 200, 200},
		{func(s *api.Status) { s.Storage.Bytes, s.Inputs[0].Up = 0, false }, api.Degraded, 200, 200, 200},
		{func(s *api.Status) { s.State = api.Starting }, api.Down, 503, 200, 503},
	} {
		site.SetStatus(c.change)
		w := do(a, request{method: "GET", path: "/health?x=1"})
		var h api.Health
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || w.Code != c.health || h.Status != c.status || len(h.Checks) < 3 {
			t.Errorf("want %s %d, got %d %s", c.status, c.health, w.Code, w.Body)
		}
		if got := do(a, request{method: "GET", path: "/health/live"}).Code; got != c.live {
			t.Errorf("%s: live got %d, want %d", c.status, got, c.live)
		}
		if got := do(a, request{method: "GET", path: "/health/ready"}).Code; got != c.ready {
			t.Errorf("%s: ready got %d, want %d", c.status, got, c.ready)
		}
	}
}

func TestMetrics(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	do(a, request{method: "GET", path: "/v1/spaces/lobby"})
	do(a, request{method: "GET", path: "/v1/spaces/nowhere"})
	got := do(a, request{method: "GET", path: "/metrics"}).Body.String()
	for _, want := range []string{
		`headcount_space_count{kind="room",space="canteen"} 33`,
		`headcount_space_count_high{kind="room",space="canteen"} 38`,
		`headcount_space_quality{quality="stale",space="room-101"} 1`,
		`headcount_sensor_up{sensor="line-room-101",status="silent"} 0`,
		`headcount_alerts_open{severity="critical",state="firing"} 1`,
		`headcount_alerts_open{severity="info",state="acknowledged"} 0`,
		`headcount_readings_total{outcome="rejected"} 3`,
		`headcount_loss_total{cause="malformed"} 3`,
		`headcount_offline_horizon_seconds 964800`,
		`headcount_uplink_connected 1`,
		`headcount_http_request_duration_seconds_count{code="404",route="GET /v1/spaces/{id}"} 1`,
		`headcount_live_clients 0`,
		`go_goroutines`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	site.SetStatus(func(s *api.Status) { s.HorizonS, s.Uplink = nil, api.Uplink{} })
	got = do(a, request{method: "GET", path: "/metrics"}).Body.String()
	if strings.Contains(got, "offline_horizon_seconds 0") || strings.Contains(got, "uplink_connected") {
		t.Error("metrics make a number of what is not known or not configured")
	}
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	a := newAPI(t, apitest.Office(noon), func(o *api.Options) {
		o.Tokens = []gateway.Token{{Name: "x", Secret: "0123456789abcdef"}}
		o.Routes = map[string]http.Handler{"POST /v1/readings": http.NotFoundHandler(), "POST /v1/push/{profile}": http.NotFoundHandler()}
	})
	w := do(a, request{method: "GET", path: "/openapi.json"})
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ SecuritySchemes map[string]any }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("got %d, OpenAPI %q: %v", w.Code, doc.OpenAPI, err)
	}
	for _, route := range []string{
		"get /v1/spaces", "get /v1/spaces/{id}", "get /v1/spaces/{id}/history", "put /v1/spaces/{id}/count", "get /v1/sensors", "get /v1/sensors/{id}",
		"get /v1/sensors/{id}/readings", "get /v1/devices", "post /v1/devices/{id}/approve", "post /v1/devices/{id}/ignore", "get /v1/alerts",
		"post /v1/alerts/{id}/acknowledge", "get /v1/events", "get /v1/stream", "get /v1/stream/ws", "get /v1/status", "get /v1/journal", "get /v1/loss",
		"get /health", "get /health/live", "get /health/ready", "get /sensors", "get /sensors/{id}/data", "get /rooms", "get /rooms/{id}/metrics",
		"get /rooms/{id}/history", "get /ws/notifications", "get /metrics", "post /v1/readings", "post /v1/push/{profile}",
	} {
		method, path, _ := strings.Cut(route, " ")
		if doc.Paths[path][method] == nil {
			t.Errorf("OpenAPI does not describe %s", route)
		}
	}
	if doc.Components.SecuritySchemes["token"] == nil {
		t.Error("OpenAPI does not say how to authenticate")
	}
	if y := do(a, request{method: "GET", path: "/openapi.yaml"}); y.Code != 200 || !bytes.Contains(y.Body.Bytes(), []byte("/v1/spaces/{id}:")) {
		t.Errorf("openapi.yaml: got %d", y.Code)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	a := newAPI(t, apitest.Office(noon), nil)
	wantProblem(t, do(a, request{method: "GET", path: "/v1/nothing"}), 404, "/openapi.json")
	wantProblem(t, do(a, request{method: "GET", path: "/nothing"}), 404, "/openapi.json")
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/spaces", "[GET]"}, {"POST", "/v1/spaces/lobby", "[GET]"}, {"GET", "/v1/spaces/lobby/count", "[PUT]"}, {"POST", "/rooms", "[GET]"},
	} {
		w := do(a, request{method: c.method, path: c.path})
		if got := fmt.Sprint(w.Header()["Allow"]); got != c.allow {
			t.Errorf("%s %s: got Allow %s, want %s", c.method, c.path, got, c.allow)
		}
		wantProblem(t, w, 405, c.method)
	}
}

func TestMountedRoutes(t *testing.T) {
	site := apitest.Office(noon)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "pushed "+r.PathValue("profile")) })
	a := newAPI(t, site, func(o *api.Options) {
		o.Routes = map[string]http.Handler{"POST /v1/readings": hello, "POST /push/{profile}": hello, "/old/url": hello}
		o.Needs = map[string]api.Need{"POST /push/{profile}": api.Ingest(), "/old/url": api.Ingest()}
		o.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
	})
	for rq, want := range map[string]string{"POST /v1/readings": "pushed ", "POST /push/xovis": "pushed xovis", "PUT /old/url": "pushed ", "GET /": "page", "GET /app.js": "page"} {
		method, path, _ := strings.Cut(rq, " ")
		if got := do(a, request{method: method, path: path}); got.Code != 200 || got.Body.String() != want {
			t.Errorf("%s: got %d %q, want %q", rq, got.Code, got.Body, want)
		}
	}
	_, err := api.New(api.Options{Site: site, History: site, Status: site, Routes: map[string]http.Handler{"GET /v1/spaces/{x}": hello}})
	if err == nil || !strings.Contains(err.Error(), "/v1/spaces/{x}") {
		t.Fatalf("colliding routes: got error %v", err)
	}
}

func TestPanicsBecomeProblems(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, apitest.Office(noon), func(o *api.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.Routes = map[string]http.Handler{"GET /boom": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the secret reason") })}
		o.Needs = map[string]api.Need{"GET /boom": api.Acts()}
	})
	w := do(a, request{method: "GET", path: "/boom", header: http.Header{"X-Request-Id": {"trace-42"}}})
	if strings.Contains(w.Body.String(), "secret") || w.Header().Get("X-Request-Id") != "trace-42" {
		t.Fatalf("got %v %s", w.Header(), w.Body)
	}
	wantProblem(t, w, 500, "trace-42")
	if !strings.Contains(log.String(), "the secret reason") || !strings.Contains(log.String(), "trace-42") {
		t.Fatalf("the log does not tell the panic: %s", log.String())
	}
}
