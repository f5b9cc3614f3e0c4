package payload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// show writes observations as people would: one per line, in order.
func show(obs []Observation, err error) string {
	var b strings.Builder
	for _, o := range obs {
		v := fmt.Sprint(o.Value.Num)
		switch o.Value.Type {
		case edge.Bool:
			v = fmt.Sprint(o.Value.True())
		case edge.Text:
			v = o.Value.Text
		}
		fmt.Fprintf(&b, "%s %s %s %s", o.Sensor, o.Value.Kind, o.Value.Semantics, v)
		if !o.TS.IsZero() {
			b.WriteString(" at " + o.TS.Format(time.RFC3339Nano))
		}
		if !o.From.IsZero() {
			b.WriteString(" from " + o.From.Format(time.RFC3339Nano))
		}
		if o.Seq != "" {
			b.WriteString(" seq " + o.Seq)
		}
		if o.Backfill {
			b.WriteString(" backfill")
		}
		b.WriteString("\n")
	}
	if err != nil {
		b.WriteString("! " + err.Error() + "\n")
	}
	return b.String()
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if want != "" {
		want = strings.TrimSuffix(want, "\n") + "\n"
	}
	if i := strings.Index(want, "! "); i >= 0 && strings.HasSuffix(want, "…\n") && strings.HasPrefix(got, strings.TrimSuffix(want, "…\n")) {
		return
	}
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestVocabulary(t *testing.T) {
	m, err := NewMapping(MapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ topic, in, want string }{
		{"t", `{"sensor":"d","at":"2026-01-31T12:00:00+01:00","seq":7,"count_in":103,"count_out":98}`,
			"d count_in cumulative 103 at 2026-01-31T11:00:00Z seq 7\nd count_out cumulative 98 at 2026-01-31T11:00:00Z seq 7"},
		{"t", `{"rx":1,"t":1769860800,"sensor":"p","motion":true}`, "p presence motion-state true at 2026-01-31T12:00:00Z"},
		{"t", `{"id":"d","In":1,"OUT":2}`, "d count_in cumulative 1\nd count_out cumulative 2"},
		{"a/room", `{"occupied":"vacant","co2":612.5}`, "a/room presence state false\na/room co2_ppm absolute 612.5"},
		{"t", `{"occupancy":3}`, "t count_abs absolute 3"},
		{"t", `{"occupancy":"occupied"}`, "t presence state true"},
		{"t", `{"occupancy":null,"motion":null}`, ""},
		{"t", `{"temperature":"nan","people":""}`, ""},
		{"t", `{"contact":"open","tamper":"installed"}`, "t contact state open\nt tamper state installed"},
		{"t", `{"door_open":false}`, "t contact state closed"},
		{"t", `[{"sensor":"a","people":1},{"sensor":"b","people":2}]`, "a count_abs absolute 1\nb count_abs absolute 2"},
		{"t", `{"device":"x","ts":1769860800000,"readings":[{"people":1},{"id":"y","people":2}]}`,
			"x count_abs absolute 1 at 2026-01-31T12:00:00Z\ny count_abs absolute 2 at 2026-01-31T12:00:00Z"},
		{"t", `{"sensor":"x","from":"2026-01-31T11:00:00Z","at":"2026-01-31T12:00:00Z","backfill":true,"values":[["count_in","delta",3]]}`,
			"x count_in delta 3 at 2026-01-31T12:00:00Z from 2026-01-31T11:00:00Z backfill"},
		{"t", `{"temperature":{"value":21.5,"unit":"C"}}`, "t temperature_c absolute 21.5"},
		{"t", `{"device":{"id":"x9","model":"m"},"motion":1}`, "x9 presence motion-state true"},
		{"t", `{"battery_mv":3045,"battery":97}`, "t battery_v absolute 3.045\nt battery_pct absolute 97"},
		{"t", `{"sensor":"main","mac":"aa","people":1}`, "main count_abs absolute 1"},
		{"room/motion", `ON`, "room/motion presence motion-state true"},
		{"room/temperature", `21.5`, "room/temperature temperature_c absolute 21.5"},
		{"room/temperature", `unavailable`, ""},
		{"room/co2", `"612"`, "room/co2 co2_ppm absolute 612"},
		{"t", `{"time":"2026-01-31 12:00:00","people":1}`, "t count_abs absolute 1"}, // local, no zone: not known
		{"t", `{"count_in":1,"COUNT_IN":2}`, `! malformed: key "COUNT_IN" stands twice in different case`},
		{"t", `{"count_in":1,"count_in":2}`, `! malformed: key "count_in" stands twice`},
		{"t", `{"count_in":-1}`, "! bad value: count_in: -1: want a whole number from 0"},
		{"t", `{"count_in":1.5}`, "! bad value: count_in: 1.5: want a whole number from 0"},
		{"t", `{"count_in":[1]}`, "! bad value: count_in: [1]: want a whole number from 0"},
		{"t", `{"motion":"perhaps"}`, "! bad value: motion: perhaps: want true or false"},
		{"t", `{"ts":"yesterday","people":1}`, "! bad value: ts: yesterday: …"},
		{"t", `{"brightness":4}`, "! unknown format: …"},
		{"t", `hello`, "! malformed: …"},
		{"room/motion", `perhaps`, "! bad value: perhaps: want true or false"},
		{"t", `[{"sensor":"a","people":1},{"sensor":"b","people":-2},{"sensor":"c","people":3}]`,
			"a count_abs absolute 1\nc count_abs absolute 3\n! bad value: people: -2: want a whole number from 0"},
		{"t", `{"sensor":"a\u0000b","people":1}`, "! bad value: control character…"},
	} {
		obs, err := m.Decode(Input{Topic: c.topic, Body: []byte(c.in)})
		check(t, c.in, show(obs, err), c.want)
	}
}

func TestMapping(t *testing.T) {
	for _, c := range []struct{ options, topic, in, want string }{
		{`{"map":{"id":"device","count_in":"in","count_out":"out","ts":"ts"}}`, "", `{"device":"d","in":103,"out":98,"ts":"2025-03-30T01:59:59+01:00"}`,
			"d count_in cumulative 103 at 2025-03-30T00:59:59Z\nd count_out cumulative 98 at 2025-03-30T00:59:59Z"},
		{`{"map":{"id":"dev.id","people":"data.lines[1].n"}}`, "", `{"dev":{"id":7},"data":{"lines":[{"n":1},{"n":"2"}]}}`, "7 count_abs absolute 2"},
		{`{"map":{"id":["site","zones[].name"],"count_abs":"zones[].n","ts":"t"}}`, "", `{"site":"s","t":1769860800,"zones":[{"name":"a","n":1},{"name":"b","n":2}]}`,
			"s/a count_abs absolute 1 at 2026-01-31T12:00:00Z\ns/b count_abs absolute 2 at 2026-01-31T12:00:00Z"},
		{`{"items":"list","map":{"id":"id","presence":"s"}}`, "", `{"list":[{"id":"a","s":"occupied"},{"id":"b","s":null},{"id":"c"}]}`,
			"a presence state true\n! unknown format: nothing stands where the map says"},
		{`{"map":{"presence":{"path":"s","values":{"belegt":true,"frei":false}}}}`, "desk", `{"s":"Frei"}`, "desk presence state false"},
		{`{"map":{"presence":{"path":"s","values":{"belegt":true}}}}`, "desk", `{"s":"kaputt"}`, "! bad value: s: kaputt: not one of the map's values"},
		{`{"map":{"count_in":{"path":"n","semantics":"delta"},"from":"a","ts":"b"}}`, "d", `{"n":2,"a":1769857200,"b":1769860800}`,
			"d count_in delta 2 at 2026-01-31T12:00:00Z from 2026-01-31T11:00:00Z"},
		{`{"semantics":{"count_in":"delta"},"map":{"count_in":"n"}}`, "d", `{"n":2}`, "d count_in delta 2"},
		{`{"map":{"temperature_c":{"path":"f","unit":"F"},"battery_v":{"path":"mv","unit":"mV"}}}`, "d", `{"f":212,"mv":3000}`, "d battery_v absolute 3\nd temperature_c absolute 100"},
		{`{"map":{"motion":"PIR.state"}}`, "d", `{"PIR":{"state":"ON"}}`, "d presence motion-state true"},
		{`{"map":{"Switch1":"motion"}}`, "d", `{"Switch1":"OFF"}`, "d presence motion-state false"},
		{`{"timezone":"Europe/Oslo","map":{"ts":"t","people":"n"}}`, "d", `{"t":"2026-07-01 12:00:00","n":1}`, "d count_abs absolute 1 at 2026-07-01T10:00:00Z"},
		{`{"map":{"id":"$topic/1","people":"n"}}`, "a/b/c", `{"n":1}`, "b count_abs absolute 1"},
		{`{"map":{"id":{"const":"hall"},"people":"n","seq":"s","backfill":"old"}}`, "a", `{"n":1,"s":"x1","old":true}`, "hall count_abs absolute 1 seq x1 backfill"},
		{`{"map":{"people":"n"}}`, "d", `{"n":1,"N":2}`, `! malformed: key "N" stands twice in different case`},
		{`{"map":{"people":"n","id":"i"}}`, "d", `{"n":1}`, "! bad value: no sensor id at i"},
		{`{"map":{"people":"n"}}`, "d", `{"n":null}`, ""},
		{`{"map":{"people":"n"}}`, "d", `{"m":1}`, "! unknown format: nothing stands where the map says"},
		{`{"map":{"people":"n"}}`, "d", `{"n":{"x":1}}`, `! bad value: n: {"x":1}: want a whole number from 0`},
	} {
		codec, err := New("json", json.RawMessage(c.options))
		if err != nil {
			t.Errorf("%s: %v", c.options, err)
			continue
		}
		obs, err := codec.Decode(Input{Topic: c.topic, Body: []byte(c.in)})
		check(t, c.options+" "+c.in, show(obs, err), c.want)
	}
}

func TestMappingMistakes(t *testing.T) {
	for in, says := range map[string]string{
		`{"map":{"cuont_in":"n"}}`:                                      "cuont_in: not a field or kind",
		`{"map":{"id":"n"}}`:                                            "no kind of value",
		`{"map":{"count_in":7}}`:                                        "want a path as text",
		`{"map":{"count_in":""}}`:                                       "empty path",
		`{"map":{"count_in":"a[x]"}}`:                                   "index",
		`{"map":{"count_in":"a[0"}}`:                                    "[ without ]",
		`{"map":{"count_in":"a[].b[].c"}}`:                              "only one []",
		`{"map":{"count_in":"a[].n","count_out":"b[].n"}}`:              "same array",
		`{"map":{"count_in":{"path":"n","unti":"x"}}}`:                  "unknown field",
		`{"map":{"count_in":{"path":"n","unit":"furlong"}}}`:            "unknown unit",
		`{"map":{"count_in":{"path":"n","semantics":"often"}}}`:         "unknown semantics",
		`{"map":{"presence":{"path":"n","values":{"a":"maybe"}}}}`:      "is no presence",
		`{"map":{"count_in":"n"},"timezone":"Europe/Olso"}`:             "not a known zone",
		`{"map":{"count_in":"n"},"semantics":{"count_in":"sometimes"}}`: "want a kind and one of its semantics",
		`{"mapp":{}}`: "unknown field",
	} {
		if _, err := New("json", json.RawMessage(in)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
	}
}

func TestZigbee2MQTT(t *testing.T) {
	z, err := NewZigbee2MQTT("")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ topic, in, want string }{
		{"zigbee2mqtt/pir", `{"occupancy":true,"linkquality":110}`, "pir presence motion-state true"},
		{"zigbee2mqtt/pir", `{"occupancy":null}`, ""},
		{"zigbee2mqtt/floor 1/pir", `{"presence":true,"illuminance":9000,"illuminance_lux":8}`, "floor 1/pir presence state true\nfloor 1/pir illuminance_lux absolute 8"},
		{"zigbee2mqtt/door", `{"contact":true,"battery":88,"voltage":2995}`, "door contact state closed\ndoor battery_pct absolute 88\ndoor battery_v absolute 2.995"},
		{"zigbee2mqtt/door", `{"contact":false}`, "door contact state open"},
		{"zigbee2mqtt/plug", `{"state":"ON","voltage":230.4,"power":3}`, ""},
		{"zigbee2mqtt/pir", `{"occupancy":false,"last_seen":1769860800123}`, "pir presence motion-state false at 2026-01-31T12:00:00.123Z"},
		{"zigbee2mqtt/pir", `{"occupancy":false,"last_seen":"2026-01-31T13:00:00+01:00"}`, "pir presence motion-state false at 2026-01-31T12:00:00Z"},
		{"zigbee2mqtt/air", `{"co2":612,"temperature":21.5,"humidity":40.2,"pressure":1013}`,
			"air co2_ppm absolute 612\nair temperature_c absolute 21.5\nair humidity_pct absolute 40.2\nair pressure_hpa absolute 1013"},
		{"zigbee2mqtt/remote/availability", `{"state":"offline"}`, "remote health state offline"},
		{"zigbee2mqtt/a/b/availability", `online`, "a/b health state online"},
		{"zigbee2mqtt/a/availability", ``, ""},
		{"zigbee2mqtt/a/availability", `{"state":"perhaps"}`, `! bad value: availability "perhaps": want online or offline`},
		{"zigbee2mqtt/bridge/state", `{"state":"online"}`, ""},
		{"zigbee2mqtt/bridge/devices", `[{"definition":{}}]`, ""},
		{"zigbee2mqtt/lamp/set", `{"state":"ON"}`, ""},
		{"zigbee2mqtt/lamp/get", `{"state":""}`, ""},
		{"zigbee2mqtt/pir/occupancy", `true`, "pir presence motion-state true"},
		{"zigbee2mqtt/pir/update_available", `false`, ""},
		{"zigbee2mqtt/pir", ``, ""},
		{"zigbee2mqtt/pir", `{"occupancy":"perhaps"}`, "! bad value: occupancy: perhaps: want true or false"},
		{"zigbee2mqtt/pir", `{"occupancy":true`, "! malformed: …"},
		{"zigbee2mqtt", `{}`, "! unknown format: …"},
	} {
		obs, err := z.Decode(Input{Topic: c.topic, Body: []byte(c.in)})
		check(t, c.topic+" "+c.in, show(obs, err), c.want)
	}
	own, err := NewZigbee2MQTT("home/z2m/")
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Topic: "home/z2m/pir", Body: []byte(`{"occupancy":true}`)}
	obs, err := own.Decode(in)
	check(t, "own base", show(obs, err), "pir presence motion-state true")
	if p := Prefix(own, in, ""); p != "home/z2m/" {
		t.Errorf("prefix %q", p)
	}
}

