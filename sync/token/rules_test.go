package token_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

func TestSignerRefusesWhatNobodyWouldAccept(t *testing.T) {
	s := newSigner(t, "c", k1)
	many := make([]token.Membership, token.MaxMemberships)
	for i := range many {
		many[i] = token.Membership{Domain: fmt.Sprintf("acme/department-%d/with-a-long-name", i), Role: token.Viewer}
	}
	change := func(f func(*token.Identity)) *token.Identity {
		id := anna()
		f(id)
		return id
	}
	for name, c := range map[string]struct {
		id       *token.Identity
		audience []string
		life     time.Duration
		about    string
	}{
		"everywhere":   {change(func(id *token.Identity) { id.Everywhere = token.Viewer }), []string{"headcount"}, time.Hour, "everywhere"},
		"local":        {change(func(id *token.Identity) { id.Kind = token.Local }), []string{"headcount"}, time.Hour, "machine"},
		"no subject":   {change(func(id *token.Identity) { id.Subject = "" }), []string{"headcount"}, time.Hour, "sub"},
		"no audience":  {anna(), nil, time.Hour, "aud"},
		"too long":     {anna(), []string{"headcount"}, token.MaxLife + 1, "24h"},
		"no life":      {anna(), []string{"headcount"}, 0, "want 1s"},
		"wildcard":     {change(func(id *token.Identity) { id.Memberships[0].Domain = "*" }), []string{"headcount"}, time.Hour, "domain"},
		"no role":      {change(func(id *token.Identity) { id.Memberships[0].Role = token.None }), []string{"headcount"}, time.Hour, "role"},
		"too large":    {change(func(id *token.Identity) { id.Memberships = many }), []string{"headcount"}, time.Hour, "too many memberships"},
		"control name": {change(func(id *token.Identity) { id.Name = "a\x00" }), []string{"headcount"}, time.Hour, "name"},
	} {
		raw, err := s.Sign(c.id, c.audience, c.life)
		if err == nil || raw != "" || !strings.Contains(err.Error(), c.about) {
			t.Errorf("%s: got %q and error %v, want one about %q", name, raw, err, c.about)
		}
	}
	for name, keys := range map[string][]token.Key{"none": nil, "same id": {k1, k1}, "bad id": {{ID: "a/b", Private: k1.Private}}, "no key": {{ID: "x"}}} {
		if _, err := token.NewSigner("c", keys, nil); err == nil {
			t.Errorf("keys %s: got no error", name)
		}
	}
	if _, err := token.NewSigner("", []token.Key{k1}, nil); err == nil {
		t.Error("an issuer without name: got no error")
	}
}

