package ical

import (
	"strings"
	"testing"
	"time"
)

func window(t testing.TB) Window {
	t.Helper()
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	return Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, oslo), To: time.Date(2026, 11, 1, 0, 0, 0, 0, oslo), Zone: oslo}
}

// calendar wraps lines of one event.
func calendar(events ...string) string {
	s := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n"
	for _, e := range events {
		s += "BEGIN:VEVENT\r\n" + strings.ReplaceAll(strings.TrimSpace(e), "\n", "\r\n") + "\r\nEND:VEVENT\r\n"
	}
	return s + "END:VCALENDAR\r\n"
}

func starts(t *testing.T, text string) (out []string) {
	t.Helper()
	c, err := Read(strings.NewReader(text), window(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Skipped {
		t.Errorf("skipped: %s", s.Reason)
	}
	for _, o := range c.Occurrences {
		out = append(out, o.Start.Format("01-02T15:04"))
	}
	return out
}

func TestRepeatingEventsKeepTheirClockTime(t *testing.T) {
	for name, tc := range map[string]struct{ event, want string }{
		"weekly over the change of clocks in March": {
			"UID:a\nDTSTART;TZID=Europe/Oslo:20260323T090000\nDTEND;TZID=Europe/Oslo:20260323T100000\nRRULE:FREQ=WEEKLY;COUNT=3",
			"03-23T08:00 03-30T07:00 04-06T07:00"},
		"weekly over the change in October, by days": {
			"UID:a\nDTSTART;TZID=W. Europe Standard Time:20261022T090000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;BYDAY=TH,MO;UNTIL=20261029T235959Z",
			"10-22T07:00 10-26T08:00 10-29T08:00"},
		"exceptions": {
			"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260303T080000Z,20260304T080000Z",
			"03-02T08:00 03-05T08:00"},
		"further dates": {
			"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nRDATE:20260401T080000Z",
			"03-02T08:00 04-01T08:00"},
		"second Tuesday": {
			"UID:a\nDTSTART:20260310T080000Z\nDTEND:20260310T090000Z\nRRULE:FREQ=MONTHLY;BYDAY=2TU;COUNT=3",
			"03-10T08:00 04-14T08:00 05-12T08:00"},
		"last working day of the month": {
			"UID:a\nDTSTART:20260331T080000Z\nDTEND:20260331T090000Z\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3",
			"03-31T08:00 04-30T08:00 05-29T08:00"},
		"the 31st, where there is one": {
			"UID:a\nDTSTART:20260331T080000Z\nDTEND:20260331T090000Z\nRRULE:FREQ=MONTHLY;COUNT=3",
			"03-31T08:00 05-31T08:00 07-31T08:00"},
		"the last day of each month": {
			"UID:a\nDTSTART:20260331T080000Z\nDTEND:20260331T090000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=2",
			"03-31T08:00 04-30T08:00"},
		"every second week from long ago": {
			"UID:a\nDTSTART:20200106T080000Z\nDTEND:20200106T090000Z\nRRULE:FREQ=WEEKLY;INTERVAL=2;UNTIL=20260330T000000Z",
			"03-09T08:00 03-23T08:00"},
		"each year": {
			"UID:a\nDTSTART:20200517T080000Z\nDTEND:20200517T090000Z\nRRULE:FREQ=YEARLY", "05-17T08:00"},
		"floating time is the site's": {
			"UID:a\nDTSTART:20260401T080000\nDTEND:20260401T090000", "04-01T06:00"},
		"begun before the window": {
			"UID:a\nDTSTART:20260228T220000Z\nDTEND:20260301T010000Z", "02-28T22:00"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(starts(t, calendar(tc.event)), " "); got != tc.want {
				t.Errorf("begins %s, want %s", got, tc.want)
			}
		})
	}
}

func TestWholeDaysLastUntilMidnightOnTheWall(t *testing.T) {
	c, err := Read(strings.NewReader(calendar("UID:a\nDTSTART;VALUE=DATE:20260329\nDTEND;VALUE=DATE:20260330\nX-HEADCOUNT-PEOPLE:12")), window(t))
	if err != nil || len(c.Occurrences) != 1 {
		t.Fatal(c, err)
	}
	if o := c.Occurrences[0]; o.End.Sub(o.Start) != 23*time.Hour || *o.People != 12 {
		t.Errorf("%+v lasts %s, want the 23 hours of that day", o, o.End.Sub(o.Start))
	}
}

func TestOneRepetitionStandsForItself(t *testing.T) {
	got := starts(t, calendar(
		"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nRRULE:FREQ=DAILY;COUNT=3",
		"UID:a\nRECURRENCE-ID:20260303T080000Z\nDTSTART:20260303T120000Z\nDTEND:20260303T130000Z",
		"UID:a\nRECURRENCE-ID:20260304T080000Z\nDTSTART:20260304T080000Z\nDTEND:20260304T090000Z\nSTATUS:CANCELLED"))
	if want := "03-02T08:00 03-03T12:00"; strings.Join(got, " ") != want {
		t.Errorf("begins %v, want %s", got, want)
	}
}

func TestAttendeesAreCountedAndNotNamed(t *testing.T) {
	c, err := Read(strings.NewReader(calendar(`UID:a
DTSTART:20260302T080000Z
DTEND:20260302T090000Z
LOCATION:Room 1\, north
ATTENDEE;CN=Ann:mailto:ann@example.org
ATTENDEE;CN=Ben;PARTSTAT=DECLINED:mailto:ben@example.org
ATTENDEE;CUTYPE=ROOM:mailto:room@example.org`)), window(t))
	if err != nil || len(c.Occurrences) != 1 {
		t.Fatal(c, err)
	}
	if o := c.Occurrences[0]; *o.People != 1 || o.Location != "Room 1, north" {
		t.Errorf("got %+v, want one person in Room 1, north", o)
	}
}

func TestWhatIsNotUnderstoodIsLeftOutWithTheReason(t *testing.T) {
	for event, want := range map[string]string{
		"DTSTART:20260302T080000Z\nDTEND:20260302T090000Z":                                   "UID",
		"UID:a\nDTEND:20260302T090000Z":                                                      "DTSTART",
		"UID:a\nDTSTART;TZID=Mars/Olympus:20260302T080000\nDTEND:20260302T090000Z":           "Mars/Olympus",
		"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T070000Z":                            "lasts",
		"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nRRULE:FREQ=HOURLY":         "HOURLY",
		"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nRRULE:FREQ=DAILY;BYHOUR=8": "BYHOUR",
		"UID:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z\nX-HEADCOUNT-PEOPLE:many":   "PEOPLE",
	} {
		c, err := Read(strings.NewReader(calendar(event)), window(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Occurrences) != 0 || len(c.Skipped) != 1 || !strings.Contains(c.Skipped[0].Reason, want) {
			t.Errorf("%q: %+v, want it left out with a reason that says %s", event, c, want)
		}
	}
	if _, err := Read(strings.NewReader("hello"), window(t)); err == nil || !strings.Contains(err.Error(), "ics") {
		t.Errorf("a text that is no calendar: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(calendar("UID:a\nDTSTART;TZID=Europe/Oslo:20260323T090000\nDTEND;TZID=Europe/Oslo:20260323T100000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1"))
	f.Add(calendar("UID:a\nDTSTART;VALUE=DATE:19700101\nDURATION:P1D\nRRULE:FREQ=DAILY;INTERVAL=1;WKST=SU"))
	f.Add("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR")
	f.Fuzz(func(t *testing.T, text string) {
		w := window(t)
		c, err := Read(strings.NewReader(text), w)
		if err != nil {
			return
		}
		for _, o := range c.Occurrences {
			if !o.Start.Before(w.To) || !o.End.After(w.From) || !o.End.After(o.Start) {
				t.Fatalf("%+v is not in the window", o)
			}
		}
	})
}
