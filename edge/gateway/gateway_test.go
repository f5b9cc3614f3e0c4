package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "secret-0123456789abcdef"

// seen is what a handler behind the gateway was given.
type seen struct {
	call   gateway.Call
	remote string
	calls  int
}

// wrapped is a gateway before a mux whose routes note what they see.
func wrapped(t testing.TB, o gateway.Options) (http.Handler, *seen) {
	t.Helper()
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{}
	mux := http.NewServeMux()
	mux.HandleFunc("/things/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.calls++
		s.call, s.remote = *gateway.CallOf(r.Context()), r.RemoteAddr
		gateway.WriteJSON(w, "application/json", 200, "ok")
	})
	mux.HandleFunc("POST /auth/login", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("oh no: " + secret) })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		panic("too late")
	})
	return g.Wrap(mux), s
}

// ask makes a request with headers given as name, value.
func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost"+path, nil)
	r.RemoteAddr = "192.0.2.1:1234"
	for i := 0; i < len(header); i += 2 {
		switch header[i] {
		case "Host":
			r.Host = header[i+1]
		case "Remote":
			r.RemoteAddr = header[i+1]
		default:
			r.Header.Add(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// identify knows one secret.
func identify(r *http.Request) (*token.Identity, error) {
	switch r.Header.Get("Authorization") {
	case "":
		return nil, nil
	case "Bearer " + secret:
		return &token.Identity{Kind: token.User, Subject: "u1", Name: "ada"}, nil
	case "Bearer expired":
		return nil, errors.New("the token has expired")
	}
	return nil, fmt.Errorf("file: %w", gateway.ErrGuess)
}

func TestCorrelationAndTrace(t *testing.T) {
	h, s := wrapped(t, gateway.Options{})
	for _, name := range []string{"X-Correlation-ID", "X-Request-Id"} {
		w := ask(h, "GET", "/things/1", name, "abc-1.2_3:4")
		if w.Header().Get("X-Correlation-ID") != "abc-1.2_3:4" || w.Header().Get("X-Request-Id") != "abc-1.2_3:4" || s.call.ID != "abc-1.2_3:4" {
			t.Errorf("%s: echoed as %v", name, w.Header())
		}
	}
	for _, bad := range []string{"a b", "x\"y", strings.Repeat("a", 65), "é"} {
		if got := ask(h, "GET", "/things/1", "X-Correlation-ID", bad).Header().Get("X-Correlation-ID"); got == bad || got == "" {
			t.Errorf("correlation id %q is answered as %q", bad, got)
		}
	}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for given, want := range map[string]string{
		trace: trace, "": "", "01" + trace[2:]: "", strings.ToUpper(trace): "", trace + "0": "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
	} {
		if ask(h, "GET", "/things/1", "Traceparent", given); s.call.Trace != want {
			t.Errorf("traceparent %q is taken as %q, want %q", given, s.call.Trace, want)
		}
	}
}

func TestOnlyTrustedProxiesAreBelieved(t *testing.T) {
	proxies, err := gateway.ParseProxies([]string{"10.0.0.0/8", "::1", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	h, s := wrapped(t, gateway.Options{Proxies: proxies})
	for _, tc := range []struct{ peer, forwarded, proto, remote, scheme string }{
		{"203.0.113.9:1", "198.51.100.7", "https", "203.0.113.9", "http"},
		{"10.1.1.1:1", "198.51.100.7", "https", "198.51.100.7", "https"},
		{"10.1.1.1:1", "6.6.6.6, 198.51.100.7, 10.2.2.2", "https", "198.51.100.7", "https"},
		{"10.1.1.1:1", "6.6.6.6, rubbish, 10.2.2.2", "ftp", "10.2.2.2", "http"},
		{"10.1.1.1:1", "rubbish", "", "10.1.1.1", "http"},
		{"[::ffff:10.1.1.1]:1", "2001:db8::1", "http", "2001:db8::1", "http"},
		{"[::1]:1", "", "https", "::1", "https"},
	} {
		header := []string{"Remote", tc.peer, "X-Forwarded-Proto", tc.proto}
		if tc.forwarded != "" {
			header = append(header, "X-Forwarded-For", tc.forwarded)
		}
		if ask(h, "GET", "/things/1", header...); s.call.Remote != tc.remote || s.call.Scheme != tc.scheme || !strings.Contains(s.remote, tc.remote) {
			t.Errorf("%+v: client is %s (%s) by %s", tc, s.call.Remote, s.remote, s.call.Scheme)
		}
	}
	for _, bad := range []string{"10.0.0.0/33", "proxy.example.org", ""} {
		if _, err := gateway.ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is a trusted proxy", bad)
		}
	}
}

func TestOpenServer(t *testing.T) {
	proxies, _ := gateway.ParseProxies([]string{"127.0.0.1"})
	h, s := wrapped(t, gateway.Options{Open: func() bool { return true }, Hosts: []string{"hub.lan"}, Proxies: proxies})
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST.:80": 200, "a.localhost": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "192.0.2.7": 200, "hub.lan:80": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "xlocalhost": 421, "hub.lan.evil": 421,
	} {
		if w := ask(h, "GET", "/things/1", "Host", host); w.Code != want {
			t.Errorf("host %s: %d, want %d", host, w.Code, want)
		}
	}
	if w := ask(h, "GET", "/things/1", "Remote", "127.0.0.1:9", "X-Forwarded-For", "203.0.113.5"); w.Code != 403 {
		t.Errorf("another machine's call through a proxy on this one: %d, want 403", w.Code)
	}
	if w := ask(h, "GET", "/things/1", "Remote", "127.0.0.1:9", "X-Forwarded-For", "127.0.0.1"); w.Code != 200 {
		t.Errorf("this machine's own call through the proxy: %d", w.Code)
	}
	if s.calls == 0 {
		t.Error("nothing was let in")
	}
	h, _ = wrapped(t, gateway.Options{Open: func() bool { return true }}) // a proxy that nobody has configured hides who calls
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"} {
		if w := ask(h, "GET", "/things/1", "Remote", "127.0.0.1:9", name, "203.0.113.5"); w.Code != 403 {
			t.Errorf("through an unknown proxy (%s): %d, want 403", name, w.Code)
		}
	}
}

// CORS and CSRF: what a page of which origin may do.
func TestPagesElsewhere(t *testing.T) {
	const friend = "https://intranet.example.org"
	h, s := wrapped(t, gateway.Options{Origins: []string{friend}})
	for _, tc := range []struct {
		method, origin, fetchSite string
		status                    int
		readable                  bool
	}{
		{"GET", friend, "cross-site", 200, true}, {"POST", friend, "cross-site", 200, true}, {"DELETE", friend, "same-site", 200, true},
		{"GET", "https://evil.example", "cross-site", 200, false}, {"POST", "https://evil.example", "cross-site", 403, false},
		{"PUT", "https://evil.example", "", 403, false}, {"PATCH", "null", "", 403, false}, {"DELETE", "", "cross-site", 403, false},
		{"POST", "http://intranet.example.org", "cross-site", 403, false}, {"POST", friend + ".evil.example", "cross-site", 403, false},
		{"POST", "", "", 200, false}, {"POST", "http://localhost", "same-origin", 200, false},
	} {
		before := s.calls
		header := []string{}
		for name, v := range map[string]string{"Origin": tc.origin, "Sec-Fetch-Site": tc.fetchSite} {
			if v != "" {
				header = append(header, name, v)
			}
		}
		w := ask(h, tc.method, "/things/1", header...)
		if w.Code != tc.status || (w.Header().Get("Access-Control-Allow-Origin") == tc.origin && tc.origin != "") != tc.readable || (s.calls > before) != (tc.status == 200) {
			t.Errorf("%+v: %d, %v", tc, w.Code, w.Header())
		}
		if w.Header().Get("Access-Control-Allow-Credentials") != "" || w.Header().Get("Vary") == "" {
			t.Errorf("%+v: headers are %v", tc, w.Header())
		}
	}
	preflight := func(origin string) *httptest.ResponseRecorder {
		return ask(h, "OPTIONS", "/things/1", "Origin", origin, "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization")
	}
	if w := preflight(friend); w.Code != 204 || !strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "PATCH") || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight of a friend: %d %v", w.Code, w.Header())
	}
	if w := preflight("https://evil.example"); w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("preflight of a stranger: %d %v", w.Code, w.Header())
	}
	closed, _ := wrapped(t, gateway.Options{})
	if w := ask(closed, "GET", "/things/1", "Origin", friend); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("without origins somebody may read")
	}
	for _, bad := range []string{"*", "https://*.example.org", "example.org", "https://example.org/", "https://a@example.org/x"} {
		if _, err := gateway.New(gateway.Options{Origins: []string{bad}}); err == nil {
			t.Errorf("origin %q is taken", bad)
		}
	}
}

