package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// call runs one command line to its end.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("htp: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for _, tc := range []struct {
		args string
		code int
		says string // on standard error
	}{
		{"version", 0, ""},
		{"bogus", exitUsage, "bogus"},
		{"run --nope", exitUsage, "nope"},
		{"enrol acme", exitUsage, "arg"},
		{"run --config " + bad, exitConfig, "htp"},
		{"run --config " + filepath.Join(dir, "missing.yaml"), exitConfig, "missing.yaml"},
		{"run --http 0.0.0.0:0 --nats 127.0.0.1:0 --data " + data, exitConfig, "token_file"},
		{"audit --data " + filepath.Join(dir, "empty"), exitFailure, "--data"},
		{"enrol Acme hq --data " + data, exitFailure, "a-z"},
	} {
		code, _, stderr := call(t, strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(stderr, tc.says) {
			t.Errorf("%s: exit %d and %q, want %d and %q", tc.args, code, stderr, tc.code, tc.says)
		}
	}
}

func TestEnrolPrintsCredentialsAndNothingElse(t *testing.T) {
	data := t.TempDir()
	code, creds, stderr := call(t, "enrol", "acme", "hq", "--data", data)
	if code != 0 || !strings.HasPrefix(creds, "-----BEGIN NATS USER JWT-----") || !strings.Contains(creds, "USER NKEY SEED") {
		t.Fatalf("exit %d, %q, %q", code, creds, stderr)
	}
	if code, out, stderr := call(t, "revoke", "acme", "hq", "--data", data); code != 0 || out != "" {
		t.Errorf("revoke: exit %d, %q, %q", code, out, stderr)
	}
	if code, out, stderr := call(t, "audit", "--data", data); code != 0 || out != "0 lanes, 0 bad\n" {
		t.Errorf("audit: exit %d, %q, %q", code, out, stderr)
	}
}

func TestRunEndsCleanlyWhenInterrupted(t *testing.T) {
	data := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	pr, pw := io.Pipe()
	var logs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"run", "--data", data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, pw, &logs)
		pw.Close()
	}()
	first := make([]byte, 256)
	n, err := pr.Read(first)
	if err != nil || !strings.Contains(string(first[:n]), "http://127.0.0.1:") {
		t.Fatalf("it says %q (%v)", first[:n], err)
	}
	if code, _, stderr := call(t, "run", "--data", data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"); code != exitFailure || !strings.Contains(stderr, "in use") {
		t.Errorf("a second one: exit %d, %q", code, stderr)
	}
	interrupt()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit %d after an interrupt; log:\n%s", code, logs.String())
		}
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
}
