package hub

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/deliver"
)

func parseActions(t *testing.T, actions string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"password", "pin"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1234\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "headcount.yaml")
	if err := os.WriteFile(path, []byte("site: {id: hq}\nspaces: [{id: hall}]\nactions:\n"+actions), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, config.Options{Dir: dir})
}

func TestEveryKindOfActionIsBuilt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	cfg, err := parseActions(t, strings.ReplaceAll(`
  hook:  {webhook: "URL/x", format: alertmanager}
  ntfy:  {ntfy: "URL/lobby", token_file: password}
  chat:  {chat: "mattermost+URL/x"}
  sms:   {sms: ["+4790000000"], url: "URL/s?to={to}&text={text}"}
  mail:  {mail: [a@example.org], smtp: "smtps://hub@localhost", from: hub@example.org, password_file: password}
  lamp:  {mqtt: "mqtt://hub@localhost:1/lamps/door", payload: "{state}", password_file: password}
  modem: {sms: ["+4790000000"], modem: /dev/ttyUSB9, pin_file: pin}
  log:   {log: true}
`, "URL", server.URL))
	if err != nil {
		t.Fatal(err)
	}
	h := &Hub{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if err := h.buildChannels(); err != nil {
		t.Fatal(err)
	}
	if len(h.parts.channels) != 8 {
		t.Fatalf("%d channels, want 8", len(h.parts.channels))
	}
	m := deliver.Message{Key: "k", Type: "alert.raised", Source: "hq", Data: []byte(`{"id":"a1","rule":"over","subject":"hall","severity":"warning"}`)}
	for name, c := range h.parts.channels {
		away := name == "mail" || name == "lamp" || name == "modem"
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Deliver(ctx, m); (err == nil) == away {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestActionsThatAreWrong(t *testing.T) {
	for mistake, want := range map[string]string{
		`{sms: ["+4790000000"]}`:                                "needs one of modem and url",
		`{sms: ["+4790000000"], modem: /dev/x, body: "{text}"}`: "is for url only",
		`{mail: [a@example.org]}`:                               "smtp is missing",
		`{ntfy: "https://x/y", secret_file: password}`:          "is not for ntfy",
		`{chat: "https://x", mqtt: "mqtt://x/y"}`:               "make two actions of it",
		`{timeout: 5s}`:                                         "does nothing",
	} {
		if _, err := parseActions(t, "  a: "+mistake+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", mistake, err, want)
		}
	}
	for mistake, want := range map[string]string{
		`{chat: "https://example.org/x"}`:                       "is not known",
		`{mqtt: "http://x/y"}`:                                  "mqtt",
		`{mqtt: "mqtt://x/lamps/#a"}`:                           "",
		`{sms: [abc], modem: /dev/ttyUSB0}`:                     "is no number",
		`{mail: [nobody], smtp: "smtp://x", from: a@b.example}`: "is no mail address",
	} {
		cfg, err := parseActions(t, "  a: "+mistake+"\n")
		if err != nil {
			t.Errorf("%s: %v", mistake, err)
			continue
		}
		h := &Hub{cfg: cfg, log: slog.New(slog.DiscardHandler)}
		if err := h.buildChannels(); want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", mistake, err, want)
		}
	}
}
