package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runTier runs a tier until the test ends, and returns its address and what it says first.
func runTier(t *testing.T, data string) (url, says string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"run", "--data", data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, pw, io.Discard)
		pw.Close()
	}()
	t.Cleanup(func() { interrupt(); <-ended })
	b := make([]byte, 512)
	n, err := pr.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	says = string(b[:n])
	return "http://" + strings.Fields(strings.SplitAfter(says, "http://")[1])[0], says
}

func status(t *testing.T, method, url, bearer, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheClaimCodeMakesTheFirstAccountAndThenNobodyIsLetInWithoutProof(t *testing.T) {
	data := t.TempDir()
	url, says := runTier(t, data)
	code, out, _ := call(t, "claim-code", "--data", data)
	if code != 0 || !strings.Contains(says, "claim code    "+strings.TrimSpace(out)) {
		t.Fatalf("claim-code: %d %q; the tier says %q", code, out, says)
	}
	if got, _ := status(t, "GET", url+"/v1/sites", "", ""); got != 200 {
		t.Errorf("before there is an account: %d", got)
	}
	claim := func(code string) (int, string) {
		return status(t, "POST", url+"/auth/claim", "", `{"code":"`+code+`","organisation":{"id":"acme","name":"Acme"},"email":"ann@example.org","password":"correct horse battery","name":"Ann"}`)
	}
	if got, _ := claim("AAAAA-AAAAA-AAAAA-AAAAA"); got != 403 {
		t.Errorf("a wrong code: %d", got)
	}
	got, body := claim(strings.TrimSpace(out))
	if got != 200 {
		t.Fatalf("claim: %d %s", got, body)
	}
	var login struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &login); err != nil {
		t.Fatal(err)
	}
	if got, _ := status(t, "GET", url+"/v1/sites", "", ""); got != 401 {
		t.Errorf("without proof: %d", got)
	}
	if got, _ := status(t, "GET", url+"/v1/orgs/acme/audit", login.AccessToken, ""); got != 200 {
		t.Errorf("with proof: %d", got)
	}
	if got, _ := claim(strings.TrimSpace(out)); got != 410 {
		t.Errorf("the code again: %d", got)
	}
	if code, _, stderr := call(t, "claim-code", "--data", data); code != exitFailure || !strings.Contains(stderr, "user list") {
		t.Errorf("claim-code afterwards: %d %q", code, stderr)
	}
	if code, out, stderr := call(t, "user", "list", "--data", data); code != 0 || !strings.Contains(out, "admin in acme") {
		t.Errorf("user list through the running tier: %d %q %q", code, out, stderr)
	}
	if code, out, stderr := call(t, "user", "deactivate", "ann@example.org", "--data", data); code != exitFailure || !strings.Contains(stderr, "no admin left") {
		t.Errorf("deactivate the last admin: %d %q %q", code, out, stderr)
	}
}

func TestAccountCommandsWorkOnADirectoryThatNobodyRuns(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, "people.csv")
	if err := os.WriteFile(file, []byte("email,name,domain,role\nbob@example.org,Bob,acme/north,operator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args     string
		code     int
		out, err string
	}{
		{"org add acme", 0, "", ""},
		{"org add acme", exitFailure, "", "already"},
		{"org add acme/north --name North", 0, "", ""},
		{"org list", 0, "acme/north  North", ""},
		{"users import acme " + file + " --dry-run", 0, "1 created, 0 updated", ""},
		{"users import acme " + file, 0, "1 created, 0 updated", ""},
		{"users import acme " + file, 0, "0 created, 0 updated, 1 unchanged", ""},
		{"user add ann@example.org --domain acme --role admin", 0, "password ", ""},
		{"user list", 0, "operator in acme/north", ""},
		{"user role bob@example.org acme manager", 0, "", ""},
		{"user role bob@example.org acme/north none", 0, "", ""},
		{"user list", 0, "unconfirmed  manager in acme", ""},
		{"user password bob@example.org", 0, "password ", ""},
		{"user deactivate bob@example.org", 0, "", ""},
		{"user list", 0, "deactivated", ""},
		{"user reactivate bob@example.org", 0, "", ""},
		{"user role nobody@example.org acme admin", exitFailure, "", "nobody has an account"},
		{"user role ann@example.org acme boss", exitFailure, "", "boss"},
		{"service add acme wallboard --life 30d", 0, "eyJ", ""},
		{"service list acme", 0, "wallboard", ""},
		{"keys rotate", 0, "new key", ""},
	} {
		code, stdout, stderr := call(t, append(strings.Fields(tc.args), "--data", data)...)
		if code != tc.code || !strings.Contains(stdout, tc.out) || !strings.Contains(stderr, tc.err) {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", tc.args, code, stdout, stderr, tc.code, tc.out, tc.err)
		}
	}
}
