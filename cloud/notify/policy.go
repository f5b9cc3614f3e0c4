package notify

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Policy is a route: which alerts are told to whom, and to whom else as long as nobody
// acknowledges. All policies that match apply.
type Policy struct {
	ID        string   `json:"id"`
	Org       string   `json:"org"`
	Domain    string   `json:"domain"` // whose sites; the organisation by default
	Name      string   `json:"name"`
	Match     Matchers `json:"match"`
	Hours     *Hours   `json:"hours,omitempty"`      // nil = always
	GroupBy   []string `json:"group_by,omitempty"`   // of site, rule, severity, space; site and rule by default
	GroupWait Duration `json:"group_wait,omitempty"` // how long others are waited for, to be told together; at most 1h
	MaxAge    Duration `json:"max_age,omitempty"`    // what arrives later goes into a digest; 15m by default
	Disabled  bool     `json:"disabled,omitempty"`
	Steps     []Step   `json:"steps"`
}

// Matchers select alerts; lists that are empty select all.
type Matchers struct {
	Sites       []string      `json:"sites,omitempty"`
	Rules       []string      `json:"rules,omitempty"`
	SpaceKinds  []string      `json:"space_kinds,omitempty"` // building, floor, room, zone, sensor, hub
	Subjects    []string      `json:"subjects,omitempty"`    // ids of spaces and sensors
	Alerts      []string      `json:"alerts,omitempty"`      // ids
	MinSeverity edge.Severity `json:"min_severity,omitempty"`
}

// Step is who is told, and when, as long as nobody has acknowledged.
type Step struct {
	After    Duration     `json:"after,omitempty"`  // since the alert was raised
	Repeat   Duration     `json:"repeat,omitempty"` // again every so often, at least 1m; 0 = once
	Channels []string     `json:"channels,omitempty"`
	Users    []string     `json:"users,omitempty"`
	Roles    []token.Role `json:"roles,omitempty"` // at least this role in the policy's domain
}

// Hours are when a policy holds.
type Hours struct {
	Days     []string `json:"days,omitempty"` // mon … sun; empty = every day
	From     string   `json:"from"`
	To       string   `json:"to"`                // may be on the next day
	Timezone string   `json:"timezone"`          // IANA; empty = UTC
	Outside  bool     `json:"outside,omitempty"` // outside these hours instead
}

// Duration is a time.Duration that is written as 15m in JSON.
type Duration time.Duration

// MarshalText writes such as "15m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads such as "15m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no length of time such as 15m", b)
	}
	*d = Duration(v)
	return nil
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// hold tells whether the hours hold at a time.
func (h *Hours) hold(now time.Time) bool {
	if h == nil {
		return true
	}
	zone, err := time.LoadLocation(h.Timezone)
	if err != nil {
		return true // was checked
	}
	local := now.In(zone)
	inside := false
	for _, back := range []int{0, 1} {
		day := local.AddDate(0, 0, -back)
		if len(h.Days) > 0 && !slices.Contains(h.Days, weekdays[day.Weekday()]) {
			continue
		}
		inside = inside || h.within(day, now, zone)
	}
	return inside != h.Outside
}

// within tells whether now is in the hours that begin on a day.
func (h *Hours) within(day, now time.Time, zone *time.Location) bool {
	from, _ := time.Parse("15:04", h.From)
	to, _ := time.Parse("15:04", h.To)
	y, m, d := day.Date()
	last := d
	if !to.After(from) {
		last++
	}
	return !now.Before(time.Date(y, m, d, from.Hour(), from.Minute(), 0, 0, zone)) &&
		now.Before(time.Date(y, m, last, to.Hour(), to.Minute(), 0, 0, zone))
}

// match tells whether an alert of a site is selected.
func (m *Matchers) match(site string, a edge.Alert) bool {
	in := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return in(m.Sites, site) && in(m.Rules, a.Rule) && in(m.SpaceKinds, a.SubjectKind) && in(m.Subjects, a.Subject) &&
		in(m.Alerts, a.ID) && rank(a.Severity) >= rank(m.MinSeverity)
}

