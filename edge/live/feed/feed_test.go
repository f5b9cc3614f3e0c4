package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/feed"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/edge/live/socketiotest"
	"github.com/headcount-hub/headcount/sync/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// town is a Source of two sites in memory, hq of acme and lab of bolt; events below floor are gone.
type town struct {
	live.Signal
	mu     sync.Mutex
	events []live.Event // ids 1, 2, …
	floor  int
	counts map[string]int
	broken map[string]bool // callers who are locked out
	rights live.Signal
}

func (w *town) add(site, typ, subject string, data any) {
	w.mu.Lock()
	b, _ := json.Marshal(data)
	org := map[string]string{"hq": "acme", "lab": "bolt"}[site]
	e, _ := live.Entry{ID: strconv.Itoa(len(w.events) + 1), Org: org, Site: site, Type: typ, Subject: subject, At: start, Data: b}.Event()
	e.Domains, e.Addressed = []string{org + "/north"}, typ == "inbox.added"
	w.events = append(w.events, e)
	if n, ok := data.(edge.Occupancy); ok {
		w.counts[site] = *n.Count
	}
	w.mu.Unlock()
	w.Notify()
}

func (w *town) count(site, space string, n int) {
	w.add(site, "occupancy.changed", space, edge.Occupancy{Space: space, Count: &n, AsOf: start.Add(time.Minute)})
}

func (w *town) After(_ context.Context, id string, f live.Filter, limit int) (live.Page, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := strconv.Atoi(id)
	if err != nil || n < w.floor || n > len(w.events) {
		return live.Page{Reset: true}, nil
	}
	var p live.Page
	for _, e := range w.events[n:] {
		if len(p.Events) == limit {
			p.More = true
			break
		}
		p.Next = e.ID
		if f.Scope.(*token.Identity).RoleIn(e.Domains) >= token.Viewer {
			p.Events = append(p.Events, e)
		}
	}
	return p, nil
}

func (w *town) Snapshot(_ context.Context, f live.Filter) ([]byte, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.counts[f.Sites[0]]
	hall := edge.SpaceView{Space: edge.Space{ID: "main", Kind: edge.Building, Capacity: 40}, Occupancy: edge.Occupancy{Count: &n}}
	room := edge.SpaceView{Space: edge.Space{ID: "room", Kind: edge.Room, Parent: "main"}}
	b, err := json.Marshal(live.State{Site: f.Sites[0], AsOf: start, Spaces: []edge.SpaceView{hall, room}})
	return b, strconv.Itoa(len(w.events)), err
}

// people are the callers by their tokens.
var people = map[string]*token.Identity{
	"anna": {Kind: token.User, Subject: "anna", Memberships: []token.Membership{{Domain: "acme", Role: token.Viewer}}},
	"bob":  {Kind: token.User, Subject: "bob", Memberships: []token.Membership{{Domain: "bolt/north", Role: token.Viewer}}},
	"door": {Kind: token.Device, Subject: "door", Memberships: []token.Membership{{Domain: "acme", Role: token.Viewer}}},
}

func (w *town) options() feed.Options {
	return feed.Options{
		Source: w, Heartbeat: 20 * time.Millisecond, Changed: w.rights.Changed,
		Who: func(_ *http.Request, raw string) (*token.Identity, string, error) {
			if raw == "old" {
				return nil, "", &token.Refused{Code: token.CodeExpired, Detail: "it has expired"}
			}
			who := people[raw]
			if who == nil {
				return nil, "", errors.New("send a token")
			}
			return who, raw, nil
		},
		Good: func(_ *token.Identity, raw string) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !w.broken[raw]
		},
		Sees: func(who *token.Identity) bool { return who.Kind != token.Device },
		Buildings: func(_ context.Context, who *token.Identity, id string) ([]feed.Building, error) {
			org, site := map[string]string{"hq": "acme", "lab": "bolt"}[id], id
			if org == "" || who.Role(org+"/north") < token.Viewer {
				return nil, nil
			}
			return []feed.Building{{Org: org, Site: site}}, nil
		},
		Messages: desk{},
	}
}

// desk takes "reading" and answers how many came together.
type desk struct{}

func (desk) Names() []string { return []string{"reading"} }
func (desk) Admit(who *token.Identity) error {
	if who.Kind != token.Device {
		return errors.New("devices only")
	}
	return nil
}
func (desk) Take(_ context.Context, _ *token.Identity, names []string, payloads []json.RawMessage) []any {
	out := make([]any, len(names))
	for i := range out {
		out[i] = payloads[i]
	}
	return out
}

func serve(t *testing.T) (*town, string) {
	w := &town{counts: map[string]int{}, broken: map[string]bool{}}
	return w, w.serve(t)
}

