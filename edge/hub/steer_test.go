package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/tier"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
)

// overCloud is a hub at a real cloud, both in this process.
type overCloud struct {
	*testing.T
	tier *tier.Tier
	dir  string
	more string
}

func newCloud(t *testing.T) *overCloud {
	t.Helper()
	tr, err := tier.Start(t.Context(), tier.Config{Data: t.TempDir(), HTTP: tier.HTTP{Listen: "127.0.0.1:0"}, NATS: tier.NATS{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	creds, err := tr.Enrol("acme", "office")
	if err != nil {
		t.Fatal(err)
	}
	c := &overCloud{T: t, tier: tr, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "site.creds"), creds, 0o600); err != nil {
		t.Fatal(err)
	}
	c.more = fmt.Sprintf("uplink: {url: %q, credentials_file: site.creds}\n", tr.NATSURL())
	return c
}

func (c *overCloud) serve() *site { return serve(c.T, parse(c.T, c.dir, c.more)) }

func (c *overCloud) call(method, path, etag, body string, into any) (int, string) {
	c.Helper()
	q, err := http.NewRequestWithContext(c.Context(), method, c.tier.HTTPAddr()+"/v1/sites/office"+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	if etag != "" {
		q.Header.Set("If-Match", etag)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && into != nil && res.StatusCode < 300 {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		c.Fatal(err)
	}
	return res.StatusCode, string(b)
}

type desired struct {
	Rev     uint64  `json:"desired_rev"`
	Applied *uint64 `json:"applied_rev"`
	State   string
	Reasons []string
}

// await polls the cloud until the desired configuration has come to a state.
func (c *overCloud) await(rev uint64, state string) (d desired) {
	c.Helper()
	for deadline, tick := time.Now().Add(15*time.Second), time.NewTicker(20*time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if status, _ := c.call("GET", "/twin/desired", "", "", &d); status == 200 && d.Rev == rev && d.State == state {
			return d
		}
	}
	c.Fatalf("the configuration did not come to revision %d %s: %+v", rev, state, d)
	return d
}

// The way of a desired configuration: applied while the hub runs, kept over a restart, refused
// with its reasons while the last one goes on; and a command by a caller whom the hub verifies.
func TestTheCloudSteersAHub(t *testing.T) {
	c := newCloud(t)
	s := c.serve()
	c.await(0, "applied")
	if status, body := c.call("PATCH", "/twin/desired", `"0"`, `{"spaces":[{"id":"attic","kind":"room","capacity":5}],"sensors":[{"id":"up","class":"zone-count","space":"attic"}]}`, nil); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	c.await(1, "applied")
	s.accept(`{"sensor":"up","count_abs":2}`)
	var attic edge.SpaceView
	if s.get("/v1/spaces/attic", &attic); attic.Occupancy.Count == nil || *attic.Occupancy.Count != 2 {
		t.Errorf("the new room has %+v", attic.Occupancy)
	}

	c.call("PATCH", "/twin/desired", `"1"`, `{"spaces":[{"id":"loft","kind":"room","parent":"atic"}]}`, nil)
	d := c.await(2, "refused")
	if *d.Applied != 1 || len(d.Reasons) != 1 || !strings.Contains(d.Reasons[0], `there is no space "atic"`) || !strings.Contains(d.Reasons[0], "cloud rev 2:11:") {
		t.Errorf("refused: %+v", d)
	}

	if status, body := c.call("PUT", "/spaces/hall/count", "", `{"count":3,"reason":"counted"}`, nil); status != 200 {
		t.Errorf("a command: %d %s", status, body)
	}
	if hall := s.look().spaces.Spaces[0].Occupancy; hall.Count == nil || *hall.Count != 3 {
		t.Errorf("after the command the hall has %+v", hall)
	}
	s.stop()

	if status, _ := c.call("PUT", "/spaces/hall/count", "", `{"count":4}`, nil); status != http.StatusServiceUnavailable {
		t.Errorf("a command to a hub that is off: %d", status)
	}
	s = c.serve()
	if s.get("/v1/spaces/attic", &attic); attic.ID != "attic" {
		t.Error("the cloud's room is gone after a restart")
	}
	cfg, err := Effective(parse(t, c.dir, c.more))
	if err != nil {
		t.Fatal(err)
	}
	if x := cfg.Explain("spaces.attic.capacity"); len(x) != 1 || !strings.HasPrefix(x[0].From, "cloud rev 1:") {
		t.Errorf("explained as %+v", x)
	}
	c.call("PUT", "/twin/desired", `"2"`, `{}`, nil)
	c.await(3, "applied")
	if n := len(s.look().spaces.Spaces); n != 1 {
		t.Errorf("%d spaces when nothing is desired any more", n)
	}
}

// What the cloud has decided before and does not fit the file any more is left out, said so, and
// no reason not to start.
func TestALayerThatDoesNotFitTheFileAnyMore(t *testing.T) {
	c := newCloud(t)
	s := c.serve()
	c.await(0, "applied")
	c.call("PATCH", "/twin/desired", `"0"`, `{"sensors":[{"id":"other","class":"zone-count","space":"hall","device":"dev-1"}]}`, nil)
	c.await(1, "applied")
	s.stop()
	file := strings.Replace(siteYAML, "sensors: [", `sensors: [{id: mine, class: zone-count, space: hall, device: dev-1}, `, 1) + c.more + "http: {listen: \"127.0.0.1:0\"}\n"
	cfg, err := config.Parse(filepath.Join(c.dir, "headcount.yaml"), []byte(file), ConfigOptions(os.Environ(), c.dir))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, cfg)
	if d := c.await(1, "refused"); *d.Applied != 0 || !strings.Contains(d.Reasons[0], "dev-1") {
		t.Errorf("told the cloud %+v", d)
	}
}
