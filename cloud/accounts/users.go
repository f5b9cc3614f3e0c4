package accounts

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// User is a person with an account.
type User struct {
	ID          string             `json:"id"`
	Email       string             `json:"email"`
	Name        string             `json:"name"`
	Locale      string             `json:"locale,omitempty"`   // BCP 47, such as de-AT
	Timezone    string             `json:"timezone,omitempty"` // IANA, such as Europe/Oslo
	Active      bool               `json:"active"`
	Verified    bool               `json:"verified"` // the mail address is proven to be theirs
	Created     time.Time          `json:"created"`
	Memberships []token.Membership `json:"memberships"`

	password string // PHC string; empty = none
}

// ErrNoUser says that there is no such user.
var ErrNoUser = fmt.Errorf("user: %w", route.ErrNotFound)

// maxMemberships bounds the memberships of one user, so that tokens stay small.
const maxMemberships = 50

// The things that are told about users.
const (
	userCreated       edge.EventType = "user.created"
	userUpdated       edge.EventType = "user.updated"
	userVerified      edge.EventType = "user.verified"
	userDeactivated   edge.EventType = "user.deactivated"
	userReactivated   edge.EventType = "user.reactivated"
	membershipChanged edge.EventType = "membership.changed"
)

// emailKey is what mail addresses are compared by.
func emailKey(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// checkEmail cleans a mail address.
func checkEmail(email string) (string, error) {
	email = strings.TrimSpace(email)
	addr, err := mail.ParseAddress(email)
	_, host, _ := strings.Cut(email, "@")
	if err != nil || addr.Address != email || len(email) > 254 || host == "" || strings.ContainsAny(email, " \t\"<>,;:\\()") {
		return "", route.Problem(http.StatusUnprocessableEntity, "email: %q is no mail address such as ann@example.org", clip(email, 100))
	}
	return email, nil
}

var localeForm = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$`)

func checkLocale(locale string) error {
	if locale != "" && !localeForm.MatchString(locale) {
		return route.Problem(http.StatusUnprocessableEntity, "locale: %q is no language tag such as en or de-AT", clip(locale, 40))
	}
	return nil
}

func checkTimezone(zone string) error {
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return route.Problem(http.StatusUnprocessableEntity, "timezone: %q is no time zone such as Europe/Oslo", clip(zone, 60))
	}
	return nil
}

const userColumns = `id, email, name, locale, timezone, password, active, verified, created`

func scanUser(r interface{ Scan(...any) error }) (User, error) {
	var u User
	var created int64
	err := r.Scan(&u.ID, &u.Email, &u.Name, &u.Locale, &u.Timezone, &u.password, &u.Active, &u.Verified, &created)
	u.Created = store.FromMillis(created)
	return u, err
}

// querier is what DB and Tx have in common, as a function.
type querier func(query string, args ...any) (*sql.Rows, error)

func (a *Accounts) reading(ctx context.Context) querier {
	return func(query string, args ...any) (*sql.Rows, error) { return a.db.Query(ctx, query, args...) }
}

// findUsers reads users with their memberships.
func findUsers(q querier, where string, args ...any) ([]User, error) {
	rows, err := q(`SELECT `+userColumns+` FROM accounts_users `+where, args...)
	users, err := store.Collect(rows, err, func(r *sql.Rows) (User, error) { return scanUser(r) })
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	for i := range users {
		if users[i].Memberships, err = readMemberships(q, users[i].ID); err != nil {
			return nil, err
		}
	}
	return users, nil
}

func readMemberships(q querier, user string) ([]token.Membership, error) {
	rows, err := q(`SELECT domain, role, subs FROM accounts_memberships WHERE user_id = ? ORDER BY domain`, user)
	found, err := store.Collect(rows, err, func(r *sql.Rows) (token.Membership, error) {
		var m token.Membership
		var subs bool
		err := r.Scan(&m.Domain, &m.Role, &subs)
		if !subs {
			m.Subs = &subs
		}
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	if found == nil {
		found = []token.Membership{}
	}
	return found, nil
}

func findUser(q querier, where string, args ...any) (User, error) {
	users, err := findUsers(q, where, args...)
	if err == nil && len(users) == 0 {
		err = ErrNoUser
	}
	if err != nil {
		return User{}, err
	}
	return users[0], nil
}

// User reads a user; ErrNoUser when there is none.
func (a *Accounts) User(ctx context.Context, id string) (User, error) {
	return findUser(a.reading(ctx), `WHERE id = ?`, id)
}

// Members lists the active users whose role in a domain is at least least, by name.
func (a *Accounts) Members(ctx context.Context, domain string, least token.Role) ([]User, error) {
	const where = `WHERE active = 1 AND id IN (SELECT user_id FROM accounts_memberships WHERE domain = ? OR domain LIKE ? ESCAPE '!') ORDER BY name, id`
	org := token.Organisation(domain)
	users, err := findUsers(a.reading(ctx), where, org, likeBelow(org))
	return slices.DeleteFunc(users, func(u User) bool { return u.identity().Role(domain) < max(least, token.Viewer) }), err
}

// identity is what the user's tokens say.
func (u *User) identity() *token.Identity {
	return &token.Identity{Kind: token.User, Subject: u.ID, Name: u.Name, Memberships: u.Memberships}
}

// orgs lists the organisations the user belongs to.
func (u *User) orgs() []string {
	var orgs []string
	for _, m := range u.Memberships {
		if org := token.Organisation(m.Domain); !slices.Contains(orgs, org) {
			orgs = append(orgs, org)
		}
	}
	return orgs
}

// tell writes an event for the admins of each of the user's organisations.
func (a *Accounts) tell(tx *store.Tx, typ edge.EventType, u User, more map[string]any) error {
	for _, org := range u.orgs() {
		data := map[string]any{"user": u.ID, "email": u.Email, "name": u.Name, "org": org}
		for k, v := range more {
			data[k] = v
		}
		e, err := store.EventOf(typ, u.ID, a.now(), data)
		if err != nil {
			return err
		}
		if err := tx.AddOrgEvent(org, "role:"+token.Admin.String(), e); err != nil {
			return fmt.Errorf("tell %s: %w", typ, err)
		}
	}
	return nil
}

// addUser adds a user, whose fields have been checked, with its memberships.
func (a *Accounts) addUser(tx *store.Tx, u User) (User, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return u, fmt.Errorf("make user id: %w", err)
	}
	u.ID, u.Active, u.Created = id.String(), true, a.now().UTC().Truncate(time.Millisecond)
	if u.Memberships == nil {
		u.Memberships = []token.Membership{}
	}
	const insert = `INSERT INTO accounts_users (id, email, email_key, name, locale, timezone, password, active, verified, created, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (email_key) DO NOTHING`
	verified := 0
	if u.Verified {
		verified = 1
	}
	at := store.Millis(u.Created)
	n, err := tx.ExecCount(insert, u.ID, u.Email, emailKey(u.Email), u.Name, u.Locale, u.Timezone, u.password, verified, at, at)
	if err == nil && n == 0 {
		err = route.Problem(http.StatusConflict, "somebody has an account with this mail address already")
	}
	if err != nil {
		return u, err
	}
	for _, m := range u.Memberships {
		if err := a.putMembership(tx, u.ID, m); err != nil {
			return u, err
		}
	}
	return u, a.tell(tx, userCreated, u, nil)
}

// putMembership sets the role of a user in a domain that there is.
func (a *Accounts) putMembership(tx *store.Tx, user string, m token.Membership) error {
	there, err := domainExists(tx, m.Domain)
	if err != nil {
		return err
	}
	if !there {
		return route.Problem(http.StatusUnprocessableEntity, "there is no domain %s; make it first", clip(m.Domain, maxDomain))
	}
	subs := 1
	if m.Subs != nil && !*m.Subs {
		subs = 0
	}
	const upsert = `INSERT INTO accounts_memberships (user_id, domain, role, subs, since) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (user_id, domain) DO UPDATE SET role = excluded.role, subs = excluded.subs, since = excluded.since`
	if err := tx.Exec(upsert, user, m.Domain, int(m.Role), subs, store.Millis(a.now())); err != nil {
		return fmt.Errorf("set membership: %w", err)
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM accounts_memberships WHERE user_id = ?`, user).Scan(&n); err != nil {
		return fmt.Errorf("count memberships: %w", err)
	}
	if n > maxMemberships {
		return route.Problem(http.StatusConflict, "this person has %d memberships, which is the most there may be; give a role higher up instead", maxMemberships)
	}
	return nil
}

