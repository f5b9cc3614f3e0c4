package deliver_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge/deliver"
)

// browser is the receiver's side of Web Push: keys, and decryption by RFC 8291.
type browser struct {
	key  *ecdh.PrivateKey
	auth [16]byte
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{key: key}
	rand.Read(b.auth[:])
	return b
}

func (b *browser) subscription(endpoint string) (s deliver.Subscription) {
	s.Endpoint = endpoint
	s.Keys.P256dh = base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes())
	s.Keys.Auth = base64.RawURLEncoding.EncodeToString(b.auth[:])
	return s
}

func (b *browser) decrypt(t *testing.T, body []byte) []byte {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	salt, n := body[:16], int(body[20])
	sender, err := ecdh.P256().NewPublicKey(body[21 : 21+n])
	must(err)
	shared, err := b.key.ECDH(sender)
	must(err)
	info := "WebPush: info\x00" + string(b.key.PublicKey().Bytes()) + string(sender.Bytes())
	ikm, err := hkdf.Key(sha256.New, shared, b.auth[:], info, 32)
	must(err)
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	must(err)
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	must(err)
	block, err := aes.NewCipher(key)
	must(err)
	gcm, err := cipher.NewGCM(block)
	must(err)
	plain, err := gcm.Open(nil, nonce, body[21+n:], nil)
	must(err)
	return []byte(strings.TrimSuffix(strings.TrimRight(string(plain), "\x00"), "\x02"))
}

