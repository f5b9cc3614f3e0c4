package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/headcount-hub/headcount/sync/wire"
)

// Enrol makes credentials for the hub of a site, as the text of a .creds file that NATS clients
// read, and sees to it that the organisation's stream exists. Credentials issued before stay
// valid, so that a hub can change over without a gap; Revoke ends them all.
func (b *Bus) Enrol(org, site string) (creds []byte, err error) {
	if !wire.ValidToken(org) || !wire.ValidToken(site) {
		return nil, fmt.Errorf("enrol %q/%q: organisation and site are 1 to 64 of a-z 0-9 _ -", org, site)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := b.EnsureOrg(ctx, org); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.auth == nil {
		return nil, fmt.Errorf("enrol %s/%s: %w without the account's seed file", org, site, ErrExternal)
	}
	return b.auth.enrol(org, site, time.Now())
}

// Revoke makes all credentials of a site invalid: its hub is cut off before Revoke returns and
// cannot come back with them. What the site has sent stays. A site without credentials is no
// error. With an external cluster it returns ErrExternal: revoke there.
func (b *Bus) Revoke(org, site string) error { return b.revoke(org+"/"+site, "site", org+"/"+site) }

// revoke makes the credentials under a key invalid; kind and name are for people.
func (b *Bus) revoke(key, kind, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.srv == nil {
		return fmt.Errorf("revoke %s: %w", name, ErrExternal)
	}
	n, err := b.auth.revoke(key)
	if err != nil || n == 0 {
		return err
	}
	account, err := b.srv.LookupAccount(b.auth.accountID)
	if err != nil {
		return fmt.Errorf("revoke %s: %w", name, err)
	}
	for id, token := range b.auth.accounts() {
		if err := b.srv.AccountResolver().Store(id, token); err != nil {
			return fmt.Errorf("revoke %s: %w", name, err)
		}
	}
	b.srv.UpdateAccountClaims(account, b.auth.claims)
	b.opts.Log.Info("NATS credentials revoked", kind, name, "keys", n)
	return nil
}

// Enrolled tells whether credentials were issued to a site here that were not revoked since.
func (b *Bus) Enrolled(org, site string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.auth != nil && len(b.auth.issued[org+"/"+site]) > 0
}

// CloudCredentials makes a credentials file of the cloud's own user, with all rights in the
// account: for another replica of the cloud, or for somebody who looks into the streams with a
// NATS client. It cannot be revoked but by replacing the account.
func (b *Bus) CloudCredentials() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.srv == nil {
		return nil, fmt.Errorf("make cloud credentials: %w", ErrExternal)
	}
	token, seed, err := b.auth.cloudUser()
	if err != nil {
		return nil, err
	}
	creds, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		return nil, fmt.Errorf("make cloud credentials: %w", err)
	}
	return creds, nil
}