func (m *Matchers) check() error {
	if !slices.Contains([]edge.Severity{"", edge.Info, edge.Warning, edge.Critical}, m.MinSeverity) {
		return invalid("min_severity is %q: want info, warning or critical", m.MinSeverity)
	}
	for _, k := range m.SpaceKinds {
		if !slices.Contains([]string{"building", "floor", "room", "zone", "sensor", "hub"}, k) {
			return invalid("space_kinds has %q: want building, floor, room, zone, sensor or hub", k)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return route.Problem(http.StatusUnprocessableEntity, format, args...)
}

// The bounds of policies.
const (
	maxSteps     = 10
	maxGroupWait = time.Hour
	leastRepeat  = time.Minute
	maxPolicies  = 200 // of one organisation
)

// check finds the first mistake.
func (p *Policy) check() error {
	switch {
	case p.Name == "" || len(p.Name) > 100:
		return invalid("name: want 1 to 100 characters")
	case !token.Within(p.Domain, p.Org):
		return invalid("domain %q is not of organisation %q", p.Domain, p.Org)
	case len(p.Steps) == 0 || len(p.Steps) > maxSteps:
		return invalid("steps: want 1 to %d", maxSteps)
	case time.Duration(p.GroupWait) > maxGroupWait:
		return invalid("group_wait: at most %s", maxGroupWait)
	}
	for _, g := range p.GroupBy {
		if !slices.Contains([]string{"site", "rule", "severity", "space"}, g) {
			return invalid("group_by has %q: want site, rule, severity or space", g)
		}
	}
	for i, s := range p.Steps {
		if len(s.Channels)+len(s.Users)+len(s.Roles) == 0 {
			return invalid("steps[%d] tells nobody: give channels, users or roles", i)
		}
		if s.Repeat > 0 && time.Duration(s.Repeat) < leastRepeat {
			return invalid("steps[%d].repeat: at least %s", i, leastRepeat)
		}
	}
	if err := p.Hours.check(); err != nil {
		return err
	}
	return p.Match.check()
}

func (h *Hours) check() error {
	if h == nil {
		return nil
	}
	for field, s := range map[string]string{"from": h.From, "to": h.To} {
		if _, err := time.Parse("15:04", s); err != nil {
			return invalid("hours.%s is %q: want a time such as 07:00", field, s)
		}
	}
	for _, d := range h.Days {
		if !slices.Contains(weekdays, d) {
			return invalid("hours.days has %q: want mon, tue, wed, thu, fri, sat or sun", d)
		}
	}
	if _, err := time.LoadLocation(h.Timezone); err != nil {
		return invalid("hours.timezone is %q: want an IANA name such as Europe/Oslo", h.Timezone)
	}
	return nil
}

// group is what alerts have in common that are told together.
func (p *Policy) group(f *fact) string {
	by := p.GroupBy
	if len(by) == 0 {
		by = []string{"site", "rule"}
	}
	values := map[string]string{"site": f.SiteName, "rule": f.alert.Rule, "severity": string(f.alert.Severity), "space": f.alert.Subject}
	var parts []string
	for _, b := range by {
		parts = append(parts, b+"="+values[b])
	}
	return strings.Join(parts, ",")
}

func scanPolicy(r *sql.Rows) (p Policy, err error) {
	var spec string
	if err := r.Scan(&spec); err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(spec), &p)
}

// scanPolicyOf reads one as it is in the transaction.
func scanPolicyOf(tx *store.Tx, id string) (*Policy, error) {
	rows, err := tx.Query(`SELECT spec FROM notify_routes WHERE id = ?`, id)
	found, err := store.Collect(rows, err, scanPolicy)
	if err == nil && len(found) == 0 {
		err = route.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// policies lists those of an organisation that match an alert now.
func (n *Notifier) policies(tx *store.Tx, f *fact) ([]Policy, error) {
	rows, err := tx.Query(`SELECT spec FROM notify_routes WHERE org = ? ORDER BY id`, f.tenant)
	all, err := store.Collect(rows, err, scanPolicy)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	domains := n.o.Domains(f.site)
	return slices.DeleteFunc(all, func(p Policy) bool {
		ours := slices.ContainsFunc(domains, func(d string) bool { return token.Within(d, p.Domain) })
		return p.Disabled || !ours || !p.Match.match(f.SiteName, f.alert) || !p.Hours.hold(f.At)
	}), nil
}

// ofNewPolicy is the policy of creating one: the domain that it is for.
func (n *Notifier) ofNewPolicy(r *route.Request) ([]string, error) {
	p := Policy{Org: r.PathValue("org")}
	if r.Who.Role(p.Org) == token.None && !memberOf(r.Who, p.Org) {
		return nil, route.ErrNotFound
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if p.Org != r.PathValue("org") {
		return nil, invalid("org is %q, the path says %q", p.Org, r.PathValue("org"))
	}
	if p.Domain == "" {
		p.Domain = p.Org
	}
	r.Found = &p
	return []string{p.Domain}, nil
}

// memberOf tells whether somebody has a role in the organisation or below.
func memberOf(who *token.Identity, org string) bool {
	return who.Everywhere > token.None || slices.ContainsFunc(who.Memberships, func(m token.Membership) bool { return token.Within(m.Domain, org) })
}

// ofPolicy is the policy of one: the domain it is for.
func (n *Notifier) ofPolicy(r *route.Request) ([]string, error) {
	rows, err := n.db.Query(r.Context(), `SELECT spec FROM notify_routes WHERE org = ? AND id = ?`, r.PathValue("org"), r.PathValue("id"))
	found, err := store.Collect(rows, err, scanPolicy)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, route.ErrNotFound
	}
	r.Found = &found[0]
	return []string{found[0].Domain}, nil
}

func (n *Notifier) listPolicies(r *route.Request) (any, error) {
	rows, err := n.db.Query(r.Context(), `SELECT spec FROM notify_routes WHERE org = ? ORDER BY id`, r.PathValue("org"))
	all, err := store.Collect(rows, err, scanPolicy)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(all, func(p Policy) bool { return r.Who.Role(p.Domain) < token.Viewer })
	if len(out) == 0 {
		out = []Policy{}
	}
	return map[string][]Policy{"routes": out}, nil
}

func (n *Notifier) addPolicy(r *route.Request) (any, error) {
	p := r.Found.(*Policy)
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	p.ID = id.String()
	if err := n.checkPolicy(r, p); err != nil {
		return nil, err
	}
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		var count int
		if err := tx.QueryRow(`SELECT count(*) FROM notify_routes WHERE org = ?`, p.Org).Scan(&count); err != nil {
			return err
		}
		if count >= maxPolicies {
			return invalid("there are %d routes, as many as possible", count)
		}
		return tx.Exec(`INSERT INTO notify_routes (id, org, domain, spec, updated) VALUES (?, ?, ?, ?, ?)`, p.ID, p.Org, p.Domain, toJSON(p), store.Millis(n.now()))
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/orgs/"+p.Org+"/routes/"+p.ID, p), nil
}

// checkPolicy checks one and that its channels exist.
func (n *Notifier) checkPolicy(r *route.Request, p *Policy) error {
	if err := p.check(); err != nil {
		return err
	}
	for i, s := range p.Steps {
		for _, c := range s.Channels {
			if n.channel(channelName(p.Org, c)) == nil {
				return invalid("steps[%d].channels: there is no channel %q; GET /v1/orgs/%s/channels lists those there are", i, c, p.Org)
			}
		}
	}
	return nil
}

func (n *Notifier) getPolicy(r *route.Request) (any, error) { return route.WithETag(r.Found), nil }

// putPolicy replaces one; alerts that are being escalated keep the steps they began with.
func (n *Notifier) putPolicy(r *route.Request) (any, error) {
	old := r.Found.(*Policy)
	if err := r.IfMatch(route.ETag(old)); err != nil {
		return nil, err
	}
	p := Policy{}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	p.ID, p.Org = old.ID, old.Org
	if p.Domain == "" {
		p.Domain = p.Org
	}
	if err := n.checkPolicy(r, &p); err != nil {
		return nil, err
	}
	if r.Who.Role(p.Domain) < token.Manager {
		return nil, route.Problem(http.StatusForbidden, "this needs the role manager in %s", p.Domain)
	}
	err := n.db.Update(r.Context(), func(tx *store.Tx) error {
		now, err := scanPolicyOf(tx, p.ID)
		if err != nil {
			return err
		}
		if err := r.IfMatch(route.ETag(now)); err != nil { // somebody may have been faster
			return err
		}
		return tx.Exec(`UPDATE notify_routes SET spec = ?, domain = ?, updated = ? WHERE id = ?`, toJSON(p), p.Domain, store.Millis(n.now()), p.ID)
	})
	return route.WithETag(&p), err
}

func (n *Notifier) deletePolicy(r *route.Request) (any, error) {
	return nil, n.db.Update(r.Context(), func(tx *store.Tx) error {
		return tx.Exec(`DELETE FROM notify_routes WHERE id = ?`, r.Found.(*Policy).ID)
	})
}
