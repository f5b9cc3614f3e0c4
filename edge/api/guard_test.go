package api_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/api/apitest"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

const (
	annaSecret = "anna-secret-0123456789"
	botSecret  = "bot-secret-01234567890"
)

func guarded(t *testing.T) (*apitest.Site, *api.API) {
	site := apitest.Office(noon)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("page")) })
	return site, newAPI(t, site, func(o *api.Options) {
		o.Tokens = []gateway.Token{{Name: "anna", Secret: annaSecret}, {Name: "bot", Secret: botSecret}}
		o.Web = page
		o.Routes = map[string]http.Handler{"POST /v1/readings": page}
	})
}

func bearer(secret string) http.Header { return http.Header{"Authorization": {"Bearer " + secret}} }

// Every route but the page, health and the API's description wants a token; a new route does
// so without anybody thinking of it.
func TestTokensGuardEverythingButHealthAndPage(t *testing.T) {
	_, a := guarded(t)
	for _, path := range []string{"/", "/app.js", "/health", "/health/live", "/health/ready", "/openapi.json", "/openapi.yaml"} {
		if w := do(a, request{method: "GET", path: path}); w.Code != 200 {
			t.Errorf("GET %s without a token: got %d, want 200", path, w.Code)
		}
	}
	closed := []string{
		"GET /v1/spaces", "GET /v1/spaces/lobby", "GET /v1/spaces/lobby/history", "PUT /v1/spaces/lobby/count", "GET /v1/sensors", "GET /v1/sensors/x",
		"GET /v1/sensors/x/readings", "GET /v1/devices", "POST /v1/devices/x/approve", "POST /v1/devices/x/ignore", "GET /v1/alerts",
		"POST /v1/alerts/x/acknowledge", "GET /v1/events", "GET /v1/stream", "GET /v1/stream/ws", "GET /v1/status", "GET /v1/journal", "GET /v1/loss",
		"GET /metrics", "GET /sensors", "GET /sensors/x/data", "GET /rooms", "GET /rooms/x/metrics", "GET /rooms/x/history", "GET /ws/notifications",
		"POST /v1/readings", "GET /v1/nothing", "GET /v1/sites",
	}
	for _, route := range closed {
		method, path, _ := strings.Cut(route, " ")
		w := do(a, request{method: method, path: path})
		wantProblem(t, w, 401, "Authorization: Bearer")
		if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate header", route)
		}
	}
	if strings.Contains(do(a, request{method: "GET", path: "/health"}).Body.String(), ":1883") {
		t.Error("health tells addresses to everybody")
	}
	if !strings.Contains(do(a, request{method: "GET", path: "/health", header: bearer(botSecret)}).Body.String(), ":1883") {
		t.Error("health tells no details to who has a token")
	}
}

func TestTokenNamesWhoActs(t *testing.T) {
	site, a := guarded(t)
	rq := request{method: "PUT", path: "/v1/spaces/lobby/count", body: `{"count":3}`, header: bearer(annaSecret)}
	if w := do(a, rq); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	rq.header = http.Header{"Authorization": {"bearer " + botSecret}} // the scheme's case does not matter
	if w := do(a, rq); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if cs := site.Commands(); len(cs) != 2 || cs[0].By != "anna" || cs[1].By != "bot" {
		t.Fatalf("got commands by %+v, want anna and bot", cs)
	}
}

func TestWrongTokens(t *testing.T) {
	for name, h := range map[string]http.Header{
		"other secret": bearer("wrong-secret-0123456789"),
		"prefix":       bearer(annaSecret[:len(annaSecret)-1]),
		"longer":       bearer(annaSecret + "0"),
		"empty":        bearer(""),
		"other scheme": {"Authorization": {"Basic " + annaSecret}},
		"no scheme":    {"Authorization": {annaSecret}},
		"name":         bearer("anna:" + annaSecret),
	} {
		_, a := guarded(t)
		if w := do(a, request{method: "GET", path: "/v1/spaces", header: h}); w.Code != 401 {
			t.Errorf("%s: got %d, want 401", name, w.Code)
		}
	}
	_, a := guarded(t)
	if w := do(a, request{method: "GET", path: "/v1/spaces?token=" + annaSecret}); w.Code != 401 {
		t.Errorf("a token in the address was taken: got %d", w.Code)
	}
}

// Who guesses is held up for a minute, also with the right token; others are not.
func TestGuessingIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := guarded(t)
		try := func(remote, secret string) int {
			return do(a, request{method: "GET", path: "/v1/spaces", header: bearer(secret), remote: remote}).Code
		}
		for i := range 4 {
			if got := try("192.0.2.1:999", "guess-0123456789abc"); got != 401 {
				t.Fatalf("guess %d: got %d, want 401", i, got)
			}
		}
		if try("192.0.2.1:999", "guess-0123456789abc") == 200 || try("192.0.2.1:1000", annaSecret) != 429 {
			t.Fatal("after five wrong tokens the address is not held up")
		}
		if got := try("192.0.2.2:999", annaSecret); got != 200 {
			t.Fatalf("another address: got %d, want 200", got)
		}
		time.Sleep(61 * time.Second)
		if got := try("192.0.2.1:1001", annaSecret); got != 200 {
			t.Fatalf("a minute later: got %d, want 200", got)
		}
	})
}

func TestHostNames(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, func(o *api.Options) { o.Hosts = []string{"headcount.local"} })
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "LOCALHOST.": 200, "hub.localhost:8080": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "192.0.2.7": 200,
		"headcount.local:8080": 200, "evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:8080": 421, "xlocalhost": 421,
	} {
		if w := do(a, request{method: "GET", path: "/v1/spaces", header: http.Header{"Host": {host}}}); w.Code != want {
			t.Errorf("host %s: got %d, want %d", host, w.Code, want)
		}
	}
	_, g := guarded(t)
	if w := do(g, request{method: "GET", path: "/v1/spaces", header: http.Header{"Host": {"hub.corp.example"}, "Authorization": {"Bearer " + annaSecret}}}); w.Code != 200 {
		t.Errorf("with tokens the name does not matter: got %d", w.Code)
	}
}

func TestForeignPagesChangeNothing(t *testing.T) {
	site := apitest.Office(noon)
	a := newAPI(t, site, nil)
	put := func(h http.Header) int {
		return do(a, request{method: "PUT", path: "/v1/spaces/lobby/count", body: `{"count":3}`, header: h}).Code
	}
	for name, h := range map[string]http.Header{
		"foreign origin": {"Origin": {"https://evil.example"}},
		"other port":     {"Origin": {"http://localhost:9999"}},
		"null origin":    {"Origin": {"null"}},
		"cross-site":     {"Sec-Fetch-Site": {"cross-site"}},
		"same-site":      {"Sec-Fetch-Site": {"same-site"}},
	} {
		if got := put(h); got != 403 {
			t.Errorf("%s: got %d, want 403", name, got)
		}
	}
	if n := len(site.Commands()); n != 0 {
		t.Fatalf("%d commands of foreign pages were carried out", n)
	}
	for name, h := range map[string]http.Header{"no browser": {}, "own page": {"Origin": {"http://localhost"}}, "own page, fetch": {"Sec-Fetch-Site": {"same-origin"}}} {
		if got := put(h); got != 200 {
			t.Errorf("%s: got %d, want 200", name, got)
		}
	}
	w := do(a, request{method: "GET", path: "/v1/spaces", header: http.Header{"Origin": {"https://evil.example"}}})
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("foreign pages may read: Access-Control-Allow-Origin %q", got)
	}
}

func TestSecurityHeaders(t *testing.T) {
	_, a := guarded(t)
	for _, path := range []string{"/", "/health", "/v1/spaces", "/v1/nothing"} {
		h := do(a, request{method: "GET", path: path}).Header()
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestRequestID(t *testing.T) {
	_, a := guarded(t)
	for given, kept := range map[string]bool{"trace-1.2_3:4": true, "": false, "a b": false, "x\"y": false, strings.Repeat("a", 65): false} {
		got := do(a, request{method: "GET", path: "/health", header: http.Header{"X-Request-Id": {given}}}).Header().Get("X-Request-Id")
		if got == "" || (got == given) != kept {
			t.Errorf("request id %q: answered %q", given, got)
		}
	}
}

func TestLoadTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(content string, mode os.FileMode) {
		t.Helper()
		os.Remove(path)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("# who\n\nanna: "+annaSecret+"\r\n"+botSecret+"\n", 0o600)
	got, err := gateway.LoadTokens(path)
	if err != nil || len(got) != 2 || got[0] != (gateway.Token{Name: "anna", Secret: annaSecret, Role: token.Admin}) || got[1] != (gateway.Token{Name: "token-4", Secret: botSecret}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	write("w:viewer:"+annaSecret+"\nop : operator : "+botSecret+"\ndevice:xovis:00:6E:02:"+"x"+annaSecret+"\nadmin:"+annaSecret, 0o600)
	got, err = gateway.LoadTokens(path)
	want := []gateway.Token{
		{Name: "w", Role: token.Viewer, Secret: annaSecret}, {Name: "op", Role: token.Operator, Secret: botSecret},
		{Name: "device xovis:00:6E:02", Device: "xovis:00:6E:02", Secret: "x" + annaSecret}, {Name: "admin", Role: token.Admin, Secret: annaSecret},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	for content, about := range map[string]string{
		"anna:operater:" + annaSecret:                           "not a role",
		"anna:Admin:" + annaSecret:                              "not a role",
		"anna:admin:x:" + annaSecret:                            "not a role",
		"anna::" + annaSecret:                                   "not a role",
		"device:" + annaSecret:                                  "device:ADDRESS:secret",
		"device::" + annaSecret:                                 "address",
		"device:" + strings.Repeat("x", 201) + ":" + annaSecret: "address",
		"device:door-7:short":                                   "shorter",
		"anna:short-secret\n":                                   "line 1",
		"# only\n":                                              "no token",
		"\n:" + annaSecret:                                      "line 2",
		"anna:" + annaSecret + " x\n":                           "printable",
		"anna:geheimnis-äöü-0123456789":                         "printable",
	} {
		write(content, 0o600)
		_, err := gateway.LoadTokens(path)
		if err == nil || !strings.Contains(err.Error(), about) || strings.Contains(err.Error(), "secret-0") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("token file %q: got error %v, want one about %q that does not tell the secret", content, err, about)
		}
	}
	write("anna:"+annaSecret, 0o644)
	if _, err := gateway.LoadTokens(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that all may read: got error %v", err)
	}
	if _, err := gateway.LoadTokens(path + "-none"); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func FuzzLoadTokens(f *testing.F) {
	f.Add("anna:" + annaSecret + "\n")
	f.Add(":\n#\n\x00")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := gateway.LoadTokens(path)
		if (err == nil) != (len(tokens) > 0) {
			t.Fatalf("got %d tokens and error %v", len(tokens), err)
		}
		for _, tok := range tokens {
			if len(tok.Secret) < 16 || tok.Name == "" {
				t.Fatalf("got token %+v", tok)
			}
		}
	})
}
