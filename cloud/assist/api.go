package assist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// API answers GET requests to the cloud's HTTP API. path begins with "/v1/" and may have a query.
// It may be called from many goroutines.
type API interface {
	Get(ctx context.Context, path string) (status int, body []byte, err error)
}

// maxAnswer bounds what an answer of the API may have in bytes.
const maxAnswer = 16 << 20

// errTooLarge says that an answer was cut off.
var errTooLarge = fmt.Errorf("the answer is larger than %d bytes; ask for less at once", maxAnswer)

// Within is the API of this process: h is asked in the name of the caller in the context
// (token.Into), and decides as for a request from outside.
type Within struct{ Handler func() http.Handler }

// Get is of API.
func (w Within) Get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	rec := &recorder{header: http.Header{}}
	w.Handler().ServeHTTP(rec, req)
	if rec.cut {
		return 0, nil, errTooLarge
	}
	return max(rec.status, http.StatusOK), rec.body.Bytes(), ctx.Err()
}

// recorder keeps an answer in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	cut    bool
}

// Header is of http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader is of http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write is of http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.body.Len()+len(b) > maxAnswer {
		r.cut = true
		return 0, errTooLarge
	}
	return r.body.Write(b)
}

// Remote is the API of a cloud elsewhere, by HTTP.
type Remote struct {
	url    string
	token  string
	client *http.Client
}

// remoteTimeout bounds one request to a cloud elsewhere.
const remoteTimeout = 30 * time.Second

// NewRemote makes the API of the cloud at an http or https URL. token may be empty for a cloud
// that asks for none.
func NewRemote(raw, token string) (*Remote, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("url %q: want http://HOST:PORT or https://HOST", raw)
	}
	return &Remote{url: strings.TrimSuffix(u.String(), "/"), token: token, client: &http.Client{
		Timeout:       remoteTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this host
	}}, nil
}

// Get is of API.
func (r *Remote) Get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("reach the cloud: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = errTooLarge
	}
	return resp.StatusCode, b, err
}

// read asks the API and decodes its answer. An error that is a *gateway.Problem is for the
// caller of the tool.
func read(ctx context.Context, api API, path string, into any) error {
	status, body, err := api.Get(ctx, path)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("answer of %s: %w", path, err)
		}
		return nil
	}
	var p gateway.Problem
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		p.Detail = http.StatusText(status)
	}
	return gateway.NewProblem(status, "%s", p.Detail)
}

// problem is a mistake of the tool's caller.
func problem(format string, args ...any) error {
	return gateway.NewProblem(http.StatusBadRequest, format, args...)
}

// forCaller is what a tool's caller is told of an error.
func forCaller(err error) string {
	var p *gateway.Problem
	if errors.As(err, &p) {
		return p.Detail
	}
	return "the cloud could not answer: " + err.Error()
}
