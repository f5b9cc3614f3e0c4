package usage

import (
	"testing"
	"time"
	_ "time/tzdata" // some machines have no zone files

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/edge"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func hours(from, to time.Time, loc *time.Location) (out []int64) {
	for h := Hour(from.UnixMilli(), loc); h < to.UnixMilli(); h = NextHour(h, loc) {
		out = append(out, h)
	}
	return out
}

func TestDaysOfChangingClocksHaveTheirHours(t *testing.T) {
	for _, tc := range []struct {
		zone string
		day  time.Time
		want int
	}{
		{"Europe/Oslo", time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), 23},
		{"Europe/Oslo", time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), 25},
		{"Europe/Oslo", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), 24},
		{"Asia/Kolkata", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), 24},
		{"Australia/Lord_Howe", time.Date(2026, 4, 5, 0, 0, 0, 0, time.UTC), 25}, // half an hour is lived twice: 24 hours and a half
	} {
		loc := zone(t, tc.zone)
		y, m, d := tc.day.Date()
		from, to := time.Date(y, m, d, 0, 0, 0, 0, loc), time.Date(y, m, d+1, 0, 0, 0, 0, loc)
		got := hours(from, to, loc)
		if len(got) != tc.want || got[0] != from.UnixMilli() || NextHour(got[len(got)-1], loc) != to.UnixMilli() {
			t.Errorf("%s in %s has %d hours, want %d that fill it", tc.day.Format(time.DateOnly), tc.zone, len(got), tc.want)
		}
	}
}

func TestUnknownIsNotZero(t *testing.T) {
	steps := Chain(Step{}, []Step{
		{At: 0, State: edge.Occupied, Count: 4, Capacity: 8},
		{At: 10 * 60_000, State: edge.Unknown},
		{At: 20 * 60_000, State: edge.Vacant, Capacity: 8},
	})
	f := Fold(steps, 0, 60*60_000).Figures()
	if f.KnownMinutes != 30 || f.UnknownMinutes != 30 || *f.Average != 1.3333 || *f.Coverage != .5 || *f.Max != 4 || *f.Utilisation != .1667 || f.Spells != 1 || *f.DwellMinutes != 10 {
		t.Errorf("%+v: want the average of 10 min of 4 and 20 min of 0 (then nobody knows)", f)
	}
	none := Fold(nil, 0, 60_000).Figures()
	if none.Average != nil || none.Max != nil || none.Utilisation != nil || none.OverMinutes != nil || *none.Coverage != 0 {
		t.Errorf("nothing is known: %+v", none)
	}
}

func TestHoursAddUpToTheSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Europe/Oslo", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"}).Draw(t, "zone")
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		begin := rapid.SampledFrom([]time.Time{
			time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 6, 0, 0, 0, time.UTC),
		}).Draw(t, "begin").UnixMilli()
		at, steps := begin, []Step{}
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			at += rapid.Int64Range(0, 45*60_000).Draw(t, "gap")
			state := rapid.SampledFrom([]edge.OccupancyState{edge.Unknown, edge.Vacant, edge.Occupied}).Draw(t, "state")
			s := Step{At: at, State: state, Capacity: rapid.IntRange(0, 3).Draw(t, "capacity")}
			if state == edge.Occupied {
				s.Count = rapid.IntRange(1, 9).Draw(t, "count")
			}
			steps = append(steps, s)
		}
		steps = Chain(Step{}, steps)
		whole := Fold(steps, begin, at)
		folder := NewFolder(loc)
		for i := 0; i+1 < len(steps); i++ {
			folder.Add(steps[i], steps[i].At, steps[i+1].At)
		}
		var sum, apart Totals
		for h := Hour(begin, loc); h < at; h = NextHour(h, loc) {
			if f := folder.Hours[h]; f != nil {
				sum.Add(*f)
			}
			apart.Add(Fold(steps, max(h, begin), min(at, NextHour(h, loc))))
		}
		sum.Span = whole.Span
		if sum != whole {
			t.Fatalf("hours of the folder\n%+v, of the span\n%+v", sum, whole)
		}
		if apart != whole {
			t.Fatalf("hours one by one\n%+v, the span\n%+v", apart, whole)
		}
		if whole.Known != whole.Vacant+whole.Occupied || whole.Known > whole.Span || whole.Over > whole.Rated {
			t.Fatalf("parts of %+v do not fit", whole)
		}
	})
}
