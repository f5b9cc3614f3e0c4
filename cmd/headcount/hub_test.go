package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
)

func TestOperatorsDay(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	hub := start(t, nil)
	hub.settled()
	hub.ask("status").is(exitOK, "office: UP, running", "httppush-1", "keeps to itself")
	hub.ask("alerts").is(exitOK, "no alerts")
	hub.ask("spaces").is(exitOK, "unknown", "?-?")

	hub.post(`{"sensor":"seats","count_abs":9}`)
	hub.post(`{"sensor":"new-pir","motion":true}`)
	hub.sees("crowd.lobby", "alerts")
	hub.ask("spaces").is(exitOK, "lobby", "occupied")
	var spaces struct{ Spaces []edge.SpaceView }
	hub.ask("spaces", "--json").is(exitOK).json(&spaces)
	if len(spaces.Spaces) != 2 || spaces.Spaces[1].ID != "lobby" || spaces.Spaces[1].Occupancy.Count == nil {
		t.Errorf("spaces --json = %+v", spaces)
	}

	var alerts struct{ Alerts []edge.Alert }
	hub.ask("alerts", "--json").is(exitOK).json(&alerts)
	at := slices.IndexFunc(alerts.Alerts, func(a edge.Alert) bool { return a.Rule == "crowd" })
	if at < 0 {
		t.Fatalf("alerts --json = %+v", alerts)
	}
	crowd := alerts.Alerts[at].ID
	hub.ask("alerts").is(exitOK, "firing", "critical")
	hub.ask("alerts", "acknowledge", crowd, "--note", "on my way").is(exitOK, "acknowledged "+crowd)
	hub.ask("alerts").is(exitOK, "acknowledged")
	hub.ask("alerts", "acknowledge", "no-such").is(exitFailure, "no-such", "404")

	hub.sees("new-pir", "devices")
	hub.ask("devices", "--state", "pending").is(exitOK, "new-pir", "presence=true")
	hub.ask("devices", "--state", "lost").is(exitFailure, "state", "pending")
	hub.ask("devices", "approve", "new-pir", "--sensor", "pir-1", "--space", "lobbi", "--class", "pir").is(exitFailure, "space", "lobbi")
	hub.ask("devices", "approve", "new-pir", "--sensor", "pir-1", "--space", "lobby", "--class", "pirr").is(exitFailure, "class")
	hub.ask("devices", "approve", "new-pir", "--sensor", "pir-1", "--space", "lobby", "--class", "pir").is(exitOK, "new-pir serves sensor pir-1")
	var devices struct{ Devices []edge.Device }
	hub.ask("devices", "--json", "--state", "pending").is(exitOK).json(&devices)
	if len(devices.Devices) != 0 {
		t.Errorf("pending after the approval: %+v", devices)
	}
	hub.post(`{"sensor":"other","motion":true}`)
	hub.sees("other", "devices")
	hub.ask("devices", "ignore", "other").is(exitOK, "ignored")

	var status api.Status
	hub.ask("status", "--json").is(exitOK).json(&status)
	if status.Site != "office" || status.State != "running" || status.Counts.Readings == 0 {
		t.Errorf("status --json = %+v", status)
	}
	hub.stop()
	hub.ask("status").is(exitNotRunning)
}

