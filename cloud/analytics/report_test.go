package analytics

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"
)

// made asks for a report and makes it.
func (r *rig) made(ask ReportAsk) Report {
	r.Helper()
	var rep Report
	resp := r.do(http.MethodPost, "/v1/sites/hq/reports", ask, http.StatusAccepted, &rep)
	if where := resp.Header.Get("Location"); where != "/analytics/reports/"+rep.ID || rep.State != queued {
		r.Errorf("report %+v at %s", rep, where)
	}
	if _, err := r.m.makeNext(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.get("/analytics/reports/"+rep.ID, &rep)
	return rep
}

func (r *rig) file(rep Report) []byte {
	r.Helper()
	var b []byte
	if rep.State != done {
		r.Fatalf("report is %+v", rep)
	}
	r.get(rep.Download, &b)
	return b
}

func TestFilesHaveTheFiguresOfTheAPI(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	ask := ReportAsk{Kind: "summary", From: "2026-03-25", To: "2026-03-26", Format: "csv"}
	content := r.file(r.made(ask))
	if !bytes.Contains(content, []byte("\r\n")) {
		t.Error("lines do not end with CRLF")
	}
	lines, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ask.Format = "xlsx"
	book, err := excelize.OpenReader(bytes.NewReader(r.file(r.made(ask))))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	cells, err := book.GetRows(sheetData, excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int {
		for i, c := range lines[0] {
			if c == name {
				return i
			}
		}
		t.Fatalf("no column %s in %v", name, lines[0])
		return 0
	}
	for i, g := range s.Groups {
		for name, want := range map[string]any{
			"space": g.Group, "average": known(g.Average), "coverage": known(g.Coverage), "occupied_minutes": g.OccupiedMinutes, "utilisation": known(g.Utilisation),
			"max": known(g.Max), "over_capacity_minutes": known(g.OverMinutes), "spells": g.Spells, "dwell_minutes": known(g.DwellMinutes),
		} {
			c := column(name)
			if got := lines[i+1][c]; got != text(want) {
				t.Errorf("CSV: %s of %s is %q, want %q", name, g.Group, got, text(want))
			}
			var got string
			if c < len(cells[i+1]) { // empty cells at the end of a row are not read
				got = cells[i+1][c]
			}
			if got != text(want) {
				t.Errorf("XLSX: %s of %s is %q, want %q", name, g.Group, got, text(want))
			}
		}
	}
	lab := 1 + 3
	if got := lines[lab][column("name")]; got != "'=1+1" {
		t.Errorf("a name that looks like a formula is written as %q", got)
	}
	if f, err := book.GetCellFormula(sheetData, "B5"); err != nil || f != "" {
		t.Errorf("the workbook has the formula %q (%v)", f, err)
	}
	if about, err := book.GetRows(sheetAbout); err != nil || about[1][1] != "'=HQ" {
		t.Errorf("about is %v (%v)", about, err)
	}
	if got := lines[lab][column("average")]; got != "" {
		t.Errorf("what is not known is written as %q", got)
	}
}

func TestHoursForChartsAndForPrint(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-29")
	r.project(r.m)
	ask := ReportAsk{Kind: "hours", From: "2026-03-29", To: "2026-03-30", Format: "xlsx", Space: "meet"}
	rep := r.made(ask)
	book, err := excelize.OpenReader(bytes.NewReader(r.file(rep)))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	rows, err := book.GetRows(sheetData, excelize.Options{RawCellValue: true})
	if err != nil || len(rows) != 24 || rep.Rows != 23 {
		t.Fatalf("%d rows (%v), want a heading and 23 hours", len(rows), err)
	}
	days, err := strconv.ParseFloat(rows[3][0], 64)
	if err != nil {
		t.Fatalf("a time is %q, no number: %v", rows[3][0], err)
	}
	if got, err := excelize.ExcelDateToTime(days, false); err != nil || got.Round(time.Second).Format("15:04") != "03:00" {
		t.Errorf("the third hour of that day is %v (%v), want 03:00 on the wall", got, err)
	}
	ask.Format, ask.Kind = "html", "days"
	var body []byte
	done := r.made(ask)
	resp := r.do(http.MethodGet, done.Download, nil, 200, &body)
	if ct := resp.Header.Get("Content-Type"); ct != "text/html; charset=utf-8" || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("served as %v", resp.Header)
	}
	if !bytes.Contains(body, []byte("Meeting, &#34;large&#34;")) || !bytes.Contains(body, []byte(">210<")) {
		t.Errorf("the page is %s", body)
	}
	for _, kind := range []string{"access", "availability", "events"} {
		if rep := r.made(ReportAsk{Kind: kind, Format: "csv"}); rep.State != "done" {
			t.Errorf("%s: %+v", kind, rep)
		}
	}
}

func TestReportsThatCannotBe(t *testing.T) {
	r := newRig(t)
	for body, want := range map[string]int{
		`{"kind":"gossip","format":"csv"}`:                                  422,
		`{"kind":"days","format":"doc"}`:                                    422,
		`{"kind":"days","format":"csv","group":"floor"}`:                    422,
		`{"kind":"days","format":"csv","from":"2026-03-02","to":"2026-03"}`: 400,
		`{"kind":"days","format":"csv","colour":1}`:                         400,
	} {
		r.do(http.MethodPost, "/v1/sites/hq/reports", body, want, nil)
	}
	rep := r.made(ReportAsk{Kind: "days", Format: "csv", Space: "nowhere"})
	if rep.State != failed || !strings.Contains(rep.Reason, "nowhere") || rep.Download != "" || rep.Attempts != 1 {
		t.Errorf("a report of a space that is none is %+v", rep)
	}
	r.do(http.MethodGet, "/analytics/reports/"+rep.ID+"/download", nil, 409, nil)
	r.doAs("other", http.MethodGet, "/analytics/reports/"+rep.ID, nil, 404, nil)
	r.do(http.MethodDelete, "/analytics/reports/"+rep.ID, nil, 204, nil)
	r.do(http.MethodGet, "/analytics/reports/"+rep.ID, nil, 404, nil)
	for range maxOpen {
		r.do(http.MethodPost, "/v1/sites/hq/reports", ReportAsk{Kind: "days", Format: "csv"}, 202, nil)
	}
	r.do(http.MethodPost, "/v1/sites/hq/reports", ReportAsk{Kind: "days", Format: "csv"}, 429, nil)
}

// A process that dies while it makes a report has it made by another, but not for ever.
func TestReportOfAProcessThatDied(t *testing.T) {
	r := newRig(t)
	var rep Report
	r.do(http.MethodPost, "/v1/sites/hq/reports", ReportAsk{Kind: "days", Format: "csv"}, 202, &rep)
	for attempt := range maxAttempts {
		dying := r.open()
		id, err := dying.claim(r.Context())
		if err != nil || id != rep.ID {
			t.Fatalf("attempt %d claims %q (%v)", attempt, id, err)
		}
		if again, err := r.m.makeNext(r.Context()); err != nil || again {
			t.Fatalf("a report is made twice at once (%v)", err)
		}
		r.mu.Lock()
		r.now = r.now.Add(lease)
		r.mu.Unlock()
		if attempt == 0 {
			var state Report
			r.get("/analytics/reports/"+rep.ID, &state)
			if state.State != running {
				t.Errorf("meanwhile it is %s", state.State)
			}
		}
	}
	if again, err := r.m.makeNext(r.Context()); err != nil || again {
		t.Fatalf("it is tried for ever (%v)", err)
	}
	r.get("/analytics/reports/"+rep.ID, &rep)
	if rep.State != failed || rep.Attempts != maxAttempts || rep.Reason == "" {
		t.Errorf("report is %+v", rep)
	}
	r.do(http.MethodPost, "/v1/sites/hq/reports", ReportAsk{Kind: "days", Format: "csv"}, 202, &rep)
	if id, err := r.open().claim(r.Context()); err != nil || id != rep.ID {
		t.Fatal(id, err)
	}
	r.mu.Lock()
	r.now = r.now.Add(lease)
	r.mu.Unlock()
	if again, err := r.m.makeNext(r.Context()); err != nil || !again {
		t.Fatalf("it is not taken up (%v)", err)
	}
	if r.get("/analytics/reports/"+rep.ID, &rep); rep.State != done || rep.Attempts != 2 {
		t.Errorf("report is %+v, want it done by the second", rep)
	}
}

func TestSchedulesAreKeptOnTheSitesClock(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	r.set("2026-03-27T12:00") // the Friday before the clocks change
	path := "/v1/sites/hq/report-schedules"
	for _, bad := range []string{
		`{"kind":"days","format":"csv","every":"daily","at":"07:00"}`, `{"kind":"days","format":"csv","every":"weekly","at":"7"}`,
		`{"kind":"days","format":"csv","every":"weekly","weekday":"Frog","at":"07:00"}`, `{"kind":"days","format":"csv","every":"monthly","day":31,"at":"07:00"}`,
		`{"kind":"days","format":"csv","every":"weekly","at":"07:00","recipients":["nobody"]}`, `{"kind":"days","format":"csv","every":"weekly","at":"07:00","space":"nowhere"}`,
	} {
		r.do(http.MethodPost, path, bad, 422, nil)
	}
	var s Schedule
	r.do(http.MethodPost, path, `{"kind":"days","format":"csv","every":"weekly","at":"07:00","space":"meet","recipients":["ann@example.org","ben@example.org"]}`, 201, &s)
	if !s.Next.Equal(at(t, "2026-03-30T07:00")) {
		t.Errorf("due at %s, want Monday at seven", s.Next)
	}
	r.must(r.m.scheduleDue(r.Context()))
	r.set("2026-03-30T06:59")
	r.must(r.m.scheduleDue(r.Context()))
	var list struct{ Reports []Report }
	if r.get("/v1/sites/hq/reports", &list); len(list.Reports) != 0 {
		t.Fatalf("reports before they are due: %+v", list.Reports)
	}
	r.set("2026-03-30T07:00")
	r.must(r.m.scheduleDue(r.Context()))
	r.must(r.open().scheduleDue(r.Context())) // another process
	if _, err := r.m.makeNext(r.Context()); err != nil {
		t.Fatal(err)
	}
	r.get("/v1/sites/hq/reports", &list)
	if len(list.Reports) != 1 || list.Reports[0].Schedule != s.ID || list.Reports[0].Rows != 7 {
		t.Fatalf("reports are %+v, want one of seven days", list.Reports)
	}
	rep := list.Reports[0]
	if from, to := at(t, "2026-03-23T00:00").Format(time.RFC3339), at(t, "2026-03-30T00:00").Format(time.RFC3339); rep.Ask.From != from || rep.Ask.To != to {
		t.Errorf("it covers %s to %s, want %s to %s", rep.Ask.From, rep.Ask.To, from, to)
	}
	if len(r.mails) != 2 || r.mails[1].to != "ben@example.org" || !strings.Contains(r.mails[0].text, "https://cloud.example.org"+rep.Download) || !strings.Contains(r.mails[0].subject, "2026-03-23 to 2026-03-30") {
		t.Errorf("mails are %+v", r.mails)
	}
	r.set("2026-05-20T00:00") // the cloud was off for weeks: one report, of the newest week
	r.must(r.m.scheduleDue(r.Context()))
	var schedules struct{ Schedules []Schedule }
	r.get(path, &schedules)
	if len(schedules.Schedules) != 1 || !schedules.Schedules[0].Next.Equal(at(t, "2026-05-25T07:00")) {
		t.Errorf("schedules are %+v", schedules.Schedules)
	}
	if r.get("/v1/sites/hq/reports", &list); len(list.Reports) != 1 && list.Reports[0].Ask.To != at(t, "2026-05-18T00:00").Format(time.RFC3339) {
		t.Errorf("reports are %+v", list.Reports)
	}
	r.do(http.MethodDelete, path+"/"+s.ID, nil, 204, nil)
	r.do(http.MethodDelete, path+"/"+s.ID, nil, 404, nil)
}

func TestMonthlySchedule(t *testing.T) {
	s := Schedule{Every: "monthly", At: "07:00"}
	loc, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	due := s.next(at(t, "2026-10-15T00:00"), loc)
	if !due.Equal(at(t, "2026-11-01T07:00")) {
		t.Errorf("due at %s", due)
	}
	if from, to := s.covers(due, loc); !from.Equal(at(t, "2026-10-01T00:00")) || !to.Equal(at(t, "2026-11-01T00:00")) || to.Sub(from) != 31*24*time.Hour+time.Hour {
		t.Errorf("covers %s to %s", from, to)
	}
}

func TestOldReportsGo(t *testing.T) {
	r := newRig(t)
	rep := r.made(ReportAsk{Kind: "events", Format: "csv"})
	r.mu.Lock()
	r.now = r.now.Add(keepReports + time.Hour)
	r.mu.Unlock()
	r.must(r.m.scheduleDue(r.Context()))
	r.do(http.MethodGet, "/analytics/reports/"+rep.ID, nil, 404, nil)
}

const calendarText = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:standup-ann@example.org
SUMMARY:Talk with Ann
DTSTART;TZID=Europe/Oslo:20260324T090000
DTEND;TZID=Europe/Oslo:20260324T100000
RRULE:FREQ=DAILY;COUNT=3
EXDATE;TZID=Europe/Oslo:20260326T090000
LOCATION:meeting\, "LARGE"
X-HEADCOUNT-PEOPLE:2
END:VEVENT
BEGIN:VEVENT
UID:b
DTSTART;TZID=Europe/Oslo:20260325T170000
DTEND;TZID=Europe/Oslo:20260325T180000
LOCATION:Somewhere
END:VEVENT
BEGIN:VEVENT
UID:c
DTSTART;TZID=Europe/Oslo:20260325T170000
DTEND;TZID=Europe/Oslo:20260325T180000
X-HEADCOUNT-SPACE:meet
ATTENDEE:mailto:a@example.org
END:VEVENT
BEGIN:VEVENT
UID:d
DTSTART;TZID=Europe/Oslo:20260325T120000
DTEND;TZID=Europe/Oslo:20260325T130000
X-HEADCOUNT-SPACE:meet
END:VEVENT
BEGIN:VEVENT
UID:e
DTSTART:not a time
END:VEVENT
END:VCALENDAR
`

func TestPlannedNextToMeasured(t *testing.T) {
	r := newRig(t)
	r.day("hq", "2026-03-25")
	r.project(r.m)
	const path = "/v1/sites/hq/plans"
	var got Imported
	r.do(http.MethodPost, path+"/import", calendarText, 200, &got)
	if got.Events != 5 || got.Plans != 4 || got.Unplaced != 1 || len(got.Skipped) != 1 || fmt.Sprint(got.Places) != "[Somewhere]" {
		t.Fatalf("imported %+v", got)
	}
	r.do(http.MethodPost, path+"/import", strings.Replace(calendarText, "COUNT=3", "COUNT=2", 1), 200, &got)
	if got.Replaced != 4 || got.Plans != 4 {
		t.Errorf("imported again: %+v, want the same plans replaced", got)
	}
	var p SpacePlan
	r.get("/v1/sites/hq/spaces/meet/plan?from=2026-03-24&to=2026-03-26", &p)
	var verdicts []string
	for _, x := range p.Plans {
		verdicts = append(verdicts, x.From.In(at(t, "2026-03-25T00:00").Location()).Format("02T15")+" "+x.Verdict)
		if x.Title != "" {
			t.Errorf("the title %q was kept", x.Title)
		}
	}
	// On the 24th nobody measured; on the 25th 3 came for 2 at nine, at noon the hub was off, nobody came at five.
	if want := "[24T08 not known 25T08 over plan 25T11 not known 25T16 no show]"; fmt.Sprint(verdicts) != want || p.Figures != (PlanFigures{4, 1, 1, 2}) {
		t.Errorf("plans are %v, %+v; want %s", verdicts, p.Figures, want)
	}
	same(t, "measured", p.Plans[1].Average, 3)
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	if f := s.group(t, "meet").Plan; f == nil || *f != (PlanFigures{3, 1, 1, 1}) {
		t.Errorf("the summary has %+v", f)
	}
	var kept int
	r.must(r.db.QueryRow(r.Context(), `SELECT count(*) FROM analytics_plans WHERE uid LIKE '%ann%' OR title <> ''`).Scan(&kept))
	if kept != 0 {
		t.Error("names of people are kept")
	}
	r.do(http.MethodPost, path+"/import?titles=1", calendarText, 200, &got)
	var list struct{ Plans []Plan }
	r.get(path+"?from=2026-03-24&to=2026-03-26", &list)
	if len(list.Plans) != 4 || list.Plans[0].Title != "Talk with Ann" {
		t.Errorf("plans are %+v", list.Plans)
	}
	r.do(http.MethodDelete, path+"/"+list.Plans[0].ID, nil, 204, nil)
	r.do(http.MethodDelete, path+"/"+list.Plans[0].ID, nil, 404, nil)
	var n struct{ Deleted int }
	r.do(http.MethodDelete, path, nil, 400, nil)
	if r.do(http.MethodDelete, path+"?from=2026-03-01&to=2026-04-01", nil, 200, &n); n.Deleted != 3 {
		t.Errorf("%d deleted, want the other three", n.Deleted)
	}
	r.do(http.MethodPost, path+"/import", "hello", 400, nil)
	r.do(http.MethodPost, path+"/import?space=nowhere", calendarText, 404, nil)
	r.do(http.MethodGet, "/v1/sites/hq/spaces/nowhere/plan", nil, 404, nil)
	r.do(http.MethodPost, path+"/import", strings.Replace(calendarText, "VERSION:2.0", "VERSION:2.0\nMETHOD:CANCEL", 1), 200, &got)
	if got.Plans != 0 {
		t.Errorf("a calendar that takes its events back: %+v", got)
	}
}
