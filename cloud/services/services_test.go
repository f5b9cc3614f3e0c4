package services_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/services"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/sync/token"
)

const patience = 5 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a catalogue behind its routes, with a clock that the test sets.
type rig struct {
	*testing.T
	db   *store.DB
	cat  *services.Catalogue
	api  http.Handler
	who  *token.Identity
	late atomic.Int64 // how far the clock is ahead
}

func newRig(t *testing.T, conn *nats.Conn) *rig {
	t.Helper()
	r := &rig{T: t, db: storetest.Open(t), who: &token.Identity{Kind: token.Local, Subject: "root", Everywhere: token.Admin}}
	var err error
	r.cat, err = services.Open(t.Context(), services.Options{
		DB: r.db, Conn: conn, ID: "one", Version: "1.2.3", Now: func() time.Time { return time.Now().Add(time.Duration(r.late.Load())) },
		Parts: []services.Part{{Name: "headcount-twin", Description: "sites", Endpoints: []services.Endpoint{{Name: "overview", Subject: "svc.twin.overview", Path: "/v1/overview"}}}},
		Ask: func(_ context.Context, bearer, path string) (int, []byte) {
			if bearer != "good" {
				return http.StatusUnauthorized, []byte(`{"status":401}`)
			}
			return http.StatusOK, fmt.Appendf(nil, `{"path":%q}`, path)
		},
	})
	must(t, err)
	rt := route.NewRouter(slog.New(slog.DiscardHandler), http.NotFoundHandler())
	must(t, rt.Add(r.cat.Routes()...))
	r.api = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		rt.ServeHTTP(w, q.WithContext(token.Into(q.Context(), r.who)))
	})
	return r
}

// call makes a request, wants a status and reads the answer.
func (r *rig) call(method, path, body string, status int, into any) {
	r.Helper()
	w := httptest.NewRecorder()
	r.api.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != status {
		r.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	if into != nil {
		must(r, json.Unmarshal(w.Body.Bytes(), into))
	}
}

// beat makes a site whose hub was heard now.
func (r *rig) beat(org, site string) {
	r.Helper()
	must(r, r.db.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Site(org, site, time.Now())
		if err != nil {
			return err
		}
		return tx.Beat(s.ID, "", []byte(`{"software":"0.9.1","boot":"b1","started_at":"2026-11-21T08:00:00Z"}`), time.Now().Add(time.Duration(r.late.Load())))
	}))
}

func (r *rig) names(path string) []string {
	r.Helper()
	var got struct{ Services []services.Service }
	r.call("GET", path, "", http.StatusOK, &got)
	var out []string
	for _, s := range got.Services {
		out = append(out, s.Name+" "+s.Site+" "+s.URL)
	}
	return out
}

func member(domain string, role token.Role) *token.Identity {
	return &token.Identity{Kind: token.User, Subject: "u", Memberships: []token.Membership{{Domain: domain, Role: role}}}
}

func TestAServiceThatRegistersIsListedUntilItFallsSilent(t *testing.T) {
	r := newRig(t, nil)
	var made services.Service
	r.call("POST", "/v1/services", `{"org":"acme","name":"bms","version":"2.0","url":"http://10.0.0.7:80","metadata":{"floor":"3"},"ttl":10}`, http.StatusCreated, &made)
	if made.ID == "" || made.TTL != 10 || made.Metadata["floor"] != "3" || made.Status != "UP" {
		t.Fatalf("registered %+v", made)
	}
	var again services.Service
	r.call("POST", "/v1/services", `{"org":"acme","name":"bms","version":"2.1","url":"http://10.0.0.7:80","ttl":10}`, http.StatusOK, &again)
	if again.ID != made.ID || again.Version != "2.1" {
		t.Errorf("registered again: %+v, want the same id and the new version", again)
	}
	r.late.Store(int64(8 * time.Second))
	r.call("PUT", "/v1/services/"+made.ID+"/heartbeat", "", http.StatusOK, &made)
	r.late.Store(int64(17 * time.Second))
	if got := r.names("/v1/services/bms"); len(got) != 1 {
		t.Errorf("9 s after a heartbeat: %v, want it listed", got)
	}
	r.late.Store(int64(19 * time.Second))
	r.call("GET", "/v1/services/bms", "", http.StatusNotFound, nil)
	r.call("PUT", "/v1/services/"+made.ID+"/heartbeat", "", http.StatusNotFound, nil)
	r.call("POST", "/v1/services", `{"org":"acme","name":"bms","version":"2.1","url":"http://10.0.0.7:80"}`, http.StatusCreated, &made)
	r.call("DELETE", "/v1/services/"+made.ID, "", http.StatusNoContent, nil)
	r.call("GET", "/v1/services/"+made.ID, "", http.StatusNotFound, nil)
}

func TestPicksGoRound(t *testing.T) {
	r := newRig(t, nil)
	for i := range 3 {
		r.call("POST", "/v1/services", fmt.Sprintf(`{"org":"acme","name":"bms","version":"1","url":"http://10.0.0.%d:80"}`, i), http.StatusCreated, nil)
	}
	seen := map[string]int{}
	for range 9 {
		var s services.Service
		r.call("GET", "/v1/services/bms/pick", "", http.StatusOK, &s)
		seen[s.URL]++
	}
	if len(seen) != 3 || seen["http://10.0.0.1:80"] != 3 {
		t.Errorf("nine picks of three: %v, want three each", seen)
	}
	r.call("GET", "/v1/services/nothing/pick", "", http.StatusNotFound, nil)
}

