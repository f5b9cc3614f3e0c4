//go:build browser && linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestBrowserDemo looks at the demo's pages with a browser: see demo.mjs.
func TestBrowserDemo(t *testing.T) {
	dir := filepath.Join("..", "..", "edge", "web", "browsertest")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		t.Fatal("playwright-core is not installed; run: npm ci --prefix edge/web/browsertest")
	}
	r := begin(t, options{speed: 60, seed: 1, day: 8*time.Hour + 30*time.Minute, report: time.Second})
	args, err := json.Marshal(map[string]string{
		"hub": r.hubURL(), "cloud": r.tier.HTTPAddr(), "email": loginEmail, "password": r.password, "shots": os.Getenv("HEADCOUNT_SCREENSHOTS"),
		"browser": cmp.Or(os.Getenv("HEADCOUNT_BROWSER"), "/usr/bin/chromium"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "demo.mjs", string(args))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
