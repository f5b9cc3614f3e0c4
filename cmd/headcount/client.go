package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// client talks to the running hub.
type client struct {
	url       string
	tokenFile string
	asJSON    bool
	http      http.Client
}

// flags adds what every command that asks the hub takes.
func (c *client) flags(cmd *cobra.Command) {
	url := os.Getenv("HEADCOUNT_URL")
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	f := cmd.PersistentFlags()
	f.StringVar(&c.url, "url", url, "address of the running hub (also HEADCOUNT_URL)")
	f.StringVar(&c.tokenFile, "token-file", os.Getenv("HEADCOUNT_TOKEN_FILE"), "file with the token for the hub's API (also HEADCOUNT_TOKEN_FILE)")
	f.BoolVar(&c.asJSON, "json", false, "print the hub's answer as JSON")
	c.http.Timeout = 30 * time.Second
}

// get asks for a path and decodes the answer into v; raw is the answer as it came.
func (c *client) get(path string, v any) (raw []byte, err error) {
	return c.do(http.MethodGet, path, nil, v)
}

// post sends a JSON body.
func (c *client) post(path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = c.do(http.MethodPost, path, b, v)
	return err
}

func (c *client) do(method, path string, body []byte, v any) ([]byte, error) {
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
	var p struct{ Title, Detail string }
	if json.Unmarshal(raw, &p) == nil && p.Detail != "" {
		return fmt.Errorf("the hub refuses (%d): %s", status, p.Detail)
	}
	return fmt.Errorf("the hub refuses: %d %s", status, http.StatusText(status))
}

func (c *client) authorize(req *http.Request) error {
	if c.tokenFile == "" {
		return nil
	}
	b, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if _, token, named := strings.Cut(line, ":"); named {
		line = token
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(line))
	return nil
}
