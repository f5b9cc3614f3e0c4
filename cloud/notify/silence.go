package notify

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Silence keeps alerts from being told; they are raised and shown all the same.
type Silence struct {
	ID           string    `json:"id"`
	Org          string    `json:"org"`
	Domain       string    `json:"domain"` // whose sites; the organisation by default
	Match        Matchers  `json:"match"`
	From         time.Time `json:"from"`                    // now by default
	Until        time.Time `json:"until,omitzero"`          //
	UntilCleared bool      `json:"until_cleared,omitempty"` // instead of until: it ends when no alert that it matches is open any more
	Reason       string    `json:"reason"`
	Author       string    `json:"author"`
}

// longestSilence bounds a silence: who wants more switches the rule off.
const longestSilence = 366 * 24 * time.Hour

// maxSilences bounds those of one organisation that have not ended.
const maxSilences = 500

func (s *Silence) check(now time.Time) error {
	switch {
	case !token.Within(s.Domain, s.Org):
		return invalid("domain %q is not of organisation %q", s.Domain, s.Org)
	case s.Reason == "" || len(s.Reason) > 500:
		return invalid("reason: want 1 to 500 characters")
	case s.UntilCleared != s.Until.IsZero():
		return invalid("give one of until and until_cleared")
	case !s.UntilCleared && !s.Until.After(s.From):
		return invalid("until lies before from")
	case !s.UntilCleared && !s.Until.After(now):
		return invalid("until lies in the past")
	case s.Until.Sub(s.From) > longestSilence:
		return invalid("it is longer than a year: switch the rule off instead")
	}
	return s.Match.check()
}

func scanSilence(r *sql.Rows) (s Silence, err error) {
	var spec string
	var ends int64
	if err := r.Scan(&spec, &ends); err != nil {
		return s, err
	}
	err = json.Unmarshal([]byte(spec), &s)
	s.Until = store.FromMillis(ends)
	return s, err
}

// verdict says why an alert is not told now; its state is empty when it is.
type verdict struct {
	state  State
	reason string
	until  time.Time // when to look again; zero = not by itself
}

// recheck is when an inhibited alert is looked at again.
const recheck = time.Minute

// ruleSensorSilent is the hub's built-in rule that a hub that is offline explains.
const ruleSensorSilent = "sensor-silent"

// muted decides whether a silence or a graver alert keeps an alert from being told.
func (n *Notifier) muted(tx *store.Tx, f *fact) (verdict, error) {
	now := n.now()
	list, err := n.silences(tx, f, now)
	if err != nil {
		return verdict{}, err
	}
	for _, s := range list {
		return verdict{Silenced, fmt.Sprintf("silenced by %s: %s", s.Author, s.Reason), s.Until}, nil
	}
	if f.alert.Rule != ruleSensorSilent {
		return verdict{}, nil
	}
	var open int
	err = tx.QueryRow(`SELECT count(*) FROM notify_alerts WHERE org = ? AND site = ? AND rule = ?`, f.Org, f.SiteName, store.RuleHubOffline).Scan(&open)
	if err != nil || open == 0 {
		return verdict{}, err
	}
	return verdict{Inhibited, "the hub of the site is offline", now.Add(recheck)}, nil
}

// silences lists those that hold now and match, that which lasts longest first.
func (n *Notifier) silences(tx *store.Tx, f *fact, now time.Time) ([]Silence, error) {
	const query = `SELECT spec, ends FROM notify_silences WHERE org = ? AND starts <= ? AND (ends = 0 OR ends > ?)
		ORDER BY CASE WHEN ends = 0 THEN 0 ELSE 1 END, ends DESC`
	rows, err := tx.Query(query, f.tenant, store.Millis(now), store.Millis(now))
	all, err := store.Collect(rows, err, scanSilence)
	if err != nil {
		return nil, fmt.Errorf("read silences: %w", err)
	}
	domains := n.o.Domains(f.site)
	return slices.DeleteFunc(all, func(s Silence) bool {
		ours := slices.ContainsFunc(domains, func(d string) bool { return token.Within(d, s.Domain) })
		return !ours || !s.Match.match(f.SiteName, f.alert)
	}), nil
}

// endSilences ends the silences until cleared that an alert which has cleared was the last of.
func (n *Notifier) endSilences(tx *store.Tx, f *fact) error {
	list, err := n.silences(tx, f, n.now())
	if err != nil {
		return err
	}
	for _, s := range list {
		if !s.UntilCleared || s.From.After(f.At) {
			continue
		}
		open, err := n.openMatching(tx, f, s)
		if err != nil {
			return err
		}
		if open > 0 {
			continue
		}
		if err := tx.Exec(`UPDATE notify_silences SET ends = ? WHERE id = ?`, store.Millis(n.now()), s.ID); err != nil {
			return err
		}
	}
	return nil
}

