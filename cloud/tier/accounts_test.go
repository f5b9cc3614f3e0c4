package tier

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/headcount-hub/headcount/cloud/accounts"
)

const phrase = "correct horse battery"

// admin makes an admin of acme and returns the cookies and access token of a login.
func admin(t *testing.T, tier *Tier) (bearer string, cookies []*http.Cookie) {
	t.Helper()
	must(t, tier.CreateAdmin(t.Context(), accounts.Admin{Org: "acme", Email: "ann@acme.org", Name: "Ann", Password: phrase}))
	resp, err := client.Post(tier.HTTPAddr()+"/auth/login?cookie=1", "application/json", strings.NewReader(`{"email":"ann@acme.org","password":"`+phrase+`"}`))
	must(t, err)
	defer resp.Body.Close()
	var login struct {
		AccessToken string `json:"access_token"`
	}
	must(t, json.NewDecoder(resp.Body).Decode(&login))
	if resp.StatusCode != http.StatusOK || login.AccessToken == "" {
		t.Fatalf("login: %s", resp.Status)
	}
	return login.AccessToken, resp.Cookies()
}

func TestNobodyIsLetInWithoutProofOnceThereIsAnAccount(t *testing.T) {
	dir := t.TempDir()
	tier := startTier(t, config(dir))
	newHub(t, tier, "acme", "hq")
	newHub(t, tier, "globex", "plant")
	get(t, tier, "/v1/sites/plant", 200)
	bearer, cookies := admin(t, tier)
	get(t, tier, "/v1/sites", 401)
	get(t, tier, "/v1/sites/hq", 200, "Authorization", "Bearer "+bearer)
	get(t, tier, "/v1/sites/plant", 404, "Authorization", "Bearer "+bearer)
	get(t, tier, "/v1/sites/hq", 200, "Cookie", cookies[0].Name+"="+cookies[0].Value)
	get(t, tier, "/v1/sites/hq", 401, "Cookie", cookies[0].Name+"="+cookies[0].Value+"x")
	for range 10 { // signed tokens are not guessed: nobody is held up for an old one
		get(t, tier, "/v1/sites", 401, "Authorization", "Bearer "+bearer+"x")
	}
	get(t, tier, "/v1/sites", 200, "Authorization", "Bearer "+bearer)
	tier.Close()

	cfg := config(dir)
	cfg.HTTP.Listen = "0.0.0.0:0" // an account is proof enough to listen beyond loopback
	tier = startTier(t, cfg)
	_, port, _ := strings.Cut(strings.TrimPrefix(tier.HTTPAddr(), "https://"), "]:")
	if port == "" {
		_, port, _ = strings.Cut(strings.TrimPrefix(tier.HTTPAddr(), "https://"), ":")
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // it is self-signed
	resp, err := c.Get("https://127.0.0.1:" + port + "/v1/sites")
	must(t, err)
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 401 {
		t.Errorf("beyond loopback: %s %s", resp.Status, b)
	}
}

func TestTokensOfAnotherIssuerCountInItsDomainsOnly(t *testing.T) {
	dir := t.TempDir()
	secret := strings.Repeat("k", 40)
	must(t, os.WriteFile(filepath.Join(dir, "old.secret"), []byte(secret+"\n"), 0o600))
	cfg := config(filepath.Join(dir, "data"))
	cfg.Accounts.Trusted = []Trusted{{Issuer: "https://old.example.org", SecretFile: filepath.Join(dir, "old.secret"), Domains: []string{"acme"}}}
	tier := startTier(t, cfg)
	newHub(t, tier, "acme", "hq")
	admin(t, tier)
	sign := func(domain string) string {
		now := time.Now()
		raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "https://old.example.org", "aud": "headcount", "sub": "u1", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
			"accountMemberships": []any{map[string]any{"domainName": domain, "role": "viewer"}}}).SignedString([]byte(secret))
		must(t, err)
		return "Bearer " + raw
	}
	get(t, tier, "/v1/sites/hq", 200, "Authorization", sign("acme"))
	get(t, tier, "/v1/sites/hq", 401, "Authorization", sign("globex"))
}

func TestMistakesInTheConfigurationOfAccounts(t *testing.T) {
	for text, want := range map[string]string{
		"accounts: {registration: everybody}":                                        "want invite, domain or open",
		"accounts: {registration: domain}":                                           "no grants",
		"accounts: {grants: [{mail: example.org, domain: acme, role: admin}]}":       "viewer, operator or manager",
		"accounts: {oidc: [{name: Corp, issuer: 'https://x', client_id: a}]}":        "want a name",
		"accounts: {oidc: [{name: corp, issuer: 'http://x.example', client_id: a}]}": "no https address",
		"accounts: {oidc: [{name: corp, issuer: 'https://x'}]}":                      "client_id",
		"accounts: {trusted: [{issuer: headcount, secret_file: x}]}":                 "other than",
		"accounts: {trusted: [{issuer: other}]}":                                     "jwks_file and secret_file",
		"http: {public_url: headcount.example.org}":                                  "public_url",
	} {
		if _, err := parseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
