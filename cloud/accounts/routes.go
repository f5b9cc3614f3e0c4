package accounts

import (
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/sync/token"
)

// managing is the permission by which services may change accounts.
const managing = "accounts"

// Routes is the accounts' part of the API.
func (a *Accounts) Routes() []route.Route {
	routes := append(a.loginRoutes(), a.linkRoutes()...)
	routes = append(routes, a.orgRoutes()...)
	routes = append(routes, a.userRoutes()...)
	routes = append(routes, a.tokenRoutes()...)
	return append(routes, a.oidcRoutes()...)
}

func row(method, path string, need route.Need, summary string, h func(*route.Request) (any, error)) route.Route {
	if method != http.MethodGet && !need.Public && need.Permission == "" && need.Of != nil {
		need.Permission = managing
	}
	return route.Route{Method: method, Path: path, Tag: "accounts", Summary: summary, Need: need, Handle: h}
}

var (
	public   = route.Need{Public: true}
	signedIn = route.Need{SignedIn: true}
)

func (a *Accounts) loginRoutes() []route.Route {
	return []route.Route{
		row("POST", "/auth/login", public, "Log in with mail address and password (?cookie=1: by cookies)", a.login),
		row("POST", "/auth/refresh", public, "Take a refresh token for new tokens", a.refresh),
		row("POST", "/auth/logout", public, "End the caller's login", a.logout),
		row("POST", "/auth/claim", public, "Make the first account with the claim code", a.claim),
		row("GET", "/auth/me", signedIn, "Who the caller is", a.me),
		row("PATCH", "/auth/me", signedIn, "Change the caller's name, locale, time zone", a.patchMe),
		row("POST", "/auth/password", signedIn, "Change the caller's password", a.changePassword),
		row("GET", "/auth/sessions", signedIn, "The caller's logins", a.listSessions),
		row("DELETE", "/auth/sessions/{session}", signedIn, "End one of the caller's logins", a.deleteSession),
		row("GET", "/auth/users/{user}/roles", signedIn, "A user's roles, as far as the caller may know them", a.rolesOf),
		row("GET", "/.well-known/jwks.json", public, "The keys that verify tokens", a.jwks),
	}
}

func (a *Accounts) linkRoutes() []route.Route {
	return []route.Route{
		row("POST", "/auth/register", public, "Ask for an account", a.register),
		row("POST", "/auth/reset/request", public, "Ask for a link to set a new password", a.requestReset),
		row("GET", "/auth/verify", public, "Page behind a link that proves a mail address", a.show(verifyLink)),
		row("POST", "/auth/verify", public, "Prove a mail address", a.verify),
		row("GET", "/auth/reset", public, "Page behind a link that sets a new password", a.show(resetLink)),
		row("POST", "/auth/reset", public, "Set a new password by link", a.reset),
		row("GET", "/auth/invitation", public, "Page behind an invitation", a.show(inviteLink)),
		row("POST", "/auth/invitation", public, "Accept an invitation", a.accept),
	}
}

func (a *Accounts) orgRoutes() []route.Route {
	whole := route.Need{Of: needWhole, Role: token.Admin}
	seen, admin := route.Need{Of: a.ofOrg, Role: token.Viewer}, route.Need{Of: a.ofOrg, Role: token.Admin}
	return []route.Route{
		row("GET", "/v1/orgs", signedIn, "The domains where the caller has a role", a.listDomains),
		row("POST", "/v1/orgs", whole, "Make an organisation", a.createOrg),
		row("GET", "/v1/orgs/{org}/domains", seen, "The domains of an organisation where the caller has a role", a.listDomains),
		row("POST", "/v1/orgs/{org}/domains", admin, "Make a sub-organisation or department", a.createDomain),
		row("PATCH", "/v1/orgs/{org}", admin, "Rename an organisation", a.renameDomain),
		row("DELETE", "/v1/orgs/{org}", admin, "Delete an empty organisation", a.deleteDomain),
		row("PATCH", "/v1/orgs/{org}/domains/{below...}", admin, "Rename a domain", a.renameDomain),
		row("DELETE", "/v1/orgs/{org}/domains/{below...}", admin, "Delete an empty domain", a.deleteDomain),
		row("GET", "/v1/orgs/{org}/audit", admin, "Who decided or tried what", a.readAudit),
		row("GET", "/v1/audit", whole, "What was tried that concerns no organisation", a.readWholeAudit),
	}
}

func (a *Accounts) userRoutes() []route.Route {
	whole := route.Need{Of: needWhole, Role: token.Admin}
	admin := route.Need{Of: a.ofOrg, Role: token.Admin}
	operator := route.Need{Of: a.ofOrg, Role: token.Operator}
	ofUser := func(least token.Role) route.Need { return route.Need{Of: a.ofUser, Role: least} }
	imports := row("POST", "/v1/orgs/{org}/users/import", admin, "Import users from CSV (?dry_run=1: only say what would change)", a.importUsers)
	imports.MaxBody = maxImport
	return []route.Route{
		imports,
		row("GET", "/v1/orgs/{org}/users", operator, "The users of an organisation", a.listUsers),
		row("GET", "/v1/orgs/{org}/users.csv", admin, "The users of an organisation as CSV", a.exportUsers),
		row("POST", "/v1/orgs/{org}/invitations", admin, "Make somebody a member; who has no account is mailed a link", a.invite),
		row("GET", "/v1/users", whole, "All users (?email=)", a.allUsers),
		row("POST", "/v1/users", whole, "Make a user", a.createUser),
		row("PUT", "/v1/users/{user}/password", route.Need{Of: onlyWhole(a.ofUser), Role: token.Admin}, "Set a user's password", a.setPassword),
		row("GET", "/v1/users/{user}", ofUser(token.Operator), "One user", a.readUser),
		row("PATCH", "/v1/users/{user}", ofUser(token.Admin), "Change a user's name, locale, time zone", a.patchUser),
		row("POST", "/v1/users/{user}/deactivate", ofUser(token.Admin), "Shut a user out, within a minute everywhere", a.deactivate),
		row("POST", "/v1/users/{user}/reactivate", ofUser(token.Admin), "Let a user in again", a.reactivate),
		row("POST", "/v1/users/{user}/memberships", ofUser(token.Admin), "Give a user a role in a domain", a.setMembership),
		row("DELETE", "/v1/users/{user}/memberships", ofUser(token.Admin), "Take a user's role in ?domain= away", a.removeMembership),
	}
}

func (a *Accounts) tokenRoutes() []route.Route {
	admin := route.Need{Of: a.ofOrg, Role: token.Admin}
	whole := route.Need{Of: needWhole, Role: token.Admin}
	routes := []route.Route{
		row("POST", "/v1/orgs/{org}/services", admin, "Make the token of a service", a.createService),
		row("GET", "/v1/orgs/{org}/services", admin, "The tokens of services", a.listServices),
		row("DELETE", "/v1/orgs/{org}/services/{service}", admin, "Revoke the token of a service", a.revokeService),
		row("POST", "/v1/keys/rotate", whole, "Sign with a new key", a.rotateKeys),
	}
	if a.opts.OfSite == nil {
		return routes
	}
	manager := route.Need{Of: a.ofOwned, Role: token.Manager}
	return append(routes,
		row("POST", "/v1/sites/{site}/device-tokens", manager, "Make the token of a device", a.createDevice),
		row("GET", "/v1/sites/{site}/device-tokens", manager, "The tokens of devices", a.listDevices),
		row("DELETE", "/v1/sites/{site}/device-tokens/{token}", manager, "Revoke the token of a device", a.revokeDevice),
	)
}
