// Package accounts knows the people, services and devices of the cloud: organisations with
// domains below them, users, memberships, logins, the tokens that prove them, and the audit of
// all of it.
//
// It guarantees that a password is kept as a salted argon2id hash only; that a refresh token is
// good once, and using an old one ends its whole login; that nobody grants a role they do not
// hold or in a domain that is not theirs; that an organisation keeps an admin; and that every
// decision leaves a row in the audit. Answers to callers without an account do not tell whether
// an address has one. It refuses to keep tokens: what it has issued can be revoked, not read.
package accounts

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Issuer and Audience stand in all tokens that the cloud signs.
const (
	Issuer   = "headcount"
	Audience = "headcount"
)

// The lives of what is issued.
const (
	AccessLife  = 15 * time.Minute    // access tokens of people
	SessionLife = 30 * 24 * time.Hour // a login that is not refreshed; each refresh begins it anew
	VerifyLife  = 48 * time.Hour      // links that prove a mail address
	ResetLife   = time.Hour           // links that set a new password
	InviteLife  = 7 * 24 * time.Hour  // invitations
)

// pollInterval is how often revocations and accounts made by another process are looked for.
const pollInterval = 3 * time.Second

// auditLife is how long rows of the audit are kept, and tokens of services and devices are listed
// after they have expired.
const auditLife = 400 * 24 * time.Hour

// Options is what accounts work with.
type Options struct {
	DB        *store.DB
	Dir       string        // where keys.json and claim.code are kept
	PublicURL func() string // the address that links in mails begin with, without a slash at the end
	Log       *slog.Logger

	Registration Registration
	Grants       []Grant
	Providers    []Provider     // OpenID Connect
	Trusted      []token.Issuer // others whose tokens are accepted
	Secure       bool           // cookies are for HTTPS only

	// Mail sends a message within a transaction; nil = nobody is told.
	Mail func(tx *store.Tx, key, org, to, subject, text string) error
	// Holds says what a domain still owns, empty when nothing; nil = nothing.
	Holds func(ctx context.Context, domain string) (string, error)
	// OfSite is the policy of routes with {site}: it leaves the store.Site in Found.
	OfSite func(*route.Request) ([]string, error)
	// Domains lists the domains that own a site.
	Domains func(store.Site) []string

	Now func() time.Time // nil = time.Now
}

// Registration says who may make an account for themselves.
type Registration string

// The ways to register.
const (
	ByInvitation Registration = "invite" // nobody; the default
	ByDomain     Registration = "domain" // whoever has a mail address of a Grant
	ByAnybody    Registration = "open"   // everybody
)

// Grant is the role of those who prove a mail address somewhere.
type Grant struct {
	Mail   string     // such as example.org; "*" = every address
	Domain string     // the domain of the role
	Role   token.Role // below admin
}

// Accounts is open accounts. Its methods may be called from many goroutines.
type Accounts struct {
	opts     Options
	db       *store.DB
	log      *slog.Logger
	now      func() time.Time
	keys     *keyring
	revoked  *token.Revocations
	verifier *token.Verifier
	hashing  chan struct{} // as many places as passwords are hashed at once
	memory   uint32        // of a hash, in KiB
	exist    atomic.Bool   // there is an account

	enforcing sync.Mutex // guards what follows, and sets of revoked
	enforced  int        // how often something was revoked here
}

// Open brings the tables up to date and reads or makes the keys.
func Open(ctx context.Context, o Options) (*Accounts, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registration == "" {
		o.Registration = ByInvitation
	}
	if err := o.DB.Migrate(ctx, "accounts", migrations, "migrations"); err != nil {
		return nil, err
	}
	a := &Accounts{opts: o, db: o.DB, log: o.Log, now: o.Now, revoked: token.NewRevocations(), hashing: make(chan struct{}, parallelHashes()), memory: hashMemory}
	var err error
	if a.keys, err = openKeys(o.Dir, o.Now); err != nil {
		return nil, err
	}
	issuers, err := a.issuers()
	if err != nil {
		return nil, err
	}
	a.verifier, err = token.NewVerifier(token.VerifierOptions{Issuers: issuers, Audience: Audience, Now: o.Now, Revocations: a.revoked})
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	return a, a.offerClaim()
}

func (a *Accounts) issuers() ([]token.Issuer, error) {
	public, err := token.ParseJWKS(a.JWKS())
	if err != nil {
		return nil, fmt.Errorf("own keys: %w", err)
	}
	return append([]token.Issuer{{Name: Issuer, Keys: public}}, a.opts.Trusted...), nil
}

// Exist tells whether there is an account that can log in: somebody has proven who they are; once somebody has, there always is.
func (a *Accounts) Exist() bool { return a.exist.Load() }

