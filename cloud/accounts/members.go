package accounts

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// mayGrant refuses roles that the caller may not give or take: in a domain where they are not
// admin, or above their own.
func (a *Accounts) mayGrant(who *token.Identity, m token.Membership) error {
	if m.Role == token.None {
		return route.Problem(http.StatusUnprocessableEntity, "role: want viewer, operator, manager or admin")
	}
	if err := checkDomain(m.Domain); err != nil {
		return err
	}
	if err := a.need(who, m.Domain, token.Admin); err != nil {
		return err
	}
	if m.Role > who.Role(m.Domain) {
		return route.Problem(http.StatusForbidden, "nobody grants a role above their own")
	}
	return nil
}

// mayManage refuses callers who are not admin wherever the user is a member: what they change
// counts everywhere.
func (a *Accounts) mayManage(who *token.Identity, u User) error {
	if len(u.Memberships) == 0 && who.Role("") < token.Admin {
		return route.ErrNotFound
	}
	for _, m := range u.Memberships {
		if who.Role(m.Domain) < token.Admin {
			return route.Problem(http.StatusForbidden, "this person also belongs to domains where you are not admin; remove them from yours instead")
		}
	}
	return nil
}

// ofUser is the policy of routes with {user}: the domains of the user, who is left in Found.
func (a *Accounts) ofUser(r *route.Request) ([]string, error) {
	u, err := a.User(r.Context(), r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	r.Found = u
	domains := []string{""} // who belongs nowhere is for administrators of the whole cloud
	for _, m := range u.Memberships {
		domains = append(domains, m.Domain)
	}
	return domains, nil
}

// seenBy is the user as a caller may see them: without the memberships elsewhere.
func (u User) seenBy(who *token.Identity) User {
	u.Memberships = slices.DeleteFunc(slices.Clone(u.Memberships), func(m token.Membership) bool {
		return who.Role(m.Domain) == token.None && !u.is(who)
	})
	return u
}

// is tells whether a caller is this person.
func (u User) is(who *token.Identity) bool { return who.Kind == token.User && who.Subject == u.ID }

// listUsers answers with the users of an organisation that are in domains where the caller is at
// least operator, by id. ?q= searches names and addresses, ?cursor= goes on.
func (a *Accounts) listUsers(r *route.Request) (any, error) {
	_, limit, err := page(&route.Request{Request: withoutCursor(r)}, 0)
	if err != nil {
		return nil, err
	}
	org, after := r.PathValue("org"), r.URL.Query().Get("cursor")
	const where = `WHERE id > ? AND (lower(name) LIKE ? ESCAPE '!' OR email_key LIKE ? ESCAPE '!')
		AND id IN (SELECT user_id FROM accounts_memberships WHERE domain = ? OR domain LIKE ? ESCAPE '!') ORDER BY id`
	like := "%" + strings.NewReplacer("!", "!!", "_", "!_", "%", "!%").Replace(strings.ToLower(r.URL.Query().Get("q"))) + "%"
	users, err := findUsers(a.reading(r.Context()), where, after, like, like, org, likeBelow(org))
	if err != nil {
		return nil, err
	}
	answer := struct {
		Users []User `json:"users"`
		Next  string `json:"next,omitempty"`
	}{Users: []User{}}
	for _, u := range users {
		if !a.sees(r.Who, u, org) {
			continue
		}
		if len(answer.Users) == limit {
			answer.Next = answer.Users[limit-1].ID
			break
		}
		answer.Users = append(answer.Users, u.seenBy(r.Who))
	}
	return answer, nil
}

func withoutCursor(r *route.Request) *http.Request {
	c := r.Request.Clone(r.Context())
	q := c.URL.Query()
	q.Del("cursor")
	c.URL.RawQuery = q.Encode()
	return c
}

// sees tells whether the caller is operator somewhere in an organisation where the user is.
func (a *Accounts) sees(who *token.Identity, u User, org string) bool {
	return slices.ContainsFunc(u.Memberships, func(m token.Membership) bool {
		return token.Within(m.Domain, org) && who.Role(m.Domain) >= token.Operator
	})
}

func (a *Accounts) readUser(r *route.Request) (any, error) {
	return r.Found.(User).seenBy(r.Who), nil
}

// profile is what people may say about themselves; nil = as it is.
type profile struct {
	Name     *string `json:"name,omitempty"`
	Locale   *string `json:"locale,omitempty"`
	Timezone *string `json:"timezone,omitempty"`
}

func (p profile) apply(u *User) (err error) {
	if p.Name != nil {
		if u.Name, err = checkName("name", *p.Name); err != nil {
			return err
		}
	}
	if p.Locale != nil {
		u.Locale = *p.Locale
	}
	if p.Timezone != nil {
		u.Timezone = *p.Timezone
	}
	if err := checkLocale(u.Locale); err != nil {
		return err
	}
	return checkTimezone(u.Timezone)
}

func (a *Accounts) patchUser(r *route.Request) (any, error) {
	u := r.Found.(User)
	if err := a.mayManage(r.Who, u); err != nil {
		return nil, err
	}
	return a.change(r, u)
}

// change applies the profile in the body to a user.
func (a *Accounts) change(r *route.Request, u User) (any, error) {
	var p profile
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if err := p.apply(&u); err != nil {
		return nil, err
	}
	err := a.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := a.saveProfile(tx, u); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), did(r, "user.update", u.ID, ""))
	})
	return u.seenBy(r.Who), err
}

