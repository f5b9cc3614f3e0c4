package tier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// tokenFile is a token file with the secret of one administrator.
func tokenFile(t testing.TB) (path, secret string) {
	t.Helper()
	path, secret = filepath.Join(t.TempDir(), "tokens"), "ops-secret-0123456789"
	must(t, os.WriteFile(path, []byte("ops:"+secret+"\n"), 0o600))
	return path, secret
}

// Beyond loopback the tier speaks TLS by a certificate of its own, the same after a restart, and
// tells its fingerprint.
func TestSelfSignedBeyondLoopback(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.HTTP.Listen = "0.0.0.0:0"
	cfg.HTTP.TokenFile, _ = tokenFile(t)
	var first string
	for range 2 {
		tier := startTier(t, cfg)
		var seen string
		conf := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			seen = gateway.Fingerprint(tls.Certificate{Certificate: [][]byte{s.PeerCertificates[0].Raw}})
			return nil
		}}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: conf}}
		resp, err := c.Get(tier.HTTPAddr() + "/health/live")
		must(t, err)
		resp.Body.Close()
		if seen == "" || seen != tier.Fingerprint() || first != "" && seen != first {
			t.Fatalf("the certificate is %s, the tier says %s, before it was %s", seen, tier.Fingerprint(), first)
		}
		if _, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}}).DialContext(t.Context(), "tcp", strings.TrimPrefix(tier.HTTPAddr(), "https://")); err == nil {
			t.Error("TLS 1.1 is spoken")
		}
		first = seen
		tier.Close()
	}
	info, err := os.Stat(filepath.Join(dir, gateway.SelfSignedKey))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %04o", info.Mode().Perm())
	}
}

func TestRateLimitAndCORS(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.HTTP.RateLimit = RateLimit{PerSecond: .1, Burst: 5}
	cfg.HTTP.CORSOrigins = []string{"https://intranet.example.org"}
	tier := startTier(t, cfg)
	ask := func(origin string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tier.HTTPAddr()+"/v1/sites", nil)
		must(t, err)
		req.Header.Set("Origin", origin)
		resp, err := client.Do(req)
		must(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	for n := range 5 {
		origin, want := "https://evil.example", ""
		if n%2 == 0 {
			origin, want = "https://intranet.example.org", "https://intranet.example.org"
		}
		if resp := ask(origin); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != want {
			t.Fatalf("request %d from %s: %s, %q", n, origin, resp.Status, resp.Header)
		}
	}
	resp := ask("https://intranet.example.org")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("the sixth request: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
}

func TestHTTPConfigMistakes(t *testing.T) {
	for name, h := range map[string]HTTP{
		"tls":             {TLS: "yes"},
		"trusted_proxies": {TrustedProxies: []string{"10.0.0.0/33"}},
		"cors_origins":    {CORSOrigins: []string{"*"}},
		"remove one":      {TLS: "off", Certificate: "a", Key: "b"},
	} {
		cfg := config(t.TempDir())
		h.Listen = cfg.HTTP.Listen
		cfg.HTTP = h
		tier, err := Start(context.Background(), cfg)
		if err == nil {
			tier.Close()
		}
		if !errors.Is(err, ErrConfig) || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%+v: got %v, want a refusal about %s", h, err, name)
		}
	}
}