func TestStatusExits4WhenDegraded(t *testing.T) {
	dir := inDir(t, nil)
	config := strings.Replace(office, "  - {driver: httppush}\n", "  - {driver: httppush}\n  - {id: gate, driver: lines, port: "+filepath.Join(dir, "no-such-port")+"}\n", 1)
	if err := os.WriteFile("headcount.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	hub := start(t, nil)
	hub.ask("status").is(exitDegraded, "DEGRADED", "input gate", "DOWN")
	hub.ask("status", "--json").is(exitDegraded, `"gate"`)
}

func TestCommandsFindTheHubThroughItsConfiguration(t *testing.T) {
	inDir(t, map[string]string{"tokens": "# who may\nanna:0123456789abcdef0123\n"})
	config := strings.Replace(office, `{listen: "127.0.0.1:0"}`, `{listen: "`+unused(t)+`", token_file: tokens}`, 1)
	if err := os.WriteFile("headcount.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	hub := start(t, nil)
	headcount(t, "spaces").is(exitOK, "lobby")
	hub.ask("spaces").is(exitFailure, "401", "--token-file")
	hub.ask("spaces", "--token-file", "tokens").is(exitOK, "lobby")
	hub.ask("spaces", "--token-file", "headcount.yaml").is(exitFailure, "headcount.yaml: line 1")
	hub.ask("spaces", "--token-file", "none").is(exitFailure, "none")
}

func TestStoreOfAStoppedHub(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	headcount(t, "journal", "stats").is(exitFailure, "there is no store", "--dir")
	hub := start(t, nil)
	hub.post(`[{"sensor":"door-7","count_in":10,"count_out":4},{"sensor":"door-7","count_in":12,"count_out":4}]`)
	hub.post(`{"sensor":"door-7","count_in":13,"count_out":4}`)
	headcount(t, "journal", "verify").is(exitFailure, "a hub runs on the store", "stop it first", "headcount status")
	hub.stop()

	headcount(t, "journal", "stats").is(exitOK, "lane events", "lane readings", "to send")
	var j api.Journal
	headcount(t, "journal", "stats", "--json").is(exitOK).json(&j)
	if j.Epoch == "" || j.Lanes.Readings.Head != 2 || j.Lanes.Events.Head == 0 || j.Lanes.Readings.BacklogRecords != 2 {
		t.Errorf("stats --json = %+v", j)
	}
	headcount(t, "journal", "verify").is(exitOK, "byte for byte")
	var verified struct{ Verified int }
	headcount(t, "journal", "verify", "--json").is(exitOK).json(&verified)
	if verified.Verified == 0 {
		t.Error("verify compared nothing")
	}
	export := headcount(t, "journal", "export", "--dir", "headcount-data").is(exitOK)
	var records int
	for line := range strings.Lines(export.out) {
		var r struct{ Specversion, ID, Source, Type string }
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Specversion != "1.0" || r.Source != "office" {
			t.Fatalf("exported %q: %v", line, err)
		}
		records++
	}
	if want := int(j.Lanes.Events.Head + j.Lanes.Readings.Head); records != want {
		t.Errorf("%d records exported, want %d", records, want)
	}
}

func TestTwoHubsOnOneStore(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	first := start(t, nil)
	second := launch(t, nil, "run")
	if code := second.exit(); code != exitFailure || !strings.Contains(second.log.String(), "another headcount runs on this store (process ") {
		t.Errorf("second hub: exit %d\n%s", code, second.log)
	}
	first.settled()
}

func TestPortInUse(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	first := start(t, nil)
	second := launch(t, []string{"HEADCOUNT__HTTP__LISTEN=" + strings.TrimPrefix(first.url, "http://"), "HEADCOUNT__STORAGE__DIR=" + t.TempDir()}, "run")
	if code := second.exit(); code != exitFailure || !strings.Contains(second.log.String(), "choose another") {
		t.Errorf("exit %d\n%s", code, second.log)
	}
}

func TestStoresThatCannotBeUsed(t *testing.T) {
	dir := inDir(t, map[string]string{"headcount.yaml": office, "file": "x", "other.yaml": strings.Replace(office, "id: office", "id: other", 1)})
	mkdir := func(name string, mode os.FileMode) string {
		if err := os.MkdirAll(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	if err := os.WriteFile(filepath.Join(mkdir("in-the-way", 0o700), "journal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := mkdir("foreign", 0o700)
	start(t, []string{"HEADCOUNT__STORAGE__DIR=" + foreign}, "-c", "other.yaml").stop()
	for _, tc := range []struct{ name, store, says string }{
		{"a file", filepath.Join(dir, "file"), "storage.dir"},
		{"a file where the journal goes", filepath.Join(dir, "in-the-way"), "is a file, not a directory"},
		{"another site's", foreign, `belongs to site "other"`},
		{"not writable", "/proc/headcount", "storage.dir"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := launch(t, []string{"HEADCOUNT__STORAGE__DIR=" + tc.store}, "run")
			if code := d.exit(); code != exitFailure || !strings.Contains(d.log.String(), tc.says) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, exitFailure, tc.says, d.log)
			}
		})
	}
}

func TestServiceManagerIsTold(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	hub := start(t, []string{"WATCHDOG_USEC=300000"})
	hub.hears("WATCHDOG=1")
	hub.hears("WATCHDOG=1")
	if err := hub.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hub.hears("STOPPING=1")
	if code := hub.exit(); code != 0 {
		t.Errorf("exit %d\n%s", code, hub.log)
	}
}

func TestServiceStatusWithoutSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		headcount(t, "service", "status").is(exitNotRunning, "headcount service")
		return
	}
	headcount(t, "service", "status").is(exitNotRunning, "no systemd", "headcount run")
	var v struct{ Service string }
	headcount(t, "service", "status", "--json").is(exitNotRunning).json(&v)
	if v.Service != "no systemd" {
		t.Errorf("service status --json = %+v", v)
	}
	for _, verb := range []string{"install", "start", "stop", "restart", "uninstall"} {
		headcount(t, "service", verb).is(exitNotRunning, "no systemd", "headcount run")
	}
}

func TestCommandsTrustTheHubsOwnCertificate(t *testing.T) {
	dir := inDir(t, nil)
	certify(t, "mine")
	certify(t, "other")
	address := unused(t)
	write := func(name, cert string) {
		config := strings.Replace(office, `{listen: "127.0.0.1:0"}`, `{listen: "`+address+`", tls_cert_file: `+cert+`.pem, tls_key_file: `+cert+`.key}`, 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("headcount.yaml", "mine")
	write("stranger.yaml", "other")
	hub := start(t, nil)
	if !strings.HasPrefix(hub.url, "https://") {
		t.Errorf("the hub serves %s", hub.url)
	}
	headcount(t, "spaces").is(exitOK, "lobby")
	headcount(t, "spaces", "-c", "stranger.yaml").is(exitFailure, "does not have the certificate of")
	hub.ask("spaces").is(exitFailure, "certificate")
}

// Beyond loopback the hub makes a certificate, which the commands on this machine find.
func TestCommandsTrustTheSelfSignedCertificate(t *testing.T) {
	dir := inDir(t, nil)
	_, port, err := net.SplitHostPort(unused(t))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(office, `{listen: "127.0.0.1:0"}`, `{listen: ":`+port+`", token_file: tokens}`, 1)
	for name, body := range map[string]string{"headcount.yaml": config, "tokens": "ops:0123456789abcdef0123\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if hub := start(t, nil); !strings.HasPrefix(hub.url, "https://") {
		t.Errorf("the hub serves %s", hub.url)
	}
	headcount(t, "spaces").is(exitOK, "lobby")
}

// certify makes a certificate of its own, name.pem and name.key.
func certify(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: cert}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
