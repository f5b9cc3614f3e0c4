package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live/feed"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/sync/token"
)

// Messages takes what sensors send over Socket.IO. Its methods may be called from many goroutines.
type Messages interface {
	// Names lists the events that it takes at present.
	Names() []string

	// Take stores what is in events of one client, in order, and returns after the commit what
	// each is answered.
	Take(ctx context.Context, who *token.Identity, names []string, payloads []json.RawMessage) []any
}

// socketIO serves wallboards and sensors. The policy is decided when a client connects, as its token
// may come with that: who may see the site, or may bring readings in.
func (a *API) socketIO() http.Handler {
	o := feed.Options{
		Source: a.source, Who: a.whoConnects, Good: a.stillGood, Buildings: a.buildings, Log: a.log, Heartbeat: recheck,
		Sees: func(who *token.Identity) bool { return a.meets(who, sees, http.MethodGet) },
	}
	if a.opts.Messages != nil {
		o.Messages = messages{a.opts.Messages, a}
	}
	return socketio.New(map[string]socketio.Namespace{"/": feed.New(o)}, socketio.Options{
		Clients: a.opts.Clients, Origins: gateway.OriginHosts(a.opts.Gateway.Origins), Log: a.log,
	})
}

// messages adds who may send.
type messages struct {
	Messages
	api *API
}

// Admit has the policy of POST /v1/readings.
func (m messages) Admit(who *token.Identity) error {
	if !m.api.meets(who, sends, http.MethodPost) {
		return errors.New(required(sends))
	}
	return nil
}

// localCaller is who says nothing on a hub without tokens: this machine's own user.
var localCaller = &token.Identity{Kind: token.Local, Subject: "local", Name: "local", Everywhere: token.Admin}

func (a *API) whoConnects(r *http.Request, raw string) (*token.Identity, string, error) {
	if raw != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	who, err := a.auth.identify(r)
	switch {
	case err != nil:
		return nil, "", err
	case who == nil && len(a.opts.Tokens) == 0:
		return localCaller, "", nil
	case who == nil:
		return nil, "", errors.New("send a token of the hub's token file, or one of its cloud: auth: {token: \"…\"}")
	case !a.meets(who, sees, http.MethodGet) && !a.meets(who, sends, http.MethodPost):
		return nil, "", errors.New(required(sees))
	}
	raw, _ = bearer(r)
	return who, raw, nil
}

// stillGood looks at a signed token again.
func (a *API) stillGood(who *token.Identity, raw string) bool {
	if who.Issued.IsZero() {
		return true
	}
	again, err := a.opts.Verify(raw)
	return err == nil && (a.meets(again, sees, http.MethodGet) || a.meets(again, sends, http.MethodPost))
}

// buildings finds the site, or a space of kind building in it, as SITE, SITE/SPACE or SPACE.
func (a *API) buildings(_ context.Context, _ *token.Identity, id string) ([]feed.Building, error) {
	site := a.opts.Site.Snapshot().Site
	if id == site.ID {
		return []feed.Building{{Site: site.ID}}, nil
	}
	space := strings.TrimPrefix(id, site.ID+"/")
	if sp, ok := site.Space(space); ok && sp.Kind == edge.Building {
		return []feed.Building{{Site: site.ID, Space: space}}, nil
	}
	return nil, nil
}

// isStream tells the routes on which a token may come as ?token=, as browsers can send no header
// there.
func isStream(path string) bool {
	return path == "/socket.io/" || path == "/v1/stream" || strings.HasPrefix(path, "/v1/stream/") || strings.HasPrefix(path, "/ws/")
}
