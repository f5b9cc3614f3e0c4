package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary behave as the command itself: tests that need a process of
// their own start it again with this in the environment.
const asCommand = "HEADCOUNT_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	for _, name := range []string{"HEADCOUNT_URL", "HEADCOUNT_TOKEN_FILE", "HEADCOUNT_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// answered is what a command line gave.
type answered struct {
	t           *testing.T
	line        string
	code        int
	out, errors string
}

// headcount runs one command line to its end.
func headcount(t *testing.T, args ...string) answered {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(args, &out, &errs)
	return answered{t, "headcount " + strings.Join(args, " "), code, out.String(), errs.String()}
}

// is checks the exit code and what both outputs together say.
func (a answered) is(code int, says ...string) answered {
	a.t.Helper()
	if a.code != code {
		a.t.Errorf("%s: exit %d, want %d\n%s%s", a.line, a.code, code, a.out, a.errors)
	}
	for _, want := range says {
		if !strings.Contains(a.out+a.errors, want) {
			a.t.Errorf("%s: does not say %q:\n%s%s", a.line, want, a.out, a.errors)
		}
	}
	return a
}

// json decodes the output.
func (a answered) json(v any) answered {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.out), v); err != nil {
		a.t.Errorf("%s: the output is not JSON: %v\n%s", a.line, err, a.out)
	}
	return a
}

// inDir makes files in a new directory that is the working directory from then on.
func inDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const office = `site: {id: office, timezone: Europe/Oslo}
spaces:
  - {id: floor-1, kind: floor}
  - {id: lobby, kind: room, parent: floor-1, capacity: 4}
doors:
  - {id: entrance, between: [outside, lobby]}
inputs:
  - {driver: httppush}
sensors:
  - {id: door-7, class: line-tof, door: entrance}
  - {id: seats, class: zone-count, space: lobby}
alerts:
  - {name: crowd, for_each: room, when: "count_low > capacity", severity: critical}
http: {listen: "127.0.0.1:0"}
`

// daemon is a hub in a process of its own.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	said *net.UnixConn // what it tells its service manager
	log  *bytes.Buffer
	gone chan error
}

// start runs the hub and waits until it reports that it is ready.
func start(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	said, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	d := launch(t, append(env, "NOTIFY_SOCKET="+socket), append([]string{"run"}, args...)...)
	d.said = said
	t.Cleanup(func() { said.Close() })
	message := d.hears("READY=1")
	_, status, _ := strings.Cut(message, "STATUS=")
	d.url = status[strings.Index(status, "http"):]
	return d
}

// launch starts the command as a process.
func launch(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, cmd: exec.Command(self, args...), log: &bytes.Buffer{}, gone: make(chan error, 1)}
	d.cmd.Env = append(append(os.Environ(), asCommand+"=1"), env...)
	d.cmd.Stderr, d.cmd.Stdout = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { d.gone <- d.cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); <-ended })
	return d
}

// hears waits for a message to the service manager that begins with a line.
func (d *daemon) hears(prefix string) string {
	d.t.Helper()
	buf := make([]byte, 4096)
	for {
		if err := d.said.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			d.t.Fatal(err)
		}
		n, err := d.said.Read(buf)
		if err != nil {
			d.t.Fatalf("the hub never says %s: %v\n%s", prefix, err, d.log)
		}
		if m := string(buf[:n]); strings.HasPrefix(m, prefix) {
			return m
		}
	}
}

// exit waits for the end and returns the exit code.
func (d *daemon) exit() int {
	d.t.Helper()
	select {
	case <-d.gone:
	case <-time.After(15 * time.Second):
		d.t.Fatalf("%s does not end:\n%s", d.cmd, d.log)
	}
	return d.cmd.ProcessState.ExitCode()
}

// stop ends the hub as systemd does.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if code := d.exit(); code != 0 {
		d.t.Fatalf("after SIGTERM: exit %d\n%s", code, d.log)
	}
}

// ask runs a command against this hub.
func (d *daemon) ask(args ...string) answered {
	d.t.Helper()
	return headcount(d.t, append(args, "--url", d.url)...)
}

// settled waits until the hub is well: its inputs come up after it has said that it is ready.
func (d *daemon) settled() { d.t.Helper(); d.sees("UP, running", "status") }

// sees asks until the answer says something: a snapshot may be 100 ms old.
func (d *daemon) sees(text string, args ...string) {
	d.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		a := d.ask(args...)
		if strings.Contains(a.out, text) {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s never says %q:\n%s%s%s", a.line, text, a.out, a.errors, d.log)
		}
	}
}

