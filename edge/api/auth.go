package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// auth knows who callers are: those of the token file, by the hashes of their secrets so that
// comparing takes the same time for all, and those with a signed token.
type auth struct {
	callers []*token.Identity
	hashes  [][sha256.Size]byte
	verify  func(raw string) (*token.Identity, error) // nil = no signed tokens
}

// newAuth takes signed tokens only where it is known whose the hub is.
func newAuth(o Options) *auth {
	a := &auth{}
	if o.Domains != nil {
		a.verify = o.Verify
	}
	for _, t := range o.Tokens {
		a.callers = append(a.callers, t.Identity())
		a.hashes = append(a.hashes, sha256.Sum256([]byte(t.Secret)))
	}
	return a
}

// who returns the caller whose secret this is; nil = nobody's.
func (a *auth) who(secret string) (who *token.Identity) {
	h := sha256.Sum256([]byte(secret))
	for i := range a.hashes { // all of them, so that time does not tell which
		if subtle.ConstantTimeCompare(h[:], a.hashes[i][:]) == 1 {
			who = a.callers[i]
		}
	}
	return who
}

// identify finds out whose token a request has. A hub without any tokens does not look.
func (a *auth) identify(r *http.Request) (*token.Identity, error) {
	secret, given := bearer(r)
	if !given {
		return nil, nil
	}
	if who := a.who(secret); who != nil {
		return who, nil
	}
	switch {
	case a.verify != nil && looksSigned(secret):
		return a.verify(secret)
	case len(a.hashes) == 0:
		return nil, nil
	}
	return nil, gateway.ErrGuess
}

func bearer(r *http.Request) (secret string, ok bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok && isStream(r.URL.Path) {
		secret = r.URL.Query().Get("token")
		return secret, secret != ""
	}
	return strings.TrimSpace(secret), ok && strings.EqualFold(scheme, "Bearer")
}
