package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// caller is who asks, as commands and the audit name it.
func caller(ctx context.Context) string {
	if who := gateway.CallOf(ctx).Who; who != nil {
		return who.Who()
	}
	return "local"
}

// newGateway is what requests pass before the routes.
func (a *API) newGateway() (*gateway.Gateway, error) {
	o := a.opts.Gateway
	o.What, o.Log, o.Access, o.Observe = "hub", a.log, slog.LevelDebug, a.metrics.observe
	o.Hosts = append(o.Hosts, a.opts.Hosts...)
	o.Identify = a.auth.identify
	o.Open = func() bool { return len(a.opts.Tokens) == 0 }
	o.Ingest = func(r *http.Request) bool {
		_, pattern := a.mux.Handler(r)
		return r.Method != http.MethodGet && a.opts.Routes[pattern] != nil
	}
	return gateway.New(o)
}

// fail turns an error of the site or its history into a problem.
func (a *API) fail(ctx context.Context, err error) error {
	id := gateway.CallOf(ctx).ID
	switch {
	case errors.Is(err, ErrGone):
		return huma.Error410Gone("this is no longer kept; begin later, events without a cursor")
	case ctx.Err() != nil:
		return huma.Error503ServiceUnavailable("the request was given up before its answer was ready")
	}
	a.log.Error("request failed", "request", id, "err", err)
	return huma.Error500InternalServerError("the hub failed to answer; its log tells more under request id " + id)
}

// problem answers with an RFC 9457 problem.
func problem(w http.ResponseWriter, status int, detail string) {
	gateway.WriteProblem(w, gateway.NewProblem(status, "%s", detail))
}
