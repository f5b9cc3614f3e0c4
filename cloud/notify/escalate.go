package notify

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// digestWait is how long what was too old is gathered before it is told as one.
const digestWait = 10 * time.Minute

// digestStep is the step of timers whose alerts were too old.
const digestStep = -1

// timer is one step of escalation of one alert.
type timer struct {
	id              int64
	org, site       string
	alert           string
	route, grouping string
	step, fired     int
	spec            plan
}

// plan is the policy of a timer as it was when the alert was raised.
type plan struct {
	Step
	Org    string // whose route it is; empty = of the site's organisation
	Domain string
	Name   string // of the route
	Event  int64  // that raised the alert
	Title  string // of a digest's line
}

func scanTimer(r *sql.Rows) (t timer, err error) {
	var spec string
	if err := r.Scan(&t.id, &t.org, &t.site, &t.alert, &t.route, &t.step, &t.grouping, &t.fired, &spec); err != nil {
		return t, err
	}
	err = json.Unmarshal([]byte(spec), &t.spec)
	t.spec.Org = cmp.Or(t.spec.Org, t.org)
	return t, err
}

// place is the site as the organisation of the route knows it.
func (t timer) place() string {
	f := fact{Event: store.Event{Org: t.org, SiteName: t.site}}
	return f.to(t.spec.Org).place()
}

const timerColumns = `id, org, site, alert, route, step, grouping, fired, spec`

// follow keeps the alerts of routes: what is raised starts their steps, what is acknowledged ends
// them, what clears is told to whom it was raised.
func (n *Notifier) follow(tx *store.Tx, f *fact) error {
	switch f.typ() {
	case edge.AlertRaised:
		return n.begin(tx, f)
	case edge.AlertAcknowledged:
		if err := n.stopTimers(tx, f); err != nil {
			return err
		}
		const update = `UPDATE notify_alerts SET acked = ? WHERE org = ? AND site = ? AND alert = ? AND acked = 0`
		return tx.Exec(update, store.Millis(f.At), f.Org, f.SiteName, f.alert.ID)
	case edge.AlertCleared:
		return n.clear(tx, f)
	}
	return nil
}

func (n *Notifier) stopTimers(tx *store.Tx, f *fact) error {
	return tx.Exec(`DELETE FROM notify_timers WHERE org = ? AND site = ? AND alert = ? AND step >= 0`, f.Org, f.SiteName, f.alert.ID)
}

// begin starts the steps of all routes that match.
func (n *Notifier) begin(tx *store.Tx, f *fact) error {
	const insert = `INSERT INTO notify_alerts (org, site, alert, rule, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (org, site, alert) DO NOTHING`
	fresh, err := tx.ExecCount(insert, f.Org, f.SiteName, f.alert.ID, f.alert.Rule, toJSON(f.alert))
	if err != nil || fresh == 0 {
		return err
	}
	for _, org := range n.tenants(f.site) {
		if err := n.beginFor(tx, f.to(org)); err != nil {
			return err
		}
	}
	return nil
}

