//go:build integration

package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers/drivertest"
)

// mosquitto is a real broker process.
type mosquitto struct {
	t    *testing.T
	addr string
	conf string
	cmd  *exec.Cmd
}

func newMosquitto(t *testing.T, more string) *mosquitto {
	t.Helper()
	dir := t.TempDir()
	m := &mosquitto{t: t, addr: freeAddr(t), conf: filepath.Join(dir, "conf")}
	_, port, _ := net.SplitHostPort(m.addr)
	text := fmt.Sprintf("user root\nlistener %s 127.0.0.1\npersistence true\npersistence_location %s/\nautosave_interval 1\nautosave_on_changes true\n%s\n", port, dir, more)
	if err := os.WriteFile(m.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

// start starts the process and waits until it takes connections.
func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if errors.Is(err, exec.ErrNotFound) {
		path = "/usr/sbin/mosquitto"
	}
	m.cmd = exec.Command(path, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatalf("mosquitto is needed for this test (Debian: apt install mosquitto): %v", err)
	}
	deadline := time.Now().Add(drivertest.Patience)
	for {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("mosquitto does not take connections: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

func TestIntegrationMosquitto(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true\nmax_queued_messages 10000")
	d := newDriver(t, t.TempDir(), map[string]any{"url": "mqtt://" + m.addr, "subscribe": []string{"sensors/#"}})
	sink := drivertest.NewSink()
	stop := run(t, d, sink)
	sink.WaitUp(t)
	dev := dialDevice(t, m.addr)
	defer dev.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*drivertest.Patience)
	defer cancel()
	send := func(from, to int) {
		t.Helper()
		for n := from; n <= to; n++ {
			if err := dev.Send(ctx, "door", n); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(what string, n int) {
		t.Helper()
		sink.Wait(t, what, func() bool { return len(sink.Counts("door")) >= n })
		got := sink.Counts("door")
		if len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%s: stored %v, want 1 to %d in order", what, got, n)
		}
	}
	send(1, 100)
	want("first hundred", 100)

	sink.FailNext(1, nil)
	send(101, 120)
	want("what the sink had refused", 120)

	stop()
	send(121, 140)
	run(t, d, sink)
	want("what came while the hub was away", 140)

	sink.WaitUp(t)
	m.kill()
	sink.WaitDown(t)
	m.start()
	sink.WaitUp(t)
	send(141, 150)
	want("after the broker was killed", 150)
}

func TestIntegrationMosquittoRefuses(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", users, "hub", "right").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd is needed for this test: %v %s", err, out)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMosquitto(t, "allow_anonymous false\npassword_file "+users)
	o := map[string]any{"url": "mqtt://" + m.addr, "subscribe": []string{"#"}, "username": "hub", "password_file": secret}
	ctx, cancel := context.WithTimeout(context.Background(), drivertest.Patience)
	defer cancel()
	if err := newDriver(t, t.TempDir(), o).Run(ctx, drivertest.NewSink()); err == nil || !strings.Contains(err.Error(), "not authorised") {
		t.Errorf("wrong password: %v", err)
	}
	if err := os.WriteFile(secret, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := drivertest.NewSink()
	run(t, newDriver(t, t.TempDir(), o), sink)
	sink.WaitUp(t)
}
