package notify

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// Preference is how a person wants to be told. Without any it is all three.
type Preference struct {
	Org   string `json:"org"`  // empty = all organisations
	Kind  string `json:"kind"` // empty = all kinds
	Inbox bool   `json:"inbox"`
	Mail  bool   `json:"mail"`
	Push  bool   `json:"push"`
	Quiet *Quiet `json:"quiet,omitempty"` // nil = none
}

// Quiet are hours in which mail and push wait, but for what is critical.
type Quiet struct {
	From     string `json:"from"`     // such as "22:00"
	To       string `json:"to"`       // such as "07:00"; may be on the next day
	Timezone string `json:"timezone"` // IANA; empty = UTC
}

// after is until when mail and push wait at now; zero = not at all.
func (p Preference) after(now time.Time, s edge.Severity) time.Time {
	if p.Quiet == nil || s == edge.Critical {
		return time.Time{}
	}
	return p.Quiet.end(now)
}

// end is when the quiet hours that hold at now end; zero when none hold.
func (q *Quiet) end(now time.Time) time.Time {
	zone, err := time.LoadLocation(q.Timezone)
	if err != nil {
		return time.Time{}
	}
	from, err1 := time.Parse("15:04", q.From)
	to, err2 := time.Parse("15:04", q.To)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	local := now.In(zone)
	for _, day := range []int{-1, 0} { // hours that began yesterday, or today
		y, m, d := local.AddDate(0, 0, day).Date()
		start := time.Date(y, m, d, from.Hour(), from.Minute(), 0, 0, zone)
		last := d
		if !to.After(from) {
			last++
		}
		end := time.Date(y, m, last, to.Hour(), to.Minute(), 0, 0, zone)
		if !now.Before(start) && now.Before(end) {
			return end
		}
	}
	return time.Time{}
}

func (p Preference) check() error {
	if len(p.Org) > 64 || len(p.Kind) > 64 {
		return route.Problem(http.StatusUnprocessableEntity, "org and kind have at most 64 characters")
	}
	if p.Quiet == nil {
		return nil
	}
	for field, s := range map[string]string{"from": p.Quiet.From, "to": p.Quiet.To} {
		if _, err := time.Parse("15:04", s); err != nil {
			return route.Problem(http.StatusUnprocessableEntity, "quiet.%s is %q: want a time such as 22:00", field, s)
		}
	}
	if _, err := time.LoadLocation(p.Quiet.Timezone); err != nil {
		return route.Problem(http.StatusUnprocessableEntity, "quiet.timezone is %q: want an IANA name such as Europe/Oslo", p.Quiet.Timezone)
	}
	return nil
}

// preference finds what a person wants: that of the kind goes before that of the organisation.
func preference(tx *store.Tx, person, org, kind string) (Preference, error) {
	const query = `SELECT spec FROM notify_preferences WHERE person = ? AND (org = ? OR org = '') AND (kind = ? OR kind = '')
		ORDER BY CASE WHEN kind = '' THEN 1 ELSE 0 END, CASE WHEN org = '' THEN 1 ELSE 0 END LIMIT 1`
	p := Preference{Inbox: true, Mail: true, Push: true}
	var spec string
	err := tx.QueryRow(query, person, org, kind).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read preferences: %w", err)
	}
	return p, json.Unmarshal([]byte(spec), &p)
}

// maxPreferences bounds those of one person.
const maxPreferences = 100

func (n *Notifier) getPreferences(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	rows, err := n.db.Query(r.Context(), `SELECT spec FROM notify_preferences WHERE person = ? ORDER BY org, kind`, me)
	list, err := store.Collect(rows, err, func(rows *sql.Rows) (p Preference, err error) {
		var spec string
		if err := rows.Scan(&spec); err != nil {
			return p, err
		}
		return p, json.Unmarshal([]byte(spec), &p)
	})
	if list == nil {
		list = []Preference{}
	}
	return preferenceList{Preferences: list}, err
}

type preferenceList struct {
	Preferences []Preference `json:"preferences"`
}

// putPreferences replaces all preferences of the caller.
func (n *Notifier) putPreferences(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	var in preferenceList
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in.Preferences) > maxPreferences {
		return nil, route.Problem(http.StatusUnprocessableEntity, "%d preferences, at most %d are possible", len(in.Preferences), maxPreferences)
	}
	seen := map[[2]string]bool{}
	for _, p := range in.Preferences {
		if err := p.check(); err != nil {
			return nil, err
		}
		if k := [2]string{p.Org, p.Kind}; seen[k] {
			return nil, route.Problem(http.StatusUnprocessableEntity, "two preferences for org %q and kind %q", p.Org, p.Kind)
		} else {
			seen[k] = true
		}
	}
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.Exec(`DELETE FROM notify_preferences WHERE person = ?`, me); err != nil {
			return err
		}
		for _, p := range in.Preferences {
			if err := tx.Exec(`INSERT INTO notify_preferences (person, org, kind, spec) VALUES (?, ?, ?, ?)`, me, p.Org, p.Kind, toJSON(p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return n.getPreferences(r)
}
