package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/headcount-hub/headcount/sync/wire"
)

// Files in the bus directory. The seeds are secrets: whoever has operator.nk or account.nk can
// make credentials for any site.
const (
	operatorFile = "operator.nk"
	accountFile  = "account.nk"
	systemFile   = "system.nk"
	claimsFile   = "account.jwt" // the account as it is now: its revocations
	issuedFile   = "issued.json" // public keys issued to each site, so that they can be revoked
)

// issuer makes and revokes credentials. It is not safe for concurrent use.
type issuer struct {
	dir       string        // empty for an external cluster
	operator  nkeys.KeyPair // nil for an external cluster
	account   nkeys.KeyPair // the account's own key, or a signing key of it
	accountID string        // public key of the account
	system    *jwt.AccountClaims
	claims    *jwt.AccountClaims
	issued    map[string][]credential // by org/site
}

// credential is one that was issued to a site.
type credential struct {
	Key    string    `json:"key"` // the user's public nkey
	Issued time.Time `json:"issued"`
}

// openIssuer reads the keys in dir and makes those that are missing.
func openIssuer(dir string) (*issuer, error) {
	i := &issuer{dir: dir, issued: map[string][]credential{}}
	var err error
	if i.operator, err = loadKey(filepath.Join(dir, operatorFile), nkeys.CreateOperator); err != nil {
		return nil, err
	}
	if i.account, err = loadKey(filepath.Join(dir, accountFile), nkeys.CreateAccount); err != nil {
		return nil, err
	}
	system, err := loadKey(filepath.Join(dir, systemFile), nkeys.CreateAccount)
	if err != nil {
		return nil, err
	}
	if i.system, err = newClaims(system, "SYS"); err != nil {
		return nil, err
	}
	if i.accountID, err = i.account.PublicKey(); err != nil {
		return nil, fmt.Errorf("read key %s: %w", accountFile, err)
	}
	if err := i.loadClaims(); err != nil {
		return nil, err
	}
	return i, i.loadIssued()
}

// externalIssuer signs users of an account that others operate.
func externalIssuer(seedFile, accountID string) (*issuer, error) {
	account, err := readKey(seedFile)
	if err != nil {
		return nil, err
	}
	id, err := account.PublicKey()
	if err != nil || !nkeys.IsValidPublicAccountKey(id) {
		return nil, fmt.Errorf("read key %s: not the seed of an account or of its signing key (SA…)", seedFile)
	}
	if accountID != "" {
		id = accountID
	}
	return &issuer{account: account, accountID: id}, nil
}

func (i *issuer) loadClaims() error {
	b, err := os.ReadFile(filepath.Join(i.dir, claimsFile))
	if errors.Is(err, fs.ErrNotExist) {
		if i.claims, err = newClaims(i.account, "HEADCOUNT"); err != nil {
			return err
		}
		i.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
			DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
		}
		return i.saveClaims()
	}
	if err != nil {
		return fmt.Errorf("read NATS account: %w", err)
	}
	if i.claims, err = jwt.DecodeAccountClaims(strings.TrimSpace(string(b))); err != nil {
		return fmt.Errorf("read NATS account %s: %w", claimsFile, err)
	}
	if i.claims.Subject != i.accountID {
		return fmt.Errorf("read NATS account %s: it is of another key than %s: restore both from one backup", claimsFile, accountFile)
	}
	return nil
}

func (i *issuer) saveClaims() error {
	token, err := i.claims.Encode(i.operator)
	if err != nil {
		return fmt.Errorf("sign NATS account: %w", err)
	}
	return writeFile(filepath.Join(i.dir, claimsFile), []byte(token))
}

