package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// oidcClient talks to one provider.
type oidcClient struct {
	Provider
	http *http.Client
	now  func() time.Time

	mu    sync.Mutex // guards what follows
	found *oidc.Provider
	until time.Time // when it is looked up anew
}

// discover reads what the provider says about itself, once an hour.
func (c *oidcClient) discover(ctx context.Context) (*oidc.Provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found != nil && c.now().Before(c.until) {
		return c.found, nil
	}
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), c.http) // it is kept for reading keys later; the client has a timeout
	p, err := oidc.NewProvider(ctx, c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover provider: %w", err)
	}
	c.found, c.until = p, c.now().Add(time.Hour)
	return p, nil
}

// idToken is the provider's word on who somebody is.
type idToken struct {
	Subject  string
	Email    string
	Verified bool // it vouches for the mail address
	Name     string
}

// idMethods are the signatures that are taken; none of them has a shared secret.
var idMethods = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.ES256, oidc.ES384, oidc.EdDSA}

// verify holds an ID token to its signature, issuer, audience and times, and to the nonce of the
// browser that began.
func (c *oidcClient) verify(ctx context.Context, p *oidc.Provider, raw, nonce string) (idToken, error) {
	conf := &oidc.Config{ClientID: c.ClientID, SupportedSigningAlgs: idMethods, Now: c.now}
	t, err := p.Verifier(conf).Verify(oidc.ClientContext(ctx, c.http), raw)
	if err != nil {
		return idToken{}, fmt.Errorf("verify id token: %w", err)
	}
	var claims struct {
		Email    string `json:"email"`
		Verified any    `json:"email_verified"` // some providers write it as text
		Name     string `json:"name"`
		For      string `json:"azp"`
	}
	if err := t.Claims(&claims); err != nil {
		return idToken{}, fmt.Errorf("verify id token: %w", err)
	}
	switch {
	case t.Nonce != nonce:
		return idToken{}, errors.New("verify id token: it answers another login")
	case len(t.Audience) > 1 && claims.For != c.ClientID:
		return idToken{}, errors.New("verify id token: it was made for another client")
	case t.Subject == "" || len(t.Subject) > 255:
		return idToken{}, errors.New("verify id token: it has no subject")
	}
	vouched := slices.Contains([]any{true, "true"}, claims.Verified)
	return idToken{Subject: t.Subject, Email: claims.Email, Verified: vouched, Name: claims.Name}, nil
}
