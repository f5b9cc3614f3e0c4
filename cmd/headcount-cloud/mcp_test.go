package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// asProgram makes the test binary run as the command itself.
const asProgram = "HEADCOUNT_CLOUD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is this command as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func TestToolsOverStandardInputAndOutput(t *testing.T) {
	url, _ := runTier(t, t.TempDir())
	resp, err := http.Post(url+"/v1/sites", "application/json", strings.NewReader(`{"id":"hq","domain":"acme","name":"Head office"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.CommandTransport{Command: program(t, "mcp", "--url", url)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info := s.InitializeResult(); info.ServerInfo.Name != "headcount" || !strings.Contains(info.Instructions, "not known") {
		t.Errorf("server says %+v", info)
	}
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 7 {
		t.Fatalf("%v, %v", tools, err)
	}
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_sites"})
	if err != nil || res.IsError {
		t.Fatalf("%+v, %v", res, err)
	}
	var got struct{ Rows []struct{ Site string } }
	if err := json.Unmarshal([]byte(res.Content[0].(*mcp.TextContent).Text), &got); err != nil || len(got.Rows) != 1 || got.Rows[0].Site != "hq" {
		t.Errorf("rows are %+v (%v), answered to a site made with %s", got.Rows, err, resp.Status)
	}
}

func TestMCPRefuses(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("secret-secret-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"mcp", "--url", "nonsense"}, exitConfig, "http://HOST:PORT"},
		{[]string{"mcp", "--token-file", "/nowhere"}, exitFailure, "--token-file"},
		{[]string{"mcp", "--token-file", open}, exitFailure, "chmod 600"},
		{[]string{"mcp", "more"}, exitUsage, "unknown command"},
	} {
		if code, _, stderr := call(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: %d %s, want %d that says %q", c.args, code, stderr, c.code, c.want)
		}
	}
}
