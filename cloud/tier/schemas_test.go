package tier

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/headcount-hub/headcount/cloud/schema"
	"github.com/headcount-hub/headcount/edge"
)

var updateGolden = flag.Bool("update-schemas", false, "write the golden schemas anew")

func catalogue(t *testing.T) *schema.Catalogue {
	t.Helper()
	c, err := schema.New(eventTypes()...)
	must(t, err)
	return c
}

// The schemas are a promise: within a major version members are only added, and what must be
// there stays so. A golden file that differs is looked at before it is written anew.
func TestSchemasAreAsTheyWere(t *testing.T) {
	c := catalogue(t)
	dir := filepath.Join("testdata", "schemas")
	for _, e := range c.Types() {
		path := filepath.Join(dir, fmt.Sprintf("%s.v%d.json", strings.ReplaceAll(e.Type, "*", "any"), e.Major))
		got := append(c.Find(e.Type, e.Major), '\n')
		if *updateGolden {
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.WriteFile(path, got, 0o644))
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the shape of the event has changed, %v. Members that an older reader can ignore: go test ./cloud/tier -run Schemas -update-schemas. Anything else: a new major version and a Cast. Got\n%s", path, err, got)
		}
	}
}

// validate holds an event's data against the schema of its type.
func validate(t *testing.T, c *schema.Catalogue, typ string, data []byte) {
	t.Helper()
	doc := c.Find(schema.Split(typ))
	if doc == nil {
		t.Errorf("events of type %s have no schema: add a line to eventTypes in cloud/tier/schemas.go", typ)
		return
	}
	if len(data) == 0 {
		data = []byte("{}")
	}
	compiler := jsonschema.NewCompiler()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	must(t, err)
	must(t, compiler.AddResource("schema.json", parsed))
	s, err := compiler.Compile("schema.json")
	must(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	must(t, err)
	if err := s.Validate(value); err != nil {
		t.Errorf("%s %s: %v", typ, data, err)
	}
}

// Every event that the matrix of all routes makes the tier write is as its schema says.
func TestEventsAreAsTheirSchemasSay(t *testing.T) {
	m := newMatrix(t)
	for _, s := range matrixSites {
		for _, r := range m.routes {
			if r.Method != http.MethodGet && r.Method != http.MethodDelete {
				m.call(r.Method, m.path(r, s), `{}`, "root")
			}
		}
		m.call(http.MethodPost, "/v1/sites/"+s.site+"/alerts/a-"+s.site+"/acknowledge", `{"note":"on my way"}`, "root")
		m.call(http.MethodDelete, "/v1/sites/"+s.site+"?org="+s.org, "", "root")
	}
	c, seen := catalogue(t), map[string]bool{}
	events, err := m.tier.db.EventsAfter(t.Context(), 0, 0, 10_000)
	must(t, err)
	for _, e := range events {
		rec, err := edge.ParseRecord(e.Body)
		must(t, err)
		if !e.Input {
			seen[e.Type] = true
			validate(t, c, e.Type, rec.Data)
		}
	}
	t.Logf("%d events of %d types: %v", len(events), len(seen), seen)
	if len(seen) < 5 {
		t.Errorf("only %d types of event were written", len(seen))
	}
}

// Events that hubs of released versions have sent are taken in for ever: each line of each file
// under testdata/released is one, as it was recorded.
func TestOldHubsEventsAreTakenIn(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	c := catalogue(t)
	files, err := filepath.Glob(filepath.Join("testdata", "released", "*.jsonl"))
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no recorded events")
	}
	for i, file := range files {
		h := newHub(t, tier, "acme", fmt.Sprint("site-", i))
		b, err := os.ReadFile(file)
		must(t, err)
		want := 0
		for line := range strings.Lines(string(b)) {
			rec, err := edge.ParseRecord([]byte(line))
			must(t, err)
			if !rec.Input {
				typ, data, err := schema.Up(rec.Type, rec.Data)
				must(t, err)
				validate(t, c, typ, data)
			}
			h.tell(edge.EventType(rec.Type), rec.Subject, time.Now(), json.RawMessage(rec.Data))
			want++
		}
		eventually(t, "all of "+file+" is applied", func() bool { return tier.ingest.Stats().Events.Load() >= int64(want) })
		if n := tier.ingest.Stats().Unreadable.Load(); n != 0 {
			t.Errorf("%s: %d events could not be read", file, n)
		}
	}
}

func TestSchemasAreServed(t *testing.T) {
	tier := startTier(t, config(t.TempDir()))
	var list struct{ Schemas []schema.Entry }
	must(t, json.Unmarshal(get(t, tier, "/v1/schemas", http.StatusOK), &list))
	for _, e := range list.Schemas {
		var doc map[string]any
		must(t, json.Unmarshal(get(t, tier, e.URL, http.StatusOK), &doc))
		if doc["title"] != e.Type || doc["$schema"] == nil {
			t.Errorf("%s: %v", e.URL, doc)
		}
	}
	get(t, tier, "/v1/schemas/workorder.created/1", http.StatusOK)
	get(t, tier, "/v1/schemas/nothing/1", http.StatusNotFound)
	get(t, tier, "/v1/schemas/occupancy.changed/2", http.StatusNotFound)
}
