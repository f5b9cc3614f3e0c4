package token

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is a rank in a domain: a check is "at least this rank". The zero value may do nothing.
type Role int

// The roles. Their numbers leave room and never change: they stand in databases.
const (
	None     Role = 0
	Viewer   Role = 10  // sees
	Operator Role = 60  // acknowledges, corrects, works on orders
	Manager  Role = 80  // changes sites, routes, reports
	Admin    Role = 100 // changes who may do what
)

var roleNames = map[Role]string{Viewer: "viewer", Operator: "operator", Manager: "manager", Admin: "admin"}

// ParseRole reads a role's name; false for a name that is none.
func ParseRole(s string) (Role, bool) {
	for r, name := range roleNames {
		if name == s {
			return r, true
		}
	}
	return None, false
}

// String is the role's name, "none" for the zero value.
func (r Role) String() string {
	if name, ok := roleNames[r]; ok {
		return name
	}
	return "none"
}

// MarshalText is the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a role's name.
func (r *Role) UnmarshalText(b []byte) error {
	role, ok := ParseRole(string(b))
	if !ok {
		return fmt.Errorf("role %q: want viewer, operator, manager or admin", b)
	}
	*r = role
	return nil
}

// Membership is a role in a domain. A domain is an organisation ("acme") or, below it, a
// sub-organisation or department ("acme/north/security"); what is allowed in a domain is allowed
// in those below it unless Subs is false.
type Membership struct {
	Domain string `json:"domain"`
	Role   Role   `json:"role"`
	Subs   *bool  `json:"subs,omitempty"` // false: not in the domains below; nil = true
}

// Within tells whether domain is of or lies below it.
func Within(domain, of string) bool {
	return domain == of || strings.HasPrefix(domain, of+"/")
}

// Organisation is the first part of a domain.
func Organisation(domain string) string {
	org, _, _ := strings.Cut(domain, "/")
	return org
}

// Kind says what an identity is.
type Kind string

// The kinds of identity.
const (
	User    Kind = "user"
	Service Kind = "service" // a program with permissions
	Device  Kind = "device"  // may send its own readings and nothing else
	Local   Kind = "local"   // a token of a token file, or this machine's own user
)

// Identity is a caller that has proved who it is. It is not changed once made.
type Identity struct {
	Kind        Kind
	Subject     string // id of the user, name of the service, address of the device
	Name        string // as people read it
	Session     string // of a login; empty otherwise
	Issuer      string // who signed the token; empty = not a signed token
	Memberships []Membership
	Permissions []string  // of a service
	Everywhere  Role      // role in all domains; never from a token that somebody signed
	Issued      time.Time // zero = not a signed token
	Expires     time.Time // zero = not by itself
}

// Role is the caller's highest role in a domain.
func (id *Identity) Role(domain string) Role {
	best := id.Everywhere
	for _, m := range id.Memberships {
		if m.Role > best && (m.Domain == domain || Within(domain, m.Domain) && (m.Subs == nil || *m.Subs)) {
			best = m.Role
		}
	}
	return best
}

// RoleIn is the caller's highest role in any of these domains.
func (id *Identity) RoleIn(domains []string) Role {
	best := None
	for _, d := range domains {
		best = max(best, id.Role(d))
	}
	return best
}

// Allows tells whether a service has a permission; others need none.
func (id *Identity) Allows(permission string) bool {
	return id.Kind != Service || slices.Contains(id.Permissions, permission)
}

// Who is the name by which the audit knows the caller.
func (id *Identity) Who() string {
	if id.Name != "" {
		return id.Name
	}
	return id.Subject
}

// MaySee tells whether the caller may see an event of things that these domains own, by its role
// in them and by the event's audience: empty = every viewer, "role:NAME" = at least that role,
// "user:ID" = that person and nobody else, whatever the role.
func (id *Identity) MaySee(audience string, domains []string) bool {
	if id == nil {
		return false
	}
	kind, name, _ := strings.Cut(audience, ":")
	switch kind {
	case "":
		return id.RoleIn(domains) >= Viewer
	case "user":
		return id.Kind == User && id.Subject == name
	case "role":
		least, known := ParseRole(name)
		return known && id.RoleIn(domains) >= least
	}
	return false
}

type contextKey struct{}

// Into returns a context that carries the caller.
func Into(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// From is the caller that a context carries; nil when nobody has proved who it is.
func From(ctx context.Context) *Identity {
	id, _ := ctx.Value(contextKey{}).(*Identity)
	return id
}
