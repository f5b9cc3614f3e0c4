package tier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// ClaimCode is the code that makes the first account of a data directory; an error when there is
// none, because there is an account or no tier has run there.
func ClaimCode(cfg Config) (string, error) {
	cfg.setDefaults()
	b, err := os.ReadFile(filepath.Join(cfg.Data, accounts.ClaimFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("there is no claim code in %s: either there is an account already (see: headcount-cloud user list), or the tier has not been started there yet", cfg.Data)
	}
	if err != nil {
		return "", fmt.Errorf("read claim code: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// AdminCall is one request of this machine's administrator to the API.
type AdminCall struct {
	Method, Path string
	ContentType  string // of Body; JSON by default
	Body         []byte
}

// Administer carries out a request to the API as this machine's administrator: through the tier
// that runs on the configuration's data directory, or else on the directory itself, where only
// the routes of accounts are to be had. A refusal is an error that says why.
func Administer(ctx context.Context, cfg Config, c AdminCall) ([]byte, error) {
	cfg.setDefaults()
	lock, db, err := openData(ctx, cfg)
	if errors.Is(err, store.ErrInUse) {
		var answer []byte
		err := askAPI(ctx, cfg.Data, c, func(resp *http.Response) (err error) {
			answer, err = io.ReadAll(io.LimitReader(resp.Body, 16<<20))
			return err
		})
		return answer, err
	}
	if err != nil {
		return nil, err
	}
	defer lock.Release() //nolint:errcheck // it ends with the process anyway
	defer db.Close()     //nolint:errcheck // nothing is left to be written
	api, err := offlineAPI(ctx, cfg, db)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, "http://localhost"+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return nil, err
	}
	if c.ContentType != "" {
		req.Header.Set("Content-Type", c.ContentType)
	}
	w := &kept{header: http.Header{}, status: http.StatusOK}
	api.ServeHTTP(w, req)
	if w.status >= 300 {
		return nil, fmt.Errorf("refused: %s", reason(w.body.Bytes()))
	}
	return w.body.Bytes(), nil
}

// offlineAPI is the routes of accounts for this machine's administrator.
func offlineAPI(ctx context.Context, cfg Config, db *store.DB) (http.Handler, error) {
	o, err := accountOptions(cfg, db, twin.New(db, cfg.Log))
	if err != nil {
		return nil, err
	}
	notifier, err := notify.New(ctx, notify.Options{DB: db, Domains: twin.Domains, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	o.Mail = func(tx *store.Tx, key, org, to, subject, text string) error {
		return notifier.Mail(tx, notify.Mail{Key: key, Org: org, To: to, Subject: subject, Text: text})
	}
	a, err := accounts.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	rt := route.NewRouter(cfg.Log, http.NotFoundHandler())
	return asLocal(rt), rt.Add(a.Routes()...)
}

// asLocal lets requests be those of this machine's administrator.
func asLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(token.Into(r.Context(), localUser)))
	})
}

// kept is an answer that is kept in memory.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

// reason is what a problem says, for people.
func reason(b []byte) string {
	var p gateway.Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Error() == "" {
		return strings.TrimSpace(string(b))
	}
	s := p.Error()
	for _, e := range p.Errors {
		s += "\n  " + e.Location + ": " + e.Message
	}
	return s
}
