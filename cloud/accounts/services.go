package accounts

import (
	"database/sql"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Issued is a long-lived token of a service or a device. The token itself is shown once, when it
// is made.
type Issued struct {
	ID          string     `json:"id"`
	Kind        token.Kind `json:"kind"`
	Name        string     `json:"name"`   // of the service, or address of the device
	Domain      string     `json:"domain"` // where its role is
	Site        string     `json:"site,omitempty"`
	Role        token.Role `json:"role"`
	Permissions []string   `json:"permissions"`
	Audience    string     `json:"audience"` // whom it is for
	Author      string     `json:"author"`
	Created     time.Time  `json:"created"`
	Expires     time.Time  `json:"expires"`
	Revoked     time.Time  `json:"revoked,omitzero"`
	Token       string     `json:"token,omitempty"` // in the answer that makes it only
}

// The life of these tokens.
const (
	defaultLife = 90 * 24 * time.Hour
	maxLife     = 366 * 24 * time.Hour
)

// Permissions with a meaning of their own: that of device tokens is to send readings to the hub of
// one site; that of metrics is of the whole cloud, so that only its administrator gives it.
const (
	IngestPermission  = "ingest"
	MetricsPermission = "metrics"
)

var (
	serviceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	permission  = regexp.MustCompile(`^[a-z0-9][a-z0-9:._/-]{0,63}$`)
)

// newService is the body that makes a service token.
type newService struct {
	Name        string     `json:"name"`
	Domain      string     `json:"domain,omitempty"` // the organisation by default
	Role        token.Role `json:"role"`
	Permissions []string   `json:"permissions"`        // such as read, write
	Audience    string     `json:"audience,omitempty"` // headcount by default; others are for other systems
	Life        string     `json:"life,omitempty"`     // such as 720h or 90d; 90d by default
}

func (a *Accounts) createService(r *route.Request) (any, error) {
	org := r.PathValue("org")
	var n newService
	if err := r.Decode(&n); err != nil {
		return nil, err
	}
	if n.Domain == "" {
		n.Domain = org
	}
	if n.Audience == "" {
		n.Audience = Audience
	}
	if len(n.Permissions) == 0 {
		n.Permissions = []string{"read"}
	}
	if err := n.check(org); err != nil {
		return nil, err
	}
	if err := a.mayGrant(r.Who, token.Membership{Domain: n.Domain, Role: n.Role}); err != nil {
		return nil, err
	}
	for _, p := range n.Permissions {
		if p == MetricsPermission && r.Who.Everywhere < token.Admin {
			return nil, route.Problem(http.StatusForbidden, "metrics are of all organisations: only this machine's administrator gives the permission %s", p)
		}
		if !r.Who.Allows(p) {
			return nil, route.Problem(http.StatusForbidden, "nobody grants a permission they lack: %s", p)
		}
	}
	return a.issueLong(r, org, n.Life, Issued{Kind: token.Service, Name: n.Name, Domain: n.Domain, Role: n.Role, Permissions: n.Permissions, Audience: n.Audience},
		"/v1/orgs/"+org+"/services/")
}

func (n newService) check(org string) error {
	bad := func(format string, args ...any) error {
		return route.Problem(http.StatusUnprocessableEntity, format, args...)
	}
	switch {
	case uuid.Validate(n.Name) == nil:
		return bad("body.name: it looks like the id of a person; choose a name")
	case !serviceName.MatchString(n.Name):
		return bad("body.name: want 1 to 64 of a-z 0-9 . _ -")
	case token.Organisation(n.Domain) != org:
		return bad("body.domain: want a domain of %s", org)
	case len(n.Permissions) > 32 || slices.ContainsFunc(n.Permissions, func(p string) bool { return !permission.MatchString(p) }):
		return bad("body.permissions: want at most 32, each of a-z 0-9 : . _ / -, such as read, write")
	case !permission.MatchString(n.Audience):
		return bad("body.audience: want a name such as %s", Audience)
	}
	return nil
}

// parseLife reads a Go duration or a number of days.
func parseLife(s string) (time.Duration, error) {
	if s == "" {
		return defaultLife, nil
	}
	life, err := time.ParseDuration(s)
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		life = time.Duration(min(max(n, 0), 10000)) * 24 * time.Hour
	}
	if err != nil || life < time.Minute || life > maxLife {
		return 0, route.Problem(http.StatusUnprocessableEntity, "body.life: %q: want 1m to 366d, such as 720h or 90d", clip(s, 40))
	}
	return life, nil
}

// ofOwned is the policy of device tokens: whoever a site is shared with does not decide what may
// send readings there.
func (a *Accounts) ofOwned(r *route.Request) ([]string, error) {
	domains, err := a.opts.OfSite(r)
	if err != nil || r.Who.RoleIn(domains) == token.None {
		return domains, err
	}
	owner := a.opts.Domains(r.Found.(store.Site))[0]
	if r.Who.Role(owner) == token.None {
		return nil, route.Problem(http.StatusForbidden, "the site belongs to %s; it is shared with you to look at", owner)
	}
	return []string{owner}, nil
}

