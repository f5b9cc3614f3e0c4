package payload

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDeviceCodecs(t *testing.T) {
	for _, c := range []struct{ codec, options, topic, in, want string }{
		{"tasmota", `{}`, "tele/hall/LWT", `Online`, "hall health state online"},
		{"tasmota", `{}`, "tele/a/b/LWT", `Offline`, "a/b health state offline"},
		{"tasmota", `{}`, "hall/tele/LWT", `Online`, "hall health state online"},
		{"tasmota", `{}`, "stat/hall/PIR1", `OFF`, "hall/PIR1 presence motion-state false"},
		{"tasmota", `{}`, "stat/hall/POWER", `ON`, ""},
		{"tasmota", `{"map":{"Switch2":"presence"}}`, "stat/hall/SWITCH2", `{"STATE":"ON"}`, "hall/SWITCH2 presence motion-state true"},
		{"tasmota", `{"map":{"Switch1":"motion"},"timezone":"Europe/Oslo"}`, "tele/hall/SENSOR", `{"Time":"2026-07-01T12:00:00","Switch1":"ON"}`,
			"hall/Switch1 presence motion-state true at 2026-07-01T10:00:00Z"},
		{"tasmota", `{}`, "tele/hall/SENSOR", `{"Time":"2026-07-01T12:00:00","Switch1":"ON"}`, ""},
		{"tasmota", `{}`, "tele/hall/SENSOR", `{"LD2410":{"Distance":[0,0,0]}}`, "hall/LD2410 presence state false"},
		{"tasmota", `{}`, "tele/hall/SENSOR", `{"LD2410S":{"Distance":[5],"People":1}}`, "hall/LD2410S presence state false"},
		{"tasmota", `{}`, "tele/hall/SENSOR", `{"SCD30":{"CarbonDioxide":612,"Temperature":68.0,"Humidity":null},"TempUnit":"F"}`,
			"hall/SCD30 co2_ppm absolute 612\nhall/SCD30 temperature_c absolute 20"},
		{"tasmota", `{}`, "stat/hall/STATUS10", `{"StatusSNS":{"AM2301":{"Temperature":21.5}}}`, "hall/AM2301 temperature_c absolute 21.5"},
		{"tasmota", `{}`, "tele/hall/STATE", `{"Uptime":"1"}`, ""},
		{"esphome", `{}`, "node/binary_sensor/pir/state", `OFF`, "node/pir presence motion-state false"},
		{"esphome", `{}`, "site/node/binary_sensor/radar_has_target/state", `ON`, "site/node/radar_has_target presence state true"},
		{"esphome", `{}`, "node/binary_sensor/front_door/state", `ON`, "node/front_door contact state open"},
		{"esphome", `{}`, "node/sensor/room_co2/state", `612.0`, "node/room_co2 co2_ppm absolute 612"},
		{"esphome", `{}`, "node/sensor/room_co2/state", `nan`, ""},
		{"esphome", `{}`, "node/sensor/room_co2/state", `lots`, "! bad value: lots: want a number"},
		{"esphome", `{"map":{"x":"people"}}`, "node/sensor/x/state", `3`, "node/x count_abs absolute 3"},
		{"esphome", `{}`, "node/switch/relay/state", `ON`, ""},
		{"esphome", `{}`, "node/status", `offline`, "node health state offline"},
		{"homie", `{}`, "homie/5/dev/node/motion", `true`, "dev/node presence motion-state true"},
		{"homie", `{}`, "homie/dev/node/temperature", `21.5`, "dev/node temperature_c absolute 21.5"},
		{"homie", `{}`, "homie/5/dev/$state", `lost`, "dev health state offline"},
		{"homie", `{}`, "homie/5/dev/$description", `{}`, ""},
		{"homie", `{}`, "homie/5/dev/node/motion/set", `true`, ""},
		{"meraki-mv", `{}`, "/merakimv/S/0", `{"ts":1769860800123,"counts":{"person":2}}`, "S/0 count_abs absolute 2 at 2026-01-31T12:00:00.123Z"},
		{"meraki-mv", `{}`, "/merakimv/S/0", `{"ts":1769860800123,"counts":{}}`, ""},
		{"meraki-mv", `{}`, "/merakimv/S/light", `{"ts":1769860800000,"lux":45.5}`, "S/light illuminance_lux absolute 45.5 at 2026-01-31T12:00:00Z"},
		{"meraki-mv", `{}`, "/merakimv/S/0", `{"ts":1,"counts":{"person":-2}}`, "! bad value: …"},
		{"shelly", `{}`, "shellies/m/status", `{"motion":false,"timestamp":1769860800,"active":false,"lux":7}`, "m illuminance_lux absolute 7 at 2026-01-31T12:00:00Z"},
		{"shelly", `{}`, "shellies/m/status", `{"motion":false,"timestamp":1769860800,"active":true}`, "m presence motion-state false at 2026-01-31T12:00:00Z"},
		{"shelly", `{}`, "shellies/d/sensor/state", `close`, "d contact state closed"},
		{"shelly", `{}`, "shellies/d/online", `false`, "d health state offline"},
		{"shelly", `{}`, "plus/online", `true`, "plus health state online"},
		{"shelly", `{}`, "plus/events/rpc", `{"src":"plus","method":"NotifyStatus","params":{"ts":null,"temperature:0":{"id":0,"tC":21.5},"devicepower:0":{"battery":{"V":5.9,"percent":80}}}}`,
			"plus/temperature:0 temperature_c absolute 21.5\nplus battery_pct absolute 80\nplus battery_v absolute 5.9"},
		{"shelly", `{"map":{"input:0":"presence"}}`, "plus/events/rpc", `{"src":"plus","method":"NotifyStatus","params":{"ts":1769860800.5,"input:0":{"state":true}}}`,
			"plus/input:0 presence motion-state true at 2026-01-31T12:00:00.5Z"},
		{"shelly", `{}`, "plus/events/rpc", `{"src":"plus","method":"NotifyEvent","params":{}}`, ""},
		{"ignore", `{}`, "homeassistant/x/config", `{"a":`, ""},
	} {
		codec, err := New(c.codec, json.RawMessage(c.options))
		if err != nil {
			t.Errorf("%s %s: %v", c.codec, c.options, err)
			continue
		}
		obs, err := codec.Decode(Input{Topic: c.topic, Body: []byte(c.in)})
		check(t, c.codec+" "+c.topic+" "+c.in, show(obs, err), c.want)
	}
}

func TestDeviceOptionMistakes(t *testing.T) {
	for in, says := range map[string]string{
		`{"map":{"Switch1":"presense"}}`: `"presense" is not a kind`,
		`{"timezone":"Mars/Base"}`:       "not a known zone",
		`{"maps":{}}`:                    "unknown field",
	} {
		if _, err := New("tasmota", json.RawMessage(in)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
	}
	if _, err := New("nope", nil); err == nil || !strings.Contains(err.Error(), "known codecs: ") {
		t.Errorf("unknown codec: %v", err)
	}
}
