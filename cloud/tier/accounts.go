package tier

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/twin"
	"github.com/headcount-hub/headcount/sync/token"
)

// Accounts is who may have an account, and whose word is taken for who somebody is.
type Accounts struct {
	Registration accounts.Registration `yaml:"registration"` // invite (default), domain or open
	Grants       []Grant               `yaml:"grants"`       // roles that go with a proven mail address
	OIDC         []OIDC                `yaml:"oidc"`         // logins by OpenID Connect
	Trusted      []Trusted             `yaml:"trusted"`      // others whose signed tokens are accepted
}

// Grant gives those with a mail address somewhere a role.
type Grant struct {
	Mail   string `yaml:"mail"`   // such as example.org; "*" = every address
	Domain string `yaml:"domain"` // an organisation, or a path below one
	Role   string `yaml:"role"`   // viewer, operator or manager
}

// OIDC is an OpenID Connect provider.
type OIDC struct {
	Name             string   `yaml:"name"`               // in /auth/oidc/NAME/start
	Issuer           string   `yaml:"issuer"`             // its URL, as its tokens have it
	ClientID         string   `yaml:"client_id"`          //
	ClientSecretFile string   `yaml:"client_secret_file"` // mode 0600; none for public clients
	Scopes           []string `yaml:"scopes"`             // openid, email and profile by default
	Grants           []Grant  `yaml:"grants"`             // roles that go with a mail address that it vouches for
}

// Trusted is another issuer of tokens.
type Trusted struct {
	Issuer     string   `yaml:"issuer"`      // as its tokens have it
	JWKSFile   string   `yaml:"jwks_file"`   // its public keys (Ed25519), or
	SecretFile string   `yaml:"secret_file"` // a secret of at least 32 bytes that it signs with (HS256), for systems that cannot do better
	Domains    []string `yaml:"domains"`     // where its tokens may have roles
}

var providerName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// paths lists the files that the configuration names.
func (c *Accounts) paths() []*string {
	var out []*string
	for i := range c.OIDC {
		out = append(out, &c.OIDC[i].ClientSecretFile)
	}
	for i := range c.Trusted {
		out = append(out, &c.Trusted[i].JWKSFile, &c.Trusted[i].SecretFile)
	}
	return out
}

func (c *Accounts) check(bad func(string, ...any)) {
	switch c.Registration {
	case "", accounts.ByInvitation, accounts.ByDomain, accounts.ByAnybody:
	default:
		bad("accounts: registration %q: want invite, domain or open", c.Registration)
	}
	if c.Registration == accounts.ByDomain && len(c.Grants) == 0 {
		bad("accounts: registration is by domain and there are no grants that say which")
	}
	checkGrants("accounts", c.Grants, bad)
	names := map[string]bool{}
	for _, o := range c.OIDC {
		if !providerName.MatchString(o.Name) || names[o.Name] {
			bad("accounts: oidc %q: want a name of 1 to 32 of a-z 0-9 - that no other has", o.Name)
		}
		names[o.Name] = true
		if !strings.HasPrefix(o.Issuer, "https://") && !strings.HasPrefix(o.Issuer, "http://127.0.0.1") && !strings.HasPrefix(o.Issuer, "http://localhost") {
			bad("accounts: oidc %q: issuer %q is no https address", o.Name, o.Issuer)
		}
		if o.ClientID == "" {
			bad("accounts: oidc %q: client_id is missing", o.Name)
		}
		checkGrants("accounts: oidc "+o.Name, o.Grants, bad)
	}
	for _, t := range c.Trusted {
		if t.Issuer == "" || t.Issuer == accounts.Issuer || (t.JWKSFile == "") == (t.SecretFile == "") {
			bad("accounts: trusted %q: want an issuer other than %q, and one of jwks_file and secret_file", t.Issuer, accounts.Issuer)
		}
	}
}

func checkGrants(where string, list []Grant, bad func(string, ...any)) {
	for _, g := range list {
		role, known := token.ParseRole(g.Role)
		if g.Mail == "" || g.Domain == "" || !known || role >= token.Admin {
			bad("%s: grant %q: want mail (such as example.org), domain, and role viewer, operator or manager", where, g.Mail)
		}
	}
}

func grants(list []Grant) []accounts.Grant {
	var out []accounts.Grant
	for _, g := range list {
		role, _ := token.ParseRole(g.Role) // checked
		out = append(out, accounts.Grant{Mail: g.Mail, Domain: g.Domain, Role: role})
	}
	return out
}

