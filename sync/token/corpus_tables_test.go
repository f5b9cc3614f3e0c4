package token_test

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

func good(c *corpus) {
	c.claims("", "plain", payload)
	for _, typ := range []string{`"JWT"`, `"jwt"`, `"at+jwt"`} {
		c.header("", "typ "+typ, edHeader.with("typ", typ))
	}
	c.header("", "no typ", edHeader.without("typ"))
	c.add("", "second key", forge(edHeader.with("kid", `"k2"`).String(), payload.String(), ed(k2.Private)))
	c.add("", "shared secret", forge(hsHeader.String(), legacyPayload.String(), hs(legacySecret)))
	c.add("", "shared secret with a key id", forge(hsHeader.with("kid", `"any"`).String(), legacyPayload.String(), hs(legacySecret)))
	inside := partner.with("memberships", `[{"domain":"partner","role":"admin"},{"domain":"partner/x","role":"viewer"}]`)
	c.add("", "partner in its domain", forge(edHeader.with("kid", `"p1"`).String(), inside.String(), ed(p1.Private)))
	for _, role := range []string{"viewer", "operator", "manager", "admin"} {
		for _, domain := range []string{"acme", "acme/north", "acme/north/security", "a-b_c.d/E9"} {
			m := fmt.Sprintf(`[{"domain":%q,"role":%q}]`, domain, role)
			c.claims("", role+" in "+domain, payload.with("memberships", m))
			account := fmt.Sprintf(`[{"domainName":%q,"role":%q,"accountId":7}]`, domain, role)
			c.claims("", role+" in account "+domain, payload.without("memberships").with("accountMemberships", account))
		}
	}
	for _, kind := range []string{"user", "service", "device"} {
		c.claims("", "kind "+kind, payload.with("kind", `"`+kind+`"`).with("permissions", `["read","readings"]`))
	}
	for _, optional := range []string{"name", "sid", "kind", "memberships"} {
		c.claims("", "without "+optional, payload.without(optional))
	}
	c.claims("", "no memberships", payload.with("memberships", "[]"))
	c.claims("", "unknown claims", payload.with("email", `"a@example.org"`).with("deep", `{"a":[{"b":{}}]}`))
	c.claims("", "name beyond ASCII", payload.with("name", `"Łukasz Ωmega 🏢"`))
	c.claims("", "spaces in JSON", object{{"x", " 1 "}}.with("iss", " \""+cloudName+"\" ").also("aud", "\n[\"headcount\"]").also("sub", `"s"`).also("iat", unix(0)).also("nbf", unix(0)).also("exp", unix(time.Minute)))
}

func algorithms(c *corpus) {
	algs := []string{
		"none", "None", "nOnE", "NONE", "HS256", "HS384", "HS512", "hs256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
		"ES256K", "Ed25519", "Ed448", "eddsa", "EDDSA", " EdDSA", "EdDSA ", "EdDSA\u0000", "dir", "A128KW", "",
	}
	for _, alg := range algs {
		h := edHeader.with("alg", quote(alg)).String()
		text := b64([]byte(h)) + "." + b64([]byte(payload.String()))
		c.add(token.CodeSegments, "alg "+alg+" unsigned", text+".")
		c.add(token.CodeAlgorithm, "alg "+alg+" with the right signature", forge(h, payload.String(), ed(k1.Private)))
		c.add(token.CodeAlgorithm, "alg "+alg+" with zeros", forge(h, payload.String(), fixed(make([]byte, 64))))
	}
	for form, secret := range publicForms(k1.Private) {
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			c.add(token.CodeAlgorithm, alg+" keyed with the public key as "+form, forge(edHeader.with("alg", quote(alg)).String(), payload.String(), hs(secret)))
		}
		c.add(token.CodeSignature, "shared secret guessed as public key "+form, forge(hsHeader.String(), legacyPayload.String(), hs(secret)))
	}
	for _, secret := range []string{"secret", "changeme", string(legacySecret[:31]), string(legacySecret) + "x", strings.ToUpper(string(legacySecret))} {
		c.add(token.CodeSignature, "shared secret "+secret, forge(hsHeader.String(), legacyPayload.String(), hs([]byte(secret))))
	}
	c.add(token.CodeAlgorithm, "cloud's key for the issuer with a secret", forge(edHeader.String(), legacyPayload.String(), ed(k1.Private)))
	c.add(token.CodeAlgorithm, "shared secret for the cloud", forge(hsHeader.String(), payload.String(), hs(legacySecret)))
	c.add(token.CodeAlgorithm, "shared secret for the cloud, with its kid", forge(edHeader.with("alg", `"HS256"`).String(), payload.String(), hs(legacySecret)))
	c.header(token.CodeAlgorithm, "no alg", edHeader.without("alg"))
}