// createDevice makes the token of one device of a site.
func (a *Accounts) createDevice(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	var body struct {
		Device string `json:"device"` // its address, as the hub shows it
		Life   string `json:"life,omitempty"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	name, err := checkName("body.device", body.Device)
	if err != nil {
		return nil, err
	}
	i := Issued{Kind: token.Device, Name: name, Domain: a.opts.Domains(site)[0], Site: site.Site, Role: token.Viewer,
		Permissions: []string{IngestPermission, token.SitePermission + site.Org + "/" + site.Site}, Audience: Audience}
	return a.issueLong(r, site.Org, body.Life, i, "/v1/sites/"+site.Site+"/device-tokens/")
}

// issueLong signs a token, notes that it did, and answers with it.
func (a *Accounts) issueLong(r *route.Request, org, life string, i Issued, under string) (any, error) {
	lasts, err := parseLife(life)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make token id: %w", err)
	}
	i.ID, i.Author = id.String(), r.Who.Who()
	i.Created = store.FromMillis(store.Millis(a.now()))
	i.Expires = i.Created.Add(lasts)
	who := &token.Identity{Kind: i.Kind, Subject: i.Name, Name: i.Name, Session: i.ID, Memberships: []token.Membership{{Domain: i.Domain, Role: i.Role}}, Permissions: i.Permissions}
	if i.Token, err = a.keys.signer().Sign(who, []string{i.Audience}, lasts); err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		if there, err := domainExists(tx, i.Domain); err != nil || !there && i.Kind == token.Service {
			return firstOf(err, route.Problem(http.StatusUnprocessableEntity, "there is no domain %s; make it first", i.Domain))
		}
		const insert = `INSERT INTO accounts_tokens (id, kind, org, domain, site, subject, role, permissions, audience, author, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
		err := tx.Exec(insert, i.ID, string(i.Kind), org, i.Domain, i.Site, i.Name, int(i.Role), strings.Join(i.Permissions, " "), i.Audience, i.Author, store.Millis(i.Created), store.Millis(i.Expires))
		if err != nil {
			return fmt.Errorf("note token: %w", err)
		}
		return a.note(tx, []string{org}, did(r, string(i.Kind)+".create", i.Name, fmt.Sprintf("token %s: %s in %s, %s", i.ID, i.Role, i.Domain, strings.Join(i.Permissions, " "))))
	})
	if err != nil {
		return nil, err
	}
	return route.Created(under+i.ID, i), nil
}

// firstOf is the first error there is.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Accounts) readIssued(r *route.Request, where string, args ...any) ([]Issued, error) {
	const columns = `SELECT id, kind, subject, domain, site, role, permissions, audience, author, created, expires, revoked FROM accounts_tokens `
	rows, err := a.db.Query(r.Context(), columns+where, args...)
	list, err := store.Collect(rows, err, func(row *sql.Rows) (Issued, error) {
		var i Issued
		var permissions string
		var created, expires, revoked int64
		err := row.Scan(&i.ID, &i.Kind, &i.Name, &i.Domain, &i.Site, &i.Role, &permissions, &i.Audience, &i.Author, &created, &expires, &revoked)
		i.Permissions = strings.Fields(permissions)
		i.Created, i.Expires, i.Revoked = store.FromMillis(created), store.FromMillis(expires), store.FromMillis(revoked)
		return i, err
	})
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if list == nil {
		list = []Issued{}
	}
	return list, nil
}

func (a *Accounts) listServices(r *route.Request) (any, error) {
	list, err := a.readIssued(r, `WHERE org = ? AND kind = ? ORDER BY id`, r.PathValue("org"), string(token.Service))
	list = slices.DeleteFunc(list, func(i Issued) bool { return r.Who.Role(i.Domain) < token.Admin })
	return map[string]any{"services": list}, err
}

func (a *Accounts) listDevices(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	list, err := a.readIssued(r, `WHERE org = ? AND site = ? AND kind = ? ORDER BY id`, site.Org, site.Site, string(token.Device))
	return map[string]any{"device_tokens": list}, err
}

func (a *Accounts) revokeService(r *route.Request) (any, error) {
	list, err := a.readIssued(r, `WHERE id = ? AND org = ? AND kind = ?`, r.PathValue("service"), r.PathValue("org"), string(token.Service))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, route.ErrNotFound
	}
	if err := a.need(r.Who, list[0].Domain, token.Admin); err != nil {
		return nil, err
	}
	return nil, a.revokeIssued(r, r.PathValue("org"), list[0])
}

func (a *Accounts) revokeDevice(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	list, err := a.readIssued(r, `WHERE id = ? AND org = ? AND site = ? AND kind = ?`, r.PathValue("token"), site.Org, site.Site, string(token.Device))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, route.ErrNotFound
	}
	return nil, a.revokeIssued(r, site.Org, list[0])
}

// revokeIssued lets a token be refused until it would have expired by itself.
func (a *Accounts) revokeIssued(r *route.Request, org string, i Issued) error {
	if !i.Revoked.IsZero() {
		return nil
	}
	var revocation *token.Revocation
	err := a.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		if err := tx.Exec(`UPDATE accounts_tokens SET revoked = ? WHERE id = ?`, store.Millis(a.now()), i.ID); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		if revocation, err = a.revoke(tx, token.Revocation{Subject: i.Name, Session: i.ID, Until: i.Expires}); err != nil {
			return err
		}
		return a.note(tx, []string{org}, did(r, string(i.Kind)+".revoke", i.Name, "token "+i.ID))
	})
	if err == nil {
		a.enforce(revocation)
	}
	return err
}
