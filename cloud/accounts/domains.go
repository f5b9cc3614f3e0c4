package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Domain is an organisation or, below one, a sub-organisation or department.
type Domain struct {
	Domain  string     `json:"domain"` // a path, such as acme/north/security
	Name    string     `json:"name"`
	Created time.Time  `json:"created"`
	Role    token.Role `json:"role"` // the caller's own
}

// The bounds of domains: bytes of a path, parts of a path.
const (
	maxDomain = 100
	maxDepth  = 6
	maxName   = 120
)

var domainPart = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// checkDomain says what is wrong with a path.
func checkDomain(domain string) error {
	parts := strings.Split(domain, "/")
	for _, p := range parts {
		if !domainPart.MatchString(p) || p == store.OrgSite {
			return route.Problem(http.StatusUnprocessableEntity, "domain %q: want parts of 1 to 64 of a-z 0-9 _ -, with / between them", clip(domain, maxDomain))
		}
	}
	if len(parts) > maxDepth || len(domain) > maxDomain {
		return route.Problem(http.StatusUnprocessableEntity, "domain %q: want at most %d parts and %d characters", clip(domain, maxDomain), maxDepth, maxDomain)
	}
	return nil
}

// checkName cleans what people are shown.
func checkName(what, name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", route.Problem(http.StatusUnprocessableEntity, "%s: want a text of 1 to %d bytes without control characters", what, maxName)
	}
	return name, nil
}

// need refuses callers whose role in a domain is lower than least: as if there were no such
// domain when they have none.
func (a *Accounts) need(who *token.Identity, domain string, least token.Role) error {
	switch have := who.Role(domain); {
	case have == token.None:
		return route.ErrNotFound
	case have < least:
		return route.Problem(http.StatusForbidden, "this needs the role %s in %s; yours is %s", least, domain, have)
	}
	return nil
}

// needWhole refuses callers who are not administrators of the whole cloud.
func needWhole(*route.Request) ([]string, error) { return []string{""}, nil }

// ofOrg is the policy of routes with {org}: all domains of it, so that who has a role in a part
// of it gets in; handlers then look at the domain in question.
func (a *Accounts) ofOrg(r *route.Request) ([]string, error) {
	all, err := a.readDomains(r.Context(), r.PathValue("org"))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, route.ErrNotFound
	}
	domains := make([]string, len(all))
	for i, d := range all {
		domains[i] = d.Domain
	}
	return domains, nil
}

// readDomains lists an organisation and what is below it by path; every one when org is empty.
func (a *Accounts) readDomains(ctx context.Context, org string) ([]Domain, error) {
	const query = `SELECT domain, name, created FROM accounts_domains WHERE domain = ? OR domain LIKE ? ESCAPE '!' OR ? = '' ORDER BY domain`
	rows, err := a.db.Query(ctx, query, org, likeBelow(org), org)
	found, err := store.Collect(rows, err, func(r *sql.Rows) (Domain, error) {
		var d Domain
		var created int64
		err := r.Scan(&d.Domain, &d.Name, &created)
		d.Created = store.FromMillis(created)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("read domains: %w", err)
	}
	return found, nil
}

// likeBelow is the LIKE pattern (ESCAPE '!') of the domains below one.
func likeBelow(domain string) string {
	return strings.NewReplacer("!", "!!", "_", "!_", "%", "!%").Replace(domain) + "/%"
}

func domainExists(tx *store.Tx, domain string) (bool, error) {
	var n int
	err := tx.QueryRow(`SELECT count(*) FROM accounts_domains WHERE domain = ?`, domain).Scan(&n)
	return n > 0, err
}

// listDomains answers with the domains that the caller has a role in: all of them, or those of
// one organisation.
func (a *Accounts) listDomains(r *route.Request) (any, error) {
	all, err := a.readDomains(r.Context(), r.PathValue("org"))
	if err != nil {
		return nil, err
	}
	seen := []Domain{}
	for _, d := range all {
		if d.Role = r.Who.Role(d.Domain); d.Role > token.None {
			seen = append(seen, d)
		}
	}
	return map[string]any{"domains": seen}, nil
}

// newDomain is the body of routes that make domains.
type newDomain struct {
	ID     string `json:"id,omitempty"`     // of an organisation
	Domain string `json:"domain,omitempty"` // or the path of what is below one
	Name   string `json:"name"`
}

func (a *Accounts) createOrg(r *route.Request) (any, error) {
	var body newDomain
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if strings.Contains(body.ID, "/") || body.Domain != "" {
		return nil, route.Problem(http.StatusUnprocessableEntity, "body.id: want the id of an organisation, without /")
	}
	return a.create(r, body.ID, body.Name)
}

func (a *Accounts) createDomain(r *route.Request) (any, error) {
	var body newDomain
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	parent := body.Domain[:max(0, strings.LastIndex(body.Domain, "/"))]
	if token.Organisation(body.Domain) != r.PathValue("org") || parent == "" || body.ID != "" {
		return nil, route.Problem(http.StatusUnprocessableEntity, "body.domain: want a path below %s, such as %[1]s/north", r.PathValue("org"))
	}
	if err := a.need(r.Who, parent, token.Admin); err != nil {
		return nil, err
	}
	return a.create(r, body.Domain, body.Name)
}

func (a *Accounts) create(r *route.Request, domain, name string) (any, error) {
	if err := checkDomain(domain); err != nil {
		return nil, err
	}
	if name == "" {
		name = domain[strings.LastIndex(domain, "/")+1:]
	}
	name, err := checkName("body.name", name)
	if err != nil {
		return nil, err
	}
	d := Domain{Domain: domain, Name: name, Created: a.now().UTC().Truncate(time.Millisecond), Role: r.Who.Role(domain)}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := a.addDomain(tx, d); err != nil {
			return err
		}
		return a.note(tx, []string{token.Organisation(domain)}, did(r, "domain.create", domain, name))
	})
	if err != nil {
		return nil, err
	}
	return route.Created(domainPath(domain), d), nil
}

