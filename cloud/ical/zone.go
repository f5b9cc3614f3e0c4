package ical

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
)

// zones are how a calendar's names of zones are understood.
type zones struct {
	floating *time.Location
	own      map[string]string // names that the calendar gives, to those of the tz database
}

// zonesOf learns what VTIMEZONEs say they are.
func zonesOf(c *ics.Calendar, floating *time.Location) *zones {
	z := &zones{floating: floating, own: map[string]string{}}
	if floating == nil {
		z.floating = time.UTC
	}
	for _, tz := range c.Timezones() {
		id, where := tz.GetProperty("TZID"), tz.GetProperty("X-LIC-LOCATION")
		if id != nil && where != nil {
			z.own[id.Value] = where.Value
		}
	}
	return z
}

// windows are the names that Microsoft's calendars give to common zones (Unicode CLDR).
var windows = map[string]string{
	"UTC": "UTC", "GMT Standard Time": "Europe/London", "Greenwich Standard Time": "Atlantic/Reykjavik",
	"W. Europe Standard Time": "Europe/Berlin", "Central Europe Standard Time": "Europe/Budapest", "Romance Standard Time": "Europe/Paris",
	"Central European Standard Time": "Europe/Warsaw", "FLE Standard Time": "Europe/Kiev", "GTB Standard Time": "Europe/Bucharest",
	"E. Europe Standard Time": "Europe/Chisinau", "Turkey Standard Time": "Europe/Istanbul", "Russian Standard Time": "Europe/Moscow",
	"Israel Standard Time": "Asia/Jerusalem", "South Africa Standard Time": "Africa/Johannesburg", "Arab Standard Time": "Asia/Riyadh",
	"Arabian Standard Time": "Asia/Dubai", "India Standard Time": "Asia/Kolkata", "China Standard Time": "Asia/Shanghai",
	"Singapore Standard Time": "Asia/Singapore", "Tokyo Standard Time": "Asia/Tokyo", "Korea Standard Time": "Asia/Seoul",
	"AUS Eastern Standard Time": "Australia/Sydney", "New Zealand Standard Time": "Pacific/Auckland", "E. South America Standard Time": "America/Sao_Paulo",
	"Eastern Standard Time": "America/New_York", "Central Standard Time": "America/Chicago", "Mountain Standard Time": "America/Denver",
	"Pacific Standard Time": "America/Los_Angeles", "Atlantic Standard Time": "America/Halifax", "Newfoundland Standard Time": "America/St_Johns",
}

// zone finds a zone by its name in the calendar.
func (z *zones) zone(name string) (*time.Location, error) {
	name = strings.Trim(name, `"`)
	for _, try := range []string{z.own[name], windows[name], name} {
		if try == "" || try == "Local" {
			continue
		}
		if loc, err := time.LoadLocation(try); err == nil {
			return loc, nil
		}
	}
	return nil, fmt.Errorf("zone %q is not known; want a name such as Europe/Oslo", short(name))
}

// one reads a property with one time; whole tells that it is a day.
func (z *zones) one(v *ics.VEvent, name string) (t time.Time, whole bool, err error) {
	p := v.GetProperty(ics.ComponentProperty(name))
	if p == nil {
		return t, false, fmt.Errorf("it has no %s", name)
	}
	return z.time(name, p, p.Value)
}

const maxDates = 5000 // of one event's RDATE or EXDATE

// all reads properties with lists of times.
func (z *zones) all(v *ics.VEvent, name string) (out []time.Time, err error) {
	for _, p := range v.GetProperties(ics.ComponentProperty(name)) {
		for value := range strings.SplitSeq(p.Value, ",") {
			t, _, err := z.time(name, p, value)
			if err != nil {
				return nil, err
			}
			if out = append(out, t); len(out) > maxDates {
				return nil, fmt.Errorf("%s has more than %d times", name, maxDates)
			}
		}
	}
	return out, nil
}

func (z *zones) time(name string, p *ics.IANAProperty, value string) (t time.Time, whole bool, err error) {
	loc := z.floating
	if id := p.ICalParameters["TZID"]; len(id) > 0 {
		if loc, err = z.zone(id[0]); err != nil {
			return t, false, fmt.Errorf("%s: %w", name, err)
		}
	}
	t, whole, err = parseTime(strings.TrimSpace(value), loc)
	if err != nil {
		return t, false, fmt.Errorf("%s: %w", name, err)
	}
	return t, whole, nil
}

// parseTime reads 20260302, 20260302T090000 and 20260302T090000Z.
func parseTime(s string, loc *time.Location) (t time.Time, whole bool, err error) {
	switch {
	case len(s) == len("20060102"):
		t, err = time.ParseInLocation("20060102", s, loc)
		whole = true
	case strings.HasSuffix(s, "Z"):
		t, err = time.Parse("20060102T150405Z", s)
	default:
		t, err = time.ParseInLocation("20060102T150405", s, loc)
	}
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return t, false, fmt.Errorf("%q is no time of 1970 to 2200; want 20260302T090000Z, 20260302T090000 or 20260302", short(s))
	}
	return t, whole, nil
}

var durationText = regexp.MustCompile(`^\+?P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?$`)

// duration reads such as PT1H30M, P1D or P2W.
func duration(s string) (time.Duration, error) {
	parts := durationText.FindStringSubmatch(strings.TrimSpace(s))
	if parts == nil {
		return 0, errors.New("DURATION: want such as PT1H30M or P1D")
	}
	var sum time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + parts[i+1]) // digits, or nothing
		sum += time.Duration(n) * unit
	}
	return sum, nil
}