func TestLines(t *testing.T) {
	l, err := NewLines(LineOptions{CSVColumns: []string{"id", "count_in", "-", "motion", "ts"}})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"door1,13,x,1,1769860800\n":               "door1 count_in cumulative 13 at 2026-01-31T12:00:00Z\ndoor1 presence motion-state true at 2026-01-31T12:00:00Z",
		"\"door, 1\" , 13 ,x,,\r\n":               "door, 1 count_in cumulative 13",
		"\"a \"\"b\"\"\",1,,0,\n":                 `a "b" count_in cumulative 1` + "\n" + `a "b" presence motion-state false`,
		"door1,13,x,1,17698608":                   "", // not ended: kept, not read
		"# comment\n\n   \n":                      "",
		"id,count_in,x,motion,ts\n":               "", // a header
		"{\"id\":\"d\",\"in\":1}\rd2,2,,,\n":      "d count_in cumulative 1\nd2 count_in cumulative 2",
		"door1,13\n":                              "! malformed: 2 columns, want 5: id,count_in,,motion,ts",
		"door1,many,x,1,\n":                       "! bad value: column count_in: many: want a whole number from 0",
		"\x00\xff\x01\n{\"id\":\"d\",\"in\":1}\n": "d count_in cumulative 1\n! noise: bytes that are no text",
		"\"door\n":                                "! malformed: quote without end",
		strings.Repeat("x", MaxLine+1) + "\n":     "! too large: …",
	} {
		obs, err := l.Decode(Input{Body: []byte(in)})
		check(t, fmt.Sprintf("%.60q", in), show(obs, err), want)
	}
	for in, says := range map[string]string{
		`{"format":"xml"}`:                        "want json, csv or auto",
		`{"format":"csv"}`:                        "needs csv_columns",
		`{"csv_columns":["id"]}`:                  "no column is a value",
		`{"csv_columns":["id","cuont"]}`:          `"cuont" is not a field`,
		`{"csv_columns":["in"],"delimiter":"::"}`: "one character",
	} {
		if _, err := New("lines", json.RawMessage(in)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
	}
}

