package live

import (
	"net/http"
	"strings"
)

// Stream serves the source in the way the client asks for: as WebSocket when it asks to upgrade
// to that, else as Server-Sent Events.
func Stream(src Source, o Options) http.Handler {
	if o.Clients == nil {
		o.Clients = NewClients(0)
	}
	events, socket := SSE(src, o), WebSocket(src, o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			socket.ServeHTTP(w, r)
			return
		}
		events.ServeHTTP(w, r)
	})
}
