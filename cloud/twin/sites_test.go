package twin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// as calls the routes as somebody with one role; header is "Name: value" or empty.
func (r *rig) as(role token.Role, domain, method, path, header, body string) *httptest.ResponseRecorder {
	r.Helper()
	router := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	r.must(router.Add(r.twin.Routes()...))
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	if name, value, ok := strings.Cut(header, ": "); ok {
		q.Header.Set(name, value)
	}
	id := &token.Identity{Kind: token.User, Subject: "x", Name: "Xenia", Memberships: []token.Membership{{Domain: domain, Role: role}}}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, q.WithContext(token.Into(q.Context(), id)))
	return w
}

func TestABuildingFromItsMakingToItsEnd(t *testing.T) {
	r := newRig(t)
	made := r.as(token.Manager, "acme/north", "POST", "/twin/buildings", "", `{"id":"123","name":"North","city":"Bergen"}`)
	if made.Code != http.StatusCreated || made.Header().Get("Location") != "/v1/sites/123" || made.Header().Get("Etag") != `"1"` {
		t.Fatalf("%d %v %s", made.Code, made.Header(), made.Body)
	}
	if w := r.as(token.Viewer, "acme/north", "GET", "/twin/buildings/123", "", ""); w.Code != 200 || strings.Contains(w.Body.String(), "0001") || w.Header().Get("Etag") != `"1"` {
		t.Errorf("a building whose hub was never heard: %d %s", w.Code, w.Body)
	}
	for _, tc := range []struct {
		what         string
		role         token.Role
		domain       string
		method, path string
		header, body string
		want         int
	}{
		{"again", token.Manager, "acme", "POST", "/v1/sites", "", `{"id":"123","domain":"acme"}`, 409},
		{"in another organisation", token.Admin, "globex", "POST", "/v1/sites", "", `{"id":"x","domain":"acme"}`, 404},
		{"by an operator", token.Operator, "acme", "POST", "/v1/sites", "", `{"id":"x","domain":"acme"}`, 403},
		{"no id", token.Manager, "acme", "POST", "/v1/sites", "", `{"id":"A B","domain":"acme"}`, 422},
		{"no such zone", token.Manager, "acme", "POST", "/v1/sites", "", `{"id":"x","domain":"acme","timezone":"Oslo"}`, 422},
		{"patch without If-Match", token.Manager, "acme", "PATCH", "/twin/buildings/123", "", `{"city":null}`, 428},
		{"patch of an old version", token.Manager, "acme", "PATCH", "/twin/buildings/123", `If-Match: "7"`, `{"city":null}`, 412},
		{"patch of what is none", token.Manager, "acme", "PATCH", "/twin/buildings/123", `If-Match: "1"`, `{"colour":"red"}`, 400},
		{"patch", token.Manager, "acme", "PATCH", "/twin/buildings/123", `If-Match: "1"`, `{"city":null,"tags":["hq"]}`, 200},
		{"delete by a manager", token.Manager, "acme", "DELETE", "/twin/buildings/123", "", "", 403},
		{"delete from elsewhere", token.Admin, "globex", "DELETE", "/twin/buildings/123", "", "", 404},
		{"delete by a sister department", token.Admin, "acme/south", "DELETE", "/twin/buildings/123", "", "", 404},
		{"delete", token.Admin, "acme", "DELETE", "/twin/buildings/123", "", "", 200},
		{"gone", token.Admin, "acme", "GET", "/twin/buildings/123", "", "", 404},
	} {
		if w := r.as(tc.role, tc.domain, tc.method, tc.path, tc.header, tc.body); w.Code != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.what, w.Code, w.Body, tc.want)
		}
	}
}

func TestASiteWithAHubIsDeletedByForceOnly(t *testing.T) {
	r := newRig(t)
	r.beat("oslo")
	revoked := ""
	r.must(r.twin.Open(t.Context(), Hooks{
		Enrolled: func(string, string) bool { return true },
		Revoke:   func(org, site string) error { revoked = org + "/" + site; return nil },
	}))
	if w := r.as(token.Admin, "acme", "DELETE", "/v1/sites/oslo", "", ""); w.Code != http.StatusConflict {
		t.Errorf("without force: %d %s", w.Code, w.Body)
	}
	w := r.as(token.Admin, "acme", "DELETE", "/v1/sites/oslo?force=1", "", "")
	var d Deleted
	if r.must(json.Unmarshal(w.Body.Bytes(), &d)); w.Code != 200 || !d.Revoked || revoked != "acme/oslo" || d.Rows["events"] == 0 {
		t.Errorf("%d %s, revoked %q", w.Code, w.Body, revoked)
	}
}