func TestGroup(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	in, out := edge.NumberValue(edge.CountIn, edge.Cumulative, 1), edge.NumberValue(edge.CountOut, edge.Cumulative, 2)
	obs := []Observation{
		{Sensor: "a", Value: in, TS: at}, {Sensor: "b", Value: in, TS: at}, {Sensor: "a", Value: out, TS: at},
		{Sensor: "a", Value: in, TS: at.Add(time.Second)}, {Sensor: "b", Value: in, TS: at}, {Sensor: "b", Value: out, TS: at},
	}
	got := ""
	for _, r := range Group("p/", obs, at) {
		got += fmt.Sprintf("%s %d:", r.Device, r.At.Sub(at)/time.Second)
		for _, v := range r.Values {
			got += " " + string(v.Kind)
		}
		got += "\n"
	}
	// b's second count_in begins a group of its own, and what follows it belongs there.
	want := "p/a 0: count_in count_out\np/b 0: count_in\np/a 1: count_in\np/b 0: count_in count_out\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if Group("", nil, at) != nil {
		t.Error("no observation makes a reading")
	}
}

func TestRejection(t *testing.T) {
	r := Rejection("mqtt", "a/b", errorf(BadValue, "%s", strings.Repeat("é", 300)), Input{Body: []byte("x")})
	if r.Cause != BadValue || len(r.Detail) > 200 || len(r.Hash) != 16 || r.Device != "a/b" {
		t.Errorf("got %+v", r)
	}
}

