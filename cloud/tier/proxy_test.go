//go:build integration

package tier

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// proxied is a tier behind a real proxy of the shipped configuration.
type proxied struct {
	*testing.T
	tier         *Tier
	log          *lines
	secret       string
	https, plain string // ports
	roots        *x509.CertPool
	client       *http.Client
}

// clientAddr is another loopback address than the proxy's, so that they can be told apart.
const clientAddr = "127.0.0.5"

func newProxied(t *testing.T) *proxied {
	t.Helper()
	p := &proxied{T: t, log: &lines{}, https: freePort(t), plain: freePort(t), roots: x509.NewCertPool()}
	cfg := config(t.TempDir())
	cfg.HTTP.TokenFile, p.secret = tokenFile(t)
	cfg.HTTP.TrustedProxies = []string{"127.0.0.1"}
	cfg.Log = slog.New(slog.NewJSONHandler(p.log, nil))
	p.tier = startTier(t, cfg)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddr)}}
	p.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS13},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp4", strings.Replace(addr, "localhost", "127.0.0.1", 1))
			}},
	}
	return p
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	return port
}

// run runs the proxy until the test ends.
func (p *proxied) run(env []string, name string, args ...string) {
	p.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		p.Fatalf("%s is needed: run `make tools` (%v)", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(p, cmd.Start())
	p.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if p.Failed() {
			p.Logf("%s said:\n%s", name, out.String())
		}
	})
}

func (p *proxied) do(method, path string, header ...string) *http.Response {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, "https://localhost:"+p.https+path, nil)
	must(p, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.client.Do(req)
	must(p, err)
	return resp
}

func (p *proxied) status(method, path string, want int, header ...string) []byte {
	p.Helper()
	resp := p.do(method, path, header...)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(p, err)
	if want != 0 && resp.StatusCode != want {
		p.Errorf("%s %s: %s %.300s, want %d", method, path, resp.Status, b, want)
	}
	if resp.StatusCode >= 500 || resp.Header.Get("X-Correlation-Id") == "" {
		p.Errorf("%s %s did not come from the tier: %s %v", method, path, resp.Status, resp.Header)
	}
	return b
}

// suite is what works without a proxy and must work through one.
func (p *proxied) suite() {
	bearer := []string{"Authorization", "Bearer " + p.secret}
	if page := p.status("GET", "/", 200); !bytes.Contains(page, []byte("<html")) {
		p.Errorf("the page is %.80s", page)
	}
	p.status("GET", "/v1/sites", 401)
	p.status("GET", "/v1/sites", 200, bearer...)
	p.status("GET", "/openapi.json", 200)
	p.status("GET", "/sensor/rooms", 200, bearer...)
	p.status("POST", "/sensor/sensors/data", 421, bearer...)
	for _, path := range []string{"/auth/", "/twin/", "/notification/", "/socket.io/?EIO=4&transport=nonsense", "/v1/nothing"} {
		p.status("GET", path, 0, bearer...)
	}
	p.status("POST", "/v1/sites/hq/alerts/x/acknowledge", 403, "Authorization", "Bearer "+p.secret, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	p.whoAsked()
	p.live()
	resp, err := p.client.Get("http://localhost:" + p.plain + "/v1/sites")
	must(p, err)
	resp.Body.Close()
	if resp.StatusCode/100 != 3 || !strings.HasPrefix(resp.Header.Get("Location"), "https://") {
		p.Errorf("plain HTTP is answered %s to %s", resp.Status, resp.Header.Get("Location"))
	}
}

// whoAsked looks into the access log: the client's address is there, whatever it says of itself.
func (p *proxied) whoAsked() {
	p.Helper()
	p.status("GET", "/v1/sites", 401, "X-Correlation-Id", "who-asked", "X-Forwarded-For", "6.6.6.6")
	eventually(p, "the access log has the request", func() bool { return strings.Contains(p.log.String(), `"correlation":"who-asked"`) })
	for line := range strings.SplitSeq(p.log.String(), "\n") {
		if strings.Contains(line, `"correlation":"who-asked"`) && !strings.Contains(line, `"remote":"`+clientAddr+`"`) {
			p.Errorf("the access log says %s", line)
		}
	}
	if strings.Contains(p.log.String(), p.secret) {
		p.Error("the log has the token")
	}
}

// live follows a site by Server-Sent Events and WebSocket.
func (p *proxied) live() {
	p.Helper()
	h := newHub(p, p.tier, "acme", "hq")
	resp := p.do("GET", "/v1/stream?site=hq", "Authorization", "Bearer "+p.secret)
	defer resp.Body.Close()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss://localhost:"+p.https+"/v1/sites/hq/stream/ws", &websocket.DialOptions{
		HTTPClient: p.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + p.secret}}})
	must(p, err)
	defer ws.CloseNow()
	h.occupancy(7)
	found := make(chan bool, 1)
	go func() {
		var got bytes.Buffer
		b := make([]byte, 4096)
		for !strings.Contains(got.String(), `"count":7`) {
			n, err := resp.Body.Read(b)
			if got.Write(b[:n]); err != nil {
				break
			}
		}
		found <- strings.Contains(got.String(), `"count":7`)
	}()
	select {
	case ok := <-found:
		if !ok {
			p.Error("the event stream ended without the event")
		}
	case <-time.After(patience):
		p.Error("no event came by Server-Sent Events")
	}
	for {
		_, b, err := ws.Read(ctx)
		must(p, err)
		var f struct{ Type string }
		must(p, json.Unmarshal(b, &f))
		if f.Type == "occupancy.changed" {
			return
		}
	}
}

