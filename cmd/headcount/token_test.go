package main

import (
	"crypto/ed25519"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// made runs headcount token new and takes its output apart.
func made(t *testing.T, args ...string) (line, secret string) {
	t.Helper()
	a := headcount(t, append([]string{"token", "new"}, args...)...).is(exitOK)
	first, second, _ := strings.Cut(a.out, "\n")
	line, secret = strings.TrimPrefix(first, "line   "), strings.TrimSpace(strings.TrimPrefix(second, "token  "))
	if len(secret) < 43 || !strings.HasSuffix(line, ":"+secret) {
		t.Fatalf("token new %v: got %q", args, a.out)
	}
	return line, secret
}

// Tokens that were made on the command line do at a running hub what they were made for.
func TestTokensFromTheCommandLine(t *testing.T) {
	admin, adminSecret := made(t, "--name", "anna", "--role", "admin")
	wall, wallSecret := made(t, "--name", "wallboard")
	door, doorSecret := made(t, "--device", "door-7")
	inDir(t, map[string]string{"tokens": strings.Join([]string{"# who may", door, admin, wall, ""}, "\n")})
	address := unused(t)
	config := strings.Replace(office, `{listen: "127.0.0.1:0"}`, `{listen: "`+address+`", token_file: tokens}`, 1)
	if err := os.WriteFile("headcount.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil)
	headcount(t, "spaces").is(exitOK, "lobby") // with the first token that is nobody's device
	for _, c := range []struct {
		method, path, body, secret string
		want                       int
	}{
		{"GET", "/v1/spaces", "", "", 401},
		{"GET", "/v1/spaces", "", wallSecret, 200},
		{"PUT", "/v1/spaces/lobby/count", `{"count":3}`, wallSecret, 403},
		{"PUT", "/v1/spaces/nowhere/count", `{"count":3}`, wallSecret, 403},
		{"POST", "/v1/readings", `{"sensor":"door-7","count_in":1,"count_out":0}`, wallSecret, 403},
		{"POST", "/v1/readings", `{"sensor":"door-7","count_in":1,"count_out":0}`, doorSecret, 200},
		{"POST", "/v1/readings", `{"sensor":"seats","count_abs":1}`, doorSecret, 403},
		{"GET", "/v1/spaces", "", doorSecret, 403},
		{"PUT", "/v1/spaces/lobby/count", `{"count":3}`, adminSecret, 200},
		{"POST", "/v1/readings", `{"sensor":"seats","count_abs":1}`, adminSecret, 200},
	} {
		req, err := http.NewRequest(c.method, "http://"+address+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if c.secret != "" {
			req.Header.Set("Authorization", "Bearer "+c.secret)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, resp.StatusCode, body, c.want)
		}
	}
	if _, err := gateway.LoadTokens("tokens"); err != nil {
		t.Error(err)
	}
}

func TestTokenNewRefusesWhatAFileCannotHold(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--name", "a", "--device", "b"}, {"--device", "b", "--role", "admin"}, {"--name", "a", "--role", "boss"}, {"--name", "#a"}, {"--name", "device"},
		{"--name", "a "}, {"--name", "a:b"}, {"--device", " x"}, {"--device", "a\nb"}, {"--name", strings.Repeat("x", 65)}, {"--name", "a", "b"},
	} {
		if a := headcount(t, append([]string{"token", "new"}, args...)...).is(exitUsage); a.out != "" {
			t.Errorf("token new %q: prints %q", args, a.out)
		}
	}
}

func TestTokenInspect(t *testing.T) {
	inDir(t, nil)
	signer, err := token.NewSigner("https://cloud.example", []token.Key{{ID: "k1", Private: ed25519.NewKeyFromSeed(make([]byte, 32))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signer.Sign(&token.Identity{Kind: token.User, Subject: "u-1", Name: "Anna"}, []string{"headcount"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"keys.json": signer.JWKS(), "empty.json": []byte(`{"keys":[]}`)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	headcount(t, "token", "inspect", raw).is(exitOK, "NOT VERIFIED", `"name": "Anna"`, "expires")
	headcount(t, "token", "inspect", raw, "--jwks", "keys.json").is(exitOK, "verified: ", `"name": "Anna"`)
	headcount(t, "token", "inspect", raw[:len(raw)-4]+"AAAA", "--jwks", "keys.json").is(exitFailure, "NOT VERIFIED", "signature")
	headcount(t, "token", "inspect", raw, "--jwks", "keys.json", "--audience", "other").is(exitFailure, "audience")
	headcount(t, "token", "inspect", raw, "--jwks", "none.json").is(exitFailure, "none.json")
	headcount(t, "token", "inspect", raw, "--jwks", "empty.json").is(exitFailure, "empty.json")
	headcount(t, "token", "inspect", "secret").is(exitFailure, "no signed token")
	headcount(t, "token", "inspect").is(exitUsage)
	var in inspection
	headcount(t, "token", "inspect", raw, "--json").is(exitOK).json(&in)
	if in.Verified || in.Refused != "" || !strings.Contains(string(in.Claims), "u-1") {
		t.Errorf("got %+v", in)
	}
}