func signatures(c *corpus) {
	raw := forge(edHeader.String(), payload.String(), ed(k1.Private))
	head, rest, _ := strings.Cut(raw, ".")
	body, sig, _ := strings.Cut(rest, ".")
	right, _ := base64.RawURLEncoding.DecodeString(sig)
	for i := range right {
		flipped := append([]byte(nil), right...)
		flipped[i] ^= 1 << (i % 8)
		c.add(token.CodeSignature, fmt.Sprintf("signature: bit of byte %d", i), head+"."+body+"."+b64(flipped))
	}
	for i := range "Anna Zuse" {
		name := []byte("Anna Zuse")
		name[i] ^= 1
		c.add(token.CodeSignature, fmt.Sprintf("payload: bit of letter %d", i), head+"."+b64([]byte(payload.with("name", quote(string(name))).String()))+"."+sig)
	}
	c.add(token.CodeSignature, "payload: more rights", head+"."+b64([]byte(strings.Replace(payload.String(), "operator", "manager", 1)))+"."+sig)
	c.add(token.CodeSignature, "payload: one more space", head+"."+b64([]byte(payload.String()+" "))+"."+sig)
	c.add(token.CodeSignature, "header: without typ", b64([]byte(edHeader.without("typ").String()))+"."+body+"."+sig)
	c.add(token.CodeKey, "header: bit of kid", b64([]byte(edHeader.with("kid", `"k0"`).String()))+"."+body+"."+sig)
	c.add(token.CodeSignature, "kid of the other key", forge(edHeader.with("kid", `"k2"`).String(), payload.String(), ed(k1.Private)))
	c.add(token.CodeSignature, "another tenant's key with our kid", forge(edHeader.String(), payload.String(), ed(strange.Private)))
	c.add(token.CodeKey, "partner's key for the cloud", forge(edHeader.with("kid", `"p1"`).String(), payload.String(), ed(p1.Private)))
	c.add(token.CodeKey, "cloud's key for the partner", forge(edHeader.String(), partner.String(), ed(k1.Private)))
	for name, s := range map[string][]byte{
		"zeros": make([]byte, 64), "short": right[:63], "long": append(append([]byte(nil), right...), 0), "one byte": {1}, "twice": append(append([]byte(nil), right...), right...),
		"R only": append(append([]byte(nil), right[:32]...), make([]byte, 32)...), "malleable": malleable(right), "ones": []byte(strings.Repeat("\xff", 64)),
	} {
		c.add(token.CodeSignature, "signature: "+name, head+"."+body+"."+b64(s))
	}
}

// malleable adds the order of the group to S: the same signature to a verifier that does not
// look.
func malleable(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	le := append([]byte(nil), sig...)
	s := new(big.Int)
	for i := 63; i >= 32; i-- {
		s.Add(s.Lsh(s, 8), big.NewInt(int64(le[i])))
	}
	s.Add(s, order)
	b := s.FillBytes(make([]byte, 32))
	for i := range b {
		le[32+i] = b[31-i]
	}
	return le
}

