package accounts

import "github.com/headcount-hub/headcount/cloud/route"

// Provider is an OpenID Connect provider.
type Provider struct{ Name string }

func (a *Accounts) oidcRoutes() []route.Route { return nil }
