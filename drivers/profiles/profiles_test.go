package profiles

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

func TestModels(t *testing.T) {
	if _, err := all(); err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		p, _ := Lookup(name)
		if p.Title == "" {
			t.Errorf("%s has no title", name)
		}
		if _, err := Open(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range p.Topics {
			if err := CheckFilter(f); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestOpenMistakes(t *testing.T) {
	for _, c := range []struct{ name, options, says string }{
		{"zigbe2mqtt", ``, "known profiles: "},
		{"zigbee2mqtt", `{"bsae":"x"}`, "unknown field"},
		{"zigbee2mqtt", `[]`, "want an object"},
	} {
		if _, err := Open(c.name, json.RawMessage(c.options)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %q", c.name, c.options, err, c.says)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a", false},
		{"a/+", "a/b/c", false}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"#", "a/b", true}, {"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"+/+/c", "a/b/c", true}, {"a//b", "a//b", true}, {"/a", "/a", true}, {"+", "", true},
	} {
		if got := Match(c.filter, c.topic); got != c.want {
			t.Errorf("%s matches %s: %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}

func TestBindings(t *testing.T) {
	own := map[string]json.RawMessage{
		"site/#":              json.RawMessage(`{"map":{"people":"n"}}`),
		"site/+/x":            json.RawMessage(`"json"`),
		"home/z2m/#":          json.RawMessage(`{"profile":"zigbee2mqtt","base":"home/z2m"}`),
		"zigbee2mqtt/strange": json.RawMessage(`{"profile":"json","prefix":"odd:","map":{"id":"i","people":"n"}}`),
	}
	sensors := []edge.Sensor{
		{ID: "door-7", Device: "counter-0815", Door: "d"},
		{ID: "pir", Device: "other/base/pir", Profile: "zigbee2mqtt", Space: "s"},
		{ID: "serial", Device: "x", Profile: "of-another-driver", Space: "s"},
	}
	b, err := NewBindings("mqtt", own, sensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ topic, body, device, kind, cause string }{
		{"site/a", `{"n":3}`, "site/a", "count_abs", ""},
		{"site/a/x", `{"people":3}`, "site/a/x", "count_abs", ""},
		{"site/a/x", `{"n":3}`, "", "", payload.UnknownFormat},
		{"home/z2m/pir", `{"occupancy":true}`, "home/z2m/pir", "presence", ""},
		{"zigbee2mqtt/strange", `{"i":"7","n":3}`, "odd:7", "count_abs", ""},
		{"zigbee2mqtt/pir", `{"occupancy":true}`, "zigbee2mqtt/pir", "presence", ""},
		{"other/base/pir", `{"occupancy":true}`, "other/base/pir", "presence", ""},
		{"other/base/pir/availability", `online`, "other/base/pir", "health", ""},
		{"any", `{"sensor":"door-7","count_in":3}`, "counter-0815", "count_in", ""},
		{"any", `{"device":"counter-0815","count_in":3}`, "counter-0815", "count_in", ""},
		{"any/topic", `{"count_in":3}`, "any/topic", "count_in", ""},
		{"any", `{"count_in":`, "", "", payload.Malformed},
		{"homeassistant/sensor/x/config", `{"name":"x"}`, "", "", ""},
	} {
		for range 2 { // the second time from the cache
			rs, rj := b.Take(payload.Input{Topic: c.topic, Body: []byte(c.body)})
			device, kind, cause := "", "", ""
			if len(rs) > 0 {
				device, kind = rs[0].Device, string(rs[0].Values[0].Kind)
			}
			if rj != nil {
				cause = rj.Cause
			}
			if device != c.device || kind != c.kind || cause != c.cause {
				t.Errorf("%s %s: %q %q rejected %q; want %q %q %q", c.topic, c.body, device, kind, cause, c.device, c.kind, c.cause)
			}
		}
	}
	rs, _ := b.Take(payload.Input{Topic: "any", Body: []byte(`{"people":1}`), Retained: true})
	if rs[0].Quality != edge.RetainedStale {
		t.Errorf("retained message has quality %q", rs[0].Quality)
	}
}
