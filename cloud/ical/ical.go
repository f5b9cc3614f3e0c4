// Package ical reads calendars (iCalendar, RFC 5545) into planned stretches of time in places.
//
// It guarantees that whatever a calendar says, reading ends within bounds of time and memory, and
// that an event which is not understood as a whole is left out with the reason, never guessed at.
// Repeating events are spelled out within the window that is asked for, on the wall clock of
// their own zone. It refuses to hand on who takes part: attendees are counted, not named.
package ical

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
)

// The bounds of a calendar.
const (
	MaxSize        = 4 << 20 // bytes
	maxEvents      = 20_000
	maxOccurrences = 20_000 // of all events together
	maxLength      = 31 * 24 * time.Hour
	maxAttendees   = 100_000
	maxText        = 500 // bytes of a title or place that are kept
)

// SpaceProperty and PeopleProperty are this project's own: the id of a space, and how many
// people are expected.
const (
	SpaceProperty  = "X-HEADCOUNT-SPACE"
	PeopleProperty = "X-HEADCOUNT-PEOPLE"
)

// Window is the time in which occurrences are wanted, and the zone of times that name none.
type Window struct {
	From, To time.Time
	Zone     *time.Location
}

// Occurrence is one stretch of time that something is planned for.
type Occurrence struct {
	UID        string
	Space      string // by SpaceProperty; may be empty
	Location   string // may be empty
	Title      string // may be empty
	Start, End time.Time
	People     *int // nil = not said
}

// Skipped says why an event was left out.
type Skipped struct {
	Event  int    `json:"event"` // its place in the calendar, from 1
	Reason string `json:"reason"`
}

// Calendar is what was read.
type Calendar struct {
	Events      int
	Occurrences []Occurrence
	UIDs        []string // of all events that were understood, called off ones too
	Skipped     []Skipped
}

// Read reads a calendar of at most MaxSize bytes.
func Read(r io.Reader, w Window) (*Calendar, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read calendar: %w", err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("read calendar: larger than %d MiB", MaxSize>>20)
	}
	parsed, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("read calendar: %w; is it an iCalendar file (.ics)?", err)
	}
	events := parsed.Events()
	if len(events) > maxEvents {
		return nil, fmt.Errorf("read calendar: %d events, at most %d are possible", len(events), maxEvents)
	}
	return read(parsed, events, w)
}

// parse keeps what the library does not bear from ending the process.
func parse(b []byte) (c *ics.Calendar, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("malformed: %v", p)
		}
	}()
	if !bytes.Contains(b, []byte("BEGIN:VCALENDAR")) {
		return nil, errors.New("it has no BEGIN:VCALENDAR")
	}
	return ics.ParseCalendar(bytes.NewReader(b))
}

func read(parsed *ics.Calendar, events []*ics.VEvent, w Window) (*Calendar, error) {
	out := &Calendar{Events: len(events)}
	zones := zonesOf(parsed, w.Zone)
	off := calledOff(parsed)
	var list []*event
	replaced := map[string][]time.Time{} // starts of repetitions that stand for themselves, by UID
	for i, v := range events {
		e, err := newEvent(v, zones)
		if err != nil {
			out.Skipped = append(out.Skipped, Skipped{i + 1, err.Error()})
			continue
		}
		e.place = i + 1
		if !slices.Contains(out.UIDs, e.uid) {
			out.UIDs = append(out.UIDs, e.uid)
		}
		if e.off = e.off || off; !e.replaces.IsZero() {
			replaced[e.uid] = append(replaced[e.uid], e.replaces)
		}
		list = append(list, e)
	}
	for _, e := range list {
		if e.off {
			continue
		}
		if e.replaces.IsZero() {
			e.except = append(e.except, replaced[e.uid]...)
		}
		for _, start := range e.starts(w) {
			if len(out.Occurrences) == maxOccurrences {
				return nil, fmt.Errorf("read calendar: more than %d occurrences; ask for a shorter time with from and to", maxOccurrences)
			}
			out.Occurrences = append(out.Occurrences, e.at(start))
		}
	}
	return out, nil
}

// calledOff tells whether the calendar takes its events back.
func calledOff(c *ics.Calendar) bool {
	return slices.ContainsFunc(c.CalendarProperties, func(p ics.CalendarProperty) bool {
		return p.IANAToken == string(ics.PropertyMethod) && strings.EqualFold(p.Value, "CANCEL")
	})
}

// event is a VEVENT that is understood.
type event struct {
	Occurrence
	uid      string
	place    int
	off      bool
	days     int           // length of an event of whole days; 0 = length counts
	length   time.Duration //
	rule     *rule         // nil = it does not repeat
	more     []time.Time   // RDATE
	except   []time.Time   // EXDATE, and repetitions that stand for themselves
	replaces time.Time     // RECURRENCE-ID; zero = none
}