func TestVerifierOptions(t *testing.T) {
	public := map[string]ed25519.PublicKey{"k1": k1.Private.Public().(ed25519.PublicKey)}
	for name, o := range map[string]token.VerifierOptions{
		"no audience":       {},
		"no issuer's name":  {Audience: "headcount", Issuers: []token.Issuer{{Keys: public}}},
		"neither":           {Audience: "headcount", Issuers: []token.Issuer{{Name: "x"}}},
		"both":              {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Keys: public, Secret: legacySecret}}},
		"short secret":      {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Secret: legacySecret[:31]}}},
		"twice":             {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Keys: public}, {Name: "x", Secret: legacySecret}}},
		"short key":         {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Keys: map[string]ed25519.PublicKey{"k": public["k1"][:31]}}}},
		"bad key id":        {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Keys: map[string]ed25519.PublicKey{"../k": public["k1"]}}}},
		"wildcard domain":   {Audience: "headcount", Issuers: []token.Issuer{{Name: "x", Keys: public, Domains: []string{"*"}}}},
		"control character": {Audience: "head\ncount"},
	} {
		v, err := token.NewVerifier(o)
		if err == nil || v != nil {
			t.Errorf("%s: got %v and no error", name, v)
		} else if strings.Contains(err.Error(), "legacy-secret") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	ours := string(newSigner(t, "c", k1, k2).JWKS())
	if keys, err := token.ParseJWKS([]byte(ours)); err != nil || len(keys) != 2 || !keys["k2"].Equal(k2.Private.Public()) {
		t.Errorf("our own: got %v, %v", keys, err)
	}
	if strings.Contains(ours, `"d"`) || strings.Contains(ours, b64(k1.Private.Seed())) {
		t.Error("the private key is published")
	}
	x := b64(k1.Private[32:])
	mixed := `{"keys":[{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","kid":"e","x":"` + x + `"},{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"` + x + `","key_ops":["verify"]}]}`
	if keys, err := token.ParseJWKS([]byte(mixed)); err != nil || len(keys) != 1 {
		t.Errorf("keys of other types are skipped: got %v, %v", keys, err)
	}
	one := func(member string) string { return `{"keys":[{"kty":"OKP","crv":"Ed25519",` + member + `}]}` }
	for name, data := range map[string]string{
		"empty": ``, "no keys": `{"keys":[]}`, "a list": `[]`, "null": `null`, "keys of another type only": `{"keys":[{"kty":"RSA"}]}`,
		"no id": one(`"x":"` + x + `"`), "bad id": one(`"kid":"a b","x":"` + x + `"`), "short": one(`"kid":"k","x":"AAAA"`), "padding": one(`"kid":"k","x":"` + x + `="`),
		"private": one(`"kid":"k","x":"` + x + `","d":"` + x + `"`), "x twice": one(`"kid":"k","x":"` + x + `","X":"` + x + `"`),
		"id twice":       `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + x + `"},{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + x + `"}]}`,
		"for encryption": one(`"kid":"k","use":"enc","x":"` + x + `"`), "too large": `{"keys":[` + strings.Repeat(" ", 64<<10) + `]}`,
		"65 keys": `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"RSA"},`, 65), ",") + `]}`,
	} {
		if keys, err := token.ParseJWKS([]byte(data)); err == nil {
			t.Errorf("%s: got keys %v and no error", name, keys)
		}
	}
}

// Whoever is locked out while a token is still valid is refused from then on, and a revocation is
// forgotten when it can no longer matter.
func TestRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := token.NewRevocations()
		signer, err := token.NewSigner("c", []token.Key{k1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := token.NewVerifier(token.VerifierOptions{Issuers: []token.Issuer{issuerOf(t, "c", signer)}, Audience: "headcount", Revocations: rs})
		if err != nil {
			t.Fatal(err)
		}
		sign := func() string {
			raw, err := signer.Sign(anna(), []string{"headcount"}, 15*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		old, changed := sign(), rs.Changed()
		time.Sleep(time.Millisecond)
		rs.Add(token.Revocation{Subject: "0190-anna", Before: time.Now(), Until: time.Now().Add(15 * time.Minute)})
		select {
		case <-changed:
		default:
			t.Error("nobody is told of a revocation")
		}
		if _, err := v.Verify(old); code(err) != token.CodeRevoked {
			t.Errorf("the old token: got %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := v.Verify(sign()); err != nil {
			t.Errorf("logged in again: %v", err)
		}
		rs.Add(token.Revocation{Subject: "0190-anna", Before: time.Now().Add(-time.Hour), Until: time.Now()})
		if got := rs.List(); len(got) != 1 || got[0].Before.Before(time.Now().Add(-time.Minute)) {
			t.Errorf("an earlier revocation took back a later one: %+v", got)
		}
		time.Sleep(16 * time.Minute)
		rs.Add(token.Revocation{Subject: "bert", Session: "s", Before: time.Now(), Until: time.Now().Add(time.Minute)})
		if got := rs.List(); len(got) != 1 || got[0].Subject != "bert" {
			t.Errorf("got %+v, want the old one forgotten", got)
		}
		rs.Set(nil)
		if got := rs.List(); len(got) != 0 {
			t.Errorf("after Set(nil): %+v", got)
		}
	})
}

func TestRevocationsFromManyGoroutines(t *testing.T) {
	rs := token.NewRevocations()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				rs.Add(token.Revocation{Subject: fmt.Sprint(i), Before: noon, Until: time.Now().Add(time.Hour)})
				rs.Revoked(&token.Identity{Subject: "0", Issued: noon})
				_, _ = rs.List(), rs.Changed()
			}
		})
	}
	all.Wait()
	if got := len(rs.List()); got != 8 {
		t.Errorf("got %d revocations, want 8", got)
	}
}

func TestLocalCallersAreNeverRevoked(t *testing.T) {
	rs := token.NewRevocations()
	rs.Add(token.Revocation{Subject: "anna", Before: time.Now(), Until: time.Now().Add(time.Hour)})
	if rs.Revoked(&token.Identity{Kind: token.Local, Subject: "anna"}) {
		t.Error("a caller of the token file was locked out by a name")
	}
}

func TestMaySend(t *testing.T) {
	door := &token.Identity{Kind: token.Device, Subject: "lobby/door-7"}
	for device, want := range map[string]bool{"lobby/door-7": true, "lobby/door-7/2": true, "lobby/door-77": false, "lobby": false, "lobby/door-8": false, "": false} {
		if got := door.MaySend(device); got != want {
			t.Errorf("device %q: got %v, want %v", device, got, want)
		}
	}
	if !anna().MaySend("lobby/door-7") {
		t.Error("who is no device sends for all")
	}
}

func TestInspectVerifiesNothing(t *testing.T) {
	raw := forge(edHeader.String(), payload.String(), ed(strange.Private))
	head, body, err := token.Inspect(" " + raw + "\n")
	if err != nil || string(head) != edHeader.String() || string(body) != payload.String() {
		t.Errorf("got %s, %s, %v", head, body, err)
	}
	if _, _, err := token.Inspect("a.b"); code(err) != token.CodeSegments {
		t.Errorf("got %v", err)
	}
}

func TestWhoMaySeeAnEvent(t *testing.T) {
	domains := []string{"acme/north"}
	as := func(kind token.Kind, domain string, role token.Role) *token.Identity {
		return &token.Identity{Kind: kind, Subject: "ann", Memberships: []token.Membership{{Domain: domain, Role: role}}}
	}
	for _, tc := range []struct {
		who      *token.Identity
		audience string
		want     bool
	}{
		{nil, "", false}, {as(token.User, "acme", token.Viewer), "", true}, {as(token.User, "acme/south", token.Admin), "", false},
		{as(token.User, "acme", token.Operator), "role:manager", false}, {as(token.User, "acme", token.Manager), "role:manager", true}, {as(token.User, "acme", token.Admin), "role:nobody", false},
		{as(token.User, "acme", token.Viewer), "user:ann", true}, {as(token.User, "acme", token.Admin), "user:bob", false}, {as(token.Service, "acme", token.Admin), "user:ann", false},
		{as(token.User, "acme", token.Admin), "team:north", false},
	} {
		if got := tc.who.MaySee(tc.audience, domains); got != tc.want {
			t.Errorf("%+v sees %q: %v, want %v", tc.who, tc.audience, got, tc.want)
		}
	}
}

func TestADevicesTokenIsForOneSite(t *testing.T) {
	device := &token.Identity{Kind: token.Device, Subject: "door-7", Permissions: []string{"ingest", "site:acme/hq"}}
	if !device.DeviceAt("acme", "hq") || device.DeviceAt("acme", "depot") || device.DeviceAt("other", "hq") {
		t.Error("the token of a device is not held to its site")
	}
	if !(&token.Identity{Kind: token.User}).DeviceAt("acme", "hq") {
		t.Error("people are held to a device's site")
	}
}
