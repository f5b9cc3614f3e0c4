package httppush

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// A device's token brings that device's readings, by any route and by the sensor's name as well;
// a body with one reading of another device is refused whole, and counted.
func TestDeviceSendsForItselfOnly(t *testing.T) {
	sensors := []edge.Sensor{{ID: "entrance", Device: "door-7"}, {ID: "back", Device: "door-8"}}
	for name, c := range map[string]struct {
		who        token.Identity
		path, body string
		want       int
	}{
		"its own":               {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"device":"door-7","count_in":1}`, 200},
		"its sensor":            {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"sensor":"entrance","count_in":1}`, 200},
		"a token of the sensor": {token.Identity{Kind: token.Device, Subject: "entrance"}, "/sensors/data", `{"device":"door-7","count_in":1}`, 200},
		"its channel":           {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"device":"door-7/2","count_in":1}`, 200},
		"by a profile":          {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/push/json", `{"sensor_id":"door-7","in":1,"out":0}`, 200},
		"another":               {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"device":"door-8","count_in":1}`, 403},
		"another's sensor":      {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"sensor":"back","count_in":1}`, 403},
		"a longer name":         {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `{"device":"door-77","count_in":1}`, 403},
		"one among its own":     {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/readings", `[{"device":"door-7","count_in":1},{"device":"door-8","count_in":1}]`, 403},
		"another by a profile":  {token.Identity{Kind: token.Device, Subject: "door-7"}, "/v1/push/json", `{"sensor_id":"door-8","in":1,"out":0}`, 403},
		"an operator":           {token.Identity{Kind: token.User, Subject: "door-7"}, "/v1/readings", `[{"device":"door-7","count_in":1},{"device":"door-8","count_in":1}]`, 200},
	} {
		t.Run(name, func(t *testing.T) {
			m, sink := running(t, `{}`, sensors...)
			r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			m.ServeHTTP(w, r.WithContext(token.Into(r.Context(), &c.who)))
			if w.Code != c.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, c.want)
			}
			if refused := c.want == 403; refused && (len(sink.Readings()) != 0 || sink.Rejected() == 0) {
				t.Errorf("refused, but %d readings were taken and %d counted as lost", len(sink.Readings()), sink.Rejected())
			} else if !refused && len(sink.Readings()) == 0 {
				t.Error("nothing was taken")
			}
		})
	}
}