// post sends readings; the hub answers after the commit. Like every sender it comes again when
// the hub says that it is still starting.
func (d *daemon) post(body string) {
	d.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		res, err := http.Post(d.url+"/v1/readings", "application/json", strings.NewReader(body))
		if err != nil {
			d.t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
		if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			d.t.Fatalf("POST %s: %d %s", body, res.StatusCode, b)
		}
	}
}

func TestUsageErrorsExit2(t *testing.T) {
	inDir(t, nil)
	for _, tc := range []struct{ line, says string }{
		{"bogus", `unknown command "bogus"`},
		{"statsu", "did you mean status?"},
		{"config chek", "did you mean check?"},
		{"service instal", "did you mean install?"},
		{"spaces --nope", "--nope"},
		{"spaces extra", "extra"},
		{"config explain", "arg"},
		{"devices approve", "arg"},
		{"devices approve x", "--sensor"},
		{"devices approve x --sensor s", "--space or --door"},
		{"devices approve x --sensor s --space a --door b", "--space or --door"},
		{"devices approve x --sensor s --space a", "--class or --profile"},
		{"alerts acknowledge", "arg"},
		{"decode", "arg"},
		{"replay", "--config and --in"},
		{"run --log-level loud", "--log-level"},
		{"journal stats extra", "extra"},
		{"status --url ::", "--url"},
	} {
		headcount(t, strings.Fields(tc.line)...).is(exitUsage, tc.says)
	}
}

func TestHelpAndVersion(t *testing.T) {
	headcount(t).is(exitOK, "Usage:", "status", "journal")
	headcount(t, "--help").is(exitOK, "Usage:")
	headcount(t, "version").is(exitOK, version)
	headcount(t, "--version").is(exitOK, version)
}

func TestInitWritesWhatLoadsAndNeverOverwrites(t *testing.T) {
	inDir(t, nil)
	headcount(t, "init").is(exitOK, "wrote headcount.yaml")
	if info, err := os.Stat("headcount.yaml"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("headcount.yaml: %v %v, want mode 0600", info.Mode(), err)
	}
	headcount(t, "config", "check").is(exitOK, "headcount.yaml is good")
	before, _ := os.ReadFile("headcount.yaml")
	headcount(t, "init").is(exitFailure, "exists")
	if after, _ := os.ReadFile("headcount.yaml"); !bytes.Equal(before, after) {
		t.Error("init changed a file that was there")
	}
	headcount(t, "init", "other.yaml").is(exitOK, "other.yaml")
	headcount(t, "init", "no/such/dir.yaml").is(exitFailure, "no such file")
	if a := headcount(t, "init", "--print").is(exitOK); a.out != string(before) {
		t.Error("init --print differs from what init writes")
	}
}

const wrong = `site: {id: "hq oslo", timezone: Mars/Base}
spaces:
  - {id: a, kind: rom}
  - {id: b, kind: room, parent: nope}
inputs:
  - {driver: lines, prt: /dev/x}
alerts:
  - {name: x, for_each: room, when: "cont > 3"}
htp: {}
`

func TestConfigCheckNamesEveryMistakeWithItsPlace(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": wrong})
	for _, args := range [][]string{{"config", "check"}, {"config", "show"}, {"run"}, {"journal", "stats"}} {
		headcount(t, args...).is(exitConfig,
			"headcount.yaml:1:12: site.id", "headcount.yaml:1:33: site.timezone", `headcount.yaml:3:19: spaces[0].kind`, `did you mean "room"?`,
			"headcount.yaml:4:33: spaces[1].parent", "headcount.yaml:6:21: inputs[0].prt", "headcount.yaml:8:38: alerts[0].when", `did you mean "count"?`,
			"headcount.yaml:9:1: htp", `did you mean "http"?`)
	}
	var v verdict
	a := headcount(t, "config", "check", "--json").is(exitConfig).json(&v)
	if v.OK || len(v.Problems) != 7 || a.errors != "" {
		t.Errorf("%d problems, stderr %q; want 7 and nothing", len(v.Problems), a.errors)
	}
	if p := v.Problems[2]; p.File != "headcount.yaml" || p.Line != 3 || p.Column != 19 || p.Key != "spaces[0].kind" || p.Hint == "" {
		t.Errorf("third problem = %+v", p)
	}
	headcount(t, "replay", "-c", "headcount.yaml", "--in", "none").is(exitConfig, "spaces[0].kind")
}

