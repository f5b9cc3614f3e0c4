package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// client talks to the running hub.
type client struct {
	config    string
	url       string
	tokenFile string
	asJSON    bool
	http      http.Client
}

// flags adds what every command that asks the hub takes.
func (c *client) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.url, "url", os.Getenv("HEADCOUNT_URL"), "address of the running hub (also HEADCOUNT_URL; default: http.listen of the configuration)")
	f.StringVar(&c.tokenFile, "token-file", os.Getenv("HEADCOUNT_TOKEN_FILE"), "file with the token for the hub's API (also HEADCOUNT_TOKEN_FILE; default: http.token_file of the configuration)")
	configFlag(cmd, &c.config)
	f.BoolVar(&c.asJSON, "json", false, "print the hub's answer as JSON")
	c.http.Timeout = 30 * time.Second
}

// defaultURL is where a hub listens that is not configured otherwise.
const defaultURL = "http://127.0.0.1:8080"

// locate fills in from the configuration what no flag says. A configuration that cannot be read
// is no mistake here: who asks a hub need not be the one who may read its file.
func (c *client) locate() {
	if c.url != "" {
		return
	}
	c.url = defaultURL
	cfg, err := load(c.config)
	if err != nil {
		return
	}
	if host, port, err := net.SplitHostPort(cfg.HTTP.Listen); err == nil && port != "0" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		c.url = "http://" + net.JoinHostPort(host, port)
	}
	cert := cfg.HTTP.TLSCertFile
	if cfg.HTTP.SelfSigned() {
		cert = filepath.Join(cfg.Storage.Dir, gateway.SelfSignedCert)
	}
	if cert != "" {
		c.url = "https" + strings.TrimPrefix(c.url, "http")
		c.http.Transport = &http.Transport{TLSClientConfig: pinned(cert)}
	}
	if c.tokenFile == "" {
		c.tokenFile = cfg.HTTP.TokenFile
	}
}

// pinned trusts the one certificate that the hub on this machine was given, whatever name is in
// it: the file is the proof.
func pinned(file string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection is stricter: this certificate and no other
		VerifyConnection: func(s tls.ConnectionState) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			block, _ := pem.Decode(b)
			if block == nil || len(s.PeerCertificates) == 0 || !bytes.Equal(block.Bytes, s.PeerCertificates[0].Raw) {
				return fmt.Errorf("who answers does not have the certificate of %s", file)
			}
			return nil
		},
	}
}

// get asks for a path and decodes the answer into v; raw is the answer as it came.
func (c *client) get(path string, v any) (raw []byte, err error) {
	return c.do(http.MethodGet, path, nil, v)
}

// post sends a JSON body.
func (c *client) post(path string, body any) (raw []byte, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.do(http.MethodPost, path, b, nil)
}

func (c *client) do(method, path string, body []byte, v any) ([]byte, error) {
	c.locate()
	req, err := http.NewRequest(method, strings.TrimRight(c.url, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, usage(fmt.Errorf("--url %s: %w", c.url, err))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := c.authorize(req); err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, &exitError{code: exitNotRunning, err: fmt.Errorf("no hub answers at %s: is it running? (headcount service status)", c.url)}
		}
		return nil, fmt.Errorf("ask the hub: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	if res.StatusCode >= 400 {
		return raw, refusal(res.StatusCode, raw)
	}
	if v != nil {
		if err := json.Unmarshal(raw, v); err != nil {
			return raw, fmt.Errorf("the hub's answer to %s is not understood: %w", path, err)
		}
	}
	return raw, nil
}

// refusal makes an error of an RFC 9457 problem.
func refusal(status int, raw []byte) error {
	var p struct {
		Detail string
		Errors []struct {
			Message, Location string
			Value             any
		}
	}
	text := http.StatusText(status)
	if json.Unmarshal(raw, &p) == nil && p.Detail != "" {
		text = p.Detail
	}
	for _, e := range p.Errors {
		text += "\n  " + strings.TrimPrefix(strings.TrimPrefix(e.Location, "body."), "query.") + ": " + e.Message
		if v, ok := e.Value.(string); ok && v != "" {
			text += fmt.Sprintf(" (%q)", v)
		}
	}
	if status == http.StatusUnauthorized {
		text += "\nname the file with the token: --token-file or HEADCOUNT_TOKEN_FILE"
	}
	return fmt.Errorf("the hub refuses (%d): %s", status, text)
}

func (c *client) authorize(req *http.Request) error {
	secret, err := c.secret()
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	return err
}

// secret is the first token of a person or program in the file; empty without a file.
func (c *client) secret() (string, error) {
	if c.tokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	// The hub's own file may have comments, names and roles before the tokens, and tokens of
	// devices, which may ask nothing.
	for n, line := range strings.Split(string(b), "\n") {
		t, err := gateway.ParseToken(line, n+1)
		if err != nil {
			return "", fmt.Errorf("--token-file %s: line %d: %w", c.tokenFile, n+1, err)
		}
		if t.Secret != "" && t.Device == "" {
			return t.Secret, nil
		}
	}
	return "", fmt.Errorf("--token-file %s has no token of a person or program", c.tokenFile)
}
