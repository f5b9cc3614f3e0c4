package tier

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// openAdmin opens the listener by which Enrol and Revoke of other processes on this machine
// reach the running tier: loopback, with a token that only the owner of the data can read.
func (t *Tier) openAdmin() error {
	secret, err := ownToken(filepath.Join(t.cfg.Data, adminTokenFile))
	if err != nil {
		return err
	}
	if t.admin, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /enrol", t.adminEnrol)
	mux.HandleFunc("POST /revoke", t.adminRevoke)
	mux.HandleFunc("POST /nats-user", t.adminAddUser)
	mux.HandleFunc("POST /nats-user/revoke", t.adminRevokeUser)
	mux.Handle("/v1/", asLocal(t.api))
	t.control = gateway.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(secret)) != 1 {
			gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnauthorized, "the admin token is in the data directory"))
			return
		}
		mux.ServeHTTP(w, r)
	}), t.cfg.Log)
	addr := []byte(t.admin.Addr().String() + "\n")
	if err := os.WriteFile(filepath.Join(t.cfg.Data, adminAddrFile), addr, 0o600); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}

func (t *Tier) adminEnrol(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	creds, err := t.Enrol(q.Get("org"), q.Get("site"))
	if err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnprocessableEntity, "%v", err))
		return
	}
	w.Header().Set("Headcount-Nats-Url", t.NATSURL())
	_, _ = w.Write(creds) // a failing write: the caller is gone
}

func (t *Tier) adminRevoke(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if err := t.Revoke(q.Get("org"), q.Get("site")); err != nil {
		gateway.WriteProblem(w, gateway.NewProblem(http.StatusUnprocessableEntity, "%v", err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// enrol makes credentials and registers the site, so that it is listed before it first speaks.
func enrol(ctx context.Context, b *bus.Bus, db *store.DB, org, site string) ([]byte, error) {
	creds, err := b.Enrol(org, site)
	if err != nil {
		return nil, err
	}
	return creds, db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Site(org, site, time.Now())
		return err
	})
}

// Enrol makes credentials for a site: through the tier that runs on the configuration's data
// directory, or else by working on the directory itself. natsURL is where the hub is to
// connect; empty when no tier runs that would know.
func Enrol(ctx context.Context, cfg Config, org, site string) (creds []byte, natsURL string, err error) {
	err = administer(ctx, cfg, "/enrol", url.Values{"org": {org}, "site": {site}}, func(resp *http.Response) (err error) {
		natsURL = resp.Header.Get("Headcount-Nats-Url")
		creds, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		return err
	}, func(b *bus.Bus, db *store.DB) (err error) {
		natsURL = cfg.NATS.Advertise
		creds, err = enrol(ctx, b, db, org, site)
		return err
	})
	return creds, natsURL, err
}

// Revoke cuts a site off, in the same ways as Enrol.
func Revoke(ctx context.Context, cfg Config, org, site string) error {
	return administer(ctx, cfg, "/revoke", url.Values{"org": {org}, "site": {site}}, func(*http.Response) error { return nil },
		func(b *bus.Bus, _ *store.DB) error { return b.Revoke(org, site) })
}

// administer asks the running tier, or starts just enough of one to do the work.
func administer(ctx context.Context, cfg Config, path string, params url.Values, asked func(*http.Response) error, own func(*bus.Bus, *store.DB) error) error {
	cfg.setDefaults()
	lock, db, err := openData(ctx, cfg)
	if errors.Is(err, store.ErrInUse) {
		return ask(ctx, cfg.Data, path+"?"+params.Encode(), asked)
	}
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // it ends with the process anyway
	defer db.Close()     //nolint:errcheck // nothing is left to be written
	cfg.NATS.Listen, cfg.NATS.Certificate = "127.0.0.1:0", ""
	b, err := startBus(ctx, cfg, db)
	if err != nil {
		return err
	}
	defer b.Shutdown()
	return own(b, db)
}

// ask sends one command to the tier that runs on a data directory.
func ask(ctx context.Context, dir, path string, answer func(*http.Response) error) error {
	return askAPI(ctx, dir, AdminCall{Method: http.MethodPost, Path: path}, answer)
}

// askAPI sends one request to the tier that runs on a data directory.
func askAPI(ctx context.Context, dir string, c AdminCall, answer func(*http.Response) error) error {
	addr, err := os.ReadFile(filepath.Join(dir, adminAddrFile))
	if err != nil {
		return fmt.Errorf("reach the running tier: %w; is it starting or stopping? try again", err)
	}
	secret, err := os.ReadFile(filepath.Join(dir, adminTokenFile))
	if err != nil {
		return fmt.Errorf("reach the running tier: %w; run this as the user who runs it", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.Method, "http://"+strings.TrimSpace(string(addr))+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return fmt.Errorf("reach the running tier: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	if c.ContentType != "" {
		req.Header.Set("Content-Type", c.ContentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reach the running tier: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // what there is of a reason
		return fmt.Errorf("the running tier refused: %s", reason(b))
	}
	return answer(resp)
}

// Audit compares what the tier's database holds with its marks and recomputes every chain. It
// may run beside a running tier.
func Audit(ctx context.Context, cfg Config) ([]store.LaneAudit, error) {
	cfg.setDefaults()
	where, err := cfg.database()
	if err != nil {
		return nil, err
	}
	if !store.IsURL(where) {
		if _, err := os.Stat(where); err != nil {
			return nil, fmt.Errorf("audit: %w; name the data directory with --data", err)
		}
	}
	db, err := store.Open(ctx, where)
	if err != nil {
		return nil, err
	}
	lanes, err := db.Audit(ctx)
	return lanes, errors.Join(err, db.Close())
}