func TestConfigThatIsMissingExits78AndSaysWhatToDo(t *testing.T) {
	inDir(t, map[string]string{"empty.yaml": "", "broken.yaml": "site: {id: x\nspaces: ["})
	headcount(t, "config", "check", "-c", "none.yaml").is(exitConfig, "none.yaml", "headcount init")
	headcount(t, "run", "-c", "none.yaml").is(exitConfig, "headcount init")
	headcount(t, "config", "check", "-c", "none.yaml", "--json").is(exitConfig, `"ok": false`, "none.yaml")
	headcount(t, "config", "check", "-c", "empty.yaml").is(exitConfig, "site", "missing")
	headcount(t, "config", "check", "-c", "broken.yaml").is(exitConfig, "broken.yaml:2:", "is not YAML")
	headcount(t, "config", "check", "-c", ".").is(exitConfig, "is not a file")
}

func TestConfigShowAndExplain(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	t.Setenv("HEADCOUNT__STORAGE__HISTORY", "7d")
	headcount(t, "config", "show").is(exitOK, `spaces[1].capacity = 4   # headcount.yaml:4:`, `storage.history = "7d"   # environment variable HEADCOUNT__STORAGE__HISTORY`, "# default")
	headcount(t, "config", "explain", "spaces.lobby.capacity").is(exitOK, "spaces[1].capacity = 4")
	headcount(t, "config", "explain", "htp.listen").is(exitFailure, "htp.listen", "config show")
	var list []struct{ Key, Value, From string }
	headcount(t, "config", "explain", "http.listen", "--json").is(exitOK).json(&list)
	if len(list) != 1 || list[0].Key != "http.listen" || list[0].Value != `"127.0.0.1:0"` || !strings.HasPrefix(list[0].From, "headcount.yaml:14:") {
		t.Errorf("explain --json = %+v", list)
	}
	var schema map[string]any
	headcount(t, "config", "schema").is(exitOK).json(&schema)
	if schema["$schema"] == nil {
		t.Error("config schema prints no JSON Schema")
	}
}

func TestNoHubExits5(t *testing.T) {
	inDir(t, nil)
	url := "http://" + unused(t)
	for _, line := range []string{"status", "spaces", "alerts", "devices", "status --json", "alerts acknowledge x", "devices ignore x"} {
		headcount(t, append(strings.Fields(line), "--url", url)...).is(exitNotRunning, "no hub answers at "+url)
	}
}

// unused is an address where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestDecodeAndReplay(t *testing.T) {
	var readings strings.Builder
	for i, n := range []int{100, 103, 103} {
		fmt.Fprintf(&readings, `{"rx":"2026-03-02T08:%02d:00Z","t":"2026-03-02T08:%02d:00Z","sensor":"door-7","count_in":%d,"count_out":50}`+"\n", i, i, n)
	}
	inDir(t, map[string]string{
		"headcount.yaml": office, "readings.jsonl": readings.String(),
		"truth.csv":   "time,space,count\n2026-03-02T08:02:30Z,lobby,3\n",
		"good.json":   `{"id":"s1","driver":"json","transport":"http","input":{"payload":{"sensor":"door-7","count_in":5}},"expected":[]}`,
		"broken.json": `{`,
	})
	headcount(t, "decode", "broken.json").is(exitFailure, "broken.json")
	headcount(t, "decode", "none.json").is(exitFailure, "none.json")
	headcount(t, "replay", "-c", "headcount.yaml", "--in", "none.jsonl").is(exitFailure, "none.jsonl")
	var score struct {
		N     int
		MAE   float64
		Hash  string `json:"state_hash"`
		Space string
	}
	a := headcount(t, "replay", "-c", "headcount.yaml", "--in", "readings.jsonl", "--every", "1m", "--truth", "truth.csv", "--out", "out.jsonl").is(exitOK)
	lines := strings.Split(strings.TrimSpace(a.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &score); err != nil || score.N != 1 || score.MAE != 0 || len(score.Hash) != 64 {
		t.Errorf("score = %+v, %v\n%s", score, err, a.out)
	}
	if out, err := os.ReadFile("out.jsonl"); err != nil || !bytes.Contains(out, []byte(`"space":"lobby"`)) {
		t.Errorf("--out: %v %.200s", err, out)
	}
}
