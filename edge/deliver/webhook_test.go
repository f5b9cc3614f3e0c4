package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge/deliver"
)

var message = deliver.Message{
	Key: "over-capacity/lobby/1/alert.raised", Source: "hq-oslo", Type: "alert.raised", Subject: "lobby",
	At: time.Date(2026, 11, 21, 9, 15, 0, 0, time.UTC), Data: json.RawMessage(`{"rule":"over-capacity","count":44}`),
}

func TestWebhookRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	secret := []byte("s3cret")
	w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: server.URL + "/hook?x=1", Secret: secret, Header: map[string]string{"Authorization": "Bearer t"}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Deliver(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/cloudevents+json; charset=utf-8", deliver.HeaderKey: message.Key, "Authorization": "Bearer t",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("header %s: got %q, want %q", name, v, want)
		}
	}
	if got.Method != http.MethodPost || got.URL.String() != "/hook?x=1" {
		t.Errorf("got %s %s", got.Method, got.URL)
	}
	want := `{"specversion":"1.0","id":"over-capacity/lobby/1/alert.raised","source":"hq-oslo","type":"alert.raised","subject":"lobby",` +
		`"time":"2026-11-21T09:15:00Z","datacontenttype":"application/json","data":{"rule":"over-capacity","count":44}}`
	if string(body) != want {
		t.Errorf("body\n got %s\nwant %s", body, want)
	}
	signature := got.Header.Get(deliver.HeaderSignature)
	now := time.Now()
	if err := deliver.Verify(secret, signature, body, now, time.Minute); err != nil {
		t.Errorf("signature %q: %v", signature, err)
	}
	for name, err := range map[string]error{
		"another secret": deliver.Verify([]byte("other"), signature, body, now, time.Minute),
		"another body":   deliver.Verify(secret, signature, append(body, ' '), now, time.Minute),
		"an old call":    deliver.Verify(secret, signature, body, now.Add(2*time.Minute), time.Minute),
		"a moved time":   deliver.Verify(secret, strings.Replace(signature, "t=1", "t=2", 1), body, now, 1<<62),
		"no signature":   deliver.Verify(secret, "", body, now, time.Minute),
	} {
		if err == nil {
			t.Errorf("%s is verified", name)
		}
	}
}

// The signature is part of what receivers rely on: a fixed one must not change.
func TestSignatureIsPinned(t *testing.T) {
	got := deliver.Sign([]byte("secret"), []byte(`{"a":1}`), time.Unix(1760000000, 0))
	if want := "t=1760000000,v1=b6c2583f8204bec09d6388c3b4ef4be121e880606c4f1b491d6f295dc76b09c9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWebhookAnswers(t *testing.T) {
	const delivered, again, never = "delivered", "again", "never"
	for status, want := range map[int]string{
		200: delivered, 201: delivered, 204: delivered,
		301: again, 302: again, 307: again,
		400: never, 401: never, 403: never, 404: never, 410: never, 422: never,
		408: again, 425: again, 429: again,
		500: again, 502: again, 503: again, 504: again,
	} {
		followed := false
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				followed = true
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Deliver(t.Context(), message)
		got := again
		switch {
		case err == nil:
			got = delivered
		case errors.Is(err, deliver.ErrRefused):
			got = never
		}
		if got != want || followed {
			t.Errorf("status %d: %s (followed: %v), want %s: %v", status, got, followed, want, err)
		}
		w.Close()
		server.Close()
	}
}

func TestWebhookRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "999999999": 24 * time.Hour, "-1": 0, "soon": 0, "": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):  time.Hour,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		var after *deliver.RetryAfter
		var got time.Duration
		if errors.As(w.Deliver(t.Context(), message), &after) {
			got = after.Wait
		}
		if d := (got - want).Abs(); d > 5*time.Second {
			t.Errorf("Retry-After %q: got %v, want %v", header, got, want)
		}
		w.Close()
		server.Close()
	}
}

// A webhook's URL often holds a token: errors go to logs and records.
func TestErrorsDoNotShowTheURL(t *testing.T) {
	w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: "http://127.0.0.1:1/services/T0K3N"})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Deliver(t.Context(), message)
	if err == nil || strings.Contains(err.Error(), "T0K3N") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v, want the host without the path", err)
	}
	if _, err := deliver.NewWebhook(deliver.WebhookOptions{URL: "http://u:T0K3N@host/%zz"}); err == nil || strings.Contains(err.Error(), "T0K3N") {
		t.Errorf("error %v", err)
	}
}

func TestPublicOnlyRefusesPrivateReceivers(t *testing.T) {
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]"} {
		w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: "http://" + host + ":" + u.Port(), PublicOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err = w.Deliver(ctx, message)
		cancel()
		if !errors.Is(err, deliver.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", host, err)
		}
	}
	if called {
		t.Error("a private receiver was called")
	}
}

func TestNewWebhookRefuses(t *testing.T) {
	for _, u := range []string{"", "host/path", "ftp://host", "https://", "https://user:pass@host", "://"} {
		if _, err := deliver.NewWebhook(deliver.WebhookOptions{URL: u}); err == nil {
			t.Errorf("%q is taken", u)
		}
	}
}

// The whole way: a receiver that is down at first, then answers slowly, then takes it; the runner
// brings each message once.
func TestRunnerOverRealHTTP(t *testing.T) {
	var keys []string
	n := 0
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		if n < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		if keys = append(keys, r.Header.Get(deliver.HeaderKey)); len(keys) == 2 {
			close(done)
		}
	}))
	defer server.Close()
	w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a, b := job("a"), job("b")
	a.Order, b.Order = "x", "x"
	q := newQueue(a, b)
	_, stop := run(t, q, map[string]deliver.Channel{"hook": w}, deliver.Options{FirstRetry: 10 * time.Millisecond})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("not delivered")
	}
	stop()
	if got := strings.Join(keys, " "); got != "a b" {
		t.Errorf("delivered %q, want a b", got)
	}
}

func TestLogChannel(t *testing.T) {
	var out bytes.Buffer
	l := deliver.Log{Log: slog.New(slog.NewJSONHandler(&out, nil))}
	if err := l.Deliver(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{message.Key, message.Type, message.Subject, `over-capacity`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log line %s lacks %q", out.String(), want)
		}
	}
}
