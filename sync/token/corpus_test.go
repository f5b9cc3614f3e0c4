package token_test

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

const (
	cloudName   = "https://cloud.example"
	partnerName = "https://partner.example"
	legacyName  = "legacy"
)

var (
	k1, k2, p1, strange = seeded("k1", 1), seeded("k2", 2), seeded("p1", 3), seeded("k1", 9)
	legacySecret        = []byte(strings.Repeat("legacy-secret-", 4))

	edHeader = object{{"alg", `"EdDSA"`}, {"typ", `"JWT"`}, {"kid", `"k1"`}}
	hsHeader = object{{"alg", `"HS256"`}, {"typ", `"JWT"`}}
	payload  = object{
		{"iss", `"` + cloudName + `"`}, {"aud", `["headcount"]`}, {"sub", `"0190-anna"`}, {"name", `"Anna Zuse"`}, {"sid", `"s-1"`}, {"kind", `"user"`},
		{"iat", unix(-time.Minute)}, {"nbf", unix(-time.Minute)}, {"exp", unix(14 * time.Minute)},
		{"memberships", `[{"domain":"acme","role":"operator"},{"domain":"acme/north","role":"admin","subs":false}]`},
	}
	legacyPayload = payload.with("iss", `"`+legacyName+`"`)
	partner       = payload.with("iss", `"`+partnerName+`"`)
)

// corpusVerifier trusts the cloud by two keys, a partner for its own domain, and an older system
// by a shared secret. One person and one session are locked out.
func corpusVerifier(t testing.TB, now func() time.Time) *token.Verifier {
	t.Helper()
	rs := token.NewRevocations()
	until := noon.AddDate(50, 0, 0)
	rs.Set([]token.Revocation{{Subject: "0190-gone", Before: noon, Until: until}, {Subject: "0190-anna", Session: "s-out", Before: noon.Add(-30 * time.Second), Until: until}})
	partnerKeys := issuerOf(t, partnerName, newSigner(t, partnerName, p1))
	partnerKeys.Domains = []string{"partner"}
	return newVerifier(t, token.VerifierOptions{Now: now, Revocations: rs, Issuers: []token.Issuer{
		issuerOf(t, cloudName, newSigner(t, cloudName, k1, k2)), partnerKeys, {Name: legacyName, Secret: legacySecret, Domains: []string{"acme"}},
	}})
}

// attempt is one token with the code of its refusal; "" = accepted.
type attempt struct{ name, raw, want string }

type corpus []attempt

func (c *corpus) add(want, name, raw string) { *c = append(*c, attempt{name, raw, want}) }

// claims adds a token of the cloud whose payload is this.
func (c *corpus) claims(want, name string, p object) {
	c.add(want, "claims: "+name, forge(edHeader.String(), p.String(), ed(k1.Private)))
}

// header adds a token of the cloud whose header is this.
func (c *corpus) header(want, name string, h object) {
	c.add(want, "header: "+name, forge(h.String(), payload.String(), ed(k1.Private)))
}

func TestCorpus(t *testing.T) {
	var all corpus
	for _, part := range []func(*corpus){good, algorithms, signatures, headers, types, times, audiences, duplicates, domains, shapes, kinds, forms, revoked} {
		part(&all)
	}
	v := corpusVerifier(t, clock)
	var accepts, rejects, codes int
	for _, a := range all {
		_, err := v.Verify(a.raw)
		switch got := code(err); {
		case got == a.want:
		case got == "":
			accepts++
			t.Errorf("%s: accepted, want %s: %.300s", a.name, a.want, a.raw)
		case a.want == "":
			rejects++
			t.Errorf("%s: %v, want it accepted", a.name, err)
		default:
			codes++
			t.Errorf("%s: got %v, want %s", a.name, err, a.want)
		}
	}
	accepted := len(slices.DeleteFunc(slices.Clone(all), func(a attempt) bool { return a.want != "" }))
	t.Logf("%d tokens (%d good), %d wrong accepts, %d wrong rejects, %d wrong reasons", len(all), accepted, accepts, rejects, codes)
	if len(all) < 400 {
		t.Errorf("the corpus has %d tokens, want at least 400", len(all))
	}
}

// A clock that nobody set accepts nothing: neither 1970 nor ten years from now.
func TestCorpusUnderWrongClocks(t *testing.T) {
	var all corpus
	good(&all)
	times(&all)
	for name, c := range map[string]struct {
		now  time.Time
		want string
	}{"1970": {time.Unix(0, 0), token.CodeNotYet}, "a year behind": {noon.AddDate(-1, 0, 0), token.CodeNotYet}, "ten years ahead": {noon.AddDate(10, 0, 0), token.CodeExpired}} {
		v := corpusVerifier(t, func() time.Time { return c.now })
		for _, a := range all {
			_, err := v.Verify(a.raw)
			if err == nil || a.want == "" && code(err) != c.want {
				t.Errorf("clock %s: %s: got %v, want %s", name, a.name, err, c.want)
			}
		}
	}
}

// No attempt costs much memory, however it is made.
func TestCorpusIsCheap(t *testing.T) {
	const most = 64 << 10
	var all corpus
	for _, part := range []func(*corpus){good, shapes, forms} {
		part(&all)
	}
	v := corpusVerifier(t, clock)
	var before, after runtime.MemStats
	for _, a := range all {
		const rounds = 8 // the least counts: other tests' goroutines allocate too
		least := uint64(1 << 60)
		for range rounds {
			runtime.ReadMemStats(&before)
			_, _ = v.Verify(a.raw)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if least > most {
			t.Errorf("%s: allocates %d bytes, want at most %d", a.name, least, most)
		}
	}
}

func FuzzVerify(f *testing.F) {
	var all corpus
	for _, part := range []func(*corpus){good, headers, shapes, forms} {
		part(&all)
	}
	v := corpusVerifier(f, clock)
	ours := map[string]bool{}
	for _, a := range all {
		if len(a.raw) < 2048 {
			f.Add(a.raw)
		}
		ours[a.raw] = a.want == ""
	}
	f.Fuzz(func(t *testing.T, raw string) {
		id, err := v.Verify(raw)
		if (err == nil) != (id != nil) || err != nil && strings.HasPrefix(code(err), "not a Refused") {
			t.Fatalf("got %+v and %v", id, err)
		}
		if err == nil && !ours[raw] {
			t.Fatalf("accepted a token that nobody signed: %s", raw)
		}
		if _, _, err := token.Inspect(raw); err != nil && strings.HasPrefix(code(err), "not a Refused") {
			t.Fatal(err)
		}
	})
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(newSigner(f, cloudName, k1, k2).JWKS())
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := token.ParseJWKS(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("got %d keys and %v", len(keys), err)
		}
		for kid, key := range keys {
			if kid == "" || len(key) != 32 {
				t.Fatalf("got key %q of %d bytes", kid, len(key))
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := corpusVerifier(b, clock)
	members := func(n int) object {
		return payload.with("memberships", "["+strings.TrimSuffix(strings.Repeat(`{"domain":"acme/north/lab","role":"operator"},`, n), ",")+"]")
	}
	for name, raw := range map[string]string{
		"2 memberships":  forge(edHeader.String(), payload.String(), ed(k1.Private)),
		"50 memberships": forge(edHeader.String(), members(50).String(), ed(k1.Private)),
		"HS256":          forge(hsHeader.String(), legacyPayload.String(), hs(legacySecret)),
		"wrong key":      forge(edHeader.String(), payload.String(), ed(strange.Private)),
		"1 MiB of dots":  strings.Repeat(".", 1<<20),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = v.Verify(raw)
			}
		})
	}
}