// openMatching counts the open alerts that a silence matches, of the organisation's sites and of
// the one that the fact is about.
func (n *Notifier) openMatching(tx *store.Tx, f *fact, s Silence) (int, error) {
	rows, err := tx.Query(`SELECT site, body FROM notify_alerts WHERE org = ? OR (org = ? AND site = ?)`, s.Org, f.Org, f.SiteName)
	matches, err := store.Collect(rows, err, func(r *sql.Rows) (bool, error) {
		var site, body string
		var a edge.Alert
		if err := r.Scan(&site, &body); err != nil {
			return false, err
		}
		err := json.Unmarshal([]byte(body), &a)
		return s.Match.match(site, a), err
	})
	return len(slices.DeleteFunc(matches, func(m bool) bool { return !m })), err
}

// ofNewSilence is the policy of creating one.
func (n *Notifier) ofNewSilence(r *route.Request) ([]string, error) {
	var s Silence
	if err := r.Decode(&s); err != nil {
		return nil, err
	}
	org, err := n.orgOf(r, s.Org, s.Domain)
	if err != nil {
		return nil, err
	}
	s.Org = org
	if s.Domain == "" {
		s.Domain = org
	}
	r.Found = &s
	return []string{s.Domain}, nil
}

func (n *Notifier) ofSilence(r *route.Request) ([]string, error) {
	rows, err := n.db.Query(r.Context(), `SELECT spec, ends FROM notify_silences WHERE id = ?`, r.PathValue("id"))
	found, err := store.Collect(rows, err, scanSilence)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, route.ErrNotFound
	}
	r.Found = &found[0]
	return []string{found[0].Domain}, nil
}

func (n *Notifier) addSilence(r *route.Request) (any, error) {
	s := r.Found.(*Silence)
	now := n.now().UTC().Truncate(time.Millisecond)
	if s.From.IsZero() {
		s.From = now
	}
	s.Author = r.Who.Who()
	if err := s.check(now); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	s.ID = id.String()
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		var count int
		if err := tx.QueryRow(`SELECT count(*) FROM notify_silences WHERE org = ? AND (ends = 0 OR ends > ?)`, s.Org, store.Millis(now)).Scan(&count); err != nil {
			return err
		}
		if count >= maxSilences {
			return invalid("there are %d silences, as many as possible; end some", count)
		}
		const insert = `INSERT INTO notify_silences (id, org, domain, spec, starts, ends) VALUES (?, ?, ?, ?, ?, ?)`
		return tx.Exec(insert, s.ID, s.Org, s.Domain, toJSON(s), store.Millis(s.From), store.Millis(s.Until))
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/silences/"+s.ID, s), nil
}

// listSilences lists those of the caller that have not ended; with ?all=true the ended ones too.
func (n *Notifier) listSilences(r *route.Request) (any, error) {
	orgs := []string{""} // all of them
	if r.Who.Everywhere < token.Viewer {
		orgs = nil
		for _, m := range r.Who.Memberships {
			orgs = append(orgs, token.Organisation(m.Domain))
		}
		slices.Sort(orgs)
		orgs = slices.Compact(orgs)
	}
	since := n.now()
	if r.URL.Query().Get("all") == "true" {
		since = time.UnixMilli(1)
	}
	out := []Silence{}
	for _, org := range orgs {
		const query = `SELECT spec, ends FROM notify_silences WHERE (org = ? OR ? = '') AND (ends = 0 OR ends > ?) ORDER BY id DESC LIMIT 1000`
		rows, err := n.db.Query(r.Context(), query, org, org, store.Millis(since))
		list, err := store.Collect(rows, err, scanSilence)
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(list, func(s Silence) bool { return r.Who.Role(s.Domain) < token.Viewer })...)
	}
	return map[string][]Silence{"silences": out}, nil
}

func (n *Notifier) getSilence(r *route.Request) (any, error) { return r.Found, nil }

// endSilence ends one now; what it has kept back is told at once if it still holds.
func (n *Notifier) endSilence(r *route.Request) (any, error) {
	s := r.Found.(*Silence)
	now := n.now()
	if !s.Until.IsZero() && !s.Until.After(now) {
		return nil, route.Problem(http.StatusConflict, "it ended at %s", s.Until.Format(time.RFC3339))
	}
	err := n.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.Exec(`UPDATE notify_silences SET ends = ? WHERE id = ?`, store.Millis(now), s.ID); err != nil {
			return err
		}
		const wake = `UPDATE notify_timers SET due = ? WHERE muted = 1 AND (org = ? OR route IN (SELECT id FROM notify_routes WHERE org = ?))`
		return tx.Exec(wake, store.Millis(now), s.Org, s.Org)
	})
	n.wake()
	return nil, err
}
