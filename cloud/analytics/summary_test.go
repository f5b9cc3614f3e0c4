package analytics

import (
	"net/http"
	"testing"
	"time"
)

// A working day of a room for four, told as hubs tell it: vacant from midnight, 3 people from 9 to
// 10, 5 people from 10 to 10:30, vacant until 12, unknown until 13 (the hub was off), 2 people
// from 13 to 15, vacant until midnight.
func (r *rig) day(site, date string) {
	r.Helper()
	t := func(clock string) time.Time { return at(r, date+"T"+clock) }
	midnight := at(r, date+"T00:00")
	loc, _ := time.LoadLocation("Europe/Oslo")
	next := midnight.In(loc).AddDate(0, 0, 1)
	r.hold(site, "meet", midnight, t("09:00"), 0, 4)
	r.hold(site, "meet", t("09:00"), t("10:00"), 3, 4)
	r.hold(site, "meet", t("10:00"), t("10:30"), 5, 4)
	r.hold(site, "meet", t("10:30"), t("12:00"), 0, 4)
	r.tell(site, occupied("meet", t("12:00"), -1, 4))
	r.hold(site, "meet", t("13:00"), t("15:00"), 2, 4)
	r.hold(site, "meet", t("15:00"), next, 0, 4)
}

func TestSummaryOfAKnownDay(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25") // a Wednesday
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	g := s.group(t, "meet")
	if g.Minutes != 1440 || g.KnownMinutes != 1380 || g.UnknownMinutes != 60 || g.OccupiedMinutes != 210 || g.VacantMinutes != 1170 || g.Spells != 2 {
		t.Errorf("minutes are %+v", g.Figures)
	}
	same(t, "coverage", g.Coverage, .9583)
	same(t, "average", g.Average, .4130) // (3*60 + 5*30 + 2*120) / 1380 persons
	same(t, "utilisation", g.Utilisation, .1033)
	same(t, "max", g.Max, 5)
	same(t, "min", g.Min, 0)
	same(t, "peak at", g.PeakAt, at(t, "2026-03-25T10:00"))
	same(t, "peak utilisation", g.PeakUtilisation, 1.25)
	same(t, "over capacity", g.OverMinutes, 30)
	same(t, "dwell", g.DwellMinutes, 105)
	same(t, "turnover", g.TurnoverPerDay, 2.087)
	if o := g.Opening; o == nil || o.Minutes != 480 || o.KnownMinutes != 420 || o.OccupiedMinutes != 210 {
		t.Errorf("opening is %+v, want 8 hours of which 7 are known", o)
	} else {
		same(t, "share of opening hours", o.OccupiedShare, .5)
	}
	lab := s.group(t, "lab")
	none(t, "average of a room nobody heard of", lab.Average)
	none(t, "max", lab.Max)
	same(t, "coverage", lab.Coverage, 0)
	if lab.UnknownMinutes != 1440 || lab.Opening != nil {
		t.Errorf("a room nobody heard of is %+v", lab)
	}
}

func TestDaysOfChangingClocks(t *testing.T) {
	for date, want := range map[string]struct{ minutes, known float64 }{
		"2026-03-29": {23 * 60, 22 * 60},
		"2026-10-25": {25 * 60, 24 * 60},
	} {
		r := newRig(t)
		r.set("2026-12-01T00:00")
		r.day("hq", date)
		r.project(r.m)
		day := at(t, date+"T12:00").AddDate(0, 0, 1).Format(time.DateOnly)
		var s Summary
		r.get("/v1/sites/hq/analytics/summary?space=meet&from="+date+"&to="+day, &s)
		g := s.group(t, "meet")
		if g.Minutes != want.minutes || g.KnownMinutes != want.known || g.OccupiedMinutes != 210 {
			t.Errorf("%s: %+v, want %v minutes of which %v are known", date, g.Figures, want.minutes, want.known)
		}
		if g.Opening == nil || g.Opening.Minutes != 0 {
			t.Errorf("%s is a Sunday; opening is %+v", date, g.Opening)
		}
		var tr Trends
		r.get("/v1/sites/hq/analytics/trends?space=meet&every=1h&from="+date+"&to="+day, &tr)
		if len(tr.Points) != int(want.minutes/60) {
			t.Errorf("%s has %d hours", date, len(tr.Points))
		}
		var sum float64
		for _, p := range tr.Points {
			sum += p.OccupiedMinutes
			if p.Minutes != 60 {
				t.Errorf("%s: the hour at %s has %v minutes", date, p.From, p.Minutes)
			}
		}
		if sum != 210 {
			t.Errorf("%s: hours add up to %v occupied minutes, want 210", date, sum)
		}
		hours := 0
		for h, c := range tr.HeatMap.Cells[6] {
			hours += c.Hours
			if h == 9 {
				same(t, "Sunday at nine", c.Average, 3)
			}
		}
		if hours != int(want.minutes/60) || tr.HeatMap.Cells[0][9].Average != nil {
			t.Errorf("%s: the heat map has %d hours on Sunday, and Monday is %+v", date, hours, tr.HeatMap.Cells[0][9])
		}
	}
}

func TestPartsOfHoursAreExact(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?space=meet&from=2026-03-25T09:40:00%2B01:00&to=2026-03-25T10:12:30%2B01:00", &s)
	g := s.group(t, "meet")
	if g.Minutes != 32.5 || g.OccupiedMinutes != 32.5 || *g.OverMinutes != 12.5 || g.Spells != 0 {
		t.Errorf("%+v, want 32.5 min of which 12.5 over capacity; no spell begins in it", g.Figures)
	}
}

