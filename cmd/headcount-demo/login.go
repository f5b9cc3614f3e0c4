package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// loginEmail is the demo's admin; there is no such mail address.
const loginEmail = "demo@headcount.example"

// passwordFile keeps the password beside the stores, so that it is the same at the next start.
const passwordFile = "login.password"

// createLogin makes the admin of the demo's organisation, or finds the one of an earlier start.
func (d *demo) createLogin(ctx context.Context) error {
	path := filepath.Join(d.dir, passwordFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the login: %w", err)
	}
	d.password = strings.TrimSpace(string(b))
	known := d.password != ""
	if !known {
		d.password = rand.Text()[:16]
	}
	err = d.tier.CreateAdmin(ctx, accounts.Admin{Org: org, OrgName: "Demo", Email: loginEmail, Name: "Demo", Password: d.password})
	switch {
	case isThere(err) && known:
		return nil
	case isThere(err):
		return fmt.Errorf("%s has the account %s, but %s is not there to tell its password; remove the directory, or write a password there and set it: headcount-cloud user password %s --password-file %s --data %s",
			d.dir, loginEmail, path, loginEmail, path, filepath.Join(d.dir, "cloud"))
	case err != nil:
		return fmt.Errorf("make the login: %w", err)
	}
	if err := os.WriteFile(path, []byte(d.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	return nil
}

// isThere tells whether an account was not made because there is one.
func isThere(err error) bool {
	var p *gateway.Problem
	return errors.As(err, &p) && p.Status == http.StatusConflict
}