// serve starts another process, so to say, over the same events.
func (w *town) serve(t *testing.T) string {
	t.Helper()
	clients := live.NewClients(0)
	srv := httptest.NewServer(socketio.New(map[string]socketio.Namespace{"/": feed.New(w.options())}, socketio.Options{Clients: clients}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := clients.Close(ctx); err != nil {
			t.Errorf("clients still there: %v", err)
		}
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return srv.URL
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, base string, auth any) *socketiotest.Client {
	t.Helper()
	c, err := socketiotest.Dial(within(t), base, auth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func as(name string) map[string]string { return map[string]string{"token": name} }

// want reads events until each has come, in this order; each is "name:part of its data".
func want(t *testing.T, c *socketiotest.Client, list ...string) {
	t.Helper()
	for _, w := range list {
		name, part, _ := strings.Cut(w, "|")
		e, err := c.Next(within(t))
		if err != nil || e.Name != name || !strings.Contains(string(e.Args[0]), part) {
			t.Fatalf("got %s %s %v, want %s", e.Name, e.Args, err, w)
		}
		if len(e.Args) != 2 || e.Args[1][0] != '"' {
			t.Fatalf("%s has no offset: %s", e.Name, e.Args)
		}
	}
}

func ask(t *testing.T, c *socketiotest.Client, name string, arg any) feed.Answer {
	t.Helper()
	args, err := c.Ask(within(t), name, arg)
	var a feed.Answer
	if err != nil || json.Unmarshal(args[0], &a) != nil {
		t.Fatalf("%s: %s %v", name, args, err)
	}
	return a
}

func TestWallboardFollowsItsBuilding(t *testing.T) {
	w, base := serve(t)
	w.count("hq", "main", 3)
	c := dial(t, base, as("anna"))
	want(t, c, `snapshot|{"sites":[]}`)
	w.count("hq", "main", 4) // not subscribed yet
	if a := ask(t, c, "subscribe_building", "hq"); !a.OK || a.Room != "building:hq" {
		t.Fatalf("subscribe: %+v", a)
	}
	want(t, c, `occupancy:update|{"buildingId":"hq","currentOccupancy":4,"maxOccupancy":40,"occupancyRate":0.1,`)
	w.count("lab", "main", 9)
	w.count("hq", "room", 1)
	w.count("hq", "main", 10)
	want(t, c, `telemetry|{"type":"occupancy","buildingId":"hq","roomId":"room","timestamp":"2026-03-02T08:01:00Z","value":1}`, `occupancy.changed|"subject":"room"`,
		`telemetry|"value":10}`, `occupancy:update|"currentOccupancy":10,"maxOccupancy":40,"occupancyRate":0.25`, `occupancy.changed|"subject":"main"`)
	if a := ask(t, c, "unsubscribe:building", "hq"); !a.OK {
		t.Fatalf("unsubscribe: %+v", a)
	}
	w.count("hq", "main", 11)
	w.add("hq", "alert.raised", "room", edge.Alert{ID: "a1", Message: "full", Severity: edge.Critical, Subject: "room", SubjectKind: "room"})
	want(t, c, `notification|{"id":"a1","message":"full","type":"danger","timestamp":"2026-03-02T08:00:00Z","domainName":"acme/north","buildingId":"hq","roomId":"room"}`)
}

func TestDomainsAndWhatIsAddressed(t *testing.T) {
	w, base := serve(t)
	c := dial(t, base, as("anna"))
	want(t, c, "snapshot|")
	w.add("hq", "inbox.added", "i1", map[string]any{"id": "i1", "kind": "report", "title": "Week", "text": "is ready", "severity": "info"})
	want(t, c, `notification|"message":"Week: is ready","type":"info"`, `inbox.added|"id":"i1"`)
	if a := ask(t, c, "subscribe_domain", "acme"); !a.OK {
		t.Fatalf("subscribe: %+v", a)
	}
	w.count("hq", "main", 2)
	w.add("hq", "workorder.note", "x", map[string]string{"text": "hello"})
	want(t, c, "telemetry|", "occupancy:update|", "occupancy.changed|", "workorder.note|hello")
}

func TestNobodySeesOthersBuildings(t *testing.T) {
	w, base := serve(t)
	c := dial(t, base, as("bob"))
	want(t, c, "snapshot|")
	foreign, none := ask(t, c, "subscribe_building", "hq"), ask(t, c, "subscribe_building", "hp")
	if foreign.OK || strings.ReplaceAll(foreign.Error, "hq", "hp") != none.Error {
		t.Errorf("a building of others: %+v, one that does not exist: %+v", foreign, none)
	}
	if a := ask(t, c, "subscribe_domain", "acme"); a.OK {
		t.Errorf("a domain of others: %+v", a)
	}
	for _, bad := range []any{7, "", nil, strings.Repeat("x", 300)} {
		if a := ask(t, c, "subscribe_building", bad); a.OK {
			t.Errorf("subscribe to %v: %+v", bad, a)
		}
	}
	w.count("hq", "main", 2)
	w.add("hq", "alert.raised", "room", edge.Alert{ID: "a1"})
	w.add("lab", "alert.raised", "room", edge.Alert{ID: "a2"})
	want(t, c, `notification|"a2"`)
	// An offset is not trusted: rooms in it are looked up for whoever brings it.
	stolen := dial(t, base, map[string]string{"token": "bob", "pid": "p", "offset": "0 b:acme/hq/ d:acme b:bolt/lab/"})
	want(t, stolen, `notification|"a2"`, `alert.raised|"a2"`)
}

func TestConnectErrors(t *testing.T) {
	_, base := serve(t)
	for name, message := range map[string]string{"": "unauthorized", "mallory": "unauthorized", "old": "token_expired"} {
		_, err := socketiotest.Dial(within(t), base, as(name))
		var r *socketiotest.Refused
		if !errors.As(err, &r) || r.Message != message || len(r.Data) == 0 {
			t.Errorf("token %q: %v, want %s with data", name, err, message)
		}
	}
}

// A client is cut after every single event that it receives, and comes back to another process
// each time: nothing is lost, nothing comes twice.
func TestResumeAfterEveryEvent(t *testing.T) {
	w, base := serve(t)
	other := w.serve(t)
	c := dial(t, base, as("anna"))
	want(t, c, "snapshot|")
	ask(t, c, "subscribe_building", "hq")
	want(t, c, "occupancy:update|")
	auth := map[string]string{"token": "anna", "pid": c.PID, "offset": c.Offset()}
	c.Close()
	var expect []string
	for i := range 8 {
		w.count("hq", "main", i)
		w.add("hq", "alert.raised", "room", edge.Alert{ID: fmt.Sprint("a", i)})
		expect = append(expect, "telemetry", "occupancy:update", "occupancy.changed", "notification", "alert.raised")
	}
	var got []string
	for i := range expect {
		c := dial(t, []string{base, other}[i%2], auth)
		if c.PID != auth["pid"] {
			t.Fatalf("not recovered after %d events with offset %q", i, auth["offset"])
		}
		e, err := c.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name)
		_ = json.Unmarshal(e.Args[1], new(string))
		var offset string
		if err := json.Unmarshal(e.Args[1], &offset); err != nil {
			t.Fatal(err)
		}
		auth["offset"] = offset // of this event, though more may have arrived
		c.Close()
	}
	if !slices.Equal(got, expect) {
		t.Errorf("got %v, want %v", got, expect)
	}
}

func TestTooOldIsASnapshotNeverSilence(t *testing.T) {
	w, base := serve(t)
	for i := range 10 {
		w.count("hq", "main", i)
	}
	w.floor = 5
	for _, offset := range []string{"3 b:acme/hq/", "99 b:acme/hq/", "", "x y", "5~z", "5 d:"} {
		c := dial(t, base, map[string]string{"token": "anna", "pid": "mine", "offset": offset})
		if c.PID == "mine" {
			t.Errorf("offset %q: recovered", offset)
		}
		want(t, c, "snapshot|")
		if strings.Contains(offset, "hq") {
			want(t, c, `occupancy:update|"currentOccupancy":9`)
		}
	}
}

func TestLockedOutIsGone(t *testing.T) {
	w, base := serve(t)
	c := dial(t, base, as("anna"))
	want(t, c, "snapshot|")
	w.mu.Lock()
	w.broken["anna"] = true
	w.mu.Unlock()
	w.rights.Notify()
	if e, err := c.Next(within(t)); err != nil || e.Name != "token_expired" {
		t.Fatalf("got %+v %v, want token_expired", e, err)
	}
	if e, err := c.Next(within(t)); err == nil {
		t.Fatalf("got %+v, want the end", e)
	}
}

func TestSensorsSendAndSeeNothing(t *testing.T) {
	w, base := serve(t)
	c := dial(t, base, as("door"))
	want(t, c, "snapshot|")
	if a := ask(t, c, "subscribe_building", "hq"); a.OK {
		t.Errorf("a device subscribed: %+v", a)
	}
	w.add("hq", "alert.raised", "room", edge.Alert{ID: "a1"})
	for i := range 20 {
		args, err := c.Ask(within(t), "reading", i)
		if err != nil || string(args[0]) != strconv.Itoa(i) {
			t.Fatalf("reading %d: %s %v", i, args, err)
		}
	}
	if a := ask(t, dial(t, base, as("anna")), "reading", 1); a.Error != "devices only" {
		t.Errorf("a viewer sent a reading: %+v", a)
	}
	if a := ask(t, c, "dance", 1); a.OK || a.Error == "" {
		t.Errorf("an unknown event: %+v", a)
	}
}
