package payload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge"
)

func TestAccessMessages(t *testing.T) {
	codec, err := New("access", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{`{"event":"access.granted","door":"entrance","direction":"in","method":"card","badge":"04A2","ts":"2026-03-02T08:00:00Z","id":"e-17"}`,
			"entrance access event granted at 2026-03-02T08:00:00Z seq e-17\nentrance direction event in at 2026-03-02T08:00:00Z seq e-17\n" +
				"entrance method event card at 2026-03-02T08:00:00Z seq e-17\nentrance badge event 04A2 at 2026-03-02T08:00:00Z seq e-17"},
		{`{"event":"access.denied","reader":"r1","door":"entrance","reason":"expired","user":"Eve","method":"telepathy"}`,
			"r1 access event denied\nr1 reason event expired\nr1 badge event Eve"},
		{`{"card":"1","event":"access.granted","reader":"r1","badge":{"id":"2"},"direction":"exit"}`,
			"r1 badge event 2\nr1 access event granted\nr1 direction event out"},
		{`{"reader":"r1","access":"allowed","direction":"entry","seq":3}`, "r1 access event granted seq 3\nr1 direction event in seq 3"},
		{`{"id":"r1","access":true}`, "r1 access event granted"},
		{`[{"event":"door.opened","door":"d"},{"event":"door.held_open","door":"d"}]`, "d contact state open\nd door_alarm alarm held_open"},
		{"{\"event\":\"door.closed\",\"door\":\"d\"}\n\n{\"event\":\"door.forced\",\"door\":\"e\"}\n", "d contact state closed\ne door_alarm alarm forced"},
		{`{"event":"camera.offline","camera":"c1"}`, "c1 health state offline"},
		{`{"event":"person.detected","camera":"c1","zone":"desk","count":2}`, "c1/desk count_abs absolute 2"},
		{`{"event":"person.detected","camera":"c1"}`, "c1 presence motion-state true"},
		{`{"event":"motion.detected","camera":"c1"}`, "c1 presence motion-state true"},
		{`{"event":"access.granted","reader":"r1","wiegand":"26:2C33039"}`, "r1 access event granted\nr1 badge event 97-38940"},
		{`{"event":"access.granted","reader":"r1","direction":"04A2CANARY"}`, "! bad value: direction: want in or out or none"},
		{`{"event":"access.granted","reader":"r1","badge":["04A2CANARY"]}`, "! bad value: badge: want a text"},
		{`{"event":"04A2CANARY","reader":"r1","badge":"04A2"}`, "! unknown format: no key is known; say in a map where the values stand"},
		{"{\"event\":\"access.granted\",\"reader\":\"r1\"}\n{\"event\":", "r1 access event granted\n! malformed: ends where a value should be at byte 9"},
	} {
		check(t, c.in, show(codec.Decode(Input{Body: []byte(c.in)})), c.want)
	}
}