// beginFor starts the steps of the routes of one organisation.
func (n *Notifier) beginFor(tx *store.Tx, f *fact) error {
	policies, err := n.policies(tx, f)
	if err != nil {
		return err
	}
	for _, p := range policies {
		maxAge := time.Duration(p.MaxAge)
		if maxAge == 0 {
			maxAge = DefaultMaxAge
		}
		if age := n.now().Sub(f.At); age > maxAge {
			err = n.tooLate(tx, f, p, age)
		} else {
			err = n.schedule(tx, f, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// schedule writes the timers of a policy's steps. The first of a group sets when it is told.
func (n *Notifier) schedule(tx *store.Tx, f *fact, p Policy) error {
	now := n.now()
	for i, s := range p.Steps {
		due := now.Add(time.Duration(s.After))
		if i == 0 {
			due = due.Add(time.Duration(p.GroupWait))
		}
		if err := n.addTimer(tx, f, p, i, p.group(f), due, plan{Step: s, Org: p.Org, Domain: p.Domain, Name: p.Name, Event: f.ID}); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) addTimer(tx *store.Tx, f *fact, p Policy, step int, group string, due time.Time, what plan) error {
	const first = `SELECT coalesce(min(due), 0) FROM notify_timers WHERE org = ? AND route = ? AND step = ? AND grouping = ? AND fired = 0 AND muted = 0 AND due > ?`
	at := store.Millis(due)
	if step <= 0 && due.After(n.now()) {
		var earliest int64
		if err := tx.QueryRow(first, f.Org, p.ID, step, group, store.Millis(n.now())).Scan(&earliest); err != nil {
			return err
		}
		if earliest > 0 && earliest < at {
			at = earliest
		}
	}
	const insert = `INSERT INTO notify_timers (org, site, alert, route, step, grouping, due, spec) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	return tx.Exec(insert, f.Org, f.SiteName, f.alert.ID, p.ID, step, group, at, toJSON(what))
}

// tooLate records an alert that arrived too late and puts it on the digest.
func (n *Notifier) tooLate(tx *store.Tx, f *fact, p Policy, age time.Duration) error {
	m := n.message(f)
	d := Delivery{Org: f.tenant, Site: f.place(), Channel: routeChannel(f.tenant, p.Name), Alert: f.alert.ID, State: Late,
		Reason: fmt.Sprintf("arrived %s after the event; on the digest", age.Round(time.Second)), Updated: n.now(), Message: m}
	if _, err := add(tx, d); err != nil {
		return err
	}
	what := plan{Step: p.Steps[0], Org: p.Org, Domain: p.Domain, Name: p.Name, Event: f.ID, Title: m.Title}
	return n.addTimer(tx, f, p, digestStep, "digest", n.now().Add(digestWait), what)
}

// routeChannel names a route where a delivery for none of its receivers is recorded.
func routeChannel(org, name string) string { return org + "/route:" + name }

// clear ends an alert and tells those who were told that it was raised.
func (n *Notifier) clear(tx *store.Tx, f *fact) error {
	at := []any{f.Org, f.SiteName, f.alert.ID}
	if err := n.stopTimers(tx, f); err != nil {
		return err
	}
	if err := tx.Exec(`DELETE FROM notify_alerts WHERE org = ? AND site = ? AND alert = ?`, at...); err != nil {
		return err
	}
	rows, err := tx.Query(`DELETE FROM notify_told WHERE org = ? AND site = ? AND alert = ? RETURNING receiver`, at...)
	told, err := store.Collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return err
	}
	slices.Sort(told)
	for _, who := range told {
		g, receiver := f.toldTo(who)
		muted, err := n.muted(tx, g)
		if err != nil {
			return err
		}
		if err := n.tell(tx, []*fact{g}, receiver, f.key(), muted); err != nil {
			return err
		}
	}
	for _, org := range n.tenants(f.site) {
		if err := n.endSilences(tx, f.to(org)); err != nil {
			return err
		}
	}
	return nil
}

// told is a receiver as it is noted: of another organisation than the site's, behind its id.
func (f *fact) told(receiver string) string {
	if f.tenant == f.Org {
		return receiver
	}
	return f.tenant + "|" + receiver
}

// toldTo is the inverse of told.
func (f *fact) toldTo(who string) (g *fact, receiver string) {
	org, receiver, other := strings.Cut(who, "|")
	if !other {
		return f, who
	}
	return f.to(org), receiver
}

// wake makes clock look at the timers.
func (n *Notifier) wake() {
	select {
	case n.timers <- struct{}{}:
	default:
	}
}

// clockLook is how often timers are looked at that another process may have written.
const clockLook = 10 * time.Second

// clock fires timers until ctx ends.
func (n *Notifier) clock(ctx context.Context) {
	for ctx.Err() == nil {
		next, err := n.Fire(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Error("escalation waits; tried again soon", "err", err)
			next = time.Second
		}
		timer := time.NewTimer(min(next, clockLook))
		select {
		case <-ctx.Done():
		case <-n.timers:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Fire tells what is due and returns how long nothing will be.
func (n *Notifier) Fire(ctx context.Context) (next time.Duration, err error) {
	for {
		var first int64
		if err := n.db.QueryRow(ctx, `SELECT coalesce(min(due), 0) FROM notify_timers`).Scan(&first); err != nil {
			return 0, err
		}
		if first == 0 {
			return time.Hour, nil
		}
		if wait := store.FromMillis(first).Sub(n.now()); wait > 0 {
			return wait, nil
		}
		if err := n.db.Update(ctx, func(tx *store.Tx) error { return n.fireGroup(ctx, tx) }); err != nil {
			return 0, err
		}
		n.queue.kick()
	}
}

// fireGroup tells the group of the timer that has been due for longest.
func (n *Notifier) fireGroup(ctx context.Context, tx *store.Tx) error {
	now := store.Millis(n.now())
	rows, err := tx.Query(`SELECT `+timerColumns+` FROM notify_timers WHERE due <= ? ORDER BY due, id LIMIT 1`, now)
	first, err := store.Collect(rows, err, scanTimer)
	if err != nil || len(first) == 0 {
		return err
	}
	const group = `SELECT ` + timerColumns + ` FROM notify_timers WHERE due <= ? AND org = ? AND route = ? AND step = ? AND grouping = ? ORDER BY id LIMIT 200`
	rows, err = tx.Query(group, now, first[0].org, first[0].route, first[0].step, first[0].grouping)
	list, err := store.Collect(rows, err, scanTimer)
	if err != nil {
		return err
	}
	if first[0].step == digestStep {
		return n.digest(ctx, tx, list)
	}
	var facts []*fact
	var told []timer
	for _, t := range list {
		f, err := n.still(ctx, tx, t)
		if err != nil {
			return err
		}
		if f != nil {
			facts, told = append(facts, f), append(told, t)
		}
	}
	if len(facts) == 0 {
		return nil
	}
	return n.fire(ctx, tx, told, facts)
}

// still reads the alert of a timer, if it is to be told now; else it ends the timer or puts it off.
func (n *Notifier) still(ctx context.Context, tx *store.Tx, t timer) (*fact, error) {
	const query = `SELECT count(*) FROM notify_alerts WHERE org = ? AND site = ? AND alert = ? AND acked = 0`
	var open int
	if err := tx.QueryRow(query, t.org, t.site, t.alert).Scan(&open); err != nil {
		return nil, err
	}
	e, err := n.db.Event(ctx, t.spec.Event)
	if open == 0 || err != nil {
		return nil, n.endTimer(tx, t)
	}
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return nil, n.endTimer(tx, t)
	}
	f, err := n.fact(ctx, e, rec.Data)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, n.endTimer(tx, t)
	}
	f.tenant = t.spec.Org
	muted, err := n.muted(tx, f)
	if err != nil || muted.state == "" {
		return f, err
	}
	return nil, n.putOff(tx, t, f, muted)
}

func (n *Notifier) endTimer(tx *store.Tx, t timer) error {
	return tx.Exec(`DELETE FROM notify_timers WHERE id = ?`, t.id)
}

// putOff records that a step was silenced or inhibited, and looks again when that ends.
func (n *Notifier) putOff(tx *store.Tx, t timer, f *fact, v verdict) error {
	d := Delivery{Org: t.spec.Org, Site: t.place(), Channel: routeChannel(t.spec.Org, t.spec.Name), Alert: t.alert, State: v.state, Reason: v.reason,
		Updated: n.now(), Message: n.message(f)}
	if _, err := add(tx, d); err != nil {
		return err
	}
	until := v.until
	if until.IsZero() {
		until = n.now().Add(recheck)
	}
	return tx.Exec(`UPDATE notify_timers SET due = ?, muted = 1 WHERE id = ?`, store.Millis(until), t.id)
}

// fire tells a step's receivers of one or more alerts, and sets when they are told again.
func (n *Notifier) fire(ctx context.Context, tx *store.Tx, timers []timer, facts []*fact) error {
	t := timers[0]
	key := facts[0].key()
	if t.step > 0 || t.fired > 0 || len(facts) > 1 {
		key = fmt.Sprintf("%s/%s/%d/%d", key, t.route, t.step, t.fired)
	}
	receivers, err := n.present(ctx, t.spec)
	if err != nil {
		return err
	}
	for _, r := range receivers {
		if err := n.tell(tx, facts, r, key, verdict{}); err != nil {
			return err
		}
		for _, f := range facts {
			const insert = `INSERT INTO notify_told (org, site, alert, receiver) VALUES (?, ?, ?, ?) ON CONFLICT (org, site, alert, receiver) DO NOTHING`
			if err := tx.Exec(insert, f.Org, f.SiteName, f.alert.ID, f.told(r)); err != nil {
				return err
			}
		}
	}
	for _, t := range timers {
		if t.spec.Repeat == 0 {
			err = n.endTimer(tx, t)
		} else {
			due := n.now().Add(time.Duration(t.spec.Repeat))
			err = tx.Exec(`UPDATE notify_timers SET due = ?, fired = fired + 1, muted = 0 WHERE id = ?`, store.Millis(due), t.id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
