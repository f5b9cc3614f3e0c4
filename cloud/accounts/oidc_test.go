package accounts

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/headcount-hub/headcount/sync/token"
)

// provider is a small OpenID provider that lets everybody in as the same person.
type provider struct {
	t       testing.TB
	url     string
	key     *rsa.PrivateKey
	signs   *rsa.PrivateKey // what it really signs with
	claims  jwt.MapClaims   // laid over those that are right
	nonce   string
	code    string
	pkce    string
	answers int
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	p := &provider{t: t, key: key, signs: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, obj{"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token", "jwks_uri": p.url + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		enc := base64.RawURLEncoding
		p.json(w, obj{"keys": []obj{{"kty": "RSA", "kid": "k1", "use": "sig", "n": enc.EncodeToString(p.key.N.Bytes()), "e": enc.EncodeToString(big.NewInt(int64(p.key.E)).Bytes())}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		p.nonce, p.pkce, p.code = q.Get("nonce"), q.Get("code_challenge"), rand.Text()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {p.code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", p.token)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if r.FormValue("code") != p.code || base64.RawURLEncoding.EncodeToString(sum[:]) != p.pkce {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	p.answers++
	claims := jwt.MapClaims{"iss": p.url, "aud": "headcount-client", "sub": "ann-1", "email": "ann@acme.org", "email_verified": true, "name": "Ann",
		"nonce": p.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	maps.Copy(claims, p.claims)
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = "k1"
	raw, err := t.SignedString(p.signs)
	must(p.t, err)
	p.json(w, obj{"access_token": "x", "token_type": "Bearer", "id_token": raw})
}

// browse follows a login at the provider and returns the last answer's status and the browser.
func browse(t testing.TB, r *rig) (int, *http.Client) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if req.URL.Path == "/" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := c.Get(r.url + "/auth/oidc/corp/start")
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode, c
}

func withProvider(p *provider, grants ...Grant) func(*Options) {
	return func(o *Options) {
		o.Providers = []Provider{{Name: "corp", Issuer: p.url, ClientID: "headcount-client", Secret: "s", Grants: grants}}
	}
}

func TestLoginAtAProviderMakesTheUserWithTheRoleOfItsAddress(t *testing.T) {
	p := newProvider(t)
	r := newRig(t, withProvider(p, Grant{Mail: "acme.org", Domain: "acme", Role: token.Operator}))
	r.org("acme")
	for range 2 { // the second time they are known
		status, c := browse(t, r)
		if status != http.StatusSeeOther {
			t.Fatalf("login: %d", status)
		}
		resp, err := c.Get(r.url + "/auth/me")
		must(t, err)
		var me caller
		must(t, json.NewDecoder(resp.Body).Decode(&me))
		resp.Body.Close()
		if me.User == nil || me.User.Email != "ann@acme.org" || len(me.Memberships) != 1 || me.Memberships[0].Role != token.Operator {
			t.Errorf("me is %+v", me)
		}
	}
	var all struct{ Users []User }
	if r.want(200, "GET", "/v1/users", localToken, nil).into(t, &all); len(all.Users) != 1 {
		t.Errorf("users %+v", all)
	}
}

func TestLoginAtAProviderDropsAPasswordThatNobodyProved(t *testing.T) {
	p := newProvider(t)
	r := newRig(t, registering, withProvider(p))
	r.org("acme")
	r.want(202, "POST", "/auth/register", "", obj{"email": "ann@acme.org", "password": good, "name": "Thief"})
	if status, _ := browse(t, r); status != http.StatusSeeOther {
		t.Fatalf("login: %d", status)
	}
	r.want(401, "POST", "/auth/login", "", obj{"email": "ann@acme.org", "password": good})
}

func TestLoginAtAProviderIsRefused(t *testing.T) {
	p := newProvider(t)
	r := newRig(t, withProvider(p, Grant{Mail: "acme.org", Domain: "acme", Role: token.Viewer}))
	r.org("acme")
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	for name, tc := range map[string]struct {
		claims jwt.MapClaims
		key    *rsa.PrivateKey
		want   int
	}{
		"foreign key":          {key: other, want: 502},
		"other audience":       {claims: jwt.MapClaims{"aud": "somebody"}, want: 502},
		"other issuer":         {claims: jwt.MapClaims{"iss": "https://evil.example"}, want: 502},
		"other login":          {claims: jwt.MapClaims{"nonce": "x"}, want: 502},
		"expired":              {claims: jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}, want: 502},
		"for two, not us":      {claims: jwt.MapClaims{"aud": []string{"headcount-client", "x"}, "azp": "x"}, want: 502},
		"address not verified": {claims: jwt.MapClaims{"email_verified": false}, want: 403},
		"address elsewhere":    {claims: jwt.MapClaims{"email": "ann@globex.org"}, want: 403},
	} {
		p.claims, p.signs = tc.claims, p.key
		if tc.key != nil {
			p.signs = tc.key
		}
		if got, _ := browse(t, r); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
	if p.answers != 8 {
		t.Errorf("the provider has answered %d times, want 8", p.answers)
	}
	r.want(400, "GET", "/auth/oidc/corp/callback?code=x&state=y", "", nil) // begun in no browser
}