func TestPushIsReadByTheBrowserOnly(t *testing.T) {
	b := newBrowser(t)
	status := http.StatusCreated
	var body []byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(status)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "vapid.key")
	p, err := deliver.NewPush(deliver.PushOptions{KeyFile: file, Contact: "ops@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v, want mode 0600", info.Mode(), err)
	}
	again, err := deliver.NewPush(deliver.PushOptions{KeyFile: file})
	if err != nil || again.PublicKey() != p.PublicKey() {
		t.Errorf("after a restart the key is %q (%v), want %q", again.PublicKey(), err, p.PublicKey())
	}
	sub := b.subscription(server.URL + "/push/1")
	if err := sub.Check(); err != nil {
		t.Fatal(err)
	}
	if err := p.Send(t.Context(), sub, crowded()); err != nil {
		t.Fatal(err)
	}
	var got struct{ Title, Body, URL, Ack string }
	if err := json.Unmarshal(b.decrypt(t, body), &got); err != nil || !strings.Contains(got.Title, "Großer Saal") || got.Ack == "" {
		t.Errorf("browser reads %+v (%v)", got, err)
	}
	if header.Get("Urgency") != "high" || !strings.Contains(header.Get("Authorization"), "k="+p.PublicKey()) {
		t.Errorf("header is %v", header)
	}
	status = http.StatusGone
	if err := p.Send(t.Context(), sub, crowded()); !errors.Is(err, deliver.ErrGone) {
		t.Errorf("410: %v, want ErrGone", err)
	}
	status = http.StatusServiceUnavailable
	if err := p.Send(t.Context(), sub, crowded()); err == nil || errors.Is(err, deliver.ErrRefused) {
		t.Errorf("503: %v, want another try", err)
	}
	strict, err := deliver.NewPush(deliver.PushOptions{KeyFile: file, PublicOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.Send(t.Context(), sub, crowded()); !errors.Is(err, deliver.ErrRefused) {
		t.Errorf("a private endpoint: %v, want it refused", err)
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add("https://push.example.org/x", "BNc", "AAAA")
	p, err := deliver.NewPush(deliver.PushOptions{KeyFile: filepath.Join(f.TempDir(), "k"), PublicOnly: true})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	f.Fuzz(func(_ *testing.T, endpoint, key, auth string) {
		var s deliver.Subscription
		s.Endpoint, s.Keys.P256dh, s.Keys.Auth = endpoint, key, auth
		if s.Check() == nil {
			_ = p.Send(ctx, s, crowded()) // must not panic
		}
	})
}

// posts starts a server and returns what it was posted.
func posts(t *testing.T) (url string, got func() (path string, header http.Header, body string)) {
	t.Helper()
	var path, body string
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, header, body = r.URL.RequestURI(), r.Header, string(b)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() (string, http.Header, string) { return path, header, body }
}

func TestNtfyHasAButton(t *testing.T) {
	url, got := posts(t)
	c, err := deliver.NewNtfy(deliver.NtfyOptions{URL: url + "/lobby", Token: "tk_1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), crowded()); err != nil {
		t.Fatal(err)
	}
	_, header, body := got()
	var m struct {
		Topic, Title string
		Priority     int
		Actions      []struct{ Action, URL, Method string }
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.Topic != "lobby" || m.Priority != 5 || len(m.Actions) != 1 || m.Actions[0].Method != "POST" || m.Actions[0].URL != crowded().Ack {
		t.Errorf("ntfy got %s (%v)", body, err)
	}
	if header.Get("Authorization") != "Bearer tk_1" {
		t.Errorf("header is %v", header)
	}
}

func TestChatServices(t *testing.T) {
	for service, want := range map[string]string{
		"slack": `"text":"[critical]`, "mattermost": `"text":"`, "discord": `"allowed_mentions":{"parse":[]}`, "teams": `"AdaptiveCard"`,
		"gotify": `"priority":8`, "googlechat": `"text":"`, "rocketchat": `"text":"`,
	} {
		url, got := posts(t)
		c, err := deliver.NewChat(deliver.ChatOptions{URL: service + "+" + url + "/hook"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Deliver(t.Context(), crowded()); err != nil {
			t.Fatal(err)
		}
		if path, _, body := got(); path != "/hook" || !strings.Contains(body, want) || !json.Valid([]byte(body)) {
			t.Errorf("%s got %s %s, want %s in it", service, path, body, want)
		}
	}
	if _, err := deliver.NewChat(deliver.ChatOptions{URL: "https://hooks.slack.com/services/T/B/X"}); err != nil {
		t.Errorf("slack is not known by its host: %v", err)
	}
	for _, bad := range []string{"https://example.org/x", "slackhttps://x", "https://api.telegram.org/botX/sendMessage", "fax+https://x"} {
		if _, err := deliver.NewChat(deliver.ChatOptions{URL: bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestSMSByHTTP(t *testing.T) {
	url, got := posts(t)
	m := crowded()
	m.To = nil
	for name, tc := range map[string]struct {
		o    deliver.SMSOptions
		path string
		body string
	}{
		"query": {deliver.SMSOptions{URL: url + "/send?to={to}&msg={text}&key={secret}"}, "/send?to=%2B4790000000&msg=%5Bcritical%5D", ""},
		"json":  {deliver.SMSOptions{URL: url + "/v1", Body: `{"to": "{to}", "text": "{text}"}`}, "/v1", `{"to": "+4790000000", "text": "[critical]`},
		"form":  {deliver.SMSOptions{URL: url + "/v2", Body: `To={to}&Body={text}`}, "/v2", `To=%2B4790000000&Body=%5Bcritical%5D`},
	} {
		tc.o.To, tc.o.Secret = []string{"+4790000000"}, "s3cret"
		c, err := deliver.NewSMS(tc.o)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := c.Deliver(t.Context(), m); err != nil {
			t.Fatal(name, err)
		}
		path, _, body := got()
		if !strings.HasPrefix(path, tc.path) || !strings.HasPrefix(body, tc.body) || name == "json" && !json.Valid([]byte(body)) {
			t.Errorf("%s: provider got %s %s", name, path, body)
		}
	}
	for _, bad := range []deliver.SMSOptions{{URL: url + "/x?to={to}"}, {URL: url + "/{to}/{text}"}, {URL: "{to}{text}"}} {
		bad.To = []string{"+4790000000"}
		if _, err := deliver.NewSMS(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestAlertmanagerFormat(t *testing.T) {
	url, got := posts(t)
	c, err := deliver.NewWebhook(deliver.WebhookOptions{URL: url, Format: deliver.Alertmanager})
	if err != nil {
		t.Fatal(err)
	}
	m := crowded()
	m.Type, m.Data = "alert.cleared", json.RawMessage(`{"id":"a1","rule":"crowded","subject":"hall","severity":"warning","raised_at":"2026-11-21T14:00:00Z","cleared_at":"2026-11-21T15:00:00Z"}`)
	if err := c.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, _, body := got()
	var a struct {
		Version, Status string
		Alerts          []struct {
			Status, Fingerprint string
			Labels              map[string]string
			EndsAt              time.Time
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Version != "4" || a.Status != "resolved" || len(a.Alerts) != 1 ||
		a.Alerts[0].Labels["alertname"] != "crowded" || a.Alerts[0].EndsAt.IsZero() || a.Alerts[0].Fingerprint == "" {
		t.Errorf("receiver got %s (%v)", body, err)
	}
}

// published is a broker that remembers.
type published struct{ topic, payload string }

func (p *published) Publish(_ context.Context, topic string, payload []byte, _ bool) error {
	p.topic, p.payload = topic, string(payload)
	return nil
}

func TestLampByMQTT(t *testing.T) {
	var p published
	c, err := deliver.NewMQTT(&p, deliver.MQTTOptions{Topic: "lamps/door", Payload: `{"state":"{state}","text":"{title}"}`})
	if err != nil {
		t.Fatal(err)
	}
	m := crowded()
	m.Title = `a "quoted" title`
	for typ, want := range map[string]string{"alert.raised": `{"state":"on","text":"a \"quoted\" title"}`, "alert.cleared": `{"state":"off","text":"a \"quoted\" title"}`} {
		m.Type = typ
		if err := c.Deliver(t.Context(), m); err != nil || p.payload != want || p.topic != "lamps/door" {
			t.Errorf("%s published %s %s (%v), want %s", typ, p.topic, p.payload, err, want)
		}
	}
	if _, err := deliver.NewMQTT(&p, deliver.MQTTOptions{Topic: "lamps/#"}); err == nil {
		t.Error("a topic with a wildcard was accepted")
	}
}

func TestBreakerOpensAfterFiveAndTriesAgainAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var jobs []deliver.Job
		for _, id := range strings.Split("a b c d e f g", " ") {
			jobs = append(jobs, job(id))
		}
		q, up := newQueue(jobs...), new(atomic.Bool)
		c := newReceiver(func(string, int) error {
			if up.Load() {
				return nil
			}
			return errDown
		})
		r, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{FirstRetry: time.Hour, LastRetry: time.Hour})
		defer stop()
		state := func() deliver.Breaker { return r.Status()[0].Breaker }
		synctest.Wait()
		if n := len(c.when()); n != 5 || state() != deliver.Open {
			t.Errorf("%d attempts, breaker %s; want 5, open", n, state())
		}
		wait(59 * time.Second)
		if n := len(c.when()); n != 5 || state() != deliver.Open {
			t.Errorf("after 59 s: %d attempts, breaker %s", n, state())
		}
		up.Store(true)
		wait(2 * time.Second)
		if n := len(c.when()); n != 7 || state() != deliver.Closed {
			t.Errorf("after a minute: %d attempts, breaker %s; want 7, closed", n, state())
		}
	})
}
