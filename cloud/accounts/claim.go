package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// ClaimFile holds the code that lets whoever has it make the first account; it is there until
// that is done.
const ClaimFile = "claim.code"

// offerClaim makes the claim code while there is no account, and says where it is.
func (a *Accounts) offerClaim() error {
	path := filepath.Join(a.opts.Dir, ClaimFile)
	if a.Exist() {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeWhole(path, []byte(newClaimCode()+"\n")); err != nil {
			return fmt.Errorf("make claim code: %w", err)
		}
	}
	a.log.Info("there is no account yet: make the first with the claim code", "file", path, "show", "headcount-cloud claim-code")
	return nil
}

// newClaimCode is 100 random bits in groups that people can type.
func newClaimCode() string {
	s := base32.StdEncoding.EncodeToString(random(15))[:20]
	return s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:]
}

// accountExists notes that there is an account: the claim code is gone, and nobody is let in
// without proof any more.
func (a *Accounts) accountExists() {
	if a.exist.Swap(true) {
		return
	}
	if err := os.Remove(filepath.Join(a.opts.Dir, ClaimFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("the claim code could not be removed; it is of no use any more", "err", err)
	}
}

// claiming is the body of POST /auth/claim.
type claiming struct {
	Code         string `json:"code"`
	Organisation struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"organisation"`
	newcomer
}

// claim makes the first account, admin of its organisation, and logs it in.
func (a *Accounts) claim(r *route.Request) (any, error) {
	var c claiming
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	if a.Exist() {
		return nil, route.Problem(http.StatusGone, "there is an account already; log in, or ask an admin for an invitation")
	}
	attempt := "claim:" + network(r)
	if _, err := a.admit(r.Context(), "too many wrong claim codes", attempt, codes); err != nil {
		return nil, err
	}
	code, err := os.ReadFile(filepath.Join(a.opts.Dir, ClaimFile))
	if err != nil {
		return nil, fmt.Errorf("read claim code: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(strings.ToUpper(strings.TrimSpace(c.Code))), []byte(strings.TrimSpace(string(code)))) != 1 {
		return nil, errors.Join(route.Problem(http.StatusForbidden, "this is not the claim code; see it with: headcount-cloud claim-code"), a.noteOne(r, User{}, "claim", refused))
	}
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	first := Admin{Org: c.Organisation.ID, OrgName: c.Organisation.Name, Email: u.Email, Name: u.Name, Password: c.Password, only: true, profile: u}
	if u, err = a.createAdmin(r.Context(), first, remote(r)); err != nil {
		return nil, err
	}
	return a.enter(r, u.ID, attempt, u.password)
}

// Admin is an admin of an organisation that is to be made.
type Admin struct {
	Org, OrgName          string // the organisation is made if there is none of that id
	Email, Name, Password string

	only    bool // refuse if there is any account
	profile User // locale and time zone
}

// CreateAdmin makes a user that is admin of an organisation, which it makes when there is none
// of that id. It is for whoever starts a tier; it asks for no proof.
func (a *Accounts) CreateAdmin(ctx context.Context, admin Admin) (User, error) {
	return a.createAdmin(ctx, admin, "")
}

func (a *Accounts) createAdmin(ctx context.Context, admin Admin, address string) (User, error) {
	u, err := newcomer{Email: admin.Email, Name: admin.Name, Locale: admin.profile.Locale, Timezone: admin.profile.Timezone}.user()
	if err != nil {
		return u, err
	}
	if admin.OrgName == "" {
		admin.OrgName = admin.Org
	}
	orgName, err := checkName("organisation.name", admin.OrgName)
	if err = errors.Join(err, checkDomain(admin.Org), checkPassword(admin.Password, u.Email)); err != nil {
		return u, err
	}
	if token.Organisation(admin.Org) != admin.Org {
		return u, route.Problem(http.StatusUnprocessableEntity, "organisation.id: want an id without /")
	}
	if u.password, err = a.hashPassword(ctx, admin.Password); err != nil {
		return u, err
	}
	u.Verified, u.Memberships = true, []token.Membership{{Domain: admin.Org, Role: token.Admin}}
	err = a.db.Update(ctx, func(tx *store.Tx) error { return a.addAdmin(tx, &u, admin, orgName, address) })
	if err == nil {
		a.accountExists()
	}
	return u, err
}

func (a *Accounts) addAdmin(tx *store.Tx, u *User, admin Admin, orgName, address string) error {
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM accounts_users WHERE verified = 1`).Scan(&n); err != nil {
		return err
	}
	if admin.only && n > 0 {
		return route.Problem(http.StatusGone, "there is an account already; log in, or ask an admin for an invitation")
	}
	there, err := domainExists(tx, admin.Org)
	if err == nil && !there {
		err = a.addDomain(tx, Domain{Domain: admin.Org, Name: orgName, Created: a.now()})
	}
	if err != nil {
		return err
	}
	if *u, err = a.addUser(tx, *u); err != nil {
		return err
	}
	return a.note(tx, []string{admin.Org}, Entry{Actor: "local", Action: "user.create", Subject: u.ID, Outcome: ok, Address: address, Detail: "admin of " + admin.Org})
}
