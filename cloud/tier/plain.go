package tier

import (
	"context"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
)

// openPlain serves the plain names.
func (t *Tier) openPlain(context.Context) (part, error) {
	return part{routes: t.twin.PlainRoutes()}, nil
}

// aliases are the plain names once more under the prefixes by which older systems tell their
// services apart behind one origin.
func aliases(routes []route.Route) []route.Route {
	var out []route.Route
	for _, r := range routes {
		for prefix, begins := range map[string][]string{
			"/sensor":       {"/sensors", "/rooms"},
			"/notification": {"/notifications", "/ws/notifications"},
		} {
			for _, b := range begins {
				if r.Path == b || strings.HasPrefix(r.Path, b+"/") {
					r.Path = prefix + r.Path
					out = append(out, r)
				}
			}
		}
	}
	return out
}
