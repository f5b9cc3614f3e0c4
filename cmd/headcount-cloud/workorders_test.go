package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/cloud/tier"
)

func TestWorkOrdersByCommand(t *testing.T) {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte("ops:0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg tier.Config
	cfg.Data, cfg.HTTP.Listen, cfg.NATS.Listen, cfg.HTTP.TokenFile = filepath.Join(dir, "data"), "127.0.0.1:0", "127.0.0.1:0", tokens
	cloud, err := tier.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	req, _ := http.NewRequest("POST", cloud.HTTPAddr()+"/v1/work-orders", strings.NewReader(`{"org":"acme","title":"the door is broken","priority":"high"}`))
	req.Header.Set("Authorization", "Bearer 0123456789abcdef0123")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 201 {
		t.Fatalf("open: %v %v", resp, err)
	}
	resp.Body.Close()
	wo := func(want int, says string, args ...string) string {
		t.Helper()
		code, out, errs := call(t, append([]string{"wo", "--url", cloud.HTTPAddr(), "--token-file", tokens}, args...)...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Fatalf("wo %v: exit %d, %q, %q; want %d and %q", args, code, out, errs, want, says)
		}
		return out
	}
	number := strings.Fields(wo(0, "the door is broken", "list", "--state", "open"))[0]
	wo(exitFailure, "goes to: acknowledged", "move", number, "closed")
	wo(exitFailure, "needs a reason", "move", number, "resolved")
	wo(0, number+" open -> in_progress", "move", number, "in_progress")
	wo(0, "goes to   waiting_approval", "show", strings.ToLower(number))
	wo(0, "", "note", number, "the part is ordered")
	wo(0, `"state":"in_progress"`, "show", number, "--json")
	wo(exitFailure, "there is no WO-1999-0001", "show", "WO-1999-0001")
	if out := wo(0, "", "list", "--overdue"); out != "" {
		t.Errorf("overdue: %q", out)
	}
	if code, _, errs := call(t, "wo", "list", "--url", cloud.HTTPAddr()); code != exitFailure || !strings.Contains(errs, "401") {
		t.Errorf("without a token: exit %d, %q", code, errs)
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	if code, _, errs := call(t, "wo", "list", "--url", dead.URL); code != exitFailure || !strings.Contains(errs, "is it running") {
		t.Errorf("nobody there: exit %d, %q", code, errs)
	}
}
