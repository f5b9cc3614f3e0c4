package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far clocks may differ.
const leeway = time.Minute

// minSecret is the shortest shared secret in bytes: as long as the hash (RFC 7518, 3.2).
const minSecret = 32

// Issuer is somebody whose tokens are accepted: by public keys, or by a shared secret (HS256)
// for systems that cannot do better. Exactly one of the two is set.
type Issuer struct {
	Name    string                       // iss
	Keys    map[string]ed25519.PublicKey // by kid
	Secret  []byte                       // at least 32 bytes
	Domains []string                     // its tokens may have memberships in and below these only; empty = any
}

// VerifierOptions of NewVerifier. Audience is required.
type VerifierOptions struct {
	Issuers     []Issuer         // may be none: every token is refused until SetIssuers
	Audience    string           // what tokens must be meant for
	Now         func() time.Time // a clock that does not go back below what is known to be past; nil = time.Now
	Revocations *Revocations     // nil = none
}

// Verifier verifies tokens without any I/O. It may be used by many goroutines.
type Verifier struct {
	opts    VerifierOptions
	issuers atomic.Pointer[map[string]*trusted]
}

// trusted is an issuer and the parser that accepts its tokens and no others.
type trusted struct {
	Issuer
	alg    string
	parser *jwt.Parser
}

// NewVerifier makes a verifier. Errors are mistakes in the options.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if err := checkText("audience", o.Audience); err != nil {
		return nil, fmt.Errorf("make verifier: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{opts: o}
	if err := v.SetIssuers(o.Issuers); err != nil {
		return nil, err
	}
	return v, nil
}

// SetIssuers replaces the issuers, such as after a rotation of keys. After an error the former
// ones stay.
func (v *Verifier) SetIssuers(issuers []Issuer) error {
	set := map[string]*trusted{}
	for _, is := range issuers {
		t, err := v.trust(is)
		if err == nil && set[is.Name] != nil {
			err = errors.New("it stands twice")
		}
		if err != nil {
			return fmt.Errorf("token issuer %.64q: %w", is.Name, err)
		}
		set[is.Name] = t
	}
	v.issuers.Store(&set)
	return nil
}

func (v *Verifier) trust(is Issuer) (*trusted, error) {
	if err := checkText("its name", is.Name); err != nil {
		return nil, err
	}
	t := &trusted{Issuer: is, alg: jwt.SigningMethodEdDSA.Alg()}
	switch {
	case (len(is.Keys) == 0) == (len(is.Secret) == 0):
		return nil, errors.New("give it either public keys or a shared secret")
	case len(is.Secret) > 0 && len(is.Secret) < minSecret:
		return nil, fmt.Errorf("the shared secret has %d bytes, want at least %d; make one with: openssl rand -hex 32", len(is.Secret), minSecret)
	case len(is.Secret) > 0:
		t.alg = jwt.SigningMethodHS256.Alg()
	}
	for kid, key := range is.Keys {
		if !goodKeyID(kid) || len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %.64q is not an Ed25519 key with an id of letters, digits, dots, - and _", kid)
		}
	}
	for _, d := range is.Domains {
		if err := CheckDomain(d); err != nil {
			return nil, err
		}
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{t.alg}), jwt.WithIssuer(is.Name), jwt.WithAudience(v.opts.Audience),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(v.opts.Now), jwt.WithStrictDecoding())
	return t, nil
}

// Verify returns the caller that a token stands for. The error is a *Refused.
func (v *Verifier) Verify(raw string) (*Identity, error) {
	head, body, err := split(raw)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(head)
	if err != nil {
		return nil, err
	}
	c, err := readClaims(body)
	if err != nil {
		return nil, err
	}
	is := (*v.issuers.Load())[c.id.Issuer]
	if is == nil {
		return nil, refuse(CodeIssuer, "issuer %.64q is not known here", c.id.Issuer)
	}
	key, err := is.key(h)
	if err != nil {
		return nil, err
	}
	if _, err := is.parser.ParseWithClaims(raw, c, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return nil, refusal(err)
	}
	return v.accept(is, c)
}

// accept holds verified claims to what the JWT library does not know.
func (v *Verifier) accept(is *trusted, c *claims) (*Identity, error) {
	if life := c.id.Expires.Sub(c.id.Issued); life <= 0 || life > longest(c.id.Kind) || c.begins.After(c.id.Expires) {
		return nil, refuse(CodeLifetime, "it lives from %s to %s, at most %v are allowed", c.id.Issued.Format(time.RFC3339), c.id.Expires.Format(time.RFC3339), longest(c.id.Kind))
	}
	for _, m := range c.id.Memberships {
		ours := func(d string) bool { return Within(m.Domain, d) }
		if len(is.Domains) > 0 && !slices.ContainsFunc(is.Domains, ours) {
			return nil, refuse(CodeMembership, "its issuer may not give roles in domain %q", m.Domain)
		}
	}
	if v.opts.Revocations != nil && v.opts.Revocations.Revoked(&c.id) {
		return nil, refuse(CodeRevoked, "it was revoked; log in again")
	}
	return &c.id, nil
}

// header is what a token may say about its own signature.
type header struct{ alg, kid string }

func readHeader(data []byte) (h header, err error) {
	fields, err := object(data, "header")
	if err != nil {
		return h, err
	}
	for name, raw := range fields {
		s, ok := str(raw)
		switch {
		case !ok:
			return h, refuse(CodeHeader, "header %.40q is not a string", name)
		case name == "alg":
			h.alg = s
		case name == "kid" && goodKeyID(s):
			h.kid = s
		case name == "typ" && (strings.EqualFold(s, "JWT") || strings.EqualFold(s, "at+jwt")):
		default:
			return h, refuse(CodeHeader, "header %.40q is not one of alg, kid and typ, or not a sound one", name)
		}
	}
	if h.alg == "" {
		return h, refuse(CodeAlgorithm, "header alg is missing")
	}
	return h, nil
}

// key chooses the issuer's key for a header, typed so that no other algorithm takes it.
func (t *trusted) key(h header) (any, error) {
	if h.alg != t.alg {
		return nil, refuse(CodeAlgorithm, "algorithm %.16q is not the one of its issuer", h.alg)
	}
	if len(t.Secret) > 0 {
		return t.Secret, nil
	}
	key, ok := t.Keys[h.kid]
	if !ok {
		return nil, refuse(CodeKey, "its issuer has no key %.64q", h.kid)
	}
	return key, nil
}

// Inspect decodes a token's header and claims WITHOUT verifying anything, for people who look
// at one. The error is a *Refused.
func Inspect(raw string) (head, body json.RawMessage, err error) {
	head, body, err = split(strings.TrimSpace(raw))
	if err != nil {
		return nil, nil, err
	}
	if _, err := object(head, "header"); err != nil {
		return nil, nil, err
	}
	_, err = object(body, "payload")
	return head, body, err
}
