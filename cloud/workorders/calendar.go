package workorders

import (
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// calendar is the time that counts: opening hours on the wall clock of a zone, without holidays.
type calendar struct {
	hours    edge.Hours
	zone     *time.Location
	holidays map[string]bool // local dates, 2006-01-02
}

// horizon bounds how far ahead a deadline is looked for: a calendar that never opens has none.
const horizon = 2 * 366 * 24 * time.Hour

// newCalendar reads a calendar; empty hours are around the clock.
func newCalendar(zone, hours string, holidays []string) (calendar, error) {
	c := calendar{zone: time.UTC, holidays: map[string]bool{}}
	if zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			return c, fmt.Errorf("zone %q is not known; write for example Europe/Oslo", zone)
		}
		c.zone = loc
	}
	var err error
	if c.hours, err = edge.ParseHours(hours, c.zone); err != nil {
		return c, err
	}
	for _, d := range holidays {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			return c, fmt.Errorf("holiday %q: write for example 2026-12-25", d)
		}
		c.holidays[d] = true
	}
	return c, nil
}

// span returns the end of the stretch of time that begins at t in which it is open or closed
// throughout, or a part of it.
func (c calendar) span(t time.Time) (end time.Time, open bool) {
	local := t.In(c.zone)
	y, m, d := local.Date()
	end = time.Date(y, m, d+1, 0, 0, 0, 0, c.zone)
	if !end.After(t) { // a day whose midnight does not exist
		end = t.Add(time.Hour)
	}
	if c.holidays[local.Format(time.DateOnly)] {
		return end, false
	}
	if next := c.hours.Next(t); !next.IsZero() && next.Before(end) {
		end = next
	}
	return end, c.hours.Open(t)
}

// add returns when d of open time has passed since from; the zero time if that is not within
// two years. Time is measured as it elapses, so a day on which the clocks change is as long as
// it is.
func (c calendar) add(from time.Time, d time.Duration) time.Time {
	if c.hours.Always() && len(c.holidays) == 0 {
		return from.Add(d).UTC()
	}
	for t := from; t.Sub(from) < horizon; {
		end, open := c.span(t)
		if open {
			if length := end.Sub(t); length < d {
				d -= length
			} else {
				return t.Add(d).UTC()
			}
		}
		t = end
	}
	return time.Time{}
}

// between is the open time from a until b; 0 when b is not after a.
func (c calendar) between(a, b time.Time) time.Duration {
	if c.hours.Always() && len(c.holidays) == 0 {
		return max(b.Sub(a), 0)
	}
	var sum time.Duration
	for t := a; t.Before(b); {
		end, open := c.span(t)
		if end.After(b) {
			end = b
		}
		if open {
			sum += end.Sub(t)
		}
		t = end
	}
	return sum
}