func domainPath(domain string) string {
	org, below, deep := strings.Cut(domain, "/")
	if !deep {
		return "/v1/orgs/" + org
	}
	return "/v1/orgs/" + org + "/domains/" + below
}

// addDomain adds a domain whose parent there is.
func (a *Accounts) addDomain(tx *store.Tx, d Domain) error {
	if i := strings.LastIndex(d.Domain, "/"); i >= 0 {
		there, err := domainExists(tx, d.Domain[:i])
		if err != nil {
			return err
		}
		if !there {
			return route.Problem(http.StatusUnprocessableEntity, "there is no domain %s; make it first", d.Domain[:i])
		}
	}
	n, err := tx.ExecCount(`INSERT INTO accounts_domains (domain, name, created) VALUES (?, ?, ?) ON CONFLICT (domain) DO NOTHING`,
		d.Domain, d.Name, store.Millis(d.Created))
	if err != nil {
		return fmt.Errorf("add domain: %w", err)
	}
	if n == 0 {
		return route.Problem(http.StatusConflict, "there is a domain %s already", d.Domain)
	}
	return nil
}

// domainOf is the domain that a path names: {org} and, behind it, {below...}.
func domainOf(r *route.Request) string {
	if below := r.PathValue("below"); below != "" {
		return r.PathValue("org") + "/" + below
	}
	return r.PathValue("org")
}

func (a *Accounts) renameDomain(r *route.Request) (any, error) {
	domain := domainOf(r)
	if err := a.need(r.Who, domain, token.Admin); err != nil {
		return nil, err
	}
	var body newDomain
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	name, err := checkName("body.name", body.Name)
	if err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		n, err := tx.ExecCount(`UPDATE accounts_domains SET name = ? WHERE domain = ?`, name, domain)
		if err == nil && n == 0 {
			err = route.ErrNotFound
		}
		if err != nil {
			return err
		}
		return a.note(tx, []string{token.Organisation(domain)}, did(r, "domain.rename", domain, name))
	})
	return nil, err
}

// deleteDomain deletes a domain that nothing is left in. The last member of an organisation,
// who is its admin, goes with it.
func (a *Accounts) deleteDomain(r *route.Request) (any, error) {
	domain := domainOf(r)
	if err := a.need(r.Who, domain, token.Admin); err != nil {
		return nil, err
	}
	if a.opts.Holds != nil {
		held, err := a.opts.Holds(r.Context(), domain)
		if err != nil {
			return nil, err
		}
		if held != "" {
			return nil, route.Problem(http.StatusConflict, "%s still has %s; move or delete that first", domain, held)
		}
	}
	return nil, a.db.Update(r.Context(), func(tx *store.Tx) error {
		if err := a.emptied(tx, domain); err != nil {
			return err
		}
		n, err := tx.ExecCount(`DELETE FROM accounts_domains WHERE domain = ?`, domain)
		if err == nil && n == 0 {
			err = route.ErrNotFound
		}
		if err != nil {
			return err
		}
		return errors.Join(tx.Exec(`DELETE FROM accounts_memberships WHERE domain = ?`, domain),
			a.note(tx, []string{token.Organisation(domain)}, did(r, "domain.delete", domain, "")))
	})
}

// emptied refuses domains that others or services belong to.
func (a *Accounts) emptied(tx *store.Tx, domain string) error {
	spare := 0
	if !strings.Contains(domain, "/") {
		spare = 1
	}
	for _, c := range []struct {
		what, count string
		args        []any
		spare       int
	}{
		{"domains below it", `SELECT count(*) FROM accounts_domains WHERE domain LIKE ? ESCAPE '!'`, []any{likeBelow(domain)}, 0},
		{"members", `SELECT count(*) FROM accounts_memberships WHERE domain = ?`, []any{domain}, spare},
		{"service or device tokens", `SELECT count(*) FROM accounts_tokens WHERE domain = ? AND revoked = 0 AND expires > ?`, []any{domain, store.Millis(a.now())}, 0},
	} {
		var n int
		if err := tx.QueryRow(c.count, c.args...).Scan(&n); err != nil {
			return fmt.Errorf("look into domain: %w", err)
		}
		if n > c.spare {
			return route.Problem(http.StatusConflict, "%s still has %s (%d); remove them first", domain, c.what, n)
		}
	}
	return nil
}