func TestASharedSite(t *testing.T) {
	r := newRig(t)
	r.beat("oslo")
	etag := r.as(token.Admin, "acme", "GET", "/v1/sites/oslo/domains", "", "").Header().Get("Etag")
	share := func(role token.Role, domain, body string) int {
		return r.as(role, domain, "PUT", "/v1/sites/oslo/domains", "If-Match: "+etag, body).Code
	}
	for _, tc := range []struct {
		body string
		want int
	}{
		{`{"owner":"globex"}`, 422},
		{`{"owner":"acme","shared":["globex","globex"]}`, 422},
		{`{"owner":"acme","shared":["not a domain"]}`, 422},
		{`{"owner":"acme/north","shared":["globex/area"]}`, 200},
	} {
		if got := share(token.Admin, "acme", tc.body); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.body, got, tc.want)
		}
	}
	for _, tc := range []struct {
		domain, method, path string
		want                 int
	}{
		{"globex/area", "GET", "/v1/sites/oslo", 200},
		{"globex/area", "DELETE", "/v1/sites/oslo?force=1", 403},
		{"globex/area", "PUT", "/v1/sites/oslo/domains", 403},
		{"globex/other", "GET", "/v1/sites/oslo", 404},
		{"acme/south", "GET", "/v1/sites/oslo", 404},
	} {
		if w := r.as(token.Admin, tc.domain, tc.method, tc.path, "", ""); w.Code != tc.want {
			t.Errorf("%s %s %s: %d, want %d", tc.domain, tc.method, tc.path, w.Code, tc.want)
		}
	}
}

func TestDocumentsJoinReportedAndDesired(t *testing.T) {
	r := newRig(t)
	r.beat("oslo")
	r.update("acme", "oslo", func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.now)
		if err != nil {
			return err
		}
		return r.twin.Snapshot(tx, s, id, wire.Snapshot{Epoch: epoch, Seq: 1, Time: r.now, Site: edge.Site{ID: "oslo", Spaces: []edge.Space{
			{ID: "north", Kind: edge.Building}, {ID: "f1", Kind: edge.Floor, Parent: "north"}, {ID: "hall", Kind: edge.Room, Parent: "f1"}, {ID: "shed", Kind: edge.Room},
		}}})
	})
	applied := uint64(3)
	r.must(r.twin.Open(t.Context(), Hooks{Desired: func(context.Context, store.Site) (Desired, error) {
		return Desired{Rev: 4, Applied: &applied, Reasons: []string{"why not"}, Elements: map[string]json.RawMessage{
			"spaces/hall": json.RawMessage(`{"id":"hall","kind":"room","capacity":9}`), "spaces/shed": json.RawMessage("null"), "spaces/attic": json.RawMessage(`{"id":"attic","kind":"room"}`),
		}}, nil
	}}))
	var got struct{ Documents []Document }
	r.get("/v1/sites/oslo/twin?kind=room", 200, &got)
	if len(got.Documents) != 3 {
		t.Fatalf("%+v", got)
	}
	hall, shed, attic := got.Documents[0], got.Documents[1], got.Documents[2]
	if string(hall.Reported) == "null" || !strings.Contains(string(hall.Desired), "9") || hall.Rev != 4 || *hall.Applied != 3 || hall.Reason != "why not" {
		t.Errorf("hall %+v", hall)
	}
	if !shed.Removed || attic.ID != "attic" || string(attic.Reported) != "null" {
		t.Errorf("shed %+v, attic %+v", shed, attic)
	}
	var rooms struct{ Rooms []edge.SpaceView }
	if r.get("/twin/buildings/oslo.north/rooms", 200, &rooms); len(rooms.Rooms) != 1 || rooms.Rooms[0].ID != "hall" {
		t.Errorf("rooms of the part: %+v", rooms)
	}
	if r.get("/twin/buildings/oslo/rooms", 200, &rooms); len(rooms.Rooms) != 2 {
		t.Errorf("rooms of the site: %+v", rooms)
	}
	var room Document
	if r.get("/twin/rooms/hall", 200, &room); room.ID != "hall" {
		t.Errorf("room %+v", room)
	}
	var problem problemBody
	r.get("/twin/buildings/oslo.hall", 404, &problem)
}
