package accounts

import (
	"errors"
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// sent is the answer to whoever names an address: it does not tell whether that has an account.
func sent() *route.Response {
	return &route.Response{Status: http.StatusAccepted, Body: map[string]string{"status": "if this address can be used, a mail with a link is on its way to it"}}
}

// newcomer is the body of a registration.
type newcomer struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	Name     string `json:"name"`
	Locale   string `json:"locale,omitempty"`
	Timezone string `json:"timezone,omitempty"`
}

// user checks what somebody says about themselves.
func (n newcomer) user() (u User, err error) {
	if u.Email, err = checkEmail(n.Email); err != nil {
		return u, err
	}
	if u.Name, err = checkName("name", n.Name); err != nil {
		return u, err
	}
	u.Locale, u.Timezone = n.Locale, n.Timezone
	return u, errors.Join(checkLocale(n.Locale), checkTimezone(n.Timezone))
}

// grants lists the roles that go with a proven mail address.
func (a *Accounts) grants(email string) []token.Membership { return grantsOf(a.opts.Grants, email) }

// register answers POST /auth/register. The work is the same for every address.
func (a *Accounts) register(r *route.Request) (any, error) {
	var n newcomer
	if err := r.Decode(&n); err != nil {
		return nil, err
	}
	u, err := n.user()
	if err != nil {
		return nil, err
	}
	if err := checkPassword(n.Password, u.Email); err != nil {
		return nil, err
	}
	if !a.mayRegister(u.Email) {
		return nil, route.Problem(http.StatusForbidden, "registration is by invitation: ask an admin of your organisation for one")
	}
	if _, err := a.admit(r.Context(), "too many registrations from this address", "register:"+network(r), signups); err != nil {
		return nil, err
	}
	if u.password, err = a.hashPassword(r.Context(), n.Password); err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error { return a.registerUser(tx, r, u) })
	return sent(), err
}

func (a *Accounts) mayRegister(email string) bool {
	switch a.opts.Registration {
	case ByAnybody:
		return true
	case ByDomain:
		return len(a.grants(email)) > 0
	}
	return false
}

// registerUser adds a user. Where there is one that has not proven the address, or that was invited,
// nobody knows whose password would be the right one: none is kept, and the link that is sent lets
// its reader choose one.
func (a *Accounts) registerUser(tx *store.Tx, r *route.Request, u User) error {
	known, err := findUser(tx.Query, `WHERE email_key = ?`, emailKey(u.Email))
	e := did(r, "register", u.Email, "")
	switch {
	case errors.Is(err, ErrNoUser):
		if u, err = a.addUser(tx, u); err != nil {
			return err
		}
		told := u
		told.Memberships = a.grants(u.Email)
		err = a.tell(tx, userCreated, told, nil)
		e.Subject = u.ID
	case err == nil && known.Verified:
		e.Outcome, e.Subject, e.Detail = refused, known.ID, "has an account"
		return errors.Join(a.remind(tx, known), a.note(tx, known.orgs(), e))
	case err == nil:
		e.Subject, e.Detail = known.ID, "again"
		return errors.Join(a.disown(tx, known.ID), a.sendChoice(tx, known), a.note(tx, known.orgs(), e))
	}
	if err != nil {
		return err
	}
	return errors.Join(a.sendVerification(tx, u), a.note(tx, u.orgs(), e))
}

// disown forgets the password of a user that has not proven the address, and the links by which it
// would come into force.
func (a *Accounts) disown(tx *store.Tx, user string) error {
	return errors.Join(a.savePassword(tx, user, ""), tx.Exec(`DELETE FROM accounts_links WHERE user_id = ? AND kind = ?`, user, verifyLink))
}

// remind tells somebody who registers again that they have an account.
func (a *Accounts) remind(tx *store.Tx, u User) error {
	late, err := a.mailed(tx, u.Email)
	if err != nil || late {
		return err
	}
	text := "Hello " + u.Name + ",\n\nsomebody, probably you, has tried to make an account for this address. You have one already:\nlog in, or ask for a new password there.\n\n" + a.opts.PublicURL() + "/\n"
	return a.mail(tx, "", u.Email, "You have an account already", text)
}

