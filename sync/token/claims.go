package token

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// The bounds of a token's claims.
const (
	MaxLife        = 24 * time.Hour       // from iat to exp, of people's tokens
	MaxStanding    = 370 * 24 * time.Hour // the same of services and devices, which nobody logs in
	MaxMemberships = 128
	maxPermissions = 64
	maxAudiences   = 16
	maxText        = 256 // bytes of iss, aud, sub, name, sid, a permission

	maxDate = 253402300799 // the last second of the year 9999
)

// known are the claims that mean something here; others are skipped, unless they are one of
// these in another case.
var known = []string{"iss", "aud", "exp", "nbf", "iat", "sub", "name", "sid", "kind", "memberships", "accountMemberships", "permissions"}

// claims is a token's payload as the JWT library sees it.
type claims struct {
	id       Identity
	audience []string
	begins   time.Time // nbf
}

// readClaims reads a payload strictly.
func readClaims(data []byte) (*claims, error) {
	fields, err := object(data, "payload")
	if err != nil {
		return nil, err
	}
	for name := range fields {
		if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) }); i >= 0 && known[i] != name {
			return nil, refuse(CodeDuplicate, "claim %q is written %q", name, known[i])
		}
	}
	c := &claims{}
	return c, c.read(fields)
}

// UnmarshalJSON leaves everything as it is: the JWT library decodes what was read already.
func (c *claims) UnmarshalJSON([]byte) error { return nil }

func (c *claims) read(fields map[string]json.RawMessage) (err error) {
	id := &c.id
	for name, into := range map[string]*string{"iss": &id.Issuer, "sub": &id.Subject} {
		if *into, err = text(fields, name); err != nil {
			return err
		}
		if *into == "" {
			return refuse(CodeClaim, "claim %s is missing", name)
		}
	}
	for name, into := range map[string]*time.Time{"iat": &id.Issued, "nbf": &c.begins, "exp": &id.Expires} {
		if *into, err = date(fields, name); err != nil {
			return err
		}
	}
	for name, into := range map[string]*string{"name": &id.Name, "sid": &id.Session} {
		if *into, err = text(fields, name); err != nil {
			return err
		}
	}
	if c.audience, err = list(fields, "aud", maxAudiences, true); err != nil {
		return err
	}
	if id.Permissions, err = list(fields, "permissions", maxPermissions, false); err != nil {
		return err
	}
	if id.Kind, err = kind(fields); err != nil {
		return err
	}
	id.Memberships, err = memberships(fields)
	return err
}

// longest is how long tokens of a kind may live.
func longest(k Kind) time.Duration {
	if k == Service || k == Device {
		return MaxStanding
	}
	return MaxLife
}

func text(fields map[string]json.RawMessage, name string) (string, error) {
	raw, ok := fields[name]
	if !ok {
		return "", nil
	}
	s, ok := str(raw)
	if !ok {
		return "", refuse(CodeClaim, "claim %s is not a string", name)
	}
	if s == "" {
		return "", nil
	}
	return s, checkText("claim "+name, s)
}

func checkText(what, s string) error {
	if s == "" || len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return refuse(CodeClaim, "%s wants 1 to %d bytes without control characters", what, maxText)
	}
	return nil
}

// date reads a NumericDate: seconds, fractions allowed, no exponent, kept to the millisecond.
func date(fields map[string]json.RawMessage, name string) (time.Time, error) {
	raw, ok := fields[name]
	if !ok {
		return time.Time{}, refuse(CodeClaim, "claim %s is missing", name)
	}
	s, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || strings.ContainsAny(string(raw), "eE") || s < 0 || s > maxDate {
		return time.Time{}, refuse(CodeClaim, "claim %s is not a number of seconds since 1970", name)
	}
	return time.UnixMilli(int64(math.Round(s * 1000))).UTC(), nil
}

// list reads an array of strings, or one string where single allows it.
func list(fields map[string]json.RawMessage, name string, limit int, single bool) ([]string, error) {
	raw, ok := fields[name]
	if !ok {
		return nil, nil
	}
	if single && raw[0] == '"' {
		s, err := text(fields, name)
		return []string{s}, err
	}
	if raw[0] != '[' {
		return nil, refuse(CodeClaim, "claim %s is not a list", name)
	}
	var out []string
	err := each(raw, func(_ string, item []byte) error {
		s, ok := str(item)
		if !ok || len(out) == limit {
			return refuse(CodeClaim, "claim %s is not a list of at most %d strings", name, limit)
		}
		out = append(out, s)
		return checkText("claim "+name, s)
	})
	return out, err
}

// kind is user where nothing is said. Local is never signed.
func kind(fields map[string]json.RawMessage) (Kind, error) {
	s, err := text(fields, "kind")
	switch k := Kind(s); {
	case err != nil:
		return "", err
	case s == "":
		return User, nil
	case k == User || k == Service || k == Device:
		return k, nil
	}
	return "", refuse(CodeClaim, "claim kind %q: want user, service or device", s)
}

// The getters of jwt.Claims. A date was read, so it is there.

// GetExpirationTime is exp.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) {
	return &jwt.NumericDate{Time: c.id.Expires}, nil
}

// GetIssuedAt is iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) {
	return &jwt.NumericDate{Time: c.id.Issued}, nil
}

// GetNotBefore is nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) {
	return &jwt.NumericDate{Time: c.begins}, nil
}

// GetIssuer is iss.
func (c *claims) GetIssuer() (string, error) { return c.id.Issuer, nil }

// GetSubject is sub.
func (c *claims) GetSubject() (string, error) { return c.id.Subject, nil }

// GetAudience is aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }
