package tier

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/cloud/assist"
)

// Agent is the model that answers questions in plain words: any endpoint that speaks OpenAI's
// chat completions. Without url nobody can ask; the tools at /mcp need none.
type Agent struct {
	URL       string        `yaml:"url"`        // such as https://HOST/v1
	Model     string        `yaml:"model"`      // its name there
	KeyFile   string        `yaml:"key_file"`   // mode 0600; none for an endpoint that asks for none
	Timeout   time.Duration `yaml:"timeout"`    // of a whole question; 60s by default
	MaxTokens int           `yaml:"max_tokens"` // of a whole question; 20000 by default
	MaxSteps  int           `yaml:"max_steps"`  // calls of the model per question; 6 by default
	PerMinute int           `yaml:"per_minute"` // questions of one caller; 10 by default
}

func (c *Agent) check(bad func(string, ...any)) {
	switch {
	case *c == Agent{}:
	case c.URL == "":
		bad("agent: url is missing")
	default:
		if err := c.model("").Check(); err != nil {
			bad("agent: %v", err)
		}
	}
}

func (c *Agent) model(key string) *assist.Model {
	return &assist.Model{URL: c.URL, Name: c.Model, Key: key, Timeout: c.Timeout, MaxTokens: c.MaxTokens, MaxSteps: c.MaxSteps, PerMinute: c.PerMinute}
}

// openAssist builds the module of assistants.
func (t *Tier) openAssist(ctx context.Context) (part, error) {
	o := assist.Options{DB: t.db, API: assist.Within{Handler: func() http.Handler { return t.api }}, Version: t.cfg.Version, Log: t.cfg.Log}
	if t.cfg.Agent.URL != "" {
		key, err := readPassword(t.cfg.Agent.KeyFile)
		if err != nil {
			return part{}, fmt.Errorf("%w: agent: key_file: %w", ErrConfig, err)
		}
		o.Model = t.cfg.Agent.model(key)
	}
	m, err := assist.Open(ctx, o)
	if err != nil {
		return part{}, err
	}
	return part{routes: m.Routes()}, nil
}

// ServeMCP serves the tools of the cloud at url over the lines of in and out, until in or ctx
// ends. token is sent there; empty for a cloud that asks for none.
func ServeMCP(ctx context.Context, url, token, version string, in io.ReadCloser, out io.WriteCloser) error {
	api, err := assist.NewRemote(url, token)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return assist.ServeStdio(ctx, api, version, in, out)
}
