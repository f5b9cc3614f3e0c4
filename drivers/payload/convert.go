package payload

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// words that devices use for the two states of a sensor.
var words = map[string]bool{
	"true": true, "on": true, "yes": true, "1": true, "occupied": true, "motion": true, "detected": true,
	"present": true, "active": true, "busy": true, "presence": true, "triggered": true,
	"false": false, "off": false, "no": false, "0": false, "vacant": false, "unoccupied": false, "free": false,
	"clear": false, "cleared": false, "no_motion": false, "not_detected": false, "not_occupied": false,
	"absent": false, "idle": false, "empty": false, "inactive": false, "not occupied": false, "no motion": false,
	"not_present": false, "not present": false, "none": false, "available": false,
}

// unknown tells whether a text says that there is no value.
func unknown(b []byte) bool {
	switch strings.ToLower(string(b)) {
	case "", "null", "nan", "unknown", "unavailable", "undefined", "n/a", "-":
		return true
	}
	return false
}

// number reads a number or a text that is one. known is false for null, an empty text and NaN.
func number(v Value) (x float64, known, ok bool) {
	switch v.Type() {
	case None, Null:
		return 0, false, true
	case Number:
		x, ok = v.Float()
		return x, ok, ok
	case String:
		return textNumber(v.bytes())
	}
	return 0, false, false
}

func textNumber(b []byte) (x float64, known, ok bool) {
	b = bytes.TrimSpace(b)
	if unknown(b) {
		return 0, false, true
	}
	for _, c := range b {
		if c-'0' > 9 && c != '-' && c != '+' && c != '.' && c|0x20 != 'e' {
			return 0, false, false
		}
	}
	x, ok = parseFloat(bytes.TrimPrefix(b, []byte("+")))
	return x, ok, ok
}

// boolean reads true or false, 1 or 0, or one of the usual words.
func boolean(v Value) (b, known, ok bool) {
	switch v.Type() {
	case None, Null:
		return false, false, true
	case Bool:
		return v.True(), true, true
	case Number:
		x, _ := v.Float()
		return x == 1, true, x == 0 || x == 1
	case String:
		return word(v.bytes())
	}
	return false, false, false
}

func word(t []byte) (b, known, ok bool) {
	t = bytes.TrimSpace(t)
	if unknown(t) {
		return false, false, true
	}
	b, ok = words[strings.ToLower(string(t))]
	return b, ok, ok
}

// scalarText reads a text, or the text of a number or boolean.
func scalarText(v Value) (string, bool) {
	switch v.Type() {
	case String:
		return v.Text(), true
	case Number, Bool:
		return string(v.Raw()), true
	}
	return "", false
}

// Instant reads a time of one of the forms that devices use: RFC 3339, the same without zone
// (known only when zone is given) and with a space for the T, and the time since 1970 in
// seconds, milliseconds, microseconds or nanoseconds, told apart by size. known is false for
// null, an empty text, zero, and a local time whose zone is not known.
func instant(v Value, zone *time.Location) (t time.Time, known, ok bool) {
	switch v.Type() {
	case None, Null:
		return t, false, true
	case Number:
		x, ok := v.Float()
		t = epoch(x, v.Raw())
		return t, ok && !t.IsZero(), ok
	case String:
		return textInstant(v.bytes(), zone)
	}
	return t, false, false
}

var localForms = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"}
var zonedForms = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 Z07:00"}

func textInstant(b []byte, zone *time.Location) (t time.Time, known, ok bool) {
	b = bytes.TrimSpace(b)
	if x, known, ok := textNumber(b); ok {
		if known {
			t = epoch(x, b)
		}
		return t, !t.IsZero(), true
	}
	if t.UnmarshalText(b) == nil {
		return t.UTC(), true, true
	}
	s := string(b)
	for _, f := range zonedForms {
		if t, err := time.Parse(f, s); err == nil {
			return t.UTC(), true, true
		}
	}
	for _, f := range localForms {
		loc := zone
		if loc == nil {
			loc = time.UTC
		}
		if t, err := time.ParseInLocation(f, s, loc); err == nil && zone != nil {
			return t.UTC(), true, true
		} else if err == nil {
			return time.Time{}, false, true
		}
	}
	return time.Time{}, false, false
}

// epoch is the time x units after 1970, in UTC; the zero time for 0 and what no clock says.
func epoch(x float64, text []byte) time.Time {
	if x == 0 || math.Abs(x) > 9e18 {
		return time.Time{}
	}
	perSecond := 1.0
	switch a := math.Abs(x); {
	case a >= 1e17:
		perSecond = 1e9
	case a >= 1e14:
		perSecond = 1e6
	case a >= 1e11:
		perSecond = 1e3
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		per := int64(perSecond)
		return time.Unix(n/per, n%per*(1e9/per)).UTC()
	}
	whole, frac := math.Modf(x / perSecond)
	return time.Unix(int64(whole), int64(math.Round(frac*1e6))*1000).UTC()
}

// contact reads the state of a door or window. closed is what true, 1 and the like stand for.
func contact(v Value, closedIfTrue bool) (text string, known, ok bool) {
	if v.Type() == String {
		switch strings.ToLower(v.Text()) {
		case "open", "opened":
			return "open", true, true
		case "closed", "close", "shut":
			return "closed", true, true
		}
	}
	b, known, ok := boolean(v)
	if b == closedIfTrue {
		return "closed", known, ok
	}
	return "open", known, ok
}

func one(sensor string, v edge.Value) []Observation { return []Observation{{Sensor: sensor, Value: v}} }