func headers(c *corpus) {
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + b64(strange.Private[32:]) + `"}`
	for key, value := range map[string]string{
		"jku": `"https://evil.example/jwks"`, "x5u": `"https://evil.example/c"`, "jwk": jwk, "x5c": `["AAAA"]`, "x5t": `"AAAA"`, "x5t#S256": `"AAAA"`, "crit": `["exp"]`, "zip": `"DEF"`,
		"b64": "false", "cty": `"JWT"`, "enc": `"A256GCM"`, "epk": jwk, "apu": `"AA"`, "apv": `"AA"`, "p2c": "2147483647", "p2s": `"AA"`, "iv": `"AA"`, "tag": `"AA"`, "url": `"https://evil.example"`,
		"nonce": `"AA"`, "iss": `"x"`, "exp": "1", "": `"x"`, "alg ": `"EdDSA"`,
	} {
		c.header(token.CodeHeader, key, edHeader.with(key, value))
		if key == "jwk" || key == "jku" {
			c.add(token.CodeHeader, "embedded "+key+" signed with its key", forge(edHeader.with(key, value).String(), payload.String(), ed(strange.Private)))
		}
	}
	for _, kid := range []string{
		`""`, `"../../../etc/passwd"`, `"k1/../k2"`, `"' OR 1=1 --"`, `"https://evil.example/k"`, `"k1\u0000"`, `"k1\n"`, `" k1"`, `"k1 "`, `"*"`, `"k\u00e9"`, `null`, `1`, `["k1"]`, `{"k1":1}`, `true`,
		quote(strings.Repeat("k", 65)),
	} {
		c.header(token.CodeHeader, "kid "+kid, edHeader.with("kid", kid))
	}
	for _, kid := range []string{`"k3"`, `"K1"`, `"k"`, `"k11"`, `"p1"`, `"k1."`} {
		c.header(token.CodeKey, "kid "+kid, edHeader.with("kid", kid))
	}
	c.header(token.CodeKey, "no kid", edHeader.without("kid"))
	for _, typ := range []string{`"JWE"`, `"JWS"`, `""`, `"application/jose"`, `1`, `null`, `["JWT"]`} {
		c.header(token.CodeHeader, "typ "+typ, edHeader.with("typ", typ))
	}
	for _, alg := range []string{`null`, `1`, `["EdDSA"]`, `{}`, `true`} {
		c.header(token.CodeHeader, "alg "+alg, edHeader.with("alg", alg))
	}
	for _, key := range []string{"alg", "kid", "typ"} {
		for _, again := range []string{key, strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:]} {
			c.header(token.CodeDuplicate, key+" and "+again, edHeader.also(again, `"x"`))
		}
	}
	c.header(token.CodeDuplicate, "kid and one with a Kelvin sign", edHeader.also("\u212Aid", `"k1"`))
	c.header(token.CodeHeader, "KID alone", edHeader.without("kid").with("KID", `"k1"`))
	for _, h := range []string{`[]`, `"EdDSA"`, `1`, `null`, `true`, ``, ` `, `{`, `{}x`, edHeader.String() + edHeader.String(), "\ufeff" + edHeader.String(), `{"alg":"EdDSA",}`, `{'alg':'EdDSA'}`, "{\"alg\":\"\xff\"}", strings.Repeat("[", 500)} {
		want := token.CodeJSON
		if h == "" {
			want = token.CodeSegments
		}
		c.add(want, "header: "+h, forge(h, payload.String(), ed(k1.Private)))
		c.add(want, "payload: "+h, forge(edHeader.String(), h, ed(k1.Private)))
	}
}

