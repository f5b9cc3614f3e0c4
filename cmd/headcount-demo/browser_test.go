//go:build browser && linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/tier"
)

// TestBrowserDemo looks at the demo's pages with a browser: see demo.mjs.
func TestBrowserDemo(t *testing.T) {
	r := begin(t, options{speed: 60, seed: 1, day: 8*time.Hour + 30*time.Minute, report: time.Second})
	look(t, "demo.mjs", map[string]any{"hub": r.hubURL(), "cloud": r.tier.HTTPAddr(), "email": loginEmail, "password": r.password})
}

// TestBrowserCloud uses what the cloud's pages offer to people: see cloud.mjs.
func TestBrowserCloud(t *testing.T) {
	r := begin(t, options{speed: 60, seed: 1, day: 8*time.Hour + 30*time.Minute, report: time.Second})
	mia := accounts.Admin{Org: org, Email: "mia@headcount.example", Name: "Mia", Password: "another long phrase"}
	if err := r.tier.CreateAdmin(t.Context(), mia); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	model := httptest.NewServer(http.HandlerFunc(answer))
	defer model.Close()
	fresh, err := tier.Start(t.Context(), tier.Config{Data: dir, Agent: tier.Agent{URL: model.URL + "/v1", Model: "scripted"}, HTTP: tier.HTTP{Listen: "127.0.0.1:0"}, NATS: tier.NATS{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	code, err := os.ReadFile(filepath.Join(dir, accounts.ClaimFile))
	if err != nil {
		t.Fatal(err)
	}
	look(t, "cloud.mjs", map[string]any{
		"cloud": r.tier.HTTPAddr(), "email": loginEmail, "password": r.password, "mia": map[string]string{"email": mia.Email, "password": mia.Password},
		"fresh": fresh.HTTPAddr(), "code": strings.TrimSpace(string(code)),
	})
}

// answer is a model that knows nothing.
func answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"choices":[{"message":{"role":"assistant","content":"There are no sites yet."},"finish_reason":"stop"}],"usage":{"total_tokens":100}}`)
}

// look runs a script of the browser tests.
func look(t *testing.T, script string, env map[string]any) {
	t.Helper()
	dir := filepath.Join("..", "..", "edge", "web", "browsertest")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		t.Fatal("playwright-core is not installed; run: npm ci --prefix edge/web/browsertest")
	}
	env["shots"], env["browser"] = os.Getenv("HEADCOUNT_SCREENSHOTS"), cmp.Or(os.Getenv("HEADCOUNT_BROWSER"), "/usr/bin/chromium")
	args, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script, string(args))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
