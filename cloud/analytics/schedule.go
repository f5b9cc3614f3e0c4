package analytics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// Schedule is a report that is made again and again: of the week or month before, at a time on
// the site's clock.
type Schedule struct {
	ID         string    `json:"id,omitempty"`
	Kind       string    `json:"kind"`
	Format     string    `json:"format"`
	Space      string    `json:"space,omitempty"`
	Group      string    `json:"group,omitempty"`
	Every      string    `json:"every"`             // weekly or monthly
	Weekday    string    `json:"weekday,omitempty"` // of weekly: Mon … Sun; Mon when empty
	Day        int       `json:"day,omitempty"`     // of monthly: 1 … 28; 1 when empty
	At         string    `json:"at"`                // HH:MM
	Recipients []string  `json:"recipients"`        // mail addresses that are told where the file is
	Next       time.Time `json:"next,omitzero"`
	Author     string    `json:"created_by,omitempty"`
}

const (
	maxSchedules  = 50 // of a site
	maxRecipients = 20
)

func (s *Schedule) check() error {
	bad := func(format string, args ...any) error {
		return route.Problem(http.StatusUnprocessableEntity, format, args...)
	}
	ask := ReportAsk{Kind: s.Kind, Format: s.Format, Group: s.Group}
	if err := ask.check(); err != nil {
		return err
	}
	if _, err := time.Parse("15:04", s.At); err != nil || len(s.At) != 5 {
		return bad("at %q: want a time such as 07:00", s.At)
	}
	switch {
	case s.Every == "weekly" && (s.Day != 0 || s.Weekday != "" && !slices.Contains(weekDays, s.Weekday)):
		return bad("weekday %q: want Mon, Tue, Wed, Thu, Fri, Sat or Sun, and no day", s.Weekday)
	case s.Every == "monthly" && (s.Weekday != "" || s.Day < 0 || s.Day > 28):
		return bad("day %d: want a day from 1 to 28, and no weekday", s.Day)
	case s.Every != "weekly" && s.Every != "monthly":
		return bad("every %q: want weekly or monthly", s.Every)
	case len(s.Recipients) > maxRecipients:
		return bad("recipients: %d addresses, at most %d are possible", len(s.Recipients), maxRecipients)
	}
	for i, to := range s.Recipients {
		if a, err := mail.ParseAddress(to); err != nil || a.Address != to || len(to) > 254 {
			return bad("recipients[%d]: %q is no mail address such as ann@example.org", i, to)
		}
	}
	return nil
}

// next is when the schedule is due next after a time.
func (s *Schedule) next(after time.Time, loc *time.Location) time.Time {
	clock, _ := time.Parse("15:04", s.At) // checked
	local := after.In(loc)
	y, m, d := local.Date()
	for {
		at := time.Date(y, m, d, clock.Hour(), clock.Minute(), 0, 0, loc)
		if at.After(after) && s.on(at) {
			return at.UTC()
		}
		d++
	}
}

// on tells whether a day is one of the schedule's.
func (s *Schedule) on(day time.Time) bool {
	if s.Every == "monthly" {
		return day.Day() == max(1, s.Day)
	}
	return weekDay(day) == max(0, slices.Index(weekDays, s.Weekday))
}

// covers is the week or month before the one in which the schedule is due.
func (s *Schedule) covers(due time.Time, loc *time.Location) (from, to time.Time) {
	y, m, d := due.In(loc).Date()
	if s.Every == "monthly" {
		return time.Date(y, m-1, 1, 0, 0, 0, 0, loc), time.Date(y, m, 1, 0, 0, 0, 0, loc)
	}
	d -= weekDay(due.In(loc))
	return time.Date(y, m, d-7, 0, 0, 0, 0, loc), time.Date(y, m, d, 0, 0, 0, 0, loc)
}

func (m *Module) postSchedule(r *route.Request) (any, error) {
	var s Schedule
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	if s.ID != "" || !s.Next.IsZero() || s.Author != "" {
		return nil, route.Problem(http.StatusUnprocessableEntity, "id, next and created_by are not for you to say")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	site := r.Found.(store.Site)
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	model := m.model(site)
	if _, ok := model.Space(s.Space); s.Space != "" && !ok {
		return nil, route.Problem(http.StatusUnprocessableEntity, "there is no space %q on site %s", s.Space, site.Site)
	}
	if s.Recipients == nil {
		s.Recipients = []string{}
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	s.ID, s.Author, s.Next = id.String(), r.Who.Who(), s.next(m.now(), model.Location())
	err = m.db.Update(r.Context(), func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM analytics_schedules WHERE site = ?`, site.ID).Scan(&n); err != nil {
			return err
		}
		if n >= maxSchedules {
			return route.Problem(http.StatusConflict, "the site has %d schedules; delete some", n)
		}
		return tx.Exec(`INSERT INTO analytics_schedules (id, site, doc, due, author, created) VALUES (?, ?, ?, ?, ?, ?)`,
			s.ID, site.ID, string(doc), store.Millis(s.Next), s.Author, store.Millis(m.now()))
	})
	return route.Created("/v1/sites/"+site.Site+"/report-schedules/"+s.ID, s), err
}

func scanSchedule(r *sql.Rows) (s Schedule, err error) {
	var doc, id, author string
	var due int64
	if err = r.Scan(&id, &doc, &due, &author); err == nil {
		err = json.Unmarshal([]byte(doc), &s)
	}
	s.ID, s.Next, s.Author = id, store.FromMillis(due), author
	return s, err
}

func (m *Module) listSchedules(r *route.Request) (any, error) {
	rows, err := m.db.Query(r.Context(), `SELECT id, doc, due, author FROM analytics_schedules WHERE site = ? ORDER BY created, id`, r.Found.(store.Site).ID)
	list, err := store.Collect(rows, err, scanSchedule)
	if list == nil {
		list = []Schedule{}
	}
	return map[string]any{"schedules": list}, err
}

func (m *Module) deleteSchedule(r *route.Request) (any, error) {
	return nil, m.delete(r.Context(), `DELETE FROM analytics_schedules WHERE site = ? AND id = ?`, r.Found.(store.Site).ID, r.PathValue("id"))
}

// keepSchedules asks for reports that are due, and lets old ones go, until ctx ends.
func (m *Module) keepSchedules(ctx context.Context) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		if err := m.scheduleDue(ctx); err != nil && ctx.Err() == nil {
			m.log.Error("report schedules wait; tried again soon", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// scheduleDue asks for the reports of all schedules that are due: what was missed while nobody
// ran is made once, for the newest week or month.
func (m *Module) scheduleDue(ctx context.Context) error {
	sites, err := m.sitesByID(ctx)
	if err != nil {
		return err
	}
	now := m.now()
	err = m.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.Exec(`DELETE FROM analytics_reports WHERE created < ? AND state IN ('done', 'failed')`, store.Millis(now.Add(-keepReports))); err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT s.id, s.doc, s.due, s.author, s.site FROM analytics_schedules s WHERE s.due <= ? ORDER BY s.due LIMIT 100`, store.Millis(now))
		type dueSchedule struct {
			Schedule
			site int64
		}
		list, err := store.Collect(rows, err, func(r *sql.Rows) (d dueSchedule, err error) {
			var doc, id, author string
			var due int64
			if err = r.Scan(&id, &doc, &due, &author, &d.site); err == nil {
				err = json.Unmarshal([]byte(doc), &d.Schedule)
			}
			d.ID, d.Next, d.Author = id, store.FromMillis(due), author
			return d, err
		})
		if err != nil {
			return err
		}
		for _, d := range list {
			site, ok := sites[d.site]
			if !ok {
				continue
			}
			if err := m.fire(tx, site, d.Schedule, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		m.kick()
	}
	return err
}

// fire asks for the report of a schedule that is due, and sets when it is due next.
func (m *Module) fire(tx *store.Tx, site store.Site, s Schedule, now time.Time) error {
	loc := m.model(site).Location()
	due := s.Next
	for next := s.next(due, loc); !next.After(now); next = s.next(due, loc) {
		due = next
	}
	from, to := s.covers(due, loc)
	a := ReportAsk{Kind: s.Kind, Format: s.Format, Space: s.Space, Group: s.Group, From: from.UTC().Format(time.RFC3339), To: to.UTC().Format(time.RFC3339)}
	if _, err := m.addReport(tx, site.ID, a, s.ID, s.Author); err != nil {
		return err
	}
	return tx.Exec(`UPDATE analytics_schedules SET due = ? WHERE id = ?`, store.Millis(s.next(due, loc)), s.ID)
}

// mail tells the recipients of a schedule where its report is, or why there is none.
func (m *Module) mail(tx *store.Tx, rep *Report, state, reason string) error {
	if rep.Schedule == "" || m.o.Mail == nil {
		return nil
	}
	var doc string
	err := tx.QueryRow(`SELECT doc FROM analytics_schedules WHERE id = ?`, rep.Schedule).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // nobody waits for it any more
	}
	var s Schedule
	if err == nil {
		err = json.Unmarshal([]byte(doc), &s)
	}
	if err != nil {
		return err
	}
	loc := m.model(rep.site).Location()
	from, to := localDay(rep.Ask.From, loc), localDay(rep.Ask.To, loc)
	subject := fmt.Sprintf("Report %s of %s, %s to %s", rep.Ask.Kind, rep.Site, from, to)
	text := fmt.Sprintf("The report is ready:\n%s/analytics/reports/%s/download\n\nYou need to be logged in to see it; it is kept for %d days.\n",
		strings.TrimSuffix(m.o.PublicURL(), "/"), rep.ID, int(keepReports.Hours()/24))
	if state == failed {
		text = "The report could not be made: " + reason + "\n"
	}
	for _, recipient := range s.Recipients {
		if err := m.o.Mail(tx, "report/"+rep.ID+"/"+recipient, rep.Org, recipient, subject, text); err != nil {
			return err
		}
	}
	return nil
}

// localDay is the date of an RFC 3339 time at the site.
func localDay(s string, loc *time.Location) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return s
	}
	return t.In(loc).Format(time.DateOnly)
}