func (a *Accounts) saveProfile(tx *store.Tx, u User) error {
	const update = `UPDATE accounts_users SET name = ?, locale = ?, timezone = ?, updated = ? WHERE id = ?`
	if err := tx.Exec(update, u.Name, u.Locale, u.Timezone, store.Millis(a.now()), u.ID); err != nil {
		return fmt.Errorf("update user: %w", err)
	}
	return a.tell(tx, userUpdated, u, nil)
}

func (a *Accounts) deactivate(r *route.Request) (any, error) { return a.activate(r, false) }
func (a *Accounts) reactivate(r *route.Request) (any, error) { return a.activate(r, true) }

func (a *Accounts) activate(r *route.Request, active bool) (any, error) {
	u := r.Found.(User)
	if err := a.mayManage(r.Who, u); err != nil {
		return nil, err
	}
	action := "user.deactivate"
	if active {
		action = "user.reactivate"
	}
	var revocation *token.Revocation
	err := a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if revocation, err = a.setActive(tx, u, active); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), did(r, action, u.ID, u.Email))
	})
	if err != nil {
		return nil, err
	}
	a.enforce(revocation)
	u.Active = active
	return u.seenBy(r.Who), nil
}

// setMembership gives a user a role in a domain. Less than before counts at once, more at the
// user's next refresh.
func (a *Accounts) setMembership(r *route.Request) (any, error) {
	u := r.Found.(User)
	var m token.Membership
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := a.mayGrant(r.Who, m); err != nil {
		return nil, err
	}
	return a.changeMembership(r, u, m)
}

// removeMembership takes a user's role in ?domain= away.
func (a *Accounts) removeMembership(r *route.Request) (any, error) {
	u := r.Found.(User)
	domain := r.URL.Query().Get("domain")
	if err := a.need(r.Who, domain, token.Admin); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(u.Memberships, func(m token.Membership) bool { return m.Domain == domain }) {
		return nil, route.ErrNotFound
	}
	return a.changeMembership(r, u, token.Membership{Domain: domain})
}

func (a *Accounts) changeMembership(r *route.Request, u User, m token.Membership) (any, error) {
	var revocation *token.Revocation
	err := a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if u, revocation, err = a.applyMembership(tx, u, m); err != nil {
			return err
		}
		return a.note(tx, []string{token.Organisation(m.Domain)}, did(r, "membership.change", u.ID, fmt.Sprintf("%s in %s", m.Role, m.Domain)))
	})
	if err != nil {
		return nil, err
	}
	a.enforce(revocation)
	return u.seenBy(r.Who), nil
}

// applyMembership sets or, with the role None, removes a membership. The revocation is to be
// given to enforce after the commit.
func (a *Accounts) applyMembership(tx *store.Tx, u User, m token.Membership) (User, *token.Revocation, error) {
	org := token.Organisation(m.Domain)
	var err error
	if u.Memberships, err = readMemberships(tx.Query, u.ID); err != nil { // those of the request may be old
		return u, nil, err
	}
	before := *u.identity()
	if m.Role == token.None {
		err = tx.Exec(`DELETE FROM accounts_memberships WHERE user_id = ? AND domain = ?`, u.ID, m.Domain)
	} else {
		err = a.putMembership(tx, u.ID, m)
	}
	if err != nil {
		return u, nil, err
	}
	told := u
	if u.Memberships, err = readMemberships(tx.Query, u.ID); err != nil {
		return u, nil, err
	}
	if u.Verified && before.Role(org) >= token.Admin && u.identity().Role(org) < token.Admin {
		if err := a.keepAdmin(tx, org); err != nil {
			return u, nil, err
		}
	}
	told.Memberships = []token.Membership{m}
	if err := a.tell(tx, membershipChanged, told, map[string]any{"domain": m.Domain, "role": m.Role}); err != nil {
		return u, nil, err
	}
	if !lessThan(u.identity(), &before) {
		return u, nil, nil
	}
	revocation, err := a.revoke(tx, token.Revocation{Subject: u.ID})
	return u, revocation, err
}

// lessThan tells whether somebody has less of anything than before.
func lessThan(now, before *token.Identity) bool {
	for _, m := range before.Memberships {
		if now.Role(m.Domain) < m.Role {
			return true
		}
		subs := m.Subs == nil || *m.Subs
		if subs && now.Role(m.Domain+"/-") < m.Role {
			return true
		}
	}
	return false
}

// rolesOf answers GET /auth/users/{user}/roles: the memberships that the caller may know of.
func (a *Accounts) rolesOf(r *route.Request) (any, error) {
	u, err := a.User(r.Context(), r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	seen := u.seenBy(r.Who).Memberships
	if !u.is(r.Who) && len(seen) == 0 {
		return nil, route.ErrNotFound
	}
	highest := token.None
	for _, m := range seen {
		highest = max(highest, m.Role)
	}
	roles := []string{}
	if highest > token.None {
		roles = append(roles, highest.String())
	}
	return map[string]any{"user": u.ID, "active": u.Active, "roles": roles, "memberships": seen}, nil
}
