package edge

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func localTime(t *testing.T, loc *time.Location, s string) time.Time {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHoursOpen(t *testing.T) {
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	// 2026-03-02 is a Monday.
	for _, c := range []struct {
		hours string
		open  []string
		shut  []string
	}{
		{"Mon-Fri 07:00-19:00; Sat 09:00-13:00",
			[]string{"2026-03-02 07:00", "2026-03-06 18:59", "2026-03-07 09:00"},
			[]string{"2026-03-02 06:59", "2026-03-06 19:00", "2026-03-07 13:00", "2026-03-08 10:00"}},
		{"Fri-Sat 20:00-02:00",
			[]string{"2026-03-06 20:00", "2026-03-07 01:59", "2026-03-08 01:00"},
			[]string{"2026-03-06 01:00", "2026-03-07 02:00", "2026-03-08 02:00", "2026-03-08 21:00"}},
		{"sat-mon 08:00-12:00,13:00-24:00",
			[]string{"2026-03-07 08:00", "2026-03-08 23:59", "2026-03-02 13:00"},
			[]string{"2026-03-03 08:00", "2026-03-02 12:30", "2026-03-03 00:00"}},
		{"00:00-24:00", []string{"2026-03-02 00:00", "2026-03-08 23:59"}, nil},
		{"Mon,Wed 10:00-11:00", []string{"2026-03-02 10:30", "2026-03-04 10:30"}, []string{"2026-03-03 10:30"}},
		{"", []string{"2026-03-02 03:00"}, nil},
		{"closed", nil, []string{"2026-03-02 12:00"}},
	} {
		h, err := ParseHours(c.hours, oslo)
		if err != nil {
			t.Errorf("%q: %v", c.hours, err)
			continue
		}
		for _, s := range c.open {
			if !h.Open(localTime(t, oslo, s).UTC()) {
				t.Errorf("%q at %s: shut, want open", c.hours, s)
			}
		}
		for _, s := range c.shut {
			if h.Open(localTime(t, oslo, s).UTC()) {
				t.Errorf("%q at %s: open, want shut", c.hours, s)
			}
		}
	}
}

func TestHoursThatMakeNoSense(t *testing.T) {
	for _, s := range []string{"Mon", "Mon 7-19", "Mon 07:00", "Mun 07:00-19:00", "Mon 07:00-25:00", "Mon 07:60-08:00", "Mon 24:00-02:00", "Mon 08:00-08:00", ";", "Mon 07:00-19:00;", "Mon-  07:00-19:00", "always", "07:00-19:00-20:00", "Mon 07.00-19.00"} {
		if h, err := ParseHours(s, nil); err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%q: got %v, %v, want an error that quotes it", s, h, err)
		}
	}
}

// TestHoursNext compares Next with looking at every minute, over both changes of the clocks.
func TestHoursNext(t *testing.T) {
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	for _, hours := range []string{"Mon-Fri 07:00-19:00; Sat 09:00-13:00", "Sat-Sun 01:30-02:30", "Fri-Sat 20:00-02:30", "Sun 02:15-02:45", "Mon 00:00-24:00"} {
		h, err := ParseHours(hours, oslo)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"2026-03-27 12:00", "2026-10-23 12:00"} {
			now := localTime(t, oslo, from)
			want := h.Next(now)
			for m, end := now.Add(time.Minute), now.AddDate(0, 0, 4); m.Before(end); m = m.Add(time.Minute) {
				if h.Open(m) == h.Open(m.Add(-time.Minute)) {
					continue
				}
				if !m.Equal(want) {
					t.Fatalf("%s: Next %s, want %s", hours, want.In(oslo), m)
				}
				want = h.Next(m)
			}
		}
	}
	for _, never := range []string{"", "closed", "00:00-24:00"} {
		h, _ := ParseHours(never, oslo)
		if got := h.Next(time.Now()); !got.IsZero() {
			t.Errorf("%q: Next %s, want never", never, got)
		}
	}
}

func FuzzParseHours(f *testing.F) {
	f.Add("Mon-Fri 07:00-19:00; Sat 09:00-13:00")
	f.Add("Fri 20:00-02:00,03:00-04:00")
	now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHours(s, time.UTC)
		if err != nil {
			return
		}
		if next := h.Next(now); !next.IsZero() && (!next.After(now) || h.Open(next) == h.Open(now)) {
			t.Errorf("%q: Next %s", s, next)
		}
	})
}
