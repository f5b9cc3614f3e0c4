package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Key is a signing key of an issuer.
type Key struct {
	ID      string // kid: 1 to 64 letters, digits, "-", "_", "."
	Private ed25519.PrivateKey
}

// Signer signs tokens of one issuer with Ed25519. It may be used by many goroutines.
type Signer struct {
	issuer string
	key    Key
	jwks   []byte
	now    func() time.Time
}

// NewSigner makes a signer whose first key signs; all keys are published, so that tokens of a
// former key verify until they have expired. now is the clock; nil = time.Now.
func NewSigner(issuer string, keys []Key, now func() time.Time) (*Signer, error) {
	if err := checkText("issuer", issuer); err != nil {
		return nil, fmt.Errorf("make signer: %w", err)
	}
	if len(keys) == 0 {
		return nil, errors.New("make signer: no key")
	}
	if now == nil {
		now = time.Now
	}
	jwks, err := publish(keys)
	if err != nil {
		return nil, fmt.Errorf("make signer: %w", err)
	}
	return &Signer{issuer: issuer, key: keys[0], jwks: jwks, now: now}, nil
}

// JWKS is the set of public keys as JSON (RFC 7517).
func (s *Signer) JWKS() []byte { return append([]byte(nil), s.jwks...) }

// payload is what we write.
type payload struct {
	Issuer      string       `json:"iss"`
	Audience    []string     `json:"aud"`
	Subject     string       `json:"sub"`
	Name        string       `json:"name,omitempty"`
	Session     string       `json:"sid,omitempty"`
	Kind        Kind         `json:"kind"`
	Issued      json.Number  `json:"iat"`
	NotBefore   int64        `json:"nbf"`
	Expires     int64        `json:"exp"`
	Memberships []Membership `json:"memberships"`
	Permissions []string     `json:"permissions,omitempty"`
	jwt.Claims  `json:"-"`   // the library wants the getters, and uses none for signing
}

// Sign makes a token for a caller that lives so long from now. What no Verifier would accept is
// an error: no audience, a life over MaxLife (of services and devices MaxStanding), a role
// everywhere, a membership in a malformed domain, more than MaxMemberships of them or 8 KiB.
func (s *Signer) Sign(id *Identity, audience []string, life time.Duration) (string, error) {
	if id.Kind == Local || id.Everywhere != None {
		return "", errors.New("sign token: a role everywhere, or of this machine, is never signed")
	}
	if life < time.Second || life > longest(id.Kind) {
		return "", fmt.Errorf("sign token: life of %v: want 1s to %v", life, longest(id.Kind))
	}
	now := s.now()
	p := payload{
		Issuer: s.issuer, Audience: audience, Subject: id.Subject, Name: id.Name, Session: id.Session, Kind: id.Kind,
		Issued: seconds(now), NotBefore: now.Unix(), Expires: now.Add(life).Unix(), Memberships: id.Memberships, Permissions: id.Permissions,
	}
	if p.Memberships == nil {
		p.Memberships = []Membership{}
	}
	if err := checkPayload(p); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, p)
	t.Header["kid"] = s.key.ID
	raw, err := t.SignedString(s.key.Private)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if len(raw) > maxToken {
		return "", fmt.Errorf("sign token: it would have %d bytes, at most %d are read: too many memberships", len(raw), maxToken)
	}
	return raw, nil
}

// checkPayload reads what was written as a Verifier will.
func checkPayload(p payload) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c, err := readClaims(b)
	if err != nil {
		return err
	}
	if len(c.audience) == 0 {
		return errors.New("no audience")
	}
	return nil
}

// seconds writes a time to the millisecond: a token issued right after a revocation must not
// look as old as it.
func seconds(t time.Time) json.Number {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return json.Number(strconv.FormatInt(ms/1000, 10))
	}
	return json.Number(fmt.Sprintf("%d.%03d", ms/1000, ms%1000))
}
