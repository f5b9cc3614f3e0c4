package edge

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

func TestRecordRoundTrip(t *testing.T) {
	r := Record{
		Epoch: "00112233445566778899aabbccddeeff", Lane: Events, Seq: 7, Commit: 3, Source: "hq-oslo",
		Type: "alert.raised", Subject: `odd "name"`, Time: at, At: at.Add(-time.Second), Data: json.RawMessage(`{"a":1}`),
	}
	want := `{"specversion":"1.0","id":"00112233445566778899aabbccddeeff-events-7","source":"hq-oslo","type":"alert.raised","subject":"odd \"name\"","time":"2026-03-04T05:06:07.089Z","at":"2026-03-04T05:06:06.089Z","commit":"3","data":{"a":1}}`
	b := r.AppendJSON(nil)
	if string(b) != want {
		t.Errorf("AppendJSON\n got %s\nwant %s", b, want)
	}
	got, err := ParseRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := got.AppendJSON(nil); string(again) != want {
		t.Errorf("parsed and written again\n got %s\nwant %s", again, want)
	}
}

func TestRecordOfAnInputHasNoTimeOfItsOwn(t *testing.T) {
	r := Record{Epoch: "e", Lane: Readings, Seq: 1, Commit: 1, Input: true, Source: "s", Type: "readings", Time: at, At: at}
	b := string(r.AppendJSON(nil))
	if strings.Contains(b, `"at"`) || !strings.Contains(b, `"input":true`) {
		t.Errorf("got %s", b)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no JSON":       `{`,
		"old version":   `{"specversion":"0.3","id":"e-events-1","commit":"1"}`,
		"short id":      `{"specversion":"1.0","id":"e-1","commit":"1"}`,
		"unknown lane":  `{"specversion":"1.0","id":"e-trains-1","commit":"1"}`,
		"id no number":  `{"specversion":"1.0","id":"e-events-x","commit":"1"}`,
		"commit absent": `{"specversion":"1.0","id":"e-events-1"}`,
	} {
		if _, err := ParseRecord([]byte(in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestReadingRoundTrip(t *testing.T) {
	r := Reading{
		Sensor: "door-1", Device: "zigbee2mqtt/door é", Received: at, At: at.Add(-time.Minute), From: at.Add(-2 * time.Minute),
		Timed: true, Seq: "17", Backfill: true, Quality: RetainedStale,
		Values: []Value{NumberValue(CountIn, Cumulative, 65535), NumberValue(TemperatureC, Absolute, 21.25),
			BoolValue(Presence, MotionState, true), TextValue(Health, State, "offline")},
	}
	b, _ := r.MarshalJSON()
	var got Reading
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	again, _ := got.MarshalJSON()
	if string(again) != string(b) {
		t.Errorf("\n got %s\nwant %s", again, b)
	}
	if !got.At.Equal(r.At) || !got.From.Equal(r.From) || !got.Timed || got.Values[2] != r.Values[2] {
		t.Errorf("got %+v, want %+v", got, r)
	}
}

func TestFixSettlesTheEventTime(t *testing.T) {
	for name, c := range map[string]struct {
		at      time.Time
		want    time.Time
		timed   bool
		quality Quality
	}{
		"none":             {time.Time{}, at, false, Good},
		"plausible":        {at.Add(-time.Hour), at.Add(-time.Hour), true, Good},
		"just ahead":       {at.Add(MaxAhead), at.Add(MaxAhead), true, Good},
		"too far ahead":    {at.Add(MaxAhead + time.Second), at, false, BadClock},
		"1970":             {time.Unix(0, 0), at, false, BadClock},
		"cut to the milli": {at.Add(-time.Second + 300*time.Microsecond), at.Add(-time.Second), true, Good},
	} {
		r := Reading{Received: at, At: c.at}
		r.Fix()
		if !r.At.Equal(c.want) || r.Timed != c.timed || r.Quality != c.quality {
			t.Errorf("%s: At %v Timed %v Quality %q, want %v %v %q", name, r.At, r.Timed, r.Quality, c.want, c.timed, c.quality)
		}
	}
}

func TestNumbersThatJSONCannotHoldBecomeNull(t *testing.T) {
	b, _ := NumberValue(CO2PPM, Absolute, math.NaN()).MarshalJSON()
	if string(b) != `["co2_ppm","absolute",null]` {
		t.Errorf("got %s", b)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"e-events-1","source":"s","type":"t","time":"2026-03-04T05:06:07Z","commit":"1","data":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecord(b); err == nil {
			if _, err := ParseRecord(r.AppendJSON(nil)); err != nil {
				t.Errorf("%q: read once, but not what was written from it: %v", b, err)
			}
		}
	})
}

func FuzzReading(f *testing.F) {
	f.Add([]byte(`{"device":"d","rx":1,"values":[["presence","state",true]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reading
		if json.Unmarshal(b, &r) != nil {
			return
		}
		var again Reading
		if out, _ := r.MarshalJSON(); json.Unmarshal(out, &again) != nil {
			t.Errorf("%q gives %q, which does not read", b, out)
		}
	})
}