func (i *issuer) loadIssued() error {
	b, err := os.ReadFile(filepath.Join(i.dir, issuedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read issued NATS credentials: %w", err)
	}
	if err := json.Unmarshal(b, &i.issued); err != nil {
		return fmt.Errorf("read issued NATS credentials %s: %w", issuedFile, err)
	}
	return nil
}

func (i *issuer) saveIssued() error {
	b, err := json.MarshalIndent(i.issued, "", "  ")
	if err != nil {
		return fmt.Errorf("record issued NATS credentials: %w", err)
	}
	return writeFile(filepath.Join(i.dir, issuedFile), b)
}

// operators are those the server trusts: ours.
func (i *issuer) operators() []*jwt.OperatorClaims {
	id, _ := i.operator.PublicKey()
	c := jwt.NewOperatorClaims(id)
	c.Name, c.SystemAccount = "headcount", i.system.Subject
	c.Issuer = id
	return []*jwt.OperatorClaims{c}
}

func (i *issuer) systemID() string { return i.system.Subject }

// accounts gives the signed accounts by public key.
func (i *issuer) accounts() map[string]string {
	out := map[string]string{}
	for _, c := range []*jwt.AccountClaims{i.system, i.claims} {
		if token, err := c.Encode(i.operator); err == nil {
			out[c.Subject] = token
		}
	}
	return out
}

// cloudUser makes the cloud's own user: everything in the account, kept in memory only.
func (i *issuer) cloudUser() (token, seed string, err error) {
	c, seedBytes, err := newUser("cloud")
	if err != nil {
		return "", "", err
	}
	token, err = i.sign(c)
	return token, string(seedBytes), err
}

// enrol makes a credentials file for a site's hub.
func (i *issuer) enrol(org, site string, now time.Time) ([]byte, error) {
	c, seed, err := newUser(org + "." + site)
	if err != nil {
		return nil, err
	}
	restrict(c, org, site)
	return i.issue(c, seed, org+"/"+site, now)
}

// restrict lets the user do what a site's hub may do: the permissions of FORMAT.md, no more.
func restrict(c *jwt.UserClaims, org, site string) {
	c.Pub.Allow.Add(wire.UpSubject(org, site, ">"))
	c.Sub.Allow.Add(wire.DownSubject(org, site, ">"), wire.InboxPrefix(org, site)+".>")
	c.Limits.Payload = 1 << 20
	c.Limits.Subs = 32
	c.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard)
}

// newUser makes a key and the claims of its user.
func newUser(name string) (c *jwt.UserClaims, seed []byte, err error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, nil, fmt.Errorf("make a NATS key: %w", err)
	}
	id, err := user.PublicKey()
	if err != nil {
		return nil, nil, fmt.Errorf("make a NATS key: %w", err)
	}
	if seed, err = user.Seed(); err != nil {
		return nil, nil, fmt.Errorf("make a NATS key: %w", err)
	}
	c = jwt.NewUserClaims(id)
	c.Name = name
	return c, seed, nil
}

func (i *issuer) sign(c *jwt.UserClaims) (string, error) {
	if own, err := i.account.PublicKey(); err != nil || own != i.accountID {
		c.IssuerAccount = i.accountID // signed by a signing key
	}
	token, err := c.Encode(i.account)
	if err != nil {
		return "", fmt.Errorf("sign NATS user %s: %w", c.Name, err)
	}
	return token, nil
}

// revoke makes all credentials under a key, a site's or a user's, invalid and returns how many
// there were.
func (i *issuer) revoke(key string) (int, error) {
	n := len(i.issued[key])
	for _, c := range i.issued[key] {
		i.claims.Revoke(c.Key)
	}
	if n == 0 {
		return 0, nil
	}
	if err := i.saveClaims(); err != nil {
		return 0, err
	}
	delete(i.issued, key)
	return n, i.saveIssued()
}

func newClaims(key nkeys.KeyPair, name string) (*jwt.AccountClaims, error) {
	id, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("read key of NATS account %s: %w", name, err)
	}
	c := jwt.NewAccountClaims(id)
	c.Name = name
	return c, nil
}

// loadKey reads a seed file, or makes the key and the file.
func loadKey(path string, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = create(); err != nil {
		return nil, fmt.Errorf("make key %s: %w", path, err)
	}
	seed, err := key.Seed()
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", path, err)
	}
	return key, writeFile(path, seed)
}

func readKey(path string) (nkeys.KeyPair, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return key, nil
}

// writeFile replaces path atomically and durably; only the owner can read it.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
