package edge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hours are weekly opening hours on the wall clock of one time zone. The zero value is always
// open. It is not changed after parsing and may be used from any goroutine.
type Hours struct {
	days [7][]openSpan // by weekday of the opening; nil everywhere = always open
	set  bool
	loc  *time.Location
}

// openSpan is [from, to) in minutes after midnight of the opening day; to may lie in the next
// day, at most 24 h after from.
type openSpan struct{ from, to int }

const dayMinutes = 24 * 60

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseHours reads opening hours such as
//
//	Mon-Fri 07:00-19:00; Sat 09:00-13:00
//	Mon,Wed 08:00-12:00,13:00-17:00
//	Fri-Sat 20:00-02:00        (until 02:00 of the next day)
//	00:00-24:00                (every day)
//	closed
//
// as wall-clock times in loc (UTC when nil). Days are English names of three letters, in any
// case; a part without days means every day. Empty text means always open.
func ParseHours(s string, loc *time.Location) (Hours, error) {
	if loc == nil {
		loc = time.UTC
	}
	h := Hours{loc: loc}
	s = strings.TrimSpace(s)
	if s == "" {
		return h, nil
	}
	h.set = true
	if strings.EqualFold(s, "closed") {
		return h, nil
	}
	for _, part := range strings.Split(s, ";") {
		if err := h.add(strings.TrimSpace(part)); err != nil {
			return Hours{}, fmt.Errorf("opening hours %q: %w", s, err)
		}
	}
	return h, nil
}

// add takes one part: "[days] HH:MM-HH:MM[,HH:MM-HH:MM…]".
func (h *Hours) add(part string) error {
	days, times, found := strings.Cut(part, " ")
	if !found {
		days, times = "Mon-Sun", part
	}
	open, err := parseDays(days)
	if err != nil {
		return err
	}
	for _, t := range strings.Split(times, ",") {
		sp, err := parseSpan(strings.TrimSpace(t))
		if err != nil {
			return err
		}
		for d := range open {
			if open[d] {
				h.days[d] = append(h.days[d], sp)
			}
		}
	}
	return nil
}

func parseDays(s string) (open [7]bool, err error) {
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(weekdays[:], strings.ToLower(first)), slices.Index(weekdays[:], strings.ToLower(last))
		if from < 0 || to < 0 {
			return open, fmt.Errorf("%q is not a day or range of days; write for example Mon or Mon-Fri", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			open[d] = true
			if d == to {
				break
			}
		}
	}
	return open, nil
}

func parseSpan(s string) (openSpan, error) {
	a, b, found := strings.Cut(s, "-")
	from, ok1 := parseMinute(strings.TrimSpace(a))
	to, ok2 := parseMinute(strings.TrimSpace(b))
	switch {
	case !found || !ok1 || !ok2 || from == dayMinutes:
		return openSpan{}, fmt.Errorf("%q is not a time range; write for example 07:00-19:00", s)
	case from == to:
		return openSpan{}, fmt.Errorf("%q is an empty range; write 00:00-24:00 for the whole day", s)
	case to < from:
		to += dayMinutes
	}
	return openSpan{from, to}, nil
}

// parseMinute reads HH:MM, 00:00 to 24:00.
func parseMinute(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	h, err1 := strconv.ParseUint(s[:2], 10, 8)
	m, err2 := strconv.ParseUint(s[3:], 10, 8)
	n := int(h)*60 + int(m)
	return n, err1 == nil && err2 == nil && m < 60 && n <= dayMinutes
}

// Always tells whether no hours are configured, so that it is open at all times.
func (h Hours) Always() bool { return !h.set }

// Open tells whether t lies within the hours.
func (h Hours) Open(t time.Time) bool {
	if !h.set {
		return true
	}
	t = t.In(h.loc)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	return within(h.days[day], minute) || within(h.days[(day+6)%7], minute+dayMinutes)
}

func within(spans []openSpan, minute int) bool {
	for _, sp := range spans {
		if sp.from <= minute && minute < sp.to {
			return true
		}
	}
	return false
}

// Next returns the first instant after t at which Open changes; the zero time if it never does.
func (h Hours) Next(t time.Time) time.Time {
	if !h.set {
		return time.Time{}
	}
	open := h.Open(t)
	var best time.Time
	consider := func(c time.Time) {
		if c.After(t) && (best.IsZero() || c.Before(best)) && h.Open(c) != open {
			best = c
		}
	}
	local := t.In(h.loc)
	for ahead := -1; ahead <= 8; ahead++ {
		y, m, d := local.AddDate(0, 0, ahead).Date()
		day := time.Date(y, m, d, 12, 0, 0, 0, h.loc).Weekday()
		for _, sp := range h.days[day] {
			for _, minute := range [2]int{sp.from, sp.to} {
				c := time.Date(y, m, d, 0, minute, 0, 0, h.loc)
				// A wall time may occur twice, or not at all, when the clocks change.
				consider(c.Add(-time.Hour))
				consider(c)
				consider(c.Add(time.Hour))
			}
		}
	}
	if _, end := local.ZoneBounds(); !end.IsZero() {
		consider(end)
	}
	return best.UTC()
}
