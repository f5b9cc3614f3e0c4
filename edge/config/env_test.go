package config

import (
	"strings"
	"testing"
)

func TestExpandText(t *testing.T) {
	env := map[string]string{"A": "one", "EMPTY": ""}
	for in, want := range map[string]string{
		"plain": "plain", "${A}": "one", "x${A}y${A}": "xoneyone", "${B:-two}": "two", "${A:-two}": "one",
		"${EMPTY}": "", "${EMPTY:-two}": "two", "$$": "$", "$${A}": "${A}", "5$": "5$", "$5": "$5", "${B:-}": "",
		"${A:?needed}": "one",
	} {
		if got, _, err := expandText(in, env); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"${B}": "variable B is not set", "${B:?set it to the key}": "B is not set: set it to the key",
		"${EMPTY:?}": "is needed", "${A": "${ without }", "${}": "does not name", "${1A}": "does not name", "${A:+x}": "is not ${VAR}", "${A-x}": "is not ${VAR}",
	} {
		if _, _, err := expandText(in, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", in, err, want)
		}
	}
}

const small = "site: {id: s, name: \"${NAME:-N}\"}\nspaces: [{id: room-1, capacity: \"${CAP:-5}\"}]\ninputs: [{driver: mqtt, port: \"${PORT:-1883}\"}]\nactions: {a-b: {log: true}}\n"

func TestTheEnvironmentFillsInAndOverrides(t *testing.T) {
	c := parsed(t, small, Options{Env: []string{
		"CAP=9", "NAME=12", "HEADCOUNT__HTTP__LISTEN=127.0.0.1:9090", "HEADCOUNT__SITE__TIMEZONE=Europe/Oslo",
		"HEADCOUNT__SPACES__ROOM_1__VOLUME_M3=72.5", "HEADCOUNT__SPACES__0__NAME=Big", "HEADCOUNT__ACTIONS__A_B__TIMEOUT=3s",
		"HEADCOUNT__INPUTS__0__SUBSCRIBE=[\"a/#\", b]", "HEADCOUNT__INPUTS__0__QOS=1", "HEADCOUNT__INPUTS__0__PASSWORD=\"1234\"",
		"HEADCOUNT__UPLINK__URL=tls://cloud.example.org", "OTHER=x",
	}})
	sp := c.Site.Spaces[0]
	if c.Site.Name != "12" || sp.Capacity != 9 || sp.VolumeM3 != 72.5 || sp.Name != "Big" || c.Site.Timezone != "Europe/Oslo" {
		t.Errorf("site %+v", c.Site)
	}
	if c.HTTP.Listen != "127.0.0.1:9090" || c.Uplink == nil || c.Uplink.URL != "tls://cloud.example.org" {
		t.Errorf("http %+v, uplink %+v", c.HTTP, c.Uplink)
	}
	if got, want := string(c.Inputs[0].Options), `{"port":"1883","password":"1234","qos":1,"subscribe":["a/#","b"]}`; got != want {
		t.Errorf("options %s, want %s", got, want)
	}
}

func TestMistakesInTheEnvironmentNameTheVariable(t *testing.T) {
	for env, want := range map[string]string{
		"HEADCOUNT__HTP__LISTEN=x":                `environment variable HEADCOUNT__HTP__LISTEN: htp: there is no such key (did you mean "http"?`,
		"HEADCOUNT__HTTP__LISTEN=x":               `environment variable HEADCOUNT__HTTP__LISTEN: http.listen: "x" is not an address`,
		"HEADCOUNT__SPACES__ROOM_2__CAPACITY=1":   `spaces: has no element ROOM_2`,
		"HEADCOUNT__SPACES__7__CAPACITY=1":        `spaces: has no element 7`,
		"HEADCOUNT__SPACES__ROOM_1__CAPACITY=x":   `spaces[0].capacity: must be a whole number, not the text "x"`,
		"HEADCOUNT__SITE__ID__X=1":                `site.id: has nothing inside that X could name`,
		"HEADCOUNT__INPUTS=[{":                    `environment variable HEADCOUNT__INPUTS: is not YAML`,
		"HEADCOUNT__=1":                           `there is no such key`,
		"HEADCOUNT__STORAGE__HISTORY=30":          `storage.history: "30" is not a duration`,
		"CAP=many":                                `f.yaml:2:33: spaces[0].capacity: must be a whole number, not the text "many"`,
		"CAP= ":                                   `spaces[0].capacity: must be a whole number`,
		"HEADCOUNT__SITE__NAME=\"open":            `is not YAML`,
		"HEADCOUNT__DOORS=[{id: d, between: []}]": `doors[0].between: must have 2 elements, has 0`,
	} {
		if got := refused(t, small, Options{Env: []string{env}}); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %q in it", env, got, want)
		}
	}
	got := refused(t, "site: {id: \"${SITE}\"}", Options{})
	if want := "f.yaml:1:12: site.id: the environment variable SITE is not set"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExplainTellsWhereAValueCameFrom(t *testing.T) {
	c := parsed(t, small+"uplink: {url: \"nats://me:hush@h:4222\"}\n", Options{Env: []string{"HEADCOUNT__SITE__NAME=E", "HEADCOUNT__INPUTS__0__PASSWORD=hush"}})
	for _, want := range []Explanation{
		{Key: "site.name", Value: `"E"`, From: "environment variable HEADCOUNT__SITE__NAME"},
		{Key: "site.timezone", Value: `"UTC"`, From: "default"},
		{Key: "spaces.room-1.capacity", Value: "5", From: "/etc/headcount/headcount.yaml:2:33"},
		{Key: "spaces[0].capacity", Value: "5", From: "/etc/headcount/headcount.yaml:2:33"},
		{Key: "storage.max_size", Value: `"4GiB"`, From: "default"},
		{Key: "inputs.0.password", Value: `"***"`, From: "environment variable HEADCOUNT__INPUTS__0__PASSWORD"},
		{Key: "uplink.url", Value: `"nats://me:xxxxx@h:4222"`, From: "/etc/headcount/headcount.yaml:5:15"},
	} {
		got := c.Explain(want.Key)
		if len(got) != 1 || got[0].Value != want.Value || got[0].From != want.From {
			t.Errorf("%s: got %+v, want %+v", want.Key, got, want)
		}
	}
	if got := c.Explain("spaces"); len(got) != 3 || got[0].Description == "" {
		t.Errorf("spaces: got %+v, want id, capacity and kind with descriptions", got)
	}
	if got := c.Explain("nowhere.at.all"); got != nil {
		t.Errorf("got %+v, want none", got)
	}
	all := len(c.Explain(""))
	if all < 15 {
		t.Errorf("%d explanations of everything", all)
	}
	if show := string(c.Show()); strings.Contains(show, "hush") || !strings.Contains(show, `"name": "E"`) {
		t.Errorf("shows\n%s", show)
	}
}
