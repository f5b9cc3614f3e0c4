package token_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

// noon is when these tests take place.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// seeded makes a key that is the same in every run.
func seeded(id string, seed byte) token.Key {
	return token.Key{ID: id, Private: ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))}
}

func newSigner(t testing.TB, issuer string, keys ...token.Key) *token.Signer {
	t.Helper()
	s, err := token.NewSigner(issuer, keys, clock)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newVerifier(t testing.TB, o token.VerifierOptions) *token.Verifier {
	t.Helper()
	if o.Audience == "" {
		o.Audience = "headcount"
	}
	if o.Now == nil {
		o.Now = clock
	}
	v, err := token.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// issuerOf trusts what a signer publishes.
func issuerOf(t testing.TB, name string, s *token.Signer) token.Issuer {
	t.Helper()
	keys, err := token.ParseJWKS(s.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	return token.Issuer{Name: name, Keys: keys}
}

func anna() *token.Identity {
	no := false
	return &token.Identity{
		Kind: token.User, Subject: "0190-anna", Name: "Anna Zuse", Session: "s-1",
		Memberships: []token.Membership{{Domain: "acme", Role: token.Operator}, {Domain: "acme/north", Role: token.Admin, Subs: &no}},
	}
}

func code(err error) string {
	var r *token.Refused
	if errors.As(err, &r) {
		return r.Code
	}
	if err != nil {
		return "not a Refused: " + err.Error()
	}
	return ""
}

func TestSignedTokenIsTheIdentity(t *testing.T) {
	s := newSigner(t, "https://cloud.example", seeded("k1", 1))
	v := newVerifier(t, token.VerifierOptions{Issuers: []token.Issuer{issuerOf(t, "https://cloud.example", s)}})
	raw, err := s.Sign(anna(), []string{"headcount"}, 15*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Kind != token.User || id.Subject != "0190-anna" || id.Who() != "Anna Zuse" || id.Session != "s-1" || id.Issuer != "https://cloud.example" {
		t.Errorf("got %+v", id)
	}
	if !id.Issued.Equal(noon) || !id.Expires.Equal(noon.Add(15*time.Minute)) {
		t.Errorf("got issued %v, expires %v", id.Issued, id.Expires)
	}
	for domain, want := range map[string]token.Role{
		"acme": token.Operator, "acme/north": token.Admin, "acme/north/lab": token.Operator, "acmeplus": token.None, "other": token.None,
	} {
		if got := id.Role(domain); got != want {
			t.Errorf("role in %s: got %v, want %v", domain, got, want)
		}
	}
}

// A key is rotated without anybody being locked out: the new one signs, the old one is still
// published, and a token of a key that was withdrawn is refused.
func TestRotation(t *testing.T) {
	old, both, only := newSigner(t, "c", seeded("k1", 1)), newSigner(t, "c", seeded("k2", 2), seeded("k1", 1)), newSigner(t, "c", seeded("k2", 2))
	v := newVerifier(t, token.VerifierOptions{Issuers: []token.Issuer{issuerOf(t, "c", both)}})
	before, _ := old.Sign(anna(), []string{"headcount"}, time.Hour)
	after, _ := both.Sign(anna(), []string{"headcount"}, time.Hour)
	for _, raw := range []string{before, after} {
		if _, err := v.Verify(raw); err != nil {
			t.Error(err)
		}
	}
	if err := v.SetIssuers([]token.Issuer{issuerOf(t, "c", only)}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(before); code(err) != token.CodeKey {
		t.Errorf("token of a withdrawn key: got %v", err)
	}
	if _, err := v.Verify(after); err != nil {
		t.Error(err)
	}
	if err := v.SetIssuers([]token.Issuer{{Name: "c"}}); err == nil {
		t.Error("an issuer without key or secret was taken")
	}
	if _, err := v.Verify(after); err != nil {
		t.Errorf("after a refused change of issuers: %v", err)
	}
	if err := v.SetIssuers(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(after); code(err) != token.CodeIssuer {
		t.Errorf("without issuers: got %v", err)
	}
}