func TestGuessesAreHeldUpAndExpiredTokensAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := wrapped(t, gateway.Options{Identify: identify})
		try := func(remote, bearer string) int {
			return ask(h, "GET", "/things/1", "Remote", remote, "Authorization", "Bearer "+bearer).Code
		}
		for range 20 {
			if got := try("192.0.2.1:1", "expired"); got != 200 || s.call.Who != nil || s.call.Refused == nil {
				t.Fatalf("an expired token: %d, %+v; want the route to decide", got, s.call)
			}
		}
		if got := try("192.0.2.1:1", secret); got != 200 || s.call.Who.Name != "ada" {
			t.Fatalf("the right token: %d, %+v", got, s.call)
		}
		for range 4 {
			try("192.0.2.1:1", "guess")
		}
		if first, then, other := try("192.0.2.1:1", "guess"), try("192.0.2.1:2", secret), try("192.0.2.2:1", secret); first != 429 || then != 429 || other != 200 {
			t.Errorf("after five guesses: %d, the right one %d, another address %d", first, then, other)
		}
		time.Sleep(61 * time.Second)
		if got := try("192.0.2.1:1", secret); got != 200 {
			t.Errorf("a minute later: %d", got)
		}
	})
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := gateway.Limits{PerSecond: 10, Burst: 20, LoginPerMinute: 6, IngestPerSecond: 1}.Rates()
		h, _ := wrapped(t, gateway.Options{Identify: identify, Rates: rates, Ingest: func(r *http.Request) bool { return r.URL.Path == "/things/ingest" }})
		passed := func(n int, method, path string, header ...string) (ok int) {
			for range n {
				if w := ask(h, method, path, header...); w.Code == 200 {
					ok++
				} else if w.Code != 429 || w.Header().Get("Retry-After") == "" || w.Header().Get("Retry-After") == "0" {
					t.Fatalf("%s %s: %d, Retry-After %q", method, path, w.Code, w.Header().Get("Retry-After"))
				}
			}
			return ok
		}
		if got := passed(50, "GET", "/things/1"); got != 20 {
			t.Errorf("%d of a burst passed, want 20", got)
		}
		if got := passed(50, "GET", "/things/1", "Authorization", "Bearer "+secret); got != 20 {
			t.Errorf("%d of one identity passed, want a bucket of its own", got)
		}
		if got := passed(50, "GET", "/things/1", "Remote", "192.0.2.9:1"); got != 20 {
			t.Errorf("%d of another address passed", got)
		}
		time.Sleep(time.Second)
		if got := passed(50, "GET", "/things/1"); got != 10 {
			t.Errorf("%d passed a second later, want 10", got)
		}
		if got := passed(50, "POST", "/auth/login"); got != 6 {
			t.Errorf("%d logins passed, want 6", got)
		}
		if got := passed(50, "POST", "/things/ingest"); got != 4 {
			t.Errorf("%d readings of a device passed, want 4", got)
		}
		if got := passed(50, "POST", "/things/ingest", "Remote", "127.0.0.1:1"); got != 50 {
			t.Errorf("%d readings of this machine passed, want all", got)
		}
		same := 0
		for i := range 30 { // one customer's many IPv6 addresses
			same += passed(1, "GET", "/things/1", "Remote", fmt.Sprintf("[2001:db8:1:2::%x]:1", i+1))
		}
		if same != 20 {
			t.Errorf("%d of one /64 passed, want 20", same)
		}
		for i := range 20000 { // a flood of addresses is bounded in memory and does not lock others out
			ask(h, "GET", "/things/1", "Remote", fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
		}
		if got := passed(1, "GET", "/things/1", "Remote", "192.0.2.77:1"); got != 1 {
			t.Error("after a flood of addresses a new one is refused")
		}
	})
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	var out bytes.Buffer
	h, _ := wrapped(t, gateway.Options{Identify: identify, Log: slog.New(slog.NewJSONHandler(&out, nil))})
	ask(h, "GET", "/things/room-of-"+secret+"?token="+secret, "Authorization", "Bearer "+secret, "X-Correlation-ID", "c1")
	var line struct {
		Msg, Method, Route, Who, Remote, Correlation string
		Status, Bytes                                int
		Ms                                           *float64
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	if line.Method != "GET" || line.Route != "/things/{id}" || line.Who != "ada" || line.Status != 200 || line.Bytes != 5 || line.Remote != "192.0.2.1" || line.Correlation != "c1" || line.Ms == nil {
		t.Errorf("the access log has %s", out.String())
	}
	if strings.Contains(out.String(), secret) {
		t.Errorf("the access log has the secret: %s", out.String())
	}
	ask(h, "GET", "/nowhere/"+secret)
	if !strings.Contains(out.String(), `"route":"none"`) || strings.Contains(out.String(), secret) {
		t.Errorf("a path without a route is logged as %s", out.String())
	}
}

