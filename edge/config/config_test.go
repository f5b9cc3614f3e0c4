package config

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

//go:embed testdata/design.yaml
var designYAML []byte

func parsed(t *testing.T, text string, opts Options) *Config {
	t.Helper()
	c, err := Parse("/etc/headcount/headcount.yaml", []byte(text), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused returns the one-line messages of a configuration with mistakes.
func refused(t *testing.T, text string, opts Options) string {
	t.Helper()
	_, err := Parse("f.yaml", []byte(text), opts)
	var errs *Errors
	if !errors.As(err, &errs) {
		t.Fatalf("%s\ngot error %v, want *Errors", text, err)
	}
	return err.Error()
}

func TestTheExampleOfTheDesignMeansWhatItSays(t *testing.T) {
	c := parsed(t, string(designYAML), Options{})
	if got := c.Site; got.ID != "hq-oslo" || got.Timezone != "Europe/Oslo" || len(got.Spaces) != 4 || len(got.Doors) != 2 || len(got.Sensors) != 2 {
		t.Errorf("site %+v", got)
	}
	if got, want := c.Site.Spaces[2], (edge.Space{ID: "lobby", Kind: edge.Room, Parent: "floor-1", Capacity: 40, Hours: "Mon-Fri 07:00-19:00"}); got != want {
		t.Errorf("space %+v, want %+v", got, want)
	}
	if got, want := c.Site.Doors[0], (edge.Door{ID: "entrance", Between: [2]string{"outside", "lobby"}}); got != want {
		t.Errorf("door %+v, want %+v", got, want)
	}
	if got := c.Inputs[3]; got.ID != "enocean-1" || got.Driver != "enocean" || string(got.Options) != `{"port":{"vid":"0403","pid":"6001","serial":"FT3X"}}` || got.Pos.Line != 14 {
		t.Errorf("input %+v %s", got, got.Options)
	}
	a := c.Alerts[0]
	a.Pos = Position{}
	if want := (Alert{Name: "over-capacity", ForEach: "room", When: "count_low > capacity", For: 2 * time.Minute, Clear: "count <= 0.9 * capacity", Severity: edge.Critical, Actions: []string{"facilities"}}); !reflect.DeepEqual(a, want) {
		t.Errorf("alert %+v, want %+v", a, want)
	}
	if got := c.Actions["facilities"]; got.Kind != WebhookAction || got.Webhook != "https://…" || got.SecretFile != "/etc/headcount/webhook.key" || got.Timeout != 10*time.Second {
		t.Errorf("action %+v", got)
	}
	if got, want := *c.Uplink, (Uplink{URL: "tls://nats.example.org:4222", CredentialsFile: "/var/lib/headcount/site.creds"}); got != want {
		t.Errorf("uplink %+v, want %+v", got, want)
	}
	if got, want := c.Storage, (Storage{Dir: "/var/lib/headcount", MaxSize: 4 << 30, History: 30 * 24 * time.Hour, WearBudget: "auto"}); got != want {
		t.Errorf("storage %+v, want %+v", got, want)
	}
	if got := c.HTTP.Listen; got != "127.0.0.1:8080" {
		t.Errorf("listens on %s; without a token file :8080 must mean this machine only", got)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "headcount.yaml:25:16: http.listen: is opened on 127.0.0.1:8080 only") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestTheStarterFileLoadsWithoutWarning(t *testing.T) {
	if c := parsed(t, string(Example()), Options{}); len(c.Warnings) > 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestDefaults(t *testing.T) {
	c := parsed(t, "site: {id: s}\nspaces: [{id: r}]", Options{Dir: "/data"})
	if c.Site.Timezone != "UTC" || c.Site.Spaces[0].Kind != edge.Room {
		t.Errorf("site %+v", c.Site)
	}
	if want := (Storage{Dir: "/data", MaxSize: 4 << 30, History: 720 * time.Hour, WearBudget: "auto"}); c.Storage != want {
		t.Errorf("storage %+v, want %+v", c.Storage, want)
	}
	if c.HTTP.Listen != "127.0.0.1:8080" || c.Uplink != nil {
		t.Errorf("http %+v, uplink %v", c.HTTP, c.Uplink)
	}
	if got := strings.Join(c.Warnings, "\n"); !strings.Contains(got, `no sensor observes the room "r"`) || !strings.Contains(got, "inputs: there are none") {
		t.Errorf("warnings %s", got)
	}
	if got := parsed(t, "site: {id: s}", Options{}).Storage.Dir; got != DefaultDir {
		t.Errorf("storage.dir %s, want %s", got, DefaultDir)
	}
}

func TestRelativeFilesStartAtTheFoldersFile(t *testing.T) {
	c := parsed(t, `
site: {id: s}
storage: {dir: data}
http: {listen: ":80", token_file: t}
inputs: [{driver: broker, tls: {ca_file: ca.pem}, users: [{password_file: p}], config_file: /abs}]
`, Options{})
	if c.Storage.Dir != "/etc/headcount/data" || c.HTTP.TokenFile != "/etc/headcount/t" || c.HTTP.Listen != ":80" {
		t.Errorf("storage %+v, http %+v", c.Storage, c.HTTP)
	}
	if got, want := string(c.Inputs[0].Options), `{"tls":{"ca_file":"/etc/headcount/ca.pem"},"users":[{"password_file":"/etc/headcount/p"}],"config_file":"/abs"}`; got != want {
		t.Errorf("options %s, want %s", got, want)
	}
}

func TestWearBudget(t *testing.T) {
	for text, want := range map[string]struct {
		n    int64
		auto bool
	}{"auto": {0, true}, "none": {0, false}, "4GB": {4e9, false}} {
		c := parsed(t, "site: {id: s}\nstorage: {wear_budget: "+text+"}", Options{})
		if n, auto := c.Storage.WearBytes(); n != want.n || auto != want.auto {
			t.Errorf("%s: %d, %v", text, n, auto)
		}
	}
}

func TestReplaySite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "site.yaml")
	text := "spaces: [{id: Room_1, capacity: 38}]\ndoors: [{id: d, between: [outside, Room_1]}]\nsensors:\n- {id: door1, class: line-tof, door: d}\n- {id: pir1, space: Room_1}\nhttp: {listen: \"0.0.0.0:80\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadSite(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Site.ID != "site" || c.Site.Timezone != "UTC" || c.Site.Spaces[0].ID != "Room_1" || c.Site.Sensors[1].Space != "Room_1" {
		t.Errorf("site %+v", c.Site)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "door: d", "door: x")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSite(file, nil); err == nil || !strings.Contains(err.Error(), `there is no door "x"`) {
		t.Errorf("got %v, want the door refused", err)
	}
}

func TestTheHashIsOfWhatItMeans(t *testing.T) {
	base := parsed(t, "site: {id: s, name: N}", Options{}).Hash
	for text, same := range map[string]bool{
		"site:\n  name: N # comment\n  id: \"s\"\n":    true,
		"site: {id: s, name: N, timezone: UTC}":        true,
		"site: {id: s, name: M}":                       false,
		"site: {id: s, name: N}\nspaces: [{id: room}]": false,
	} {
		if got := parsed(t, text, Options{}).Hash; (got == base) != same {
			t.Errorf("%q: hash %s, base %s, want same %v", text, got, base, same)
		}
	}
}

func TestWhatIsNotAConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "f.yaml:1:1: site: is missing",
		"# nothing\n":                     "site: is missing",
		"hello":                           "must be a map of keys",
		"[1]":                             "must be a map of keys",
		"site: {id: s}\n---\nsite: 1":     "there is a second document",
		"site: {id: s":                    "is not YAML",
		"site: {id: *x}":                  "there is no anchor &x",
		"site: &a {id: s, name: *a}":      "there is no anchor",
		"site: {id: !!str s}":             "is not used here",
		"site:\n  <<: {id: s}":            "<< is not used here",
		"a: " + strings.Repeat("[", 500):  "is nested deeper",
		strings.Repeat("a:\n", maxKeys+1): "has more than 50000 keys",
		strings.Repeat("- ", 500):         "is nested deeper",
		"\xff\xfe":                        "f.yaml",
		"site:\n\tid: s":                  "f.yaml:2:",
	} {
		if got := refused(t, text, Options{}); !strings.Contains(got, want) {
			t.Errorf("%.40q: got %s, want %q in it", text, got, want)
		}
	}
}

