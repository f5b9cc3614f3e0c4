package accounts

import (
	"errors"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// newUser is the body by which an administrator of the whole cloud makes a user.
type newUser struct {
	invitation
	Password string `json:"password,omitempty"` // without one the user is invited
}

// createUser makes a user with a password and a role, whose address is taken as proven.
func (a *Accounts) createUser(r *route.Request) (any, error) {
	var n newUser
	if err := r.Decode(&n); err != nil {
		return nil, err
	}
	m := token.Membership{Domain: n.Domain, Role: n.Role}
	u, err := newcomer{Email: n.Email, Name: n.Name, Locale: n.Locale, Timezone: n.Timezone}.user()
	if err = errors.Join(err, a.mayGrant(r.Who, m)); err != nil {
		return nil, err
	}
	if n.Password != "" {
		if err := checkPassword(n.Password, u.Email); err != nil {
			return nil, err
		}
		if u.password, err = a.hashPassword(r.Context(), n.Password); err != nil {
			return nil, err
		}
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if n.Password == "" {
			u, err = a.addMember(tx, u, m, r.Who.Who(), true)
		} else {
			u.Verified, u.Memberships = true, []token.Membership{m}
			u, err = a.addUser(tx, u)
		}
		return errors.Join(err, a.note(tx, []string{token.Organisation(m.Domain)}, did(r, "user.create", u.ID, u.Email+" as "+m.Role.String()+" in "+m.Domain)))
	})
	if err != nil {
		return nil, err
	}
	if u.Verified {
		a.accountExists()
	}
	return route.Created("/v1/users/"+u.ID, u), nil
}

// allUsers answers with all users, or the one with ?email=.
func (a *Accounts) allUsers(r *route.Request) (any, error) {
	email := emailKey(r.URL.Query().Get("email"))
	users, err := findUsers(a.reading(r.Context()), `WHERE email_key = ? OR ? = '' ORDER BY email_key`, email, email)
	if users == nil {
		users = []User{}
	}
	return map[string]any{"users": users}, err
}

// setPassword sets a user's password and ends all their logins.
func (a *Accounts) setPassword(r *route.Request) (any, error) {
	u := r.Found.(User)
	var body struct {
		Password string `json:"password"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if err := checkPassword(body.Password, u.Email); err != nil {
		return nil, err
	}
	hash, err := a.hashPassword(r.Context(), body.Password)
	if err != nil {
		return nil, err
	}
	var revocation *token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if err := a.savePassword(tx, u.ID, hash); err != nil {
			return err
		}
		if u, err = a.prove(tx, u); err != nil {
			return err
		}
		if revocation, err = a.endAll(tx, u.ID); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), did(r, "password.set", u.ID, ""))
	})
	if err != nil {
		return nil, err
	}
	a.accountExists()
	a.enforce(revocation)
	return nil, nil
}

// onlyWhole narrows a policy to administrators of the whole cloud, and keeps what it found.
func onlyWhole(of func(*route.Request) ([]string, error)) func(*route.Request) ([]string, error) {
	return func(r *route.Request) ([]string, error) {
		if _, err := of(r); err != nil {
			return nil, err
		}
		return []string{""}, nil
	}
}

// rotateKeys puts a new signing key to use.
func (a *Accounts) rotateKeys(r *route.Request) (any, error) {
	var newest int64
	if err := a.db.QueryRow(r.Context(), `SELECT coalesce(max(expires), 0) FROM accounts_tokens WHERE revoked = 0`).Scan(&newest); err != nil {
		return nil, err
	}
	until := a.now().Add(AccessLife + time.Minute)
	if last := store.FromMillis(newest); last.After(until) {
		until = last
	}
	id, err := a.keys.rotate(until)
	if err != nil {
		return nil, err
	}
	issuers, err := a.issuers()
	if err == nil {
		err = a.verifier.SetIssuers(issuers)
	}
	if err != nil {
		return nil, err
	}
	a.enforcing.Lock()
	a.revoked.Set(a.revoked.List()) // those who wait for Changed learn of the new key too
	a.enforcing.Unlock()
	err = a.db.Update(r.Context(), func(tx *store.Tx) error { return a.note(tx, nil, did(r, "keys.rotate", id, "")) })
	return map[string]any{"key": id, "old_until": until.UTC().Truncate(time.Second)}, err
}

func (a *Accounts) jwks(*route.Request) (any, error) {
	return &route.Response{ContentType: "application/jwk-set+json", Raw: a.JWKS(), Header: http.Header{"Cache-Control": {"public, max-age=300"}}}, nil
}