func newEvent(v *ics.VEvent, zones *zones) (*event, error) {
	value := func(name string) string {
		if p := v.GetProperty(ics.ComponentProperty(name)); p != nil {
			return p.Value
		}
		return ""
	}
	e := &event{uid: value("UID"), off: strings.EqualFold(value("STATUS"), "CANCELLED")}
	if e.uid == "" {
		return nil, errors.New("it has no UID")
	}
	e.Occurrence = Occurrence{UID: e.uid, Space: short(value(SpaceProperty)), Location: short(value("LOCATION")), Title: short(value("SUMMARY"))}
	start, whole, err := zones.one(v, "DTSTART")
	if err != nil {
		return nil, err
	}
	e.Start = start
	if err := e.setLength(v, zones, whole); err != nil {
		return nil, err
	}
	if text := value("RRULE"); text != "" {
		if e.rule, err = parseRule(text, start.Location()); err != nil {
			return nil, err
		}
	}
	if len(v.GetProperties("EXRULE")) > 0 || len(v.GetProperties("RRULE")) > 1 {
		return nil, errors.New("EXRULE, and more than one RRULE, are not understood")
	}
	if e.more, err = zones.all(v, "RDATE"); err != nil {
		return nil, err
	}
	if e.except, err = zones.all(v, "EXDATE"); err != nil {
		return nil, err
	}
	if v.HasProperty(ics.ComponentPropertyRecurrenceId) {
		if e.replaces, _, err = zones.one(v, "RECURRENCE-ID"); err != nil {
			return nil, err
		}
	}
	e.People, err = people(v, value(PeopleProperty))
	return e, err
}

func (e *event) setLength(v *ics.VEvent, zones *zones, whole bool) error {
	switch {
	case v.HasProperty("DTEND"):
		end, endWhole, err := zones.one(v, "DTEND")
		if err != nil {
			return err
		}
		if whole != endWhole {
			return errors.New("of DTSTART and DTEND one is a day and one a time")
		}
		e.length = end.Sub(e.Start)
		if whole {
			e.days = int((e.length + 12*time.Hour) / (24 * time.Hour)) // days of changing clocks are no 24 h
		}
	case v.HasProperty("DURATION"):
		var err error
		if e.length, err = duration(v.GetProperty("DURATION").Value); err != nil {
			return err
		}
		if whole {
			e.days = int(e.length / (24 * time.Hour))
		}
	case whole:
		e.length, e.days = 24*time.Hour, 1
	}
	if e.length <= 0 || e.length > maxLength {
		return fmt.Errorf("it lasts %s; want more than nothing and at most %d days", e.length, int(maxLength.Hours()/24))
	}
	return nil
}

// people is how many are expected: as said, or who is invited and has not declined.
func people(v *ics.VEvent, said string) (*int, error) {
	if said != "" {
		n, err := strconv.Atoi(said)
		if err != nil || n < 0 || n > maxAttendees {
			return nil, fmt.Errorf("%s %q: want a number from 0 to %d", PeopleProperty, short(said), maxAttendees)
		}
		return &n, nil
	}
	var n int
	for _, a := range v.GetProperties("ATTENDEE") {
		declined := slices.ContainsFunc(a.ICalParameters["PARTSTAT"], func(s string) bool { return strings.EqualFold(s, "DECLINED") })
		thing := slices.ContainsFunc(a.ICalParameters["CUTYPE"], func(s string) bool { return strings.EqualFold(s, "ROOM") || strings.EqualFold(s, "RESOURCE") })
		if !declined && !thing {
			n++
		}
	}
	if n == 0 {
		return nil, nil
	}
	return &n, nil
}

// starts lists when the event begins within the window.
func (e *event) starts(w Window) []time.Time {
	all := []time.Time{e.Start}
	if e.rule != nil {
		all = e.rule.expand(e.Start, w.From.Add(-e.length), w.To)
	}
	all = append(all, e.more...)
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, time.Time.Equal)
	return slices.DeleteFunc(all, func(t time.Time) bool {
		return !t.Before(w.To) || !e.at(t).End.After(w.From) || slices.ContainsFunc(e.except, t.Equal)
	})
}

// at is the occurrence that begins at a time.
func (e *event) at(start time.Time) Occurrence {
	o := e.Occurrence
	o.Start, o.End = start.UTC(), start.Add(e.length).UTC()
	if e.days > 0 {
		o.End = start.AddDate(0, 0, e.days).UTC()
	}
	return o
}

// short bounds a text and undoes its escapes.
func short(s string) string {
	s = strings.NewReplacer(`\n`, " ", `\N`, " ", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(s)
	s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