// options reads the files that the configuration names.
func (c *Accounts) options() (accounts.Options, error) {
	o := accounts.Options{Registration: c.Registration, Grants: grants(c.Grants)}
	for _, p := range c.OIDC {
		secret, err := readPassword(p.ClientSecretFile)
		if err != nil {
			return o, fmt.Errorf("%w: accounts: oidc %s: %w", ErrConfig, p.Name, err)
		}
		o.Providers = append(o.Providers, accounts.Provider{Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, Secret: secret, Scopes: p.Scopes, Grants: grants(p.Grants)})
	}
	for _, t := range c.Trusted {
		issuer, err := t.read()
		if err != nil {
			return o, fmt.Errorf("%w: accounts: trusted %s: %w", ErrConfig, t.Issuer, err)
		}
		o.Trusted = append(o.Trusted, issuer)
	}
	return o, nil
}

func (t *Trusted) read() (token.Issuer, error) {
	is := token.Issuer{Name: t.Issuer, Domains: t.Domains}
	if t.SecretFile != "" {
		secret, err := readSecret(t.SecretFile)
		is.Secret = []byte(secret)
		return is, err
	}
	b, err := os.ReadFile(t.JWKSFile)
	if err != nil {
		return is, err
	}
	is.Keys, err = token.ParseJWKS(b)
	return is, err
}

// openAccounts builds the module of people, services and devices.
func (t *Tier) openAccounts(ctx context.Context) (part, error) {
	o, err := accountOptions(t.cfg, t.db, t.twin)
	if err != nil {
		return part{}, err
	}
	o.PublicURL = t.PublicURL
	o.Secure = strings.HasPrefix(t.cfg.HTTP.PublicURL, "https://")
	o.Mail = func(tx *store.Tx, key, org, to, subject, text string) error {
		return t.notify.Mail(tx, notify.Mail{Key: key, Org: org, To: to, Subject: subject, Text: text})
	}
	if t.accounts, err = accounts.Open(ctx, o); err != nil {
		return part{}, err
	}
	return part{routes: t.accounts.Routes(), run: t.accounts.Run}, nil
}

// accountOptions are those that a running tier and a command without one share.
func accountOptions(cfg Config, db *store.DB, tw *twin.Twin) (accounts.Options, error) {
	o, err := cfg.Accounts.options()
	if err != nil {
		return o, err
	}
	o.DB, o.Dir, o.Log = db, cfg.Data, cfg.Log
	o.PublicURL = func() string {
		if cfg.HTTP.PublicURL == "" {
			return "http://" + cfg.HTTP.Listen
		}
		return strings.TrimSuffix(cfg.HTTP.PublicURL, "/")
	}
	o.OfSite, o.Domains = tw.OfSite, twin.Domains
	o.Holds = func(ctx context.Context, domain string) (string, error) {
		sites, err := db.Sites(ctx)
		for _, s := range sites {
			for _, d := range twin.Domains(s) {
				if token.Within(d, domain) {
					return "the site " + s.Site, err
				}
			}
		}
		return "", err
	}
	return o, nil
}

// PublicURL is where people reach this tier, without a slash at the end: as configured, or the
// listener's own address.
func (t *Tier) PublicURL() string {
	if t.cfg.HTTP.PublicURL != "" {
		return strings.TrimSuffix(t.cfg.HTTP.PublicURL, "/")
	}
	return t.HTTPAddr()
}

// CreateAdmin makes a user that is admin of an organisation, and the organisation when there is
// none of that id. It asks for no proof: it is for whoever starts a tier.
func (t *Tier) CreateAdmin(ctx context.Context, a accounts.Admin) error {
	_, err := t.accounts.CreateAdmin(ctx, a)
	return err
}

// notifyMembers and notifyUser are how notifications find people.
func (t *Tier) notifyMembers() func(context.Context, string, token.Role) ([]notify.Person, error) {
	return func(ctx context.Context, domain string, least token.Role) ([]notify.Person, error) {
		users, err := t.accounts.Members(ctx, domain, least)
		people := make([]notify.Person, len(users))
		for i, u := range users {
			people[i] = person(u)
		}
		return people, err
	}
}

func (t *Tier) notifyUser() func(context.Context, string) (notify.Person, error) {
	return func(ctx context.Context, id string) (notify.Person, error) {
		u, err := t.accounts.User(ctx, id)
		return person(u), err
	}
}

func person(u accounts.User) notify.Person {
	return notify.Person{ID: u.ID, Email: u.Email, Name: u.Name, Timezone: u.Timezone, Active: u.Active}
}