// prove notes that a user has proven their address, with the roles that go with it.
func (a *Accounts) prove(tx *store.Tx, u User) (User, error) {
	if u.Verified {
		return u, nil
	}
	u.Verified = true
	if err := tx.Exec(`UPDATE accounts_users SET verified = 1, updated = ? WHERE id = ?`, store.Millis(a.now()), u.ID); err != nil {
		return u, err
	}
	for _, m := range a.grants(u.Email) {
		if u.identity().Role(m.Domain) >= m.Role {
			continue
		}
		there, err := domainExists(tx, m.Domain)
		if err != nil {
			return u, err
		}
		if !there {
			a.log.Warn("a grant of the configuration names a domain that there is not", "domain", m.Domain)
			continue
		}
		if u, _, err = a.applyMembership(tx, u, m); err != nil {
			return u, err
		}
	}
	return u, a.tell(tx, userVerified, u, nil)
}

// verify uses a link that proves a mail address.
func (a *Accounts) verify(r *route.Request) (any, error) {
	f, err := fields(r)
	if err != nil {
		return nil, err
	}
	u, id, err := a.linkUser(r, verifyLink, f.Token)
	if err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if err := useLink(tx, id); err != nil {
			return err
		}
		if u, err = a.prove(tx, u); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), Entry{Actor: "user:" + u.Name, Action: "verify", Subject: u.ID, Outcome: ok, Address: remote(r)})
	})
	if err != nil {
		return nil, err
	}
	a.accountExists()
	return f.done("Your mail address is confirmed. You can log in now."), nil
}

// requestReset answers POST /auth/reset/request {email}.
func (a *Accounts) requestReset(r *route.Request) (any, error) {
	var body struct {
		Email string `json:"email"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	email, err := checkEmail(body.Email)
	if err != nil {
		return nil, err
	}
	if _, err := a.admit(r.Context(), "too many requests from this address", "reset:"+network(r), signups); err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		e := did(r, "reset.request", email, "")
		u, err := findUser(tx.Query, `WHERE email_key = ? AND active = 1`, emailKey(email))
		if errors.Is(err, ErrNoUser) {
			e.Outcome, e.Detail = refused, "unknown address"
			return a.note(tx, nil, e)
		}
		if err != nil {
			return err
		}
		e.Subject = u.ID
		return errors.Join(a.sendReset(tx, u), a.note(tx, u.orgs(), e))
	})
	return sent(), err
}

func (a *Accounts) reset(r *route.Request) (any, error)  { return a.setByLink(r, resetLink) }
func (a *Accounts) accept(r *route.Request) (any, error) { return a.setByLink(r, inviteLink) }

// setByLink sets the password of whom a link was mailed to, which proves the address, and ends
// all their logins.
func (a *Accounts) setByLink(r *route.Request, kind string) (any, error) {
	f, err := fields(r)
	if err != nil {
		return nil, err
	}
	u, id, err := a.linkUser(r, kind, f.Token)
	if err != nil {
		return nil, err
	}
	if f.Name != "" {
		if u.Name, err = checkName("name", f.Name); err != nil {
			return nil, err
		}
	}
	if err := checkPassword(f.Password, u.Email); err != nil {
		return nil, err
	}
	hash, err := a.hashPassword(r.Context(), f.Password)
	if err != nil {
		return nil, err
	}
	var revocation *token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if err := errors.Join(useLink(tx, id), a.savePassword(tx, u.ID, hash), a.saveProfile(tx, u)); err != nil {
			return err
		}
		if u, err = a.prove(tx, u); err != nil {
			return err
		}
		if revocation, err = a.endAll(tx, u.ID); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), Entry{Actor: "user:" + u.Name, Action: kind, Subject: u.ID, Outcome: ok, Address: remote(r)})
	})
	if err != nil {
		return nil, err
	}
	a.accountExists()
	a.enforce(revocation)
	return f.done("Your password is set. You can log in now."), nil
}
