package accounts

import (
	"database/sql"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

func scanInt(r *sql.Rows) (n int64, err error) { return n, r.Scan(&n) }

// caller is the answer of GET /auth/me.
type caller struct {
	Kind        token.Kind         `json:"kind"`
	Subject     string             `json:"subject"`
	Name        string             `json:"name"`
	Memberships []token.Membership `json:"memberships"`
	Permissions []string           `json:"permissions,omitempty"` // of a service
	Everywhere  string             `json:"everywhere,omitempty"`  // role in all domains, of this machine's administrator
	Expires     time.Time          `json:"expires,omitzero"`      // of the token
	User        *User              `json:"user,omitempty"`        // the account as it is now; the memberships above are the token's
}

func (a *Accounts) me(r *route.Request) (any, error) {
	c := caller{Kind: r.Who.Kind, Subject: r.Who.Subject, Name: r.Who.Name, Memberships: r.Who.Memberships, Permissions: r.Who.Permissions, Expires: r.Who.Expires}
	if c.Memberships == nil {
		c.Memberships = []token.Membership{}
	}
	if r.Who.Everywhere > token.None {
		c.Everywhere = r.Who.Everywhere.String()
	}
	if r.Who.Kind == token.User {
		u, err := a.User(r.Context(), r.Who.Subject)
		if err != nil && !errors.Is(err, ErrNoUser) { // another issuer's user has no account
			return nil, err
		}
		if err == nil {
			c.User = &u
		}
	}
	return c, nil
}

// self is the account of the caller.
func (a *Accounts) self(r *route.Request) (User, error) {
	if r.Who.Kind != token.User {
		return User{}, route.Problem(http.StatusForbidden, "only people have an account; you are a %s", r.Who.Kind)
	}
	return a.User(r.Context(), r.Who.Subject)
}

func (a *Accounts) patchMe(r *route.Request) (any, error) {
	u, err := a.self(r)
	if err != nil {
		return nil, err
	}
	return a.change(r, u)
}

// changePassword sets the caller's password, who proves to know the present one, and ends all
// their other logins.
func (a *Accounts) changePassword(r *route.Request) (any, error) {
	u, err := a.self(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Current string `json:"current"`
		New     string `json:"new"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if err := checkPassword(body.New, u.Email); err != nil {
		return nil, err
	}
	attempt := "password:" + u.ID
	if _, err := a.admit(r.Context(), "too many wrong passwords", attempt, guesses); err != nil {
		return nil, err
	}
	good, err := a.passwordIs(r.Context(), body.Current, u.password)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, errors.Join(route.Problem(http.StatusForbidden, "the current password is wrong"), a.noteOne(r, u, "password.change", refused))
	}
	hash, err := a.hashPassword(r.Context(), body.New)
	if err != nil {
		return nil, err
	}
	var ended []*token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		sessions, err := a.readSessions(tx.Query, u.ID)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if s.ID == r.Who.Session {
				continue
			}
			v, err := a.endSession(tx, u.ID, s.ID)
			if err != nil {
				return err
			}
			ended = append(ended, v)
		}
		return errors.Join(a.savePassword(tx, u.ID, hash), a.forgive(tx, attempt), a.note(tx, u.orgs(), did(r, "password.change", u.ID, "")))
	})
	if err == nil {
		a.enforce(ended...)
	}
	return nil, err
}

func (a *Accounts) savePassword(tx *store.Tx, user, hash string) error {
	return tx.Exec(`UPDATE accounts_users SET password = ?, updated = ? WHERE id = ?`, hash, store.Millis(a.now()), user)
}

// noteOne writes one entry about a user in a transaction of its own.
func (a *Accounts) noteOne(r *route.Request, u User, action, outcome string) error {
	e := did(r, action, u.ID, "")
	e.Outcome = outcome
	return a.db.Update(r.Context(), func(tx *store.Tx) error { return a.note(tx, u.orgs(), e) })
}

func (a *Accounts) listSessions(r *route.Request) (any, error) {
	u, err := a.self(r)
	if err != nil {
		return nil, err
	}
	list, err := a.readSessions(a.reading(r.Context()), u.ID)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []Session{}
	}
	for i := range list {
		list[i].Current = list[i].ID == r.Who.Session
	}
	return map[string]any{"sessions": list}, nil
}

func (a *Accounts) deleteSession(r *route.Request) (any, error) {
	u, err := a.self(r)
	if err != nil {
		return nil, err
	}
	list, err := a.readSessions(a.reading(r.Context()), u.ID)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("session")
	if !slices.ContainsFunc(list, func(s Session) bool { return s.ID == id }) {
		return nil, route.ErrNotFound
	}
	return nil, a.endOne(r, "session.end", u.ID, id)
}