// Every codec takes any bytes without a panic, and gives only values that can be stored.
func FuzzCodecs(f *testing.F) {
	for _, s := range []string{
		`{"sensor":"d","ts":1769860800,"count_in":1,"values":[["count_in","delta",3]]}`, `{"occupancy":true,"last_seen":"2026-01-31T12:00:00Z","voltage":3000}`,
		"door1,13,9\n", `[{"readings":[{"people":1}]}]`, `{"state":"online"}`, "ON", "\"a\"\"\",1,2\r", `{"zones":[{"n":1e3}]}`, `{"ts":-9e18,"in":1}`,
	} {
		f.Add("zigbee2mqtt/a/motion", []byte(s))
	}
	for topic, s := range map[string]string{
		"tele/t/SENSOR": `{"Time":"2021-01-01T00:00:01","motion":"ON","LD2410":{"Distance":[1,2]}}`, "n/binary_sensor/pir/state": "ON",
		"homie/5/d/n/motion": "true", "/merakimv/S/0": `{"ts":1,"counts":{"person":1}}`, "a/events/rpc": `{"src":"a","method":"NotifyStatus","params":{"input:0":{"state":true}}}`,
	} {
		f.Add(topic, []byte(s))
	}
	var codecs []Codec
	for name, o := range map[string]string{
		"json": `{}`, "zigbee2mqtt": `{}`, "lines": `{"csv_columns":["id","count_in","ts"]}`,
		"tasmota": `{"map":{"motion":"presence"}}`, "esphome": `{}`, "homie": `{}`, "meraki-mv": `{}`, "shelly": `{"map":{"input:0":"motion"}}`,
	} {
		c, err := New(name, json.RawMessage(o))
		if err != nil {
			f.Fatal(err)
		}
		codecs = append(codecs, c)
	}
	mapped, err := New("json", json.RawMessage(`{"timezone":"Europe/Oslo","map":{"id":["zones[].id","$.x"],"count_abs":"zones[].n","ts":"ts","from":"f","seq":"s","presence":{"path":"p[2].q","values":{"a":true}}}}`))
	if err != nil {
		f.Fatal(err)
	}
	codecs = append(codecs, mapped)
	f.Fuzz(func(t *testing.T, topic string, b []byte) {
		for _, c := range codecs {
			obs, _ := c.Decode(Input{Topic: topic, Body: b})
			for _, r := range Group("p/", obs, time.Unix(1769860800, 0)) {
				r.Fix()
				var back edge.Reading
				if err := json.Unmarshal(r.AppendJSON(nil), &back); err != nil {
					t.Fatalf("%T: %q gives a reading that cannot be stored: %v", c, b, err)
				}
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	vocabulary, _ := NewMapping(MapOptions{})
	mapped, _ := New("json", json.RawMessage(`{"map":{"id":"device","count_in":"in","count_out":"out","ts":"ts"}}`))
	z, _ := NewZigbee2MQTT("")
	for name, c := range map[string]struct {
		codec Codec
		in    Input
	}{
		"vocabulary":  {vocabulary, Input{Topic: "t", Body: []byte(`{"sensor":"door-7","ts":1763700000123,"count_in":103,"count_out":98}`)}},
		"mapped":      {mapped, Input{Topic: "t", Body: []byte(`{"device":"door-7","in":103,"out":98,"ts":"2025-03-30T01:59:59+01:00"}`)}},
		"zigbee2mqtt": {z, Input{Topic: "zigbee2mqtt/pir_101", Body: []byte(`{"battery":97,"last_seen":1763700000123,"linkquality":110,"occupancy":true}`)}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				obs, err := c.codec.Decode(c.in)
				if err != nil || len(Group("", obs, time.Time{})) != 1 {
					b.Fatal(err)
				}
			}
		})
	}
}
