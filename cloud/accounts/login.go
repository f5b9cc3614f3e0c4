package accounts

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// credentials is the body of a login.
type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// errWrong is the answer to every login that is not good: it does not tell whether the address
// has an account.
var errWrong = route.Problem(http.StatusUnauthorized, "the mail address or the password is wrong")

// login answers POST /auth/login; with ?cookie=1 the tokens come as cookies.
func (a *Accounts) login(r *route.Request) (any, error) {
	var c credentials
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	attempt, spray := "login:"+network(r)+"|"+emailKey(clip(c.Email, 254)), "spray:"+network(r)
	if wait, err := a.lockedNow(r.Context(), spray); err != nil || wait > 0 {
		return nil, errors.Join(err, tooMany("too many wrong passwords from this address", wait))
	}
	locks, err := a.admit(r.Context(), "too many wrong passwords", attempt, guesses)
	if err != nil {
		return nil, err
	}
	u, err := findUser(a.reading(r.Context()), `WHERE email_key = ?`, emailKey(c.Email))
	if err != nil && !errors.Is(err, ErrNoUser) {
		return nil, err
	}
	good, err := a.passwordIs(r.Context(), c.Password, u.password)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, a.refuseLogin(r, u, clip(c.Email, 254), spray, locks)
	}
	return a.enter(r, u.ID, attempt, u.password)
}

// lockedNow is locked outside of a transaction.
func (a *Accounts) lockedNow(ctx context.Context, attempt string) (wait time.Duration, err error) {
	rows, err := a.db.Query(ctx, `SELECT until FROM accounts_attempts WHERE attempt = ?`, attempt)
	found, err := store.Collect(rows, err, scanInt)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return max(0, store.FromMillis(found[0]).Sub(a.now())), nil
}

// refuseLogin notes a wrong password.
func (a *Accounts) refuseLogin(r *route.Request, u User, email, spray string, locks bool) error {
	e := Entry{Action: "login", Subject: u.ID, Outcome: refused, Address: remote(r), Detail: "wrong password"}
	if u.ID == "" {
		e.Subject, e.Detail = email, "unknown address"
	}
	if locks {
		e.Detail += "; locked"
	}
	err := a.db.Update(r.Context(), func(tx *store.Tx) error {
		if _, err := a.failed(tx, spray, sprays); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), e)
	})
	if err != nil {
		return err
	}
	return errWrong
}

// enter begins a session of a user who has proved who they are, if they are as they were when
// that was seen (with this password hash) and may log in.
func (a *Accounts) enter(r *route.Request, user, attempt, password string) (any, error) {
	var u User
	var s Session
	var refusal error
	err := a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if u, err = findUser(tx.Query, `WHERE id = ?`, user); err != nil {
			return err
		}
		e := Entry{Actor: "user:" + u.Name, Action: "login", Subject: u.ID, Outcome: refused, Address: remote(r)}
		switch {
		case u.password != password:
			refusal, e.Detail = errWrong, "the password was changed meanwhile"
		case !u.Active:
			refusal, e.Detail = route.Problem(http.StatusForbidden, "this account is deactivated; ask an admin of your organisation"), "deactivated"
		case !u.Verified:
			refusal, e.Detail = route.Problem(http.StatusForbidden, "confirm your mail address first, by the link that was sent to it"), "unverified"
			err = a.sendVerification(tx, u)
		default:
			e.Outcome = ok
			if s, err = a.openSession(tx, u, r); err == nil {
				e.Detail = "session " + s.ID
				err = a.forgive(tx, attempt)
			}
		}
		return errors.Join(err, a.note(tx, u.orgs(), e))
	})
	if err = errors.Join(err, refusal); err != nil {
		return nil, err
	}
	return a.answerTokens(r, u, s)
}

// answerTokens answers with the tokens of a session, in the body or as cookies.
func (a *Accounts) answerTokens(r *route.Request, u User, s Session) (any, error) {
	t, err := a.issue(u, s)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("cookie") != "1" {
		return t, nil
	}
	header, err := a.cookies(r, t)
	t.RefreshToken = "" // out of reach of scripts
	return &route.Response{Header: header, Body: t}, err
}

// refresh answers POST /auth/refresh {refresh_token}; without a body the cookie counts.
func (a *Accounts) refresh(r *route.Request) (any, error) {
	raw, cookie, err := refreshFrom(r)
	if err != nil {
		return nil, err
	}
	id, generation, ours := a.parseRefresh(raw)
	if !ours {
		return nil, errLoggedOut
	}
	var u User
	var s Session
	var revocation *token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		u, s, err = a.rotate(tx, id, generation, remote(r))
		if errors.Is(err, errReused) {
			revocation, err = a.endSession(tx, u.ID, id)
			e := Entry{Actor: "user:" + u.Name, Action: "refresh", Subject: u.ID, Outcome: refused, Address: remote(r), Detail: "an old refresh token was used; session " + id + " ended"}
			return errors.Join(err, a.note(tx, u.orgs(), e))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if a.enforce(revocation); revocation != nil || u.ID == "" || !u.Active {
		return nil, errLoggedOut
	}
	if cookie {
		r.URL.RawQuery = "cookie=1"
	}
	return a.answerTokens(r, u, s)
}

// errLoggedOut is the answer to refresh tokens that are no good.
var errLoggedOut = route.Problem(http.StatusUnauthorized, "this login has ended; log in again")

// logout ends the caller's session, and the one of a refresh token that is given.
func (a *Accounts) logout(r *route.Request) (any, error) {
	raw, _, err := refreshFrom(r)
	if err != nil {
		return nil, err
	}
	user, session := "", ""
	if r.Who != nil && r.Who.Kind == token.User {
		user, session = r.Who.Subject, r.Who.Session
	}
	if id, _, ours := a.parseRefresh(raw); ours {
		session = id
		rows, err := a.db.Query(r.Context(), `SELECT `+sessionColumns+` FROM accounts_sessions WHERE id = ?`, id)
		found, err := store.Collect(rows, err, scanSession)
		if err != nil {
			return nil, err
		}
		if len(found) == 1 {
			user = found[0].user
		}
	}
	if user != "" && session != "" {
		if err := a.endOne(r, "logout", user, session); err != nil {
			return nil, err
		}
	}
	return &route.Response{Status: http.StatusNoContent, Header: a.noCookies(r)}, nil
}

// endOne ends one session of a user.
func (a *Accounts) endOne(r *route.Request, action, user, session string) error {
	u, err := a.User(r.Context(), user)
	if err != nil {
		return err
	}
	var revocation *token.Revocation
	err = a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if revocation, err = a.endSession(tx, user, session); err != nil {
			return err
		}
		return a.note(tx, u.orgs(), Entry{Actor: "user:" + u.Name, Action: action, Subject: user, Outcome: ok, Address: remote(r), Detail: "session " + session})
	})
	a.enforce(revocation)
	return err
}
