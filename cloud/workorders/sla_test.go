package workorders

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/headcount-hub/headcount/cloud/store"
)

func at(t testing.TB, zone, local string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	must(t, err)
	when, err := time.ParseInLocation("2006-01-02 15:04", local, loc)
	must(t, err)
	return when
}

func TestDeadlinesOverChangesOfTheClock(t *testing.T) {
	for _, c := range []struct {
		name, zone, hours string
		holidays          []string
		from              string
		open              time.Duration
		want              string
	}{
		{"within a day", "Europe/Oslo", "Mon-Fri 08:00-16:00", nil, "2026-03-02 09:00", 4 * time.Hour, "2026-03-02 13:00"},
		{"over night", "Europe/Oslo", "Mon-Fri 08:00-16:00", nil, "2026-03-02 15:00", 2 * time.Hour, "2026-03-03 09:00"},
		{"begins closed", "Europe/Oslo", "Mon-Fri 08:00-16:00", nil, "2026-03-02 20:00", time.Hour, "2026-03-03 09:00"},
		{"over the weekend on which Oslo springs forward", "Europe/Oslo", "Mon-Fri 08:00-16:00", nil, "2026-03-27 15:00", 2 * time.Hour, "2026-03-30 09:00"},
		{"over the weekend on which Oslo falls back", "Europe/Oslo", "Mon-Fri 08:00-16:00", nil, "2026-10-23 15:00", 2 * time.Hour, "2026-10-26 09:00"},
		{"around the clock, the day has 23 hours", "Europe/Oslo", "00:00-24:00", nil, "2026-03-28 12:00", 24 * time.Hour, "2026-03-29 13:00"},
		{"around the clock, the day has 25 hours", "Europe/Oslo", "00:00-24:00", nil, "2026-10-24 12:00", 24 * time.Hour, "2026-10-25 11:00"},
		{"always open, the day has 23 hours", "Europe/Oslo", "", nil, "2026-03-28 12:00", 24 * time.Hour, "2026-03-29 13:00"},
		{"night shift over the lost hour", "Europe/Oslo", "Sat 22:00-06:00", nil, "2026-03-28 22:00", 6 * time.Hour, "2026-03-29 05:00"},
		{"night shift over the hour that comes twice", "Europe/Oslo", "Sat 22:00-06:00", nil, "2026-10-24 22:00", 8 * time.Hour, "2026-10-25 05:00"},
		{"New York springs forward", "America/New_York", "Sun 00:00-06:00", nil, "2026-03-08 00:00", 3 * time.Hour, "2026-03-08 04:00"},
		{"New York falls back", "America/New_York", "Sun 00:00-06:00", nil, "2026-11-01 00:00", 3 * time.Hour, "2026-11-01 02:00"},
		{"New York over the weekend", "America/New_York", "Mon-Fri 09:00-17:00", nil, "2026-03-06 16:30", time.Hour, "2026-03-09 09:30"},
		{"a holiday is closed", "Europe/Oslo", "Mon-Fri 08:00-16:00", []string{"2026-12-25"}, "2026-12-24 15:00", 2 * time.Hour, "2026-12-28 09:00"},
		{"a holiday around the clock", "Europe/Oslo", "", []string{"2026-12-25"}, "2026-12-24 23:00", 2 * time.Hour, "2026-12-26 01:00"},
	} {
		cal, err := newCalendar(c.zone, c.hours, c.holidays)
		must(t, err)
		from, want := at(t, c.zone, c.from), at(t, c.zone, c.want)
		if got := cal.add(from, c.open); !got.Equal(want) {
			t.Errorf("%s: %s and %s are %s, want %s", c.name, c.from, c.open, got.In(cal.zone), want)
		}
		if got := cal.between(from, want); got != c.open {
			t.Errorf("%s: from %s until %s are %s, want %s", c.name, c.from, c.want, got, c.open)
		}
	}
}

func TestACalendarThatNeverOpensHasNoDeadline(t *testing.T) {
	cal, err := newCalendar("Europe/Oslo", "closed", nil)
	must(t, err)
	if got := cal.add(start, time.Hour); !got.IsZero() {
		t.Errorf("deadline is %s, want none", got)
	}
}

func TestOpenTimeAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom([]string{"Europe/Oslo", "America/New_York", "UTC", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(rt, "zone")
		hours := rapid.SampledFrom([]string{"", "Mon-Fri 08:00-16:00", "Sat 22:00-06:00", "02:15-02:45", "00:00-24:00", "Mon,Wed 08:00-12:00,13:00-17:00"}).Draw(rt, "hours")
		cal, err := newCalendar(zone, hours, []string{"2026-03-29", "2026-11-01", "2026-12-25"})
		if err != nil {
			rt.Fatal(err)
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 400*24*60).Draw(rt, "minutes")) * time.Minute)
		d := time.Duration(rapid.Int64Range(1, 20*60).Draw(rt, "open")) * time.Minute
		due := cal.add(from, d)
		if due.IsZero() {
			rt.Fatalf("%s from %s: never", d, from)
		}
		if got := cal.between(from, due); got != d {
			rt.Errorf("%s %q: %s from %s is due %s, but between are %s", zone, hours, d, from, due, got)
		}
		cut := from.Add(due.Sub(from) / 3)
		if again := cal.add(cut, d-cal.between(from, cut)); !again.Equal(due) {
			rt.Errorf("%s %q: paused and resumed at once at %s it is due %s, want %s", zone, hours, cut, again, due)
		}
	})
}