// JWKS is the public keys that verify the cloud's tokens, as JSON Web Key Set.
func (a *Accounts) JWKS() []byte { return a.keys.signer().JWKS() }

// Issuers lists whose tokens the cloud accepts, itself first, with secrets: for the cloud's own
// use.
func (a *Accounts) Issuers() ([]token.Issuer, error) { return a.issuers() }

// Revocations lists the tokens that must be refused although they have not expired.
func (a *Accounts) Revocations() []token.Revocation { return a.revoked.List() }

// Changed returns a channel that is closed when the revocations or the keys change after this
// call.
func (a *Accounts) Changed() <-chan struct{} { return a.revoked.Changed() }

// Revoked tells whether a caller's token is refused by now: long-lived connections ask again
// after Changed.
func (a *Accounts) Revoked(id *token.Identity) bool { return a.revoked.Revoked(id) }

// SignFor makes a token in the name of a caller that was let in otherwise, for those who verify
// by the JWKS, such as hubs.
func (a *Accounts) SignFor(who *token.Identity, life time.Duration) (string, error) {
	return a.keys.signer().Sign(who, []string{Audience}, life)
}

// Authenticate tells whose signed token raw is. Its error says why it is refused. The subjects of
// another issuer are its own, so that none of them is taken for somebody who has an account here.
func (a *Accounts) Authenticate(_ context.Context, raw string) (*token.Identity, error) {
	id, err := a.verifier.Verify(raw)
	if err == nil && id.Issuer != Issuer {
		id.Subject = id.Issuer + "#" + id.Subject
	}
	return id, err
}

// SignedToken tells whether raw has the form of a signed token; others are secrets of a token
// file, which can be guessed at.
func SignedToken(raw string) bool {
	return strings.HasPrefix(raw, "eyJ") && strings.Count(raw, ".") == 2
}

// Run follows what other processes change, and forgets what has expired. It returns nil when
// ctx ends.
func (a *Accounts) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := a.look(ctx)
		if err == nil && a.now().Sub(swept) > time.Hour {
			swept = a.now()
			err = a.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("accounts not looked through", "err", err)
		}
	}
}

// look reads the revocations in force and whether there is an account.
func (a *Accounts) look(ctx context.Context) error {
	if err := a.lookRevocations(ctx); err != nil {
		return err
	}
	if a.Exist() {
		return nil
	}
	var n int
	if err := a.db.QueryRow(ctx, `SELECT count(*) FROM accounts_users WHERE verified = 1`).Scan(&n); err != nil {
		return fmt.Errorf("count users: %w", err)
	}
	if n > 0 {
		a.accountExists()
	}
	return nil
}

// lookRevocations reads those in force, unless one comes up meanwhile: then the next look does.
func (a *Accounts) lookRevocations(ctx context.Context) error {
	a.enforcing.Lock()
	before := a.enforced
	a.enforcing.Unlock()
	list, err := a.readRevocations(ctx)
	if err != nil {
		return err
	}
	a.enforcing.Lock()
	defer a.enforcing.Unlock()
	if before == a.enforced && !sameRevocations(list, a.revoked.List()) {
		a.revoked.Set(list)
	}
	return nil
}

// neverCame deletes who has registered and not proven the address, unless somebody has invited
// them or a link is on its way.
const neverCame = `DELETE FROM accounts_users WHERE verified = 0 AND updated < ?
	AND id NOT IN (SELECT user_id FROM accounts_memberships) AND id NOT IN (SELECT user_id FROM accounts_links)`

// sweep deletes what has no meaning any more.
func (a *Accounts) sweep(ctx context.Context) error {
	now := a.now()
	return a.db.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(
			tx.Exec(`DELETE FROM accounts_revocations WHERE forget < ?`, store.Millis(now)),
			tx.Exec(`DELETE FROM accounts_links WHERE expires < ?`, store.Millis(now)),
			tx.Exec(`DELETE FROM accounts_attempts WHERE until < ? AND since < ?`, store.Millis(now), store.Millis(now.Add(-24*time.Hour))),
			tx.Exec(`DELETE FROM accounts_sessions WHERE expires < ? OR (ended > 0 AND ended < ?)`, store.Millis(now), store.Millis(now.Add(-SessionLife))),
			tx.Exec(`DELETE FROM accounts_audit WHERE at < ?`, store.Millis(now.Add(-auditLife))),
			tx.Exec(`DELETE FROM accounts_tokens WHERE expires < ?`, store.Millis(now.Add(-auditLife))),
			tx.Exec(neverCame, store.Millis(now.Add(-InviteLife))),
		)
	})
}
