package accounts

import "github.com/headcount-hub/headcount/cloud/route"

// Provider is an OpenID Connect provider.
type Provider struct {
	Name     string // in /auth/oidc/NAME/start
	Issuer   string // its URL
	ClientID string
	Secret   string   // empty for public clients
	Scopes   []string // openid, email, profile when empty
	Grants   []Grant  // roles that go with an address that it vouches for
}

func (a *Accounts) oidcRoutes() []route.Route { return nil }