// promise sets the organisation's template: 30 minutes to respond, 4 hours to resolve.
func (r *rig) promise() {
	r.t.Helper()
	r.call("mia", "PUT", "/v1/orgs/acme/work-order-templates/default", `{"zone":"Europe/Oslo","hours":"Mon-Fri 08:00-16:00",
		"respond":{"medium":"30m"},"resolve":{"medium":"4h"}}`, 200, nil)
}

func TestAMissedDeadlineIsToldOnce(t *testing.T) {
	r := newRig(t)
	r.promise()
	v := r.order(func(w *Wanted) { w.Assignee = "olga" }) // Monday 09:00 in Oslo
	if want := at(t, "Europe/Oslo", "2026-03-02 09:30"); !v.Deadlines.RespondBy.Equal(want) {
		t.Fatalf("respond by %s, want %s", v.Deadlines.RespondBy, want)
	}
	r.fire(30*time.Minute - time.Millisecond)
	if told := r.told("breached"); len(told) != 0 {
		t.Fatalf("told %+v before the time", told)
	}
	r.fire(time.Millisecond)
	r.fire(time.Hour)
	var users []string
	for _, n := range r.told("breached") {
		users = append(users, n.User)
	}
	slices.Sort(users)
	if want := []string{"ada", "max", "mia", "olga"}; !slices.Equal(users, want) {
		t.Errorf("told %v, want %v", users, want)
	}
	v = r.show(v)
	if !v.Deadlines.RespondBreached || v.Deadlines.ResolveBreached || !v.Overdue {
		t.Errorf("deadlines are %+v, want respond missed", v.Deadlines)
	}
	var list struct {
		WorkOrders []Card `json:"work_orders"`
	}
	r.call("vera", "GET", "/v1/work-orders?overdue=true", nil, 200, &list)
	if len(list.WorkOrders) != 1 || !slices.Contains(r.events(), "workorder.breached") {
		t.Errorf("overdue are %+v and events %v, want one and workorder.breached", list, r.events())
	}
}

func TestNoTimePassesWhilePostponed(t *testing.T) {
	r := newRig(t)
	r.promise()
	v := r.order()
	v = r.move("ole", v, InProgress, "")
	r.fire(time.Hour) // 10:00, 3 h left
	v = r.move("ole", v, Postponed, "waits for a part")
	if v.Deadlines.ResolveLeft != Span(3*time.Hour) || !v.Paused || v.DueIn != nil {
		t.Fatalf("deadlines are %+v, want 3h left and no time running", v.Deadlines)
	}
	r.fire(7 * 24 * time.Hour) // Monday a week later, 10:00
	v = r.move("ole", v, InProgress, "")
	if want := at(t, "Europe/Oslo", "2026-03-09 13:00"); !v.Deadlines.ResolveBy.Equal(want) || v.Deadlines.ResolveBreached {
		t.Errorf("deadlines are %+v, want %s", v.Deadlines, want)
	}
	v = r.move("ole", v, Resolved, "")
	r.fire(24 * time.Hour)
	if told := r.told("breached"); len(told) != 0 {
		t.Errorf("told %+v of a resolved order", told)
	}
}

func TestPostponedUntilComesBackByItself(t *testing.T) {
	r := newRig(t)
	v := r.order()
	v = r.move("ole", v, Acknowledged, "")
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: Postponed, Reason: "x", Until: start.Add(-time.Hour), Version: v.Version}, 422, nil)
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: Postponed, Reason: "later", Until: start.Add(time.Hour), Version: v.Version}, 200, &v)
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/move", moving{To: InProgress, Version: v.Version}, 409, nil)
	r.fire(time.Hour)
	if v = r.show(v); v.State != Acknowledged || !v.PostponedUntil.IsZero() {
		t.Errorf("state is %s until %s, want acknowledged", v.State, v.PostponedUntil)
	}
}

func TestResolvedClosesAfterAReminder(t *testing.T) {
	r := newRig(t)
	v := r.order(func(w *Wanted) { w.Assignee = "olga" })
	v = r.move("olga", v, Resolved, "done")
	r.told("moved")
	r.fire(24 * time.Hour)
	if told := r.told("reminder"); len(told) != 2 {
		t.Errorf("reminded %+v, want author and assignee", told)
	}
	r.fire(48*time.Hour - time.Millisecond)
	if v = r.show(v); v.State != Resolved {
		t.Fatalf("state is %s before 3 days, want resolved", v.State)
	}
	r.fire(time.Millisecond)
	if v = r.show(v); v.State != Closed || v.ClosedAt.IsZero() {
		t.Errorf("state is %s after 3 days, want closed", v.State)
	}
	other := r.order()
	other = r.move("ole", other, Resolved, "done")
	other = r.move("ole", other, Reopened, "no")
	r.fire(4 * 24 * time.Hour)
	if other = r.show(other); other.State != Reopened {
		t.Errorf("a reopened order is %s, want left alone", other.State)
	}
}

