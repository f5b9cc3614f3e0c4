//go:build browser

package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/web"
)

const secret = "browser-secret-0123456789"

// TestBrowserPage runs page.mjs against four servers: a hub, one that wants a token, one of a
// simulation, and one that answers as a cloud.
func TestBrowserPage(t *testing.T) {
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		t.Fatal("playwright-core is not installed; run: npm ci --prefix edge/web/browsertest")
	}
	hub := newServer(t, apitest.Office(time.Now()), nil)
	guarded := newServer(t, apitest.Office(time.Now()), func(o *api.Options) { o.Tokens = []gateway.Token{{Name: "anna", Secret: secret}} })
	demo := newServer(t, apitest.Office(time.Now()), func(o *api.Options) {
		o.Routes, o.Web = demoRoutes(), web.Handler(web.Page{Demo: true})
		o.Needs = map[string]api.Need{}
		for pattern := range o.Routes {
			o.Needs[pattern] = api.Acts()
		}
	})
	cloud := httptest.NewServer(asCloud(hub))
	defer cloud.Close()
	control := httptest.NewServer(hub.control())
	defer control.Close()

	args, err := json.Marshal(map[string]string{
		"hub": hub.url(), "guarded": guarded.url(), "demo": demo.url(), "cloud": cloud.URL, "control": control.URL, "token": secret,
		"browser": browser(), "shots": os.Getenv("HEADCOUNT_SCREENSHOTS"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "page.mjs", string(args)).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if by := hub.site.Commands(); len(by) != 2 || by[0].Kind != edge.AcknowledgeAlert || by[1].Kind != edge.ApproveDevice {
		t.Errorf("the page sent commands %+v, want an acknowledgement and an approval", by)
	}
}

func browser() string {
	if b := os.Getenv("HEADCOUNT_BROWSER"); b != "" {
		return b
	}
	return "/usr/bin/chromium"
}

// server is a hub's API with its page that can be stopped and started again at its address.
type server struct {
	t    *testing.T
	site *apitest.Site
	opts api.Options
	addr string

	mu   sync.Mutex // guards what follows
	stop func()
}

func newServer(t *testing.T, site *apitest.Site, change func(*api.Options)) *server {
	s := &server{t: t, site: site, addr: "127.0.0.1:0"}
	s.opts = api.Options{Site: site, History: site, Status: site, Web: web.Handler(web.Page{})}
	if change != nil {
		change(&s.opts)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.halt)
	return s
}

func (s *server) url() string { return "http://" + s.addr }

func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr = ln.Addr().String()
	opts := s.opts // New fills in its own live clients
	a, err := api.New(opts)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Serve(ctx, ln); err != nil {
			s.t.Errorf("serve: %v", err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	return nil
}

func (s *server) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// control lets the script change the site: POST /set {"space","count"}, count null for
// unknown; POST /stop, /start.
func (s *server) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		var v struct {
			Space string
			Count *int
		}
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sp, _ := s.site.Snapshot().Site.Space(v.Space)
		o := apitest.Unknown(sp, time.Now())
		if v.Count != nil {
			o = apitest.Known(sp, *v.Count, *v.Count, *v.Count+2, edge.QualityGood, time.Now())
		}
		s.site.Set(o)
	})
	mux.HandleFunc("POST /offline", func(http.ResponseWriter, *http.Request) {
		oldest := s.site.Snapshot().At.Add(-2 * time.Hour)
		s.site.SetStatus(func(st *api.Status) {
			st.Uplink.Connected, st.Uplink.Reason = false, "no route to host"
			st.Lanes.Readings.BacklogRecords, st.Lanes.Readings.OldestUnsent = 1200, oldest
		})
	})
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { s.halt() })
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

func demoRoutes() map[string]http.Handler {
	var mu sync.Mutex
	up := true
	return map[string]http.Handler{
		"GET /demo/state": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			json.NewEncoder(w).Encode(map[string]any{
				"truth": map[string]int{"lobby": 8, "lab": 2}, "link_up": up, "speed": 10, "sensors_failed": []string{},
				"actions": []string{"cut-link", "restore-link", "fail-sensor", "restore-sensor", "restart-hub"},
			})
		}),
		"POST /demo/{action}": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			up = r.PathValue("action") == "restore-link"
			w.Write([]byte("{}"))
		}),
	}
}

// asCloud answers in the shapes of a cloud from a hub: a list of sites, the hub's routes below
// its site, and one stream for all sites.
func asCloud(hub *server) http.Handler {
	opts := hub.opts
	opts.Web = web.Handler(web.Page{Cloud: true})
	a, err := api.New(opts)
	if err != nil {
		hub.t.Fatal(err)
	}
	const site = "/v1/sites/hq-oslo"
	mux := http.NewServeMux()
	mux.Handle("/", a)
	mux.HandleFunc("GET /auth/me", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"kind": "local", "subject": "local", "name": "local", "memberships": []any{}, "everywhere": "admin"})
	})
	mux.HandleFunc("GET /v1/orgs", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"domains": []any{}})
	})
	mux.HandleFunc("GET /v1/sites", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"sites": []map[string]any{
			{"id": "hq-oslo", "name": "Oslo HQ", "stale": false, "last_heartbeat": time.Now(), "people": 93, "spaces": 18, "open_alerts": 2, "backlog": 0},
			{"id": "bergen", "name": "Bergen", "stale": true, "last_heartbeat": time.Now().Add(-time.Hour), "people": nil, "spaces": 3, "open_alerts": 0, "backlog": nil},
		}})
	})
	mux.HandleFunc(site+"/status", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"id": "hq-oslo", "stale": true, "now": time.Now(), "last_heartbeat": time.Now().Add(-time.Hour), "backlog": 7})
	})
	mux.HandleFunc(site+"/facts", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"id": "hq-oslo", "domains": []string{"acme"}})
	})
	mux.Handle(site+"/stream", http.NotFoundHandler())
	mux.HandleFunc(site+"/", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path, r.URL.RawPath = "/v1"+strings.TrimPrefix(r.URL.Path, site), ""
		a.ServeHTTP(w, r)
	})
	return mux
}