// ready waits until the proxy serves the tier.
func (p *proxied) ready() {
	p.Helper()
	eventually(p, "the proxy serves", func() bool {
		resp, err := p.client.Get("https://localhost:" + p.https + "/health/live")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
}

func TestIntegrationBehindCaddy(t *testing.T) {
	p := newProxied(t)
	data := t.TempDir()
	p.run([]string{
		"XDG_DATA_HOME=" + data, "XDG_CONFIG_HOME=" + data, "HEADCOUNT_HTTP_PORT=" + p.plain, "HEADCOUNT_HTTPS_PORT=" + p.https,
		"HEADCOUNT_UPSTREAM=" + strings.TrimPrefix(p.tier.HTTPAddr(), "http://"),
	}, "caddy", "run", "--config", "../../packaging/Caddyfile", "--adapter", "caddyfile")
	root := filepath.Join(data, "caddy/pki/authorities/local/root.crt")
	eventually(t, "Caddy has its authority", func() bool {
		b, err := os.ReadFile(root)
		return err == nil && p.roots.AppendCertsFromPEM(b)
	})
	p.ready()
	p.suite()
}

func TestIntegrationBehindNginx(t *testing.T) {
	p := newProxied(t)
	dir := t.TempDir()
	_, _, err := gateway.SelfSigned(dir, nil, time.Now())
	must(t, err)
	cert := filepath.Join(dir, gateway.SelfSignedCert)
	b, err := os.ReadFile(cert)
	must(t, err)
	p.roots.AppendCertsFromPEM(b)
	b, err = os.ReadFile("../../packaging/nginx.conf")
	must(t, err)
	server := strings.NewReplacer(
		"listen 80;", "listen 127.0.0.1:"+p.plain+";", "listen 443 ssl", "listen 127.0.0.1:"+p.https+" ssl", "headcount.example.org", "localhost",
		"/etc/ssl/headcount/cloud.pem", cert, "/etc/ssl/headcount/cloud.key", filepath.Join(dir, gateway.SelfSignedKey),
		"http://127.0.0.1:8090", p.tier.HTTPAddr(),
	).Replace(string(b))
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "daemon off; pid %s/pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p;\n"+
		"fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n%s\n}\n", dir, server), 0o600))
	p.run(nil, "nginx", "-c", conf, "-e", "stderr")
	p.ready()
	p.suite()
}
