//go:build integration

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a systemd that runs in namespaces and control groups of its own, with a hub's
// program and configuration on its disk.
type machine struct {
	t    *testing.T
	pid1 string
	log  bytes.Buffer
}

// boot starts one; it and all its processes end with the test.
func boot(t *testing.T, config string) *machine {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "systemctl", "/lib/systemd/systemd", "useradd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: this test needs systemd and util-linux on Linux", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test boots a systemd in namespaces and needs root for it")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "headcount")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file, root := filepath.Join(dir, "headcount.yaml"), filepath.Join(dir, "root")
	if err := errors.Join(os.WriteFile(file, []byte(config), 0o600), os.Mkdir(root, 0o755)); err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("headcount-test-%d", os.Getpid())
	m := &machine{t: t}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "testdata/boot.sh", root, program, file, group)
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		m.until("the control groups are gone", func() bool { return removed(group) })
	})
	m.until("systemd runs", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		m.pid1 = strings.TrimSpace(string(children))
		out, _ := m.do("systemctl", "is-active", "mini.target")
		return out == "active"
	})
	return m
}

// removed deletes the test's control groups, deepest first, and tells whether none is left.
func removed(group string) bool {
	gone := true
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + group)
		for _, top := range found {
			var dirs []string
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for i := len(dirs) - 1; i >= 0; i-- {
				gone = syscall.Rmdir(dirs[i]) == nil && gone
			}
		}
	}
	return gone
}

// do runs a command on the machine.
func (m *machine) do(args ...string) (out string, code int) {
	cmd := exec.Command("nsenter", append([]string{"-t", m.pid1, "-m", "-p", "-u", "-i", "-C", "-r", "-w"}, args...)...)
	b, _ := cmd.CombinedOutput()
	return strings.TrimSpace(string(b)), cmd.ProcessState.ExitCode()
}

// headcount runs the installed command.
func (m *machine) headcount(code int, says string, args ...string) {
	m.t.Helper()
	out, got := m.do(append([]string{"/opt/headcount/headcount"}, args...)...)
	if got != code || !strings.Contains(out, says) {
		m.t.Errorf("headcount %s: exit %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, says, out)
	}
}

// property asks systemd about the service.
func (m *machine) property(name string) string {
	out, _ := m.do("systemctl", "show", "headcount", "--property", name, "--value")
	return out
}

func (m *machine) until(what string, ok func() bool) {
	m.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			status, _ := m.do("systemctl", "status", "headcount", "--no-pager")
			m.t.Fatalf("never: %s\n%s\n%s", what, status, &m.log)
		}
	}
}

// restarted does something to the service and waits until systemd has it running again in
// another process.
func (m *machine) restarted(what string, do func()) {
	m.t.Helper()
	was := m.property("MainPID")
	began := time.Now()
	do()
	m.until("running again after "+what, func() bool {
		pid := m.property("MainPID")
		return pid != was && pid != "0" && m.property("ActiveState") == "active"
	})
	m.t.Logf("running again %s after %s", time.Since(began).Round(100*time.Millisecond), what)
}

// TestIntegrationService installs the service into a real systemd and treats it badly.
func TestIntegrationService(t *testing.T) {
	m := boot(t, strings.Replace(office, "127.0.0.1:0", unused(t), 1))
	m.headcount(exitNotRunning, "not installed", "service", "status")
	m.headcount(exitNotRunning, "not installed", "service", "uninstall")
	m.headcount(exitOK, "installed", "service", "install")
	m.headcount(exitFailure, "installed already", "service", "install")
	m.headcount(exitNotRunning, "stopped", "service", "status")
	m.headcount(exitOK, "started", "service", "start")
	m.headcount(exitOK, "running", "service", "status")
	if got := m.property("StatusText"); !strings.HasPrefix(got, "serving http://127.0.0.1:") {
		t.Errorf("status text %q", got)
	}
	m.until("the hub is well", func() bool {
		_, code := m.do("/opt/headcount/headcount", "status", "-c", "/etc/headcount/headcount.yaml")
		return code == exitOK
	})
	for property, want := range map[string]string{
		"User": "headcount", "Restart": "always", "Type": "notify", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "WatchdogUSec": "30s",
	} {
		if got := m.property(property); got != want {
			t.Errorf("%s = %q, want %q", property, got, want)
		}
	}

	m.restarted("SIGKILL", func() { m.do("systemctl", "kill", "--signal", "KILL", "headcount") })
	if out, code := m.do("sh", "-c", "mkdir -p /run/systemd/system/headcount.service.d && printf '[Service]\\nWatchdogSec=1\\n' >/run/systemd/system/headcount.service.d/watchdog.conf && systemctl daemon-reload"); code != 0 {
		t.Fatal(out)
	}
	m.headcount(exitOK, "restarted", "service", "restart")
	m.restarted("hanging", func() { m.do("systemctl", "kill", "--signal", "STOP", "headcount") })

	if out, code := m.do("sh", "-c", "echo 'htp: {}' >>/etc/headcount/headcount.yaml"); code != 0 {
		t.Fatal(out)
	}
	m.headcount(exitFailure, "journalctl", "service", "restart")
	m.headcount(exitNotRunning, "failed", "service", "status")
	if got := m.property("ExecMainStatus") + " " + m.property("NRestarts"); got != "78 0" {
		t.Errorf("exit status and restarts after a mistake in the configuration = %s, want 78 0", got)
	}
	m.do("sed", "-i", "/^htp/d", "/etc/headcount/headcount.yaml")
	m.headcount(exitOK, "started", "service", "start")
	m.headcount(exitOK, "stopped", "service", "stop")
	m.headcount(exitOK, "uninstalled", "service", "uninstall")
	m.headcount(exitNotRunning, "not installed", "service", "status")
	if out, code := m.do("ls", "/var/lib/headcount/journal/epoch", "/etc/headcount/headcount.yaml"); code != 0 {
		t.Errorf("uninstalling took what it should leave: %s", out)
	}
}

// TestIntegrationSandbox lets systemd score the unit; 20 is 2.0 of 10, and without a sandbox it
// would be 9.6.
func TestIntegrationSandbox(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "../../systemd/headcount.service").CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}