func types(c *corpus) {
	values := map[string]string{"null": "null", "bool": "true", "object": `{"a":1}`, "list of numbers": "[1]", "number": "1700000000", "string": `"1700000000"`, "empty list": "[]"}
	for _, name := range []string{"iss", "sub", "exp", "nbf", "iat"} {
		c.claims(token.CodeClaim, name+" missing", payload.without(name))
		for kind, value := range values {
			if number := name == "exp" || name == "nbf" || name == "iat"; number == (kind == "number") && number || !number && kind == "string" {
				continue
			}
			c.claims(token.CodeClaim, name+" is "+kind, payload.with(name, value))
		}
	}
	for _, name := range []string{"name", "sid", "kind"} {
		for _, value := range []string{"null", "true", "1", "[]", `["x"]`, `{}`, quote(strings.Repeat("x", 257)), `"a\u0000b"`, `"a\nb"`} {
			c.claims(token.CodeClaim, name+" is "+value, payload.with(name, value))
		}
	}
	for _, value := range []string{"null", "true", "1", `"read"`, "{}", `["read",1]`, `["read",null]`, `[["read"]]`, `[""]`} {
		c.claims(token.CodeClaim, "permissions are "+value, payload.with("permissions", value))
	}
	c.claims(token.CodeClaim, "65 permissions", payload.with("permissions", `["p"`+strings.Repeat(`,"p"`, 64)+"]"))
	for _, value := range []string{`"\u0000"`, `""`, `"a\u007f"`, quote(strings.Repeat("s", 257))} {
		c.claims(token.CodeClaim, "sub is "+value, payload.with("sub", value))
	}
}

func times(c *corpus) {
	for _, name := range []string{"exp", "nbf", "iat"} {
		for _, value := range []string{"1e300", "1e10", "17E8", "-1", "-0.5", "253402300800", "99999999999999999999", `"tomorrow"`, "[1]"} {
			c.claims(token.CodeClaim, name+" "+value, payload.with(name, value))
		}
	}
	at := func(name string, d time.Duration) object { return payload.with(name, unix(d)) }
	c.claims(token.CodeExpired, "expired yesterday", at("exp", -24*time.Hour).with("iat", unix(-25*time.Hour)))
	c.claims(token.CodeExpired, "expired beyond the leeway", at("exp", -61*time.Second))
	c.claims(token.CodeExpired, "expired in 1970", payload.with("exp", "0"))
	c.claims("", "expired within the leeway", at("exp", -30*time.Second))
	c.claims(token.CodeNotYet, "nbf beyond the leeway", at("nbf", 61*time.Second))
	c.claims(token.CodeNotYet, "nbf next year", at("nbf", 365*24*time.Hour))
	c.claims("", "nbf within the leeway", at("nbf", 30*time.Second))
	c.claims(token.CodeNotYet, "iat beyond the leeway", at("iat", 61*time.Second))
	c.claims(token.CodeNotYet, "iat in ten years", at("iat", 10*365*24*time.Hour))
	c.claims("", "iat within the leeway", at("iat", 30*time.Second))
	c.claims("", "dates with fractions", payload.with("iat", unix(-time.Minute)+".123").with("nbf", unix(-time.Minute)+".5").with("exp", unix(time.Minute)+".999"))
	c.claims("", "lives 24 h", at("iat", 0).with("nbf", unix(0)).with("exp", unix(24*time.Hour)))
	c.claims(token.CodeLifetime, "lives 24 h and a second", at("iat", 0).with("exp", unix(24*time.Hour+time.Second)))
	for _, kind := range []string{"service", "device"} {
		year := at("iat", 0).with("nbf", unix(0)).with("kind", quote(kind))
		c.claims("", kind+" lives a year", year.with("exp", unix(366*24*time.Hour)))
		c.claims(token.CodeLifetime, kind+" lives two years", year.with("exp", unix(732*24*time.Hour)))
	}
	c.claims(token.CodeLifetime, "lives a year without being a service", at("exp", 364*24*time.Hour).without("kind"))
	c.claims(token.CodeLifetime, "lives ten years", at("exp", 10*365*24*time.Hour))
	c.claims(token.CodeLifetime, "lives since 1970", payload.with("iat", "0"))
	c.claims(token.CodeLifetime, "ends before it was issued", at("exp", -30*time.Second).with("iat", unix(-20*time.Second)))
	c.claims(token.CodeLifetime, "ends when it was issued", at("exp", -30*time.Second).with("iat", unix(-30*time.Second)))
	c.claims(token.CodeLifetime, "begins after its end", at("exp", 10*time.Second).with("nbf", unix(20*time.Second)))
}

