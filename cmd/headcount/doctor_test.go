package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDoctorTellsWhatIsInTheWay(t *testing.T) {
	dir := inDir(t, map[string]string{"headcount.yaml": office, "bad.yaml": "site: {}\nspaces: 3\n"})
	var list []finding
	headcount(t, "doctor", "--json").is(exitOK).json(&list)
	for _, check := range []string{"configuration", "hub", "clock", "ports", "disk", "cloud"} {
		if !slices.ContainsFunc(list, func(f finding) bool { return f.Check == check && f.Verdict != bad && f.Detail != "" }) {
			t.Errorf("no good word about %s in %+v", check, list)
		}
	}
	headcount(t, "doctor", "--config", "bad.yaml").is(exitDegraded, "bad", "bad.yaml:", "headcount config check")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ill := strings.Replace(office, `"127.0.0.1:0"`, `"`+taken.Addr().String()+`"`, 1)
	ill = strings.Replace(ill, "  - {driver: httppush}\n", "  - {driver: httppush}\n  - {driver: lines, port: "+dir+"/none}\n  - {driver: mqtt, url: \"mqtt://127.0.0.1:1\", subscribe: [\"a/#\"]}\n", 1)
	if err := os.WriteFile("ill.yaml", []byte(ill+"uplink: {url: \"nats://127.0.0.1:1\", org: acme}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	headcount(t, "doctor", "--config", "ill.yaml", "--url", "http://127.0.0.1:1").is(exitDegraded, "in use", "headcount detect", "broker", "cloud", "refused")
}

func TestDoctorOfARunningHub(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	hub := start(t, nil)
	hub.settled()
	hub.ask("doctor").is(exitOK, "running, version", "is the hub's")
}

func TestDetectFindsNamedBrokers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 64))
			_, _ = c.Write([]byte{0x20, 2, 0, 5})
			c.Close()
		}
	}()
	headcount(t, "detect", "--wait", "50ms", "--host", ln.Addr().String(), "--host", "127.0.0.1:1").is(exitOK, "wants a name and password", "not looked at: broker at 127.0.0.1:1")
	var d detected
	headcount(t, "detect", "--wait", "50ms", "--json", "--host", ln.Addr().String()).is(exitOK).json(&d)
	if len(d.Brokers) != 1 || d.Brokers[0].Address != ln.Addr().String() {
		t.Errorf("got %+v", d)
	}
	headcount(t, "detect", "--wait", "0s").is(exitUsage, "--wait")
}

func TestBundleHasEverythingButSecrets(t *testing.T) {
	config := office + "actions: {chat: {chat: \"mattermost+https://chat.example.org/hooks/CANARY1\"}, hook: {webhook: \"https://example.org/CANARY2/x?token=CANARY3\"}}\n"
	inDir(t, map[string]string{"headcount.yaml": config})
	hub := start(t, nil)
	hub.post(`{"sensor":"seats","count_abs":9}`)
	hub.ask("support-bundle", "help.tar.gz").is(exitOK, "wrote help.tar.gz")
	files := unpacked(t, "help.tar.gz")
	for name, want := range map[string]string{
		"status.json": `"site"`, "health.json": `"status"`, "journal.json": `"epoch"`, "loss.json": "loss", "metrics.txt": "headcount_",
		"log.jsonl": "hub is serving", "configuration.json": "http.listen", "doctor.json": `"verdict"`, "versions.txt": "headcount ",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %q: %.300s", name, want, files[name])
		}
	}
	for name, text := range files {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "count_abs") {
			t.Errorf("%s tells too much: %s", name, text)
		}
	}
	hub.stop()
	hub.ask("support-bundle", "off.tar.gz").is(exitOK)
	if files := unpacked(t, "off.tar.gz"); !strings.Contains(files["status.json.missing.txt"], "refused") || files["configuration.json"] == "" {
		t.Errorf("without a hub: %q", files)
	}
}

func unpacked(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(packed); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "headcount-support/")] = string(b)
	}
}

func TestLogIsJSONWhenAsked(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	hub := start(t, nil, "--log-format", "json")
	hub.stop()
	for line := range strings.Lines(hub.log.String()) {
		var l struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Msg == "" || l.Level == "" {
			t.Errorf("not a line of JSON: %s", line)
		}
	}
	headcount(t, "run", "--log-format", "xml").is(exitUsage, "text or json")
}
