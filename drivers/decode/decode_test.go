package decode

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run decodes samples and returns what was printed.
func run(t *testing.T, o Options, samples ...string) (exact bool, out string) {
	t.Helper()
	var files []string
	for i, s := range samples {
		f := filepath.Join(t.TempDir(), string(rune('a'+i))+".json")
		if err := os.WriteFile(f, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	var b bytes.Buffer
	exact, err := Run(files, o, &b)
	if err != nil {
		t.Fatal(err)
	}
	return exact, b.String()
}

const (
	pir = `{"id":"z/pir","driver":"zigbee2mqtt","transport":"mqtt","input":{"topic":"zigbee2mqtt/pir","payload":{"occupancy":true,"linkquality":110}},
		"expected":[{"sensor":"SENSOR","kind":"presence","value":VALUE,"semantics":"SEMANTICS","ts":TS,"link_quality":LINK,"label":"x"}]}`
	lines = `{"id":"l","driver":"serial-lines","transport":"serial","input":{"text":"d,1\nd,2\nd,3","config":{"csv_columns":["id","count_in"]}},
		"expected":[{"sensor":"d","kind":"count_in","value":FIRST,"semantics":"cumulative","ts":null},{"sensor":"d","kind":"count_in","value":SECOND,"semantics":"cumulative","ts":null}]}`
)

func fill(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

func TestCheck(t *testing.T) {
	good := []string{"SENSOR", "pir", "VALUE", "true", "SEMANTICS", "motion-state", "TS", "null", "LINK", "110"}
	with := func(key, value string) string {
		p := append([]string(nil), good...)
		for i := 0; i < len(p); i += 2 {
			if p[i] == key {
				p[i+1] = value
			}
		}
		return fill(pir, p...)
	}
	mapped := `{"id":"m","driver":"generic-http-json","transport":"http","config":{"timezone":"Europe/Oslo"},"input":{"body":{"d":"x","n":2,"t":"2026-07-01T12:00:00"},"map":{"id":"d","people":"n","ts":"t"}},
		"expected":[{"sensor":"x","kind":"count_abs","value":2.0000001,"semantics":"absolute","ts":"2026-07-01T10:00:00.000Z"}]}`
	for _, c := range []struct {
		what, sample string
		o            Options
		exact        bool
		says         string
	}{
		{"all agree", with("", ""), Options{Check: true}, true, "exact 1 of 1"},
		{"another sensor", with("SENSOR", "other"), Options{Check: true}, false, "missing"},
		{"sensor ignored", with("SENSOR", "other"), Options{Check: true, IgnoreSensor: true}, true, "exact 1 of 1"},
		{"another value", with("VALUE", "false"), Options{Check: true}, false, "z/pir: missing"},
		{"another type", with("VALUE", "1"), Options{Check: true}, false, "exact 0 of 1"},
		{"other semantics", with("SEMANTICS", "state"), Options{Check: true}, false, "exact 0 of 1"},
		{"a time where there is none", with("TS", `"2026-01-31T12:00:00Z"`), Options{Check: true}, false, "exact 0 of 1"},
		{"a time that is none", with("TS", `"2026-01-31T12:00:00 (local, no zone)"`), Options{Check: true}, true, "exact 1 of 1"},
		{"another fact differs", with("LINK", "111"), Options{Check: true}, false, "exact 0 of 1"},
		{"no check", with("VALUE", "false"), Options{}, true, `"kind":"presence"`},
		{"map and zone of the site", mapped, Options{Check: true}, true, "exact 1 of 1"},
		{"stream in order", fill(lines, "FIRST", "1", "SECOND", "2"), Options{Check: true}, true, "exact 1 of 1"},
		{"stream out of order", fill(lines, "FIRST", "2", "SECOND", "1"), Options{Check: true}, false, "out of order"},
		{"one too many", fill(lines, "FIRST", "1", "SECOND", "1"), Options{Check: true}, false, "unexpected"},
		{"unknown driver", `{"id":"n","driver":"nope","input":{},"expected":[]}`, Options{Check: true}, false, "driver nope is not built"},
		{"unknown driver, no check", `{"id":"n","driver":"nope","input":{}}`, Options{}, false, "driver nope is not built"},
		{"no sample", `[1]`, Options{Check: true}, false, "is no sample"},
		{"nothing expected of what is broken", `{"id":"b","driver":"zigbee2mqtt","input":{"topic":"zigbee2mqtt/x","payload":"{\"occupancy\":"},"expected":[]}`, Options{Check: true}, true, "malformed"},
	} {
		exact, out := run(t, c.o, c.sample)
		if exact != c.exact || !strings.Contains(out, c.says) {
			t.Errorf("%s: exact %v, want %v with %q:\n%s", c.what, exact, c.exact, c.says, out)
		}
	}
	exact, out := run(t, Options{Check: true}, with("", ""), with("VALUE", "false"))
	if exact || !strings.HasSuffix(out, "exact 1 of 2\n") {
		t.Errorf("two samples, one exact: %v\n%s", exact, out)
	}
}

func TestMissingFileIsNotExact(t *testing.T) {
	var b bytes.Buffer
	exact, err := Run([]string{filepath.Join(t.TempDir(), "none.json")}, Options{Check: true}, &b)
	if exact || err != nil || !strings.Contains(b.String(), "exact 0 of 1") {
		t.Errorf("exact %v, %v:\n%s", exact, err, b.String())
	}
	if _, err := Run(nil, Options{}, &b); err == nil {
		t.Error("no file: no error")
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrorIsReturned(t *testing.T) {
	if _, err := Run([]string{"x"}, Options{}, full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}
