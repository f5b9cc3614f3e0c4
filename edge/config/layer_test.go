package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const layerBase = `site: {id: hq, timezone: UTC}
spaces:
  - {id: hall, kind: room, capacity: 10}
  - {id: bar, kind: room, capacity: 5}
doors: [{id: front, between: [outside, hall]}]
sensors: [{id: door-1, class: line-tof, door: front}]
inputs: [{driver: httppush}]
`

func layered(t *testing.T, layer string, env ...string) (*Config, error) {
	t.Helper()
	base, err := Parse("hub.yaml", []byte(layerBase), Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return base.WithLayer(&Layer{Name: "cloud rev 12", Data: []byte(layer)})
}

func TestALayerReplacesAddsAndRemoves(t *testing.T) {
	c, err := layered(t, `{
  "spaces": [
    {"id": "hall", "kind": "room", "capacity": 40},
    {"id": "attic", "kind": "room"}
  ],
  "alerts": [{"name": "full", "for_each": "space", "when": "count > 3"}],
  "remove": {"spaces": ["bar", "nowhere"]}
}`)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range c.Site.Spaces {
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []string{"hall", "attic"}) || c.Site.Spaces[0].Capacity != 40 || len(c.Alerts) != 1 {
		t.Errorf("spaces %+v, alerts %+v", c.Site.Spaces, c.Alerts)
	}
	for key, from := range map[string]string{"spaces.hall.capacity": "cloud rev 12:3:48", "site.id": "hub.yaml:1:12"} {
		if x := c.Explain(key); len(x) != 1 || x[0].From != from {
			t.Errorf("%s is explained %+v, want it from %s", key, x, from)
		}
	}
	again, err := c.WithLayer(nil)
	if err != nil || len(again.Site.Spaces) != 2 || again.Site.Spaces[0].Capacity != 10 {
		t.Errorf("without the layer: %+v, %v", again.Site.Spaces, err)
	}
}

func TestTheEnvironmentIsLaidOverTheLayer(t *testing.T) {
	c, err := layered(t, `{"spaces": [{"id": "hall", "kind": "room", "capacity": 40}]}`, "HEADCOUNT__SPACES__HALL__CAPACITY=7", "SECRET=x")
	if err != nil || c.Site.Spaces[0].Capacity != 7 {
		t.Errorf("capacity %+v, %v", c.Site.Spaces, err)
	}
	c, err = layered(t, `{"spaces": [{"id": "hall", "kind": "room", "name": "${SECRET}"}]}`, "SECRET=x")
	if err != nil || c.Site.Spaces[0].Name != "${SECRET}" {
		t.Errorf("the cloud reads the environment: %+v, %v", c.Site.Spaces, err)
	}
}

func TestEveryMistakeInALayerHasItsPlace(t *testing.T) {
	for layer, want := range map[string]string{
		`{"http": {"listen": "0.0.0.0:80"}}`:                                   "cloud rev 12:1:2: http: cannot be set from the cloud",
		`{"spaces": [{"id": "loft", "kind": "room", "parent": "atic"}]}`:       `there is no space "atic"`,
		`{"spaces": [{"kind": "room"}]}`:                                       "spaces[0].id: is missing",
		`{"spaces": [{"id": "a", "kind": "room"}, {"id": "a","kind":"room"}]}`: `"a" is there twice`,
		`{"remove": {"spaces": ["hall"]}}`:                                     `there is no space "hall"`,
		`{"remove": ["hall"]}`:                                                 "must be a map of lists",
		`{"remove": {"inputs": ["x"]}}`:                                        "cannot be removed from the cloud",
		`{"spaces": {"id": "a"}}`:                                              "must be a list",
		`[]`:                                                                   "must be a map of keys",
		`{"spaces": [`:                                                         "is not YAML",
		`{"spaces": [{"id": "hall", "kind": "room", "capacty": 3}]}`:           `did you mean "capacity"?`,
	} {
		_, err := layered(t, layer)
		var errs *Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", layer, err, want)
		}
	}
}

// Laying the same layer again changes nothing, and what it has is there whatever the file says.
func TestLayingIsIdempotent(t *testing.T) {
	id := rapid.StringMatching(`[a-c]`)
	element := rapid.Custom(func(t *rapid.T) string {
		return `{"id": "` + id.Draw(t, "id") + `", "kind": "` + rapid.SampledFrom([]string{"room", "floor"}).Draw(t, "kind") + `"}`
	})
	list := rapid.SliceOfN(element, 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		base, over := "["+strings.Join(list.Draw(t, "base"), ",")+"]", "["+strings.Join(list.Draw(t, "over"), ",")+"]"
		gone := "[" + strings.Join(rapid.SliceOfN(id, 0, 3).Draw(t, "gone"), ",") + "]"
		l := &Layer{Name: "l", Data: []byte(`{"spaces": ` + over + `, "remove": {"spaces": ` + gone + `}}`)}
		once, twice := &problems{}, &problems{}
		root := readYAML(once, "f", []byte("spaces: "+base))
		lay(once, root, l)
		first := string(root.appendJSON(nil))
		lay(twice, root, l)
		if second := string(root.appendJSON(nil)); first != second {
			t.Fatalf("once %s, twice %s", first, second)
		}
		for _, item := range root.list("spaces") {
			if strings.Contains(gone, item.str("id")) {
				t.Fatalf("%s was removed and is there: %s", item.str("id"), first)
			}
		}
	})
}

func FuzzLayer(f *testing.F) {
	f.Add([]byte(`{"spaces": [{"id": "hall", "kind": "room"}], "remove": {"doors": ["front"], "sensors": ["door-1"]}}`))
	f.Add([]byte("spaces: [&a {id: x, kind: room}, *a]\nalerts: [{name: n}]"))
	f.Add([]byte("remove: {spaces: [1, null, {}]}\nspaces: ~"))
	base, err := Parse("f", []byte(layerBase), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := base.WithLayer(&Layer{Name: "cloud rev 1", Data: data})
		var errs *Errors
		if err != nil && (!errors.As(err, &errs) || len(errs.Problems) == 0) {
			t.Fatalf("got %v, %v", c, err)
		}
		if err != nil {
			return
		}
		if again, err := Parse("f", c.tree.appendJSON(nil), Options{}); err != nil || again.Hash != c.Hash {
			t.Fatalf("shown as\n%s\ngives %v", c.Show(), err)
		}
		if len(c.Inputs) != 1 || c.Site.ID != "hq" {
			t.Fatalf("a layer reached what is not its own: %s", c.Show())
		}
	})
}
