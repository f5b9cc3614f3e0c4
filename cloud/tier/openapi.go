package tier

import (
	"net/http"
	"sync"

	"github.com/headcount-hub/headcount/cloud/route"
)

// description serves what the table of routes says of itself. The table must be complete when
// the first request comes.
func (t *Tier) description(rt *route.Router) route.Route {
	document := sync.OnceValues(func() ([]byte, error) { return route.Describe("Headcount cloud", t.cfg.Version, rt.Routes()) })
	return route.Route{
		Method: http.MethodGet, Path: "/openapi.json", Tag: "description", Summary: "This description (OpenAPI 3.1)", Need: route.Need{Public: true},
		Handle: func(*route.Request) (any, error) {
			b, err := document()
			if err != nil {
				return nil, err
			}
			return &route.Response{ContentType: "application/json", Raw: b}, nil
		},
	}
}