// Outside messages about an access the words are too common to mean anything.
func TestOtherMessagesHaveNoBadge(t *testing.T) {
	m, err := NewMapping(MapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := show(m.Decode(Input{Body: []byte(`{"id":"s","motion":true,"event":"boot","reason":"timer","direction":"north","method":"GET","badge":"x"}`)}))
	check(t, "a motion sensor", got, "s presence motion-state true")
}

func TestAccessOfOtherShapes(t *testing.T) {
	for _, c := range []struct{ options, in, want string }{
		{`{"map":{"id":["controller","door_no"],"ts":"when","seq":"nr","event":{"path":"type","values":{"ACCESS_OK":"access.granted","ACCESS_NO":"access.denied","DOOR_FORCED":"door.forced"}},` +
			`"direction":{"path":"side","values":{"A":"in","B":"out"}},"badge":"cred.no"}}`,
			`{"controller":"c9","door_no":2,"when":"2026-03-02T08:00:00Z","nr":5,"type":"ACCESS_OK","side":"B","cred":{"no":991}}`,
			"c9/2 badge event 991 at 2026-03-02T08:00:00Z seq 5\nc9/2 direction event out at 2026-03-02T08:00:00Z seq 5\nc9/2 access event granted at 2026-03-02T08:00:00Z seq 5"},
		{`{"map":{"id":"dev","event":{"path":"ev","values":{"ok":"access.granted"}}}}`, `{"dev":"a","ev":"04A2CANARY"}`,
			"! bad value: event: not one of the map's values"},
		{`{"map":{"id":"cam","event":{"path":"ev"},"count_abs":"n"},"items":"list"}`, `{"list":[{"cam":"a","ev":"person.detected","n":3},{"cam":"b","ev":"person.detected"}]}`,
			"a count_abs absolute 3\nb presence motion-state true"},
	} {
		codec, err := New("json", json.RawMessage(c.options))
		if err != nil {
			t.Fatal(err)
		}
		check(t, c.in, show(codec.Decode(Input{Body: []byte(c.in)})), c.want)
	}
}

func TestAccessLines(t *testing.T) {
	l, err := NewLines(LineOptions{Format: "csv", CSVColumns: []string{"id", "seq", "event", "direction", "wiegand"}})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"r1,7,access.granted,in,26:2C33039":       "r1 access event granted seq 7\nr1 direction event in seq 7\nr1 badge event 97-38940 seq 7",
		"r1,8,door.opened,,":                      "r1 contact state open seq 8",
		"r1,9,access.granted,in,26:2C33038CANARY": "! bad value: column wiegand: badge: want a Wiegand frame with right parity, as in 26:2A3F1C7",
		"r1,9,CANARY,in,":                         "! bad value: column event: event: want access.granted…",
	} {
		check(t, in, show(l.DecodeLine(Input{Body: []byte(in)})), want)
	}
}

// frame makes a Wiegand frame of n bits with right parity.
func frame(n int, data uint64) string {
	half := n/2 - 1
	even, odd := data>>half, data&(1<<half-1)
	f := data << 1
	if strings.Count(fmt.Sprintf("%b", even), "1")%2 == 1 {
		f |= 1 << (n - 1)
	}
	if strings.Count(fmt.Sprintf("%b", odd), "1")%2 == 0 {
		f |= 1
	}
	return fmt.Sprintf("%d:%X", n, f)
}

func TestWiegand(t *testing.T) {
	for in, want := range map[string]string{
		frame(26, 97<<16|12345):      "97-12345",
		frame(26, 255<<16|0xffff):    "255-65535",
		frame(34, 4097<<16|4711):     "4097-4711",
		frame(26, 0):                 "0-0",
		"00000000000000000000000000": "", // odd parity is missing
		"00000000000000000000000001": "0-0",
		"26:4000001":                 "", "27:0": "", "26:": "", "26:-1": "", "": "", "26:0x1": "", "26:1_0": "",
	} {
		got, ok := Wiegand(in)
		if got != want || ok != (want != "") {
			t.Errorf("%q gives %q %v, want %q", in, got, ok, want)
		}
	}
}

// One flipped bit is always noticed.
func FuzzWiegand(f *testing.F) {
	f.Add("26:2C33039", uint8(3))
	f.Add(frame(34, 1<<31|7), uint8(33))
	f.Fuzz(func(t *testing.T, text string, bit uint8) {
		if _, ok := Wiegand(text); !ok {
			return
		}
		n, x, _ := wiegandBits(strings.TrimSpace(text))
		x ^= 1 << (int(bit) % n)
		if id, ok := Wiegand(fmt.Sprintf("%d:%X", n, x)); ok {
			t.Errorf("%q with bit %d flipped is taken as %s", text, bit, id)
		}
	})
}

// Whatever comes, nothing of it is in the error of an access message but what stands there by name.
func FuzzAccess(f *testing.F) {
	f.Add("in", "04A2", "card")
	f.Add("", "\x00", "26:1")
	codec, _ := New("access", nil)
	f.Fuzz(func(t *testing.T, direction, badge, reason string) {
		body, _ := json.Marshal(map[string]any{"event": "access.granted", "reader": "r1", "direction": direction, "badge": "CANARY" + badge, "reason": []string{reason}})
		obs, err := codec.Decode(Input{Body: body})
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("error %v of %s", err, body)
		}
		for _, o := range obs {
			if o.Value.Kind == edge.Access {
				t.Errorf("a message with a mistake gives %v", o)
			}
		}
	})
}
