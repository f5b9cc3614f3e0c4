package ical

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is a recurrence rule: daily, weekly, monthly or yearly, by days, days of the month,
// months and places in the set. Finer ones are not understood.
type rule struct {
	freq     string
	interval int
	count    int       // 0 = not bounded
	until    time.Time // zero = not bounded
	day      []nthDay
	monthDay []int
	month    []int
	place    []int // BYSETPOS
	begin    time.Weekday
}

// nthDay is a weekday, or with n the nth of a month, from its end when negative.
type nthDay struct {
	n   int
	day time.Weekday
}

var weekdays = map[string]time.Weekday{
	"SU": time.Sunday, "MO": time.Monday, "TU": time.Tuesday, "WE": time.Wednesday, "TH": time.Thursday, "FR": time.Friday, "SA": time.Saturday,
}

// maxPeriods bounds how many days, weeks, months or years are looked at: 60 years of days.
const maxPeriods = 22_000

func parseRule(s string, loc *time.Location) (*rule, error) {
	r := &rule{interval: 1, begin: time.Monday}
	for part := range strings.SplitSeq(strings.ToUpper(strings.TrimSpace(s)), ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("RRULE: %q is no KEY=VALUE", short(part))
		}
		if err := r.set(key, value, loc); err != nil {
			return nil, fmt.Errorf("RRULE: %s=%s: %w", short(key), short(value), err)
		}
	}
	return r, r.check()
}

func (r *rule) check() error {
	nth := slices.ContainsFunc(r.day, func(d nthDay) bool { return d.n != 0 })
	switch {
	case !slices.Contains([]string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}, r.freq):
		return fmt.Errorf("RRULE: FREQ=%s is not understood; want DAILY, WEEKLY, MONTHLY or YEARLY", short(r.freq))
	case nth && (r.freq == "DAILY" || r.freq == "WEEKLY"):
		return fmt.Errorf("RRULE: BYDAY with a number goes with MONTHLY or YEARLY")
	case r.freq == "YEARLY" && len(r.day) > 0 && len(r.month) == 0:
		return fmt.Errorf("RRULE: BYDAY of a year is understood with BYMONTH only")
	case r.freq == "WEEKLY" && len(r.monthDay) > 0:
		return fmt.Errorf("RRULE: BYMONTHDAY does not go with WEEKLY")
	}
	return nil
}

func (r *rule) set(key, value string, loc *time.Location) (err error) {
	switch key {
	case "FREQ":
		r.freq = value
	case "INTERVAL":
		r.interval, err = number(value, 1, 1000)
	case "COUNT":
		r.count, err = number(value, 1, 100_000)
	case "UNTIL":
		var whole bool
		if r.until, whole, err = parseTime(value, loc); whole {
			r.until = r.until.AddDate(0, 0, 1).Add(-time.Second) // that day included
		}
	case "WKST":
		var ok bool
		if r.begin, ok = weekdays[value]; !ok {
			err = fmt.Errorf("want a day such as MO")
		}
	case "BYDAY":
		r.day, err = nthDays(value)
	case "BYMONTHDAY":
		r.monthDay, err = numbers(value, -31, 31)
	case "BYMONTH":
		r.month, err = numbers(value, 1, 12)
	case "BYSETPOS":
		r.place, err = numbers(value, -366, 366)
	default:
		err = fmt.Errorf("is not understood")
	}
	return err
}

func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most || n == 0 {
		return 0, fmt.Errorf("want a number from %d to %d", least, most)
	}
	return n, nil
}

func numbers(s string, least, most int) (out []int, err error) {
	for part := range strings.SplitSeq(s, ",") {
		n, err := number(part, least, most)
		if err != nil {
			return nil, err
		}
		if out = append(out, n); len(out) > 400 {
			return nil, fmt.Errorf("too many")
		}
	}
	return out, nil
}

func nthDays(s string) (out []nthDay, err error) {
	for part := range strings.SplitSeq(s, ",") {
		if len(part) < 2 {
			return nil, fmt.Errorf("want days such as MO or 2TU")
		}
		day, ok := weekdays[part[len(part)-2:]]
		d := nthDay{day: day}
		if digits := part[:len(part)-2]; digits != "" {
			if d.n, err = number(digits, -5, 5); err != nil {
				return nil, err
			}
		}
		if !ok || len(out) > 100 {
			return nil, fmt.Errorf("want days such as MO or 2TU")
		}
		out = append(out, d)
	}
	return out, nil
}

