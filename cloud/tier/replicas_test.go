//go:build postgres

package tier

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/cloud/store/storetest"
	"github.com/headcount-hub/headcount/edge"
)

// TestTwoReplicasOnPostgreSQL: two tiers on one database and one NATS that is neither's. Each
// record is applied once and each step of an alert told once, also when one of them dies.
func TestTwoReplicasOnPostgreSQL(t *testing.T) {
	where := storetest.Where(t)
	if !store.IsURL(where) {
		t.Fatal(storetest.Variable + " names no PostgreSQL server; make postgres starts one")
	}
	natsDir := t.TempDir()
	nats, err := bus.Start(t.Context(), bus.Options{Dir: natsDir, Listen: "127.0.0.1:0"})
	must(t, err)
	defer nats.Shutdown()
	creds, err := nats.CloudCredentials()
	must(t, err)
	credsFile := filepath.Join(t.TempDir(), "cloud.creds")
	must(t, os.WriteFile(credsFile, creds, 0o600))

	var mu sync.Mutex
	told := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		told[r.Header.Get("Idempotency-Key")]++
	}))
	defer receiver.Close()

	replica := func() *Tier {
		return startTier(t, Config{
			Data: t.TempDir(), Database: where, HTTP: HTTP{Listen: "127.0.0.1:0"},
			NATS:          NATS{URL: nats.ClientURL(), CredentialsFile: credsFile, AccountSeedFile: filepath.Join(natsDir, "account.nk")},
			Organisations: []Organisation{{ID: "acme", Webhooks: []Webhook{{Name: "facilities", URL: receiver.URL}}}},
			Notify:        Notify{AllowPrivate: true},
		})
	}
	a, b := replica(), replica()
	h := newHub(t, a, "acme", "hq")
	raise := func(n int) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		id := fmt.Sprintf("over-capacity:room:%d", n)
		h.tell(edge.AlertRaised, id, now, edge.Alert{ID: id, Rule: "over-capacity", Subject: "room", SubjectKind: "room", Severity: edge.Critical, State: edge.StateFiring, Since: now, RaisedAt: now})
	}
	const alerts = 20
	for n := range alerts {
		if n == alerts/2 {
			a.Close()
		}
		raise(n)
	}
	heard := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(told)
	}
	eventually(t, "every alert is told", func() bool { return heard() == alerts })
	lanes, err := b.db.Audit(t.Context())
	must(t, err)
	for _, l := range lanes {
		if !l.OK() {
			t.Errorf("audit: %+v", l)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for key, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", key, n)
		}
	}
}