// setActive deactivates or reactivates a user within a transaction. The result is to be given to
// enforce after the commit.
func (a *Accounts) setActive(tx *store.Tx, u User, active bool) (*token.Revocation, error) {
	on, typ := 0, userDeactivated
	if active {
		on, typ = 1, userReactivated
	}
	if err := tx.Exec(`UPDATE accounts_users SET active = ?, updated = ? WHERE id = ?`, on, store.Millis(a.now()), u.ID); err != nil {
		return nil, fmt.Errorf("set user active: %w", err)
	}
	var err error
	if u.Memberships, err = readMemberships(tx.Query, u.ID); err != nil { // those of the request may be old
		return nil, err
	}
	if err := a.tell(tx, typ, u, nil); err != nil || active {
		return nil, err
	}
	for _, m := range u.Memberships {
		if !u.Verified || m.Role < token.Admin || strings.Contains(m.Domain, "/") {
			continue
		}
		if err := a.keepAdmin(tx, m.Domain); err != nil {
			return nil, err
		}
	}
	return a.endAll(tx, u.ID)
}

// keepAdmin refuses to leave an organisation without an active admin; who was invited and has not
// come yet is none.
func (a *Accounts) keepAdmin(tx *store.Tx, org string) error {
	var admins int
	const query = `SELECT count(*) FROM accounts_memberships m JOIN accounts_users u ON u.id = m.user_id
		WHERE m.domain = ? AND m.role >= ? AND u.active = 1 AND u.verified = 1`
	if err := tx.QueryRow(query, org, int(token.Admin)).Scan(&admins); err != nil {
		return fmt.Errorf("count admins: %w", err)
	}
	if admins == 0 {
		return route.Problem(http.StatusConflict, "%s would have no admin left; make somebody else admin of it first", org)
	}
	return nil
}