// expand lists when an event begins in [from, to), the first time at start.
func (r *rule) expand(start, from, to time.Time) []time.Time {
	var out []time.Time
	n := 0
	take := func(t time.Time) bool { // tells whether to go on
		if !r.until.IsZero() && t.After(r.until) && n > 0 || !t.Before(to) || r.count > 0 && n == r.count {
			return false
		}
		n++
		if !t.Before(from) {
			out = append(out, t)
		}
		return true
	}
	if !take(start) {
		return out
	}
	for period := range maxPeriods {
		for _, t := range r.period(start, period*r.interval) {
			if t.After(start) && !take(t) {
				return out
			}
		}
		if !r.begins(start, period*r.interval).Before(to) {
			break
		}
	}
	return out
}

// begins is a time not after what the period n after that of start holds.
func (r *rule) begins(start time.Time, n int) time.Time {
	y, m, d := start.Date()
	switch r.freq {
	case "DAILY":
		d += n
	case "WEEKLY":
		d += 7*n - (int(start.Weekday())-int(r.begin)+7)%7
	case "MONTHLY":
		m, d = m+time.Month(n), 1
	default:
		y, m, d = y+n, 1, 1
	}
	return at(start, y, m, d)
}

// at is a day at the time of day of start.
func at(start time.Time, y int, m time.Month, d int) time.Time {
	return time.Date(y, m, d, start.Hour(), start.Minute(), start.Second(), 0, start.Location())
}

// period lists the times in the period n after that of start, in order.
func (r *rule) period(start time.Time, n int) []time.Time {
	first := r.begins(start, n)
	var out []time.Time
	switch r.freq {
	case "DAILY":
		out = []time.Time{first}
	case "WEEKLY":
		for i := range 7 {
			y, m, d := first.Date()
			if t := at(start, y, m, d+i); len(r.day) > 0 || t.Weekday() == start.Weekday() {
				out = append(out, t)
			}
		}
	case "MONTHLY":
		out = r.inMonth(start, first.Year(), first.Month())
	default:
		months := r.month
		if len(months) == 0 {
			months = []int{int(start.Month())}
		}
		for _, m := range slices.Sorted(slices.Values(months)) {
			out = append(out, r.inMonth(start, first.Year(), time.Month(m))...)
		}
	}
	return r.pick(slices.DeleteFunc(out, func(t time.Time) bool { return !r.allows(t) }))
}

// inMonth lists the days of a month that may count.
func (r *rule) inMonth(start time.Time, y int, m time.Month) (out []time.Time) {
	last := time.Date(y, m+1, 0, 12, 0, 0, 0, time.UTC).Day()
	for d := 1; d <= last; d++ {
		if len(r.day) > 0 || len(r.monthDay) > 0 || d == start.Day() {
			out = append(out, at(start, y, m, d))
		}
	}
	return out
}

// allows tells whether a day passes what the rule says of days.
func (r *rule) allows(t time.Time) bool {
	last := time.Date(t.Year(), t.Month()+1, 0, 12, 0, 0, 0, time.UTC).Day()
	if len(r.month) > 0 && !slices.Contains(r.month, int(t.Month())) {
		return false
	}
	if len(r.monthDay) > 0 && !slices.Contains(r.monthDay, t.Day()) && !slices.Contains(r.monthDay, t.Day()-last-1) {
		return false
	}
	return len(r.day) == 0 || slices.ContainsFunc(r.day, func(d nthDay) bool {
		return d.day == t.Weekday() && (d.n == 0 || d.n == (t.Day()-1)/7+1 || d.n == -((last-t.Day())/7+1))
	})
}

// pick takes the places of a period's times that the rule names.
func (r *rule) pick(times []time.Time) []time.Time {
	if len(r.place) == 0 {
		return times
	}
	var out []time.Time
	for i, t := range times {
		if slices.Contains(r.place, i+1) || slices.Contains(r.place, i-len(times)) {
			out = append(out, t)
		}
	}
	return out
}
