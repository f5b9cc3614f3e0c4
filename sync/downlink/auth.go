package downlink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Audience is what tokens for clouds and hubs are meant for.
const Audience = "headcount"

const authFile = "auth.json"

// Auth is by what a hub knows callers: the cloud's public keys, the domains that the site belongs
// to, and revocations. It is kept in a file of mode 0600, so that a hub that starts offline knows
// the same. Its methods may be called from many goroutines.
type Auth struct {
	path     string
	log      *slog.Logger
	verifier *token.Verifier
	revoked  *token.Revocations

	mu   sync.Mutex
	have wire.Auth
}

// OpenAuth reads what is kept in a directory, which need not exist. now is the trusted clock.
func OpenAuth(dir string, now func() time.Time, log *slog.Logger) (*Auth, error) {
	a := &Auth{path: filepath.Join(dir, authFile), log: log, revoked: token.NewRevocations()}
	var err error
	if a.verifier, err = token.NewVerifier(token.VerifierOptions{Audience: Audience, Now: now, Revocations: a.revoked}); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	var kept wire.Auth
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err == nil {
		err = a.set(kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cloud's keys: %w; delete %s to fetch them again", err, a.path)
	}
	return a, nil
}

// Known tells whether the cloud has ever said by which keys it signs. From then on a caller
// without a token is nobody.
func (a *Auth) Known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.have.Issuer != ""
}

// Revision is that of what is known; empty = nothing.
func (a *Auth) Revision() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.have.Revision
}

// Domains lists the domains that the site belongs to, as far as the cloud has said.
func (a *Auth) Domains() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.have.Domains)
}

// Verify returns the caller that a token stands for; the error is a *token.Refused.
func (a *Auth) Verify(raw string) (*token.Identity, error) { return a.verifier.Verify(raw) }

// Revocations is the set of what is locked out; it follows the cloud.
func (a *Auth) Revocations() *token.Revocations { return a.revoked }

// Take uses and keeps what the cloud says. A hub that knows keys does not forget that there are
// any: a cloud that suddenly has none is not believed.
func (a *Auth) Take(next wire.Auth) error {
	if next.Issuer == "" && a.Known() {
		return errors.New("the cloud says that it signs no tokens any more; the keys that are known stay")
	}
	if err := a.set(next); err != nil {
		return fmt.Errorf("the cloud's keys: %w", err)
	}
	b, err := json.Marshal(next)
	if err == nil {
		err = replaceFile(a.path, b)
	}
	if err != nil {
		return fmt.Errorf("keep the cloud's keys: %w; they are forgotten with the next start", err)
	}
	a.log.Info("keys and revocations of the cloud", "issuer", next.Issuer, "domains", next.Domains, "revoked", len(a.revoked.List()))
	return nil
}

// set puts material into force, or nothing of it.
func (a *Auth) set(next wire.Auth) error {
	var issuers []token.Issuer
	if next.Issuer != "" {
		keys, err := token.ParseJWKS(next.JWKS)
		if err != nil {
			return err
		}
		issuers = []token.Issuer{{Name: next.Issuer, Keys: keys}}
	}
	var revoked []token.Revocation
	if len(bytes.TrimSpace(next.Revocations)) > 0 {
		if err := json.Unmarshal(next.Revocations, &revoked); err != nil {
			return fmt.Errorf("read revocations: %w", err)
		}
	}
	if err := a.verifier.SetIssuers(issuers); err != nil {
		return err
	}
	a.revoked.Set(revoked)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have = next
	return nil
}