func audiences(c *corpus) {
	for _, aud := range []string{`"headcount"`, `["headcount"]`, `["other","headcount"]`, `["headcount","headcount"]`} {
		c.claims("", "aud "+aud, payload.with("aud", aud))
	}
	for _, aud := range []string{`"other"`, `["other"]`, `"Headcount"`, `"HEADCOUNT"`, `"headcount "`, `" headcount"`, `"headcount/site"`, `"head"`, `"*"`, `["*"]`, `"headcount,other"`, `"h\u0435adcount"`} {
		c.claims(token.CodeAudience, "aud "+aud, payload.with("aud", aud))
	}
	for _, aud := range []string{`""`, `[]`, `[""]`, `null`, `1`, `{"headcount":1}`, `["headcount",1]`, `["headcount",null]`, `[["headcount"]]`, `"a\u0000"`, `["a"` + strings.Repeat(`,"a"`, 16) + `]`} {
		c.claims(token.CodeClaim, "aud "+aud, payload.with("aud", aud))
	}
	c.claims(token.CodeClaim, "aud missing", payload.without("aud"))
	for _, iss := range []string{cloudName + "/", "HTTPS://cloud.example", "https://cloud.example.evil.example", "https://cloud", "cloud", " " + cloudName, cloudName + " ", "*", "https://other.example", "Legacy"} {
		c.claims(token.CodeIssuer, "iss "+iss, payload.with("iss", quote(iss)))
	}
}

func duplicates(c *corpus) {
	for _, f := range payload.with("permissions", `["read"]`) {
		c.claims(token.CodeDuplicate, f[0]+" twice", payload.with(f[0], f[1]).also(f[0], f[1]))
		c.claims(token.CodeDuplicate, f[0]+" and its upper case", payload.with(f[0], f[1]).also(strings.ToUpper(f[0]), f[1]))
		c.claims(token.CodeDuplicate, f[0]+" in upper case only", payload.without(f[0]).with(strings.ToUpper(f[0]), f[1]))
	}
	c.claims(token.CodeDuplicate, "foreign memberships in lower case", payload.without("memberships").with("accountmemberships", `[]`))
	c.claims(token.CodeDuplicate, "a long s folds too", payload.with("\u017fub", `"admin"`))
	c.claims(token.CodeDuplicate, "an unknown claim twice", payload.also("x", "1").also("x", "2"))
	c.claims(token.CodeDuplicate, "within an unknown claim", payload.with("x", `{"a":[{"b":1,"B":2}]}`))
	for _, m := range []string{`{"domain":"acme","role":"viewer","role":"admin"}`, `{"domain":"acme","role":"viewer","ROLE":"admin"}`, `{"domain":"acme","domain":"other","role":"viewer"}`, `{"domain":"acme","role":"viewer","subs":false,"Subs":true}`} {
		c.claims(token.CodeDuplicate, m, payload.with("memberships", "["+m+"]"))
	}
	c.claims(token.CodeDuplicate, "an escaped key", payload.with("memberships", `[{"domain":"acme","role":"viewer","r\u006fle":"admin"}]`))
}

func domains(c *corpus) {
	for _, domain := range []string{
		"*", "acme/*", "*/acme", "acme*", ">", "acme/>", "acme.>", "", "/", "acme/", "/acme", "acme//north", "..", ".", "acme/..", "acme/../other", "acme ", " acme", "acme\u0000", "acme\n", "äcme", "a\u200bcme",
		"acme,other", "acme|other", "acme?", "acme%2fnorth", `acme\north`, "-acme", "_acme", "acme/-x", "$SYS", "acme:north", strings.Repeat("a", 64), strings.Repeat("a/", 8) + "a", strings.Repeat("abcdefghij/", 30) + "a",
	} {
		c.claims(token.CodeMembership, "domain "+domain, payload.with("memberships", `[{"domain":`+quote(domain)+`,"role":"viewer"}]`))
		c.claims(token.CodeMembership, "account domain "+domain, payload.without("memberships").with("accountMemberships", `[{"domainName":`+quote(domain)+`,"role":"viewer"}]`))
	}
	for _, domain := range []string{"acme", "partnerx", "partners/partner", "acme/partner", "Partner"} {
		p := partner.with("memberships", `[{"domain":"partner","role":"viewer"},{"domain":"`+domain+`","role":"viewer"}]`)
		c.add(token.CodeMembership, "partner gives a role in "+domain, forge(edHeader.with("kid", `"p1"`).String(), p.String(), ed(p1.Private)))
	}
	foreign := legacyPayload.with("memberships", `[{"domain":"other","role":"viewer"}]`)
	c.add(token.CodeMembership, "the older system gives a role in other", forge(hsHeader.String(), foreign.String(), hs(legacySecret)))
}