func TestRemindersByHand(t *testing.T) {
	r := newRig(t)
	v := r.order()
	path := "/v1/work-orders/" + v.ID + "/reminders"
	r.call("ole", "POST", path, `{"text":"look"}`, 422, nil)
	r.call("ole", "POST", path, `{"user":"other","text":"look"}`, 422, nil)
	r.call("ole", "POST", path, `{"user":"olga","text":"look"}`, 202, nil)
	r.call("ole", "POST", path, reminding{User: "vera", Text: "look later", At: start.Add(time.Hour)}, 202, nil)
	if told := r.told("reminder"); len(told) != 1 || told[0].User != "olga" {
		t.Errorf("reminded %+v, want olga now", told)
	}
	r.fire(time.Hour)
	if told := r.told("reminder"); len(told) != 1 || told[0].User != "vera" || told[0].Text != "look later" {
		t.Errorf("reminded %+v, want vera after an hour", told)
	}
}

// TestTimersOutliveAProcess runs the module itself on a clock of its own: deadlines that pass
// while no process runs fire when the next one starts, once, also when two start together.
func TestTimersOutliveAProcess(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "cloud.db"), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), path)
		must(t, err)
		defer db.Close()
		var told []Notice
		open := func() *Module {
			m, err := Open(t.Context(), Options{DB: db, Dir: dir, Tell: func(_ *store.Tx, n Notice) error { told = append(told, n); return nil }})
			must(t, err)
			return m
		}
		first := open()
		must(t, db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.Exec(`INSERT INTO workorders_templates (org, name, doc) VALUES ('acme', 'default', '{"respond":{"medium":"30m"},"resolve":{"medium":"4h"}}')`)
		}))
		o, err := first.open(t.Context(), Wanted{Org: "acme", Domain: "acme", Title: "x", Assignee: "olga"}, actor{id: "ole", name: "Ole"})
		must(t, err)
		run(t, 31*time.Minute, first)
		if len(told) != 2 || told[1].Kind != "workorder.breached" {
			t.Fatalf("told %+v after 31 minutes, want assigned and breached", told)
		}
		<-time.After(5 * time.Hour) // nobody runs
		run(t, time.Minute, open(), open())
		if len(told) != 3 {
			t.Fatalf("told %+v after the restart, want one breach more", told)
		}
		o, err = first.order(t.Context(), o.ID)
		must(t, err)
		if !o.Deadlines.RespondBreached || !o.Deadlines.ResolveBreached {
			t.Errorf("deadlines are %+v, want both missed", o.Deadlines)
		}
	})
}

// run runs modules for a while.
func run(t *testing.T, d time.Duration, modules ...*Module) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	done := make(chan error)
	for _, m := range modules {
		go func() { done <- m.Run(ctx) }()
	}
	for _, m := range modules {
		must(t, <-done)
		m.Close()
	}
}

func TestTemplatesAreChecked(t *testing.T) {
	r := newRig(t)
	put := func(who, name, body string, want int) {
		t.Helper()
		r.call(who, "PUT", "/v1/orgs/acme/work-order-templates/"+name, body, want, nil)
	}
	put("mia", "fast", `{"resolve":{"urgent":"1h"}}`, 200)
	put("ole", "fast", `{"resolve":{"urgent":"1h"}}`, 403)
	put("other", "fast", `{"resolve":{"urgent":"1h"}}`, 404)
	put("mia", "UPPER", `{}`, 422)
	for _, bad := range []string{
		`{"zone":"Mars/Base"}`, `{"hours":"Mon 8-9"}`, `{"holidays":["25.12."]}`, `{"resolve":{"huge":"1h"}}`, `{"resolve":{"low":"1h"},"hours":"closed"}`,
		`{"respond":{"low":"2h"},"resolve":{"low":"1h"}}`, `{"pause":["open"]}`,
	} {
		put("mia", "bad", bad, 422)
	}
	put("mia", "bad", `{"resolve":{"low":"-1h"}}`, 400)
	r.call("ole", "POST", "/v1/work-orders", Wanted{Org: "acme", Title: "x", SLA: "missing"}, 422, nil)
	v := r.order(func(w *Wanted) { w.SLA, w.Priority = "fast", Urgent })
	if v.Deadlines == nil || !v.Deadlines.ResolveBy.Equal(start.Add(time.Hour)) {
		t.Errorf("deadlines are %+v, want an hour", v.Deadlines)
	}
	r.call("mia", "DELETE", "/v1/orgs/acme/work-order-templates/fast", nil, 204, nil)
	r.call("mia", "DELETE", "/v1/orgs/acme/work-order-templates/fast", nil, 404, nil)
}
