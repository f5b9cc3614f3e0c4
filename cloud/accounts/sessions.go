package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Session is a login of a user.
type Session struct {
	ID      string    `json:"id"`
	Agent   string    `json:"agent"`   // what the client calls itself
	Address string    `json:"address"` // where it was last refreshed from
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
	Expires time.Time `json:"expires"`
	Current bool      `json:"current"` // the caller's own

	user       string
	generation int64
	ended      bool
}

const sessionColumns = `id, user_id, generation, agent, address, created, used, expires, ended`

func scanSession(r *sql.Rows) (Session, error) {
	var s Session
	var created, used, expires, ended int64
	err := r.Scan(&s.ID, &s.user, &s.generation, &s.Agent, &s.Address, &created, &used, &expires, &ended)
	s.Created, s.Used, s.Expires = store.FromMillis(created), store.FromMillis(used), store.FromMillis(expires)
	s.ended = ended > 0
	return s, err
}

// tokens is what a login or a refresh answers.
type tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	User         User   `json:"user"`
}

// openSession begins a login of a user within a transaction.
func (a *Accounts) openSession(tx *store.Tx, u User, r *route.Request) (Session, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Session{}, fmt.Errorf("make session id: %w", err)
	}
	now := a.now()
	s := Session{ID: id.String(), user: u.ID, generation: 1, Agent: clip(r.UserAgent(), 200), Address: remote(r), Created: now, Used: now, Expires: now.Add(SessionLife)}
	const insert = `INSERT INTO accounts_sessions (id, user_id, generation, agent, address, created, used, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	err = tx.Exec(insert, s.ID, s.user, s.generation, s.Agent, s.Address, store.Millis(now), store.Millis(now), store.Millis(s.Expires))
	if err != nil {
		return s, fmt.Errorf("open session: %w", err)
	}
	const surplus = `DELETE FROM accounts_sessions WHERE user_id = ? AND id NOT IN
		(SELECT id FROM accounts_sessions WHERE user_id = ? ORDER BY CASE WHEN ended > 0 THEN 1 ELSE 0 END, used DESC, id DESC LIMIT ?)`
	if err := tx.Exec(surplus, s.user, s.user, maxSessions); err != nil {
		return s, fmt.Errorf("bound sessions: %w", err)
	}
	return s, nil
}

// issue signs an access token of a session.
func (a *Accounts) issue(u User, s Session) (tokens, error) {
	id := u.identity()
	id.Session = s.ID
	raw, err := a.keys.signer().Sign(id, []string{Audience}, AccessLife)
	if err != nil {
		return tokens{}, err
	}
	return tokens{AccessToken: raw, TokenType: "Bearer", ExpiresIn: int(AccessLife / time.Second), RefreshToken: a.refreshToken(s), User: u}, nil
}

// refreshToken names a session and its generation, with a proof that it is ours.
func (a *Accounts) refreshToken(s Session) string {
	text := s.ID + "." + strconv.FormatInt(s.generation, 10)
	return text + "." + a.keys.mac("refresh", text)
}

// parseRefresh reads a refresh token; false for one that is not ours.
func (a *Accounts) parseRefresh(raw string) (session string, generation int64, ours bool) {
	i := strings.LastIndexByte(raw, '.')
	if i < 0 || len(raw) > 200 || !a.keys.proves("refresh", raw[:i], raw[i+1:]) {
		return "", 0, false
	}
	session, number, _ := strings.Cut(raw[:i], ".")
	generation, err := strconv.ParseInt(number, 10, 64)
	return session, generation, err == nil
}

// errReused says that an old refresh token was used: somebody has a copy.
var errReused = errors.New("refresh token used again")

// rotate takes a refresh token for the next generation of its session. An old one ends the
// session. The user is empty when the session is not good any more.
func (a *Accounts) rotate(tx *store.Tx, id string, generation int64, address string) (u User, s Session, err error) {
	rows, err := tx.Query(`SELECT `+sessionColumns+` FROM accounts_sessions WHERE id = ?`, id)
	found, err := store.Collect(rows, err, scanSession)
	if err != nil {
		return u, s, fmt.Errorf("read session: %w", err)
	}
	now := a.now()
	if len(found) == 0 || found[0].ended || !now.Before(found[0].Expires) {
		return u, s, nil
	}
	s = found[0]
	if u, err = findUser(tx.Query, `WHERE id = ?`, s.user); err != nil {
		return u, s, err
	}
	if generation != s.generation {
		return u, s, errReused
	}
	s.generation, s.Used, s.Expires, s.Address = s.generation+1, now, now.Add(SessionLife), address
	const update = `UPDATE accounts_sessions SET generation = ?, used = ?, expires = ?, address = ? WHERE id = ?`
	if err := tx.Exec(update, s.generation, store.Millis(now), store.Millis(s.Expires), address, s.ID); err != nil {
		return u, s, fmt.Errorf("refresh session: %w", err)
	}
	return u, s, nil
}

// endSession ends a login and refuses its access tokens.
func (a *Accounts) endSession(tx *store.Tx, user, session string) (*token.Revocation, error) {
	if err := tx.Exec(`UPDATE accounts_sessions SET ended = ? WHERE id = ? AND user_id = ? AND ended = 0`, store.Millis(a.now()), session, user); err != nil {
		return nil, fmt.Errorf("end session: %w", err)
	}
	return a.revoke(tx, token.Revocation{Subject: user, Session: session})
}

// endAll ends all logins of a user.
func (a *Accounts) endAll(tx *store.Tx, user string) (*token.Revocation, error) {
	if err := tx.Exec(`UPDATE accounts_sessions SET ended = ? WHERE user_id = ? AND ended = 0`, store.Millis(a.now()), user); err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	return a.revoke(tx, token.Revocation{Subject: user})
}

// readSessions lists the logins of a user that are good, newest first.
func (a *Accounts) readSessions(q querier, user string) ([]Session, error) {
	const query = `SELECT ` + sessionColumns + ` FROM accounts_sessions WHERE user_id = ? AND ended = 0 AND expires > ? ORDER BY used DESC, id`
	rows, err := q(query, user, store.Millis(a.now()))
	list, err := store.Collect(rows, err, scanSession)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return list, nil
}

// maxSessions bounds the logins of one person: of more, the one that was used longest ago ends.
const maxSessions = 100

// revokeSlack is how much longer than its tokens a revocation is remembered.
const revokeSlack = 2 * time.Minute

// revoke stores that tokens issued until now are refused. Without Until it is remembered until
// the last access token has expired. The result is to be given to enforce after the commit.
func (a *Accounts) revoke(tx *store.Tx, v token.Revocation) (*token.Revocation, error) {
	v.Before = store.FromMillis(store.Millis(a.now()))
	if v.Until.IsZero() {
		v.Until = v.Before.Add(AccessLife)
	}
	v.Until = store.FromMillis(store.Millis(v.Until.Add(revokeSlack)))
	const insert = `INSERT INTO accounts_revocations (subject, session, issued_before, forget) VALUES (?, ?, ?, ?)`
	if err := tx.Exec(insert, v.Subject, v.Session, store.Millis(v.Before), store.Millis(v.Until)); err != nil {
		return nil, fmt.Errorf("revoke tokens: %w", err)
	}
	return &v, nil
}

// enforce lets what was committed count in this process at once; others look for it.
func (a *Accounts) enforce(list ...*token.Revocation) {
	a.enforcing.Lock()
	defer a.enforcing.Unlock()
	a.enforced++
	for _, v := range list {
		if v != nil {
			a.revoked.Add(*v)
		}
	}
}

func (a *Accounts) readRevocations(ctx context.Context) ([]token.Revocation, error) {
	const query = `SELECT subject, session, max(issued_before), max(forget) FROM accounts_revocations WHERE forget > ? GROUP BY subject, session ORDER BY subject, session`
	rows, err := a.db.Query(ctx, query, store.Millis(a.now()))
	list, err := store.Collect(rows, err, func(r *sql.Rows) (token.Revocation, error) {
		var v token.Revocation
		var before, until int64
		err := r.Scan(&v.Subject, &v.Session, &before, &until)
		v.Before, v.Until = store.FromMillis(before), store.FromMillis(until)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	return list, nil
}

func sameRevocations(a, b []token.Revocation) bool {
	if len(a) != len(b) {
		return false
	}
	seen := map[token.Revocation]bool{}
	for _, v := range a {
		seen[v] = true
	}
	for _, v := range b {
		if !seen[v] {
			return false
		}
	}
	return true
}