func TestWhatCannotBeRegistered(t *testing.T) {
	r := newRig(t, nil)
	for name, body := range map[string]string{
		"no name":             `{"org":"acme","version":"1","url":"http://h"}`,
		"name with a dot":     `{"org":"acme","name":"a.b","version":"1","url":"http://h"}`,
		"no url":              `{"org":"acme","name":"a","version":"1"}`,
		"file url":            `{"org":"acme","name":"a","version":"1","url":"file:///etc/passwd"}`,
		"password in the url": `{"org":"acme","name":"a","version":"1","url":"http://u:p@h"}`,
		"too long a life":     `{"org":"acme","name":"a","version":"1","url":"http://h","ttl":86400}`,
	} {
		t.Run(name, func(t *testing.T) {
			r.T = t
			var p struct{ Errors []struct{ Location string } }
			if r.call("POST", "/v1/services", body, http.StatusUnprocessableEntity, &p); len(p.Errors) != 1 {
				t.Errorf("fields named: %v, want one", p.Errors)
			}
		})
	}
}

func TestWhoSeesWhat(t *testing.T) {
	r := newRig(t, nil)
	r.beat("acme", "hq")
	r.beat("globex", "lab")
	r.call("POST", "/v1/services", `{"org":"acme","name":"bms","version":"1","url":"http://h"}`, http.StatusCreated, nil)
	if got := r.names("/v1/services"); len(got) != 4 {
		t.Errorf("the administrator sees %v", got)
	}
	if got := r.names("/services?kind=hub&org=acme"); !slices.Equal(got, []string{"headcount-hub hq "}) {
		t.Errorf("hubs of acme: %v", got)
	}
	r.who = member("globex", token.Admin)
	if got := r.names("/services"); !slices.Equal(got, []string{"headcount-hub lab ", "headcount-twin  "}) {
		t.Errorf("another organisation sees %v", got)
	}
	r.call("GET", "/v1/services/bms", "", http.StatusNotFound, nil)
	r.call("POST", "/v1/services", `{"org":"acme","name":"x","version":"1","url":"http://h"}`, http.StatusNotFound, nil)
	r.who = member("acme", token.Viewer)
	r.call("POST", "/v1/services", `{"name":"x","version":"1","url":"http://h"}`, http.StatusForbidden, nil)
	service := member("acme", token.Operator)
	service.Kind, service.Permissions = token.Service, []string{"read", "write"}
	r.who = service
	r.call("POST", "/v1/services", `{"name":"x","version":"1","url":"http://h"}`, http.StatusForbidden, nil)
	service.Permissions = []string{"services:register"}
	r.call("POST", "/v1/services", `{"name":"x","version":"1","url":"http://h"}`, http.StatusCreated, nil)
}

// broker is a NATS server without JetStream.
func broker(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	conn, err := nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// replies gathers what is answered to a request within a short while after the last answer.
func replies(t *testing.T, conn *nats.Conn, subject string) (out [][]byte) {
	t.Helper()
	sub, err := conn.SubscribeSync(conn.NewInbox())
	must(t, err)
	defer sub.Unsubscribe()
	must(t, conn.PublishRequest(subject, sub.Subject, nil))
	for {
		m, err := sub.NextMsg(200 * time.Millisecond)
		if err != nil || len(m.Data) == 0 {
			return out
		}
		out = append(out, m.Data)
	}
}

func TestMicroServicesOfPartsAndHubs(t *testing.T) {
	conn := broker(t)
	r := newRig(t, conn)
	r.beat("acme", "hq")
	r.beat("globex", "lab")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.cat.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); len(replies(t, conn, "$SRV.PING")) < 3; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("answers to $SRV.PING: %s, want the twin and two hubs", replies(t, conn, "$SRV.PING"))
		}
	}
	var info micro.Info
	must(t, json.Unmarshal(replies(t, conn, "$SRV.INFO.headcount-hub.acme-hq")[0], &info))
	if info.Version != "0.9.1" || info.Metadata["org"] != "acme" || info.Metadata["site"] != "hq" || info.Metadata["uptime"] == "" || info.Type != micro.InfoResponseType {
		t.Errorf("a hub says of itself %+v", info)
	}
	if got := replies(t, conn, "$SRV.STATS.headcount-hub"); len(got) != 2 {
		t.Errorf("stats of hubs: %s, want two", got)
	}
	m, err := conn.RequestMsg(&nats.Msg{Subject: "svc.twin.overview", Data: []byte(`{"site":"hq"}`), Header: nats.Header{"Authorization": {"Bearer good"}}}, patience)
	if err != nil || string(m.Data) != `{"path":"/v1/overview?site=hq"}` {
		t.Errorf("svc.twin.overview: %v %v", m, err)
	}
	if m, err = conn.Request("svc.twin.overview", nil, patience); err != nil || m.Header.Get(micro.ErrorCodeHeader) != "401" {
		t.Errorf("without a token: %v %v, want 401", m, err)
	}

	r.late.Store(int64(46 * time.Second))
	if got := replies(t, conn, "$SRV.PING.headcount-hub"); len(got) != 0 {
		t.Errorf("46 s after their last heartbeat hubs are listed: %s", got)
	}
	r.beat("acme", "hq")
	if got := replies(t, conn, "$SRV.PING.headcount-hub"); len(got) != 1 {
		t.Errorf("a hub is back: %s, want it alone", got)
	}
}
