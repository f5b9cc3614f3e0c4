package tier

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// call sends a request and returns the answer's body; it fails unless the status is the wanted one.
func call(t *testing.T, tier *Tier, status int, method, path, bearer, body string, header ...string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, tier.HTTPAddr()+path, strings.NewReader(body))
	must(t, err)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %s %s, want %d", method, path, resp.Status, b, status)
	}
	return b
}

// Streams and channels of all organisations are in the metrics: they are not for the admin of one.
func TestMetricsAreForWhoeverRunsTheCloud(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	call(t, tier, 201, "POST", "/v1/orgs", "", `{"id":"acme","name":"Acme"}`)
	var prometheus struct{ Token string }
	must(t, json.Unmarshal(call(t, tier, 201, "POST", "/v1/orgs/acme/services", "", `{"name":"prometheus","role":"viewer","permissions":["metrics"]}`), &prometheus))
	ann, _ := admin(t, tier)
	call(t, tier, 404, "GET", "/metrics", ann, "")
	call(t, tier, 403, "POST", "/v1/orgs/acme/services", ann, `{"name":"spy","role":"viewer","permissions":["read","metrics"]}`)
	call(t, tier, 200, "GET", "/metrics", prometheus.Token, "")
}

func TestADeletedSiteTakesItsWorkOrdersAlong(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	newHub(t, tier, "acme", "hq")
	var order struct{ ID string }
	must(t, json.Unmarshal(call(t, tier, 201, "POST", "/v1/work-orders", "", `{"site":"hq","title":"the door is broken"}`), &order))
	call(t, tier, 200, "DELETE", "/v1/sites/hq?force=1", "", "")
	call(t, tier, 404, "GET", "/v1/work-orders/"+order.ID, "", "")
	call(t, tier, 404, "GET", "/v1/sites/hq", "", "")
}
