package socketio_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
)

// Clients that never say who they are must not take all places.
func TestStrangersLeavePlacesForOthers(t *testing.T) {
	clients := live.NewClients(8)
	url, _ := serve(t, socketio.Options{Clients: clients})
	for i := range 8 {
		resp, err := http.Get(fmt.Sprintf("%s/socket.io/?EIO=4&transport=polling&t=%d", url, i))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := i < 4; want != (resp.StatusCode == http.StatusOK) {
			t.Errorf("handshake %d: %s", i+1, resp.Status)
		}
	}
	if n := clients.Len(); n != 4 {
		t.Errorf("%d places are taken, want 4", n)
	}
}