func TestAliasesRepeatAndDoNotExplode(t *testing.T) {
	c := parsed(t, "site: {id: s}\nspaces:\n- {id: a, hours: &h \"Mon 08:00-09:00\"}\n- {id: b, hours: *h}", Options{})
	if c.Site.Spaces[1].Hours != "Mon 08:00-09:00" {
		t.Errorf("spaces %+v", c.Site.Spaces)
	}
	var bomb strings.Builder
	bomb.WriteString("inputs:\n- {driver: x, a0: &a0 [1,1,1,1,1,1,1,1,1,1]}\n")
	for i := 1; i < 9; i++ {
		prev := "*a" + string(rune('0'+i-1))
		bomb.WriteString("- {driver: x, a: &a" + string(rune('0'+i)) + " [" + strings.Repeat(prev+", ", 9) + prev + "]}\n")
	}
	if got := refused(t, bomb.String(), Options{}); !strings.Contains(got, "is too large") {
		t.Errorf("got %s", got)
	}
}

func TestAMistakeInABlockTextIsToldAtItsStart(t *testing.T) {
	got := refused(t, "site: {id: s}\nalerts:\n  - name: a\n    for_each: room\n    when: |\n      known and\n      cuont > 3\n", lint())
	if !strings.HasPrefix(got, "f.yaml:6:7: alerts[0].when: there is no \"cuont\"") && !strings.HasPrefix(got, "f.yaml:5:") {
		t.Errorf("got %s", got)
	}
}