func TestHolidaysAndHours(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	path := "/v1/sites/hq/analytics/settings"
	var got Settings
	r.get(path, &got)
	if got.Holidays == nil || len(got.Holidays) != 0 {
		t.Errorf("settings begin as %+v", got)
	}
	r.do(http.MethodPut, path, Settings{Holidays: []Holiday{{"2026-03-25", "Lady Day"}}, Hours: "00:00-24:00"}, 200, &got)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-24&to=2026-03-27", &s)
	if o := s.group(t, "meet").Opening; o.Minutes != 2*480 {
		t.Errorf("opening is %+v, want two days of eight hours", o)
	}
	if o := s.group(t, "lab").Opening; o == nil || o.Minutes != 2*1440 {
		t.Errorf("opening of a room without hours of its own is %+v, want the site's", o)
	}
	for _, bad := range []string{`{"holidays":[{"date":"25.12."}]}`, `{"hours":"Mon-Fri 7-19"}`, `{"holiday":[]}`, `[`} {
		want := http.StatusUnprocessableEntity
		if bad == `[` || bad == `{"holiday":[]}` {
			want = http.StatusBadRequest
		}
		r.do(http.MethodPut, path, bad, want, nil)
	}
}

func TestGroups(t *testing.T) {
	r := newRig(t)
	r.hold("hq", "meet", at(t, "2026-03-25T00:00"), at(t, "2026-03-26T00:00"), 2, 4)
	r.hold("hq", "lab", at(t, "2026-03-25T00:00"), at(t, "2026-03-26T00:00"), 5, 10)
	r.hold("hq", "first", at(t, "2026-03-25T00:00"), at(t, "2026-03-26T00:00"), 7, 0)
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?group=floor&from=2026-03-25&to=2026-03-26", &s)
	if g := s.group(t, "first"); len(s.Groups) != 1 || g.Spaces != 2 || g.Capacity != 14 || *g.Utilisation != .5 || g.KnownMinutes != 2880 {
		t.Errorf("the floor is %+v, want its two rooms and not its own number", s.Groups)
	}
	r.get("/v1/sites/hq/analytics/summary?group=kind&from=2026-03-25&to=2026-03-26", &s)
	if g := s.group(t, "room"); g.Spaces != 2 || len(s.Groups) != 3 {
		t.Errorf("kinds are %+v", s.Groups)
	}
	r.do(http.MethodGet, "/v1/sites/hq/analytics/summary?group=colour", nil, 400, nil)
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]int{
		"summary?from=yesterday":                    400,
		"summary?from=2026-03-02&to=2026-03-01":     400,
		"summary?from=2020-01-01&to=2026-01-01":     400,
		"summary?space=nowhere":                     404,
		"trends?every=2h":                           400,
		"trends?space=nowhere":                      404,
		"forecast?weeks=0":                          400,
		"forecast?weeks=many":                       400,
		"trends?every=1h&from=2025-04-01&space=lab": 400,
	} {
		r.do(http.MethodGet, "/v1/sites/hq/analytics/"+path, nil, want, nil)
	}
	r.doAs("other", http.MethodGet, "/v1/sites/hq/analytics/summary", nil, 404, nil)
	r.doAs("other", http.MethodGet, "/analytics/summary?site=hq", nil, 404, nil)
	r.doAs("other", http.MethodGet, "/analytics/trends", nil, 400, nil)
}

func TestPlainNames(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	var plain, own Summary
	r.get("/analytics/summary?from=2026-03-25&to=2026-03-26", &plain)
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &own)
	if *plain.group(t, "meet").Average != *own.group(t, "meet").Average || plain.Site != "hq" {
		t.Errorf("plain %+v, own %+v", plain, own)
	}
	var tr Trends
	r.get("/analytics/trends?site=hq&space=meet&every=1w&from=2026-03-16&to=2026-03-30", &tr)
	if len(tr.Points) != 2 || tr.Points[1].OccupiedMinutes != 210 {
		t.Errorf("weeks are %+v", tr.Points)
	}
}

func TestForecastTellsItsError(t *testing.T) {
	r := newRig(t)
	var f Forecast
	r.get("/v1/sites/hq/analytics/forecast?space=meet", &f)
	if f.MAE != nil || f.Points[0].Expected != nil || len(f.Points) != 7*24 {
		t.Errorf("without a past the forecast is %+v of %d hours", f.Points[0], len(f.Points))
	}
	for week := range 4 { // 2, 2, 2 and 4 people on Mondays at ten
		monday := at(t, "2026-03-02T10:00").AddDate(0, 0, 7*week)
		people := []int{2, 2, 2, 4}[week]
		r.hold("hq", "meet", monday, monday.Add(time.Hour), people, 4)
		r.tell("hq", occupied("meet", monday.Add(time.Hour), -1, 4))
	}
	r.set("2026-03-29T23:30") // the last of them is within the last week
	r.project(r.m)
	r.get("/v1/sites/hq/analytics/forecast?space=meet&weeks=4", &f)
	same(t, "error of the week that was held out", f.MAE, 2)
	same(t, "error of the constant", f.FlatMAE, 2)
	found := 0
	for _, p := range f.Points {
		if p.Expected != nil {
			found++
			same(t, "expected", p.Expected, 2.5)
			same(t, "its error", p.Error, .75)
			if local := p.From.In(at(t, "2026-03-30T10:00").Location()); p.Weeks != 4 || !p.From.Equal(at(t, "2026-03-30T10:00")) {
				t.Errorf("%s is foretold by %d weeks, want Monday at ten by 4", local, p.Weeks)
			}
		}
	}
	if found != 1 || f.MAEHours != 1 {
		t.Errorf("%d hours foretold, %d compared; want one each", found, f.MAEHours)
	}
}