func shapes(c *corpus) {
	for _, m := range []string{
		`null`, `"acme"`, `1`, `true`, `{}`, `{"domain":"acme","role":"viewer"}`, `["acme"]`, `[null]`, `[1]`, `[[]]`, `[{}]`, `[{"domain":"acme"}]`, `[{"role":"admin"}]`,
		`[{"domain":null,"role":"admin"}]`, `[{"domain":1,"role":"admin"}]`, `[{"domain":["acme"],"role":"admin"}]`, `[{"domain":{"x":1},"role":"admin"}]`,
		`[{"domain":"acme","role":null}]`, `[{"domain":"acme","role":100}]`, `[{"domain":"acme","role":["admin"]}]`, `[{"domain":"acme","role":"ADMIN"}]`, `[{"domain":"acme","role":"root"}]`,
		`[{"domain":"acme","role":""}]`, `[{"domain":"acme","role":"none"}]`, `[{"domain":"acme","role":"admin "}]`, `[{"domain":"acme","role":"viewer,admin"}]`,
		`[{"domain":"acme","role":"viewer","subs":"true"}]`, `[{"domain":"acme","role":"viewer","subs":1}]`, `[{"domain":"acme","role":"viewer","subs":null}]`, `[{"domain":"acme","role":"viewer","subs":[]}]`,
		`[{"domain":"acme","role":"viewer","until":1}]`, `[{"domainName":"acme","role":"viewer"}]`, `[{"Domain":"acme","role":"viewer"}]`, `[{"domain":"acme","Role":"viewer"}]`,
		`[{"domain":"acme","role":"viewer"},null]`,
	} {
		c.claims(token.CodeMembership, "memberships "+m, payload.with("memberships", m))
	}
	for _, m := range []string{`[{"domain":"acme","role":"viewer"}]`, `[{"domainName":"acme","role":7}]`, `[{"DomainName":"acme","role":"viewer"}]`, `[{"domainName":"acme","role":"viewer","Subs":true}]`, `null`, `{}`} {
		c.claims(token.CodeMembership, "accountMemberships "+m, payload.without("memberships").with("accountMemberships", m))
	}
	c.claims(token.CodeMembership, "both shapes", payload.with("accountMemberships", `[]`))
	many := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"domain":"a","role":"viewer"},`, n), ",") + "]"
	}
	c.claims("", "128 memberships", payload.with("memberships", many(128)))
	c.claims(token.CodeMembership, "129 memberships", payload.with("memberships", many(129)))
	c.claims(token.CodeTooLong, "500 memberships", payload.with("memberships", many(500)))
	c.claims(token.CodeTooLong, "100,000 memberships", payload.with("memberships", many(100_000)))
	c.claims(token.CodeJSON, "nested deep", payload.with("x", strings.Repeat("[", 200)+strings.Repeat("]", 200)))
}

func kinds(c *corpus) {
	for _, kind := range []string{"local", "Local", "USER", "root", "admin", "user "} {
		c.claims(token.CodeClaim, "kind "+kind, payload.with("kind", quote(kind)))
	}
}

func forms(c *corpus) {
	raw := forge(edHeader.String(), payload.String(), ed(k1.Private))
	s := strings.Split(raw, ".")
	for name, r := range map[string]string{
		"empty": "", "one segment": s[0], "two segments": s[0] + "." + s[1], "four segments": raw + "." + s[2], "five segments": raw + ".x.y", "dots": "..", "no header": "." + s[1] + "." + s[2],
		"no payload": s[0] + ".." + s[2], "no signature": s[0] + "." + s[1] + ".", "a dot behind": raw + ".", "a dot before": "." + raw, "8 KiB of dots": strings.Repeat(".", 8<<10),
	} {
		c.add(token.CodeSegments, "form: "+name, r)
	}
	for name, r := range map[string]string{"1 MiB of dots": strings.Repeat(".", 1<<20), "long signature": raw + strings.Repeat("A", 8<<10), "1 MiB of letters": strings.Repeat("A", 1<<20)} {
		c.add(token.CodeTooLong, "form: "+name, r)
	}
	for i, where := range []string{"header", "payload", "signature"} {
		broken := func(name string, change func(string) string) {
			parts := append([]string(nil), s...)
			parts[i] = change(parts[i])
			c.add(token.CodeEncoding, "form: "+where+" with "+name, strings.Join(parts, "."))
		}
		for name, extra := range map[string]string{"padding": "=", "two paddings": "==", "a newline": "\n", "CR LF": "\r\n", "a space": " ", "NUL": "\x00", "a plus": "+", "a slash": "/", "a percent": "%3D", "a comma": ",", "an umlaut": "ü"} {
			broken(name+" behind", func(x string) string { return x + extra })
			broken(name+" within", func(x string) string { return x[:4] + extra + x[4:] })
		}
		broken("a newline before", func(x string) string { return "\n" + x })
	}
	c.add(token.CodeEncoding, "form: scheme before", "Bearer "+raw)
	c.add(token.CodeEncoding, "form: quotes around", `"`+raw+`"`)
	for n := byte(1); n < 16; n++ { // 64 bytes leave four bits over, which must be zero
		last := strings.IndexByte(alphabet, s[2][85])
		c.add(token.CodeEncoding, "form: not the canonical tail", s[0]+"."+s[1]+"."+s[2][:85]+string(alphabet[last|int(n)]))
	}
	c.add(token.CodeHeader, "form: a token within a token", forge(edHeader.with("cty", `"JWT"`).String(), raw, ed(k1.Private)))
	c.add(token.CodeJSON, "form: a token as the payload", forge(edHeader.String(), raw, ed(k1.Private)))
	c.add(token.CodeSegments, "form: encrypted", forge(`{"alg":"dir","enc":"A256GCM"}`, "x", fixed([]byte("iv")))+".AAAA.AAAA")
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func revoked(c *corpus) {
	c.claims(token.CodeRevoked, "a person who is locked out", payload.with("sub", `"0190-gone"`))
	c.claims(token.CodeRevoked, "in another session", payload.with("sub", `"0190-gone"`).with("sid", `"s-9"`))
	c.claims(token.CodeRevoked, "in no session", payload.with("sub", `"0190-gone"`).without("sid"))
	c.claims(token.CodeRevoked, "issued at that instant", payload.with("sub", `"0190-gone"`).with("iat", unix(0)))
	c.claims("", "issued right after", payload.with("sub", `"0190-gone"`).with("iat", unix(0)+".001"))
	c.claims(token.CodeRevoked, "a session that is locked out", payload.with("sid", `"s-out"`))
	c.claims("", "a later token of it", payload.with("sid", `"s-out"`).with("iat", unix(-20*time.Second)))
	c.claims("", "another session", payload.with("sid", `"s-2"`))
	c.claims("", "another person's session of that name", payload.with("sub", `"0190-bert"`).with("sid", `"s-out"`))
}

// quote writes a JSON string.
func quote(s string) string {
	b := fmt.Sprintf("%q", s)
	b = strings.ReplaceAll(b, `\x00`, `\u0000`)
	return strings.ReplaceAll(b, `\x7f`, `\u007f`)
}
