package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// maxLine is the length in bytes beyond which a line is not read.
const maxLine = 1 << 20

// line is one line of input as a reading.
type line struct {
	number int
	edge.Reading
}

// readLines calls take for each understood line of r and bad for each other one, with the
// number of the line. It fails only when r does.
func readLines(r io.Reader, take func(line), bad func(number int, err error)) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		text, err := readLine(in)
		if errors.Is(err, errLong) {
			bad(number, err)
			continue
		}
		if len(bytes.TrimSpace(text)) > 0 {
			if r, perr := parseLine(text); perr != nil {
				bad(number, perr)
			} else {
				take(line{number, r})
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var errLong = fmt.Errorf("longer than %d bytes", maxLine)

// readLine reads to the end of the line. Of a line that is too long nothing is kept.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(text)+len(part) > maxLine; long {
			text = nil
		} else {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case long && (err == nil || err == io.EOF):
			return nil, errLong
		}
		return text, err
	}
}

// parseLine reads one line. Its times are fixed: the event time is that of "t" if it is
// plausible, else the time of receipt. Keys that name no kind are ignored, like nulls.
func parseLine(text []byte) (edge.Reading, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return edge.Reading{}, fmt.Errorf("not a JSON object: %w", err)
	}
	if fields == nil {
		return edge.Reading{}, errors.New("not a JSON object: null")
	}
	var r edge.Reading
	if err := parseHead(fields, &r); err != nil {
		return r, err
	}
	semantics, err := parseText(fields, "semantics")
	if err != nil {
		return r, err
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v, ok, err := parseValue(name, fields[name], edge.Semantics(semantics))
		if err != nil {
			return r, err
		}
		if ok {
			r.Values = append(r.Values, v)
		}
	}
	r.Fix()
	return r, nil
}

func parseHead(fields map[string]json.RawMessage, r *edge.Reading) (err error) {
	if r.Sensor, err = parseText(fields, "sensor"); err != nil {
		return err
	}
	if r.Sensor == "" {
		return errors.New(`"sensor" is missing`)
	}
	r.Device = r.Sensor
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"rx", &r.Received}, {"t", &r.At}, {"from", &r.From}} {
		if *t.to, err = parseTime(fields[t.name]); err != nil {
			return fmt.Errorf("%q: %w", t.name, err)
		}
	}
	if r.Received.IsZero() {
		r.Received = r.At
	}
	if r.Received.IsZero() {
		return errors.New(`neither "rx" nor "t" is there; give the time of receipt or the event's own`)
	}
	if r.Received.Before(earliest) || r.Received.After(latest) {
		return fmt.Errorf(`time of receipt %s is not plausible; want %d to %d`, r.Received.Format(time.RFC3339), earliest.Year(), latest.Year())
	}
	r.Seq = strings.Trim(string(bytes.TrimSpace(fields["seq"])), `"`)
	if r.Seq == "null" {
		r.Seq = ""
	}
	quality, err := parseText(fields, "quality")
	r.Quality = edge.Quality(quality)
	r.Backfill = string(fields["backfill"]) == "true"
	return err
}

// The times of receipt that are believed.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func parseText(fields map[string]json.RawMessage, name string) (s string, err error) {
	raw, ok := fields[name]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%q: want a text, got %.40s", name, raw)
	}
	return s, nil
}

// parseTime reads an RFC 3339 time, or a number of seconds or milliseconds since 1970.
func parseTime(raw json.RawMessage) (time.Time, error) {
	var s string
	var x float64
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return time.Time{}, nil
	case json.Unmarshal(raw, &x) == nil:
		if math.Abs(x) < 1e11 {
			x *= 1000
		}
		if math.Abs(x) > 1e14 {
			return time.Time{}, fmt.Errorf("%.40s is no time", raw)
		}
		return time.UnixMilli(int64(x)).UTC(), nil
	case json.Unmarshal(raw, &s) != nil:
		return time.Time{}, fmt.Errorf("%.40s is no time", raw)
	}
	return parseTimeText(s)
}

func parseTimeText(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.Replace(strings.TrimSpace(s), " ", "T", 1))
	if err != nil {
		return t, fmt.Errorf("%.40q is no time such as 2026-09-07T08:15:00.000Z", s)
	}
	return t.UTC(), nil
}

// kinds tells the semantics of each kind that a line can carry, and "motion", which is
// presence as a motion sensor sees it.
var kinds = map[edge.Kind]edge.Semantics{
	"motion": edge.MotionState, edge.Presence: edge.State, edge.ContactKind: edge.State,
	edge.CountIn: edge.Cumulative, edge.CountOut: edge.Cumulative, edge.CountAbs: edge.Absolute,
	edge.CountAbsMax: edge.PeriodMax, edge.TargetCount: edge.Absolute, edge.Flow: edge.Absolute,
	edge.MotionCount: edge.Delta, edge.UsageCount: edge.Delta, edge.CO2PPM: edge.Absolute,
	edge.TemperatureC: edge.Absolute, edge.HumidityPct: edge.Absolute, edge.Illuminance: edge.Absolute,
	edge.LightLevel: edge.Absolute, edge.Daylight: edge.State, edge.DistanceMM: edge.Absolute,
	edge.PressureHPa: edge.Absolute, edge.BatteryV: edge.Absolute, edge.Health: edge.State,
	edge.Tamper: edge.State, edge.DeviceCount: edge.Absolute, edge.Access: edge.PassageEvent,
	edge.Direction: edge.PassageEvent, edge.Method: edge.PassageEvent, edge.AccessReason: edge.PassageEvent,
	edge.BadgeID: edge.PassageEvent, edge.DoorAlarm: edge.AlarmSemantics,
	edge.StatusBits: edge.Absolute, edge.LinkQuality: edge.Absolute, edge.SignalDBm: edge.Absolute,
}

// parseValue reads one value; ok is false for keys that name no kind. semantics replaces the
// usual one of counts and presence.
func parseValue(name string, raw json.RawMessage, semantics edge.Semantics) (v edge.Value, ok bool, err error) {
	kind := edge.Kind(name)
	usual, ok := kinds[kind]
	if !ok || string(raw) == "null" {
		return v, false, nil
	}
	if kind == "motion" {
		kind = edge.Presence
	} else if semantics != "" && (kind == edge.CountIn || kind == edge.CountOut || kind == edge.Presence) {
		usual = semantics
	}
	v = edge.Value{Kind: kind, Semantics: usual}
	switch raw[0] {
	case 't', 'f':
		v = edge.BoolValue(kind, usual, raw[0] == 't')
	case '"':
		v.Type = edge.Text
		err = json.Unmarshal(raw, &v.Text)
	default:
		err = json.Unmarshal(raw, &v.Num)
	}
	if err != nil {
		return v, false, fmt.Errorf("%q: want a number, true, false or a text, got %.40s", name, raw)
	}
	if want := typeOf(kind); want != v.Type && !(want == edge.Bool && v.Type == edge.Number) && want != edge.Text {
		return v, false, fmt.Errorf("%q: got %.40s, want a %s", name, raw, typeNames[want])
	}
	return v, true, nil
}

var typeNames = [...]string{edge.Number: "number", edge.Bool: "boolean", edge.Text: "text"}

// typeOf is the type a kind's values must have; Text where any will do.
func typeOf(k edge.Kind) edge.Type {
	switch k {
	case edge.Presence:
		return edge.Bool
	case edge.ContactKind, edge.Daylight, edge.Health, edge.Tamper, edge.Access,
		edge.Direction, edge.Method, edge.AccessReason, edge.BadgeID, edge.DoorAlarm:
		return edge.Text
	}
	return edge.Number
}
