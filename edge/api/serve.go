package api

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// The connections of the hub, in all and of one address: a gateway in front of many sensors keeps
// connections.
const (
	maxConns      = 1024
	maxConnsPerIP = 128
)

// ErrOpen is why Serve refuses a listener that other machines reach when there are no tokens.
var ErrOpen = errors.New("other machines can reach this address and no tokens are configured")

// Serve answers requests from ln until ctx ends, then finishes those under way within 5 s and
// ends the live streams. It closes ln. It refuses a listener beyond loopback when the API has
// no tokens.
func (a *API) Serve(ctx context.Context, ln net.Listener) error {
	if len(a.opts.Tokens) == 0 && !gateway.IsLoopback(ln.Addr()) {
		ln.Close()
		return fmt.Errorf("http: listen on %s: %w: set http.token_file, or listen on 127.0.0.1", ln.Addr(), ErrOpen)
	}
	srv := gateway.NewServer(a, a.log)
	failed := make(chan error, 1) // Serve's own end, when it comes first
	go func() { failed <- srv.Serve(gateway.Bound(ln, maxConns, maxConnsPerIP)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("http: serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), gateway.ShutdownTimeout)
	defer cancel()
	if err := a.opts.Clients.Close(grace); err != nil {
		a.log.Warn("live clients still open at shutdown", "clients", a.opts.Clients.Len())
	}
	gateway.Stop(grace, srv)
	<-failed
	return nil
}