func TestPanicIsAProblem(t *testing.T) {
	h, _ := wrapped(t, gateway.Options{What: "hub"})
	w := ask(h, "GET", "/panic", "X-Request-Id", "r1")
	var p gateway.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 500 || p.Request != "r1" || strings.Contains(w.Body.String(), secret) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("half an answer ended with %v, want the connection cut", p)
		}
	}()
	ask(h, "GET", "/late")
}

func FuzzHeaders(f *testing.F) {
	f.Add("1.2.3.4, 5.6.7.8", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "id", "localhost:80")
	f.Add(",,::1%eth0,", "", "\x00", "[::1")
	proxies, _ := gateway.ParseProxies([]string{"192.0.2.0/24"})
	g, err := gateway.New(gateway.Options{Proxies: proxies, Open: func() bool { return true }})
	if err != nil {
		f.Fatal(err)
	}
	h := g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if c := gateway.CallOf(r.Context()); c.ID == "" || c.Remote == "" || strings.ContainsAny(c.ID+c.Remote, "\r\n \"") {
			panic(fmt.Sprintf("call is %+v", c))
		}
	}))
	f.Fuzz(func(t *testing.T, forwarded, trace, id, host string) {
		w := ask(h, "GET", "/", "X-Forwarded-For", forwarded, "Traceparent", trace, "X-Correlation-ID", id, "Host", host)
		if w.Code == 500 {
			t.Fatal(w.Body)
		}
	})
}
