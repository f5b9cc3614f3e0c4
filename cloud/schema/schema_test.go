package schema_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/headcount-hub/headcount/cloud/schema"
)

func TestSplit(t *testing.T) {
	for typ, want := range map[string]struct {
		name  string
		major int
	}{
		"occupancy.changed":     {"occupancy.changed", 1},
		"occupancy.changed.v2":  {"occupancy.changed", 2},
		"occupancy.changed.v12": {"occupancy.changed", 12},
		"occupancy.changed.v1":  {"occupancy.changed.v1", 1}, // nobody writes that
		"occupancy.changed.v02": {"occupancy.changed.v02", 1},
		"door.vandalised":       {"door.vandalised", 1},
		".v2":                   {".v2", 1},
		"":                      {"", 1},
	} {
		if name, major := schema.Split(typ); name != want.name || major != want.major {
			t.Errorf("Split(%q) = %q, %d, want %q, %d", typ, name, major, want.name, want.major)
		}
	}
}

func TestOldVersionsAreReadAsTheNewest(t *testing.T) {
	rename := func(from, to string) schema.Cast {
		return func(data json.RawMessage) (json.RawMessage, error) {
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				return nil, err
			}
			if _, ok := m[from]; !ok {
				return nil, errors.New("no " + from)
			}
			m[to] = m[from]
			delete(m, from)
			return json.Marshal(m)
		}
	}
	casts := schema.Casts{"count.v1": rename("n", "count"), "count.v2": rename("count", "people")}
	for typ, in := range map[string]string{"count": `{"n":3}`, "count.v2": `{"count":3}`, "count.v3": `{"people":3}`} {
		got, data, err := casts.Up(typ, json.RawMessage(in))
		if err != nil || got != "count.v3" || string(data) != `{"people":3}` {
			t.Errorf("%s %s is read as %s %s, %v; want count.v3 with people", typ, in, got, data, err)
		}
	}
	if got, data, err := casts.Up("count.v4", json.RawMessage(`{}`)); err != nil || got != "count.v4" || string(data) != "{}" {
		t.Errorf("a newer version than is known becomes %s %s, %v; want it as it is", got, data, err)
	}
	if _, _, err := casts.Up("count", json.RawMessage(`{"x":1}`)); err == nil {
		t.Error("data that cannot be cast is taken")
	}
	if typ, _, err := schema.Up("occupancy.changed", json.RawMessage(`{}`)); typ != "occupancy.changed" || err != nil {
		t.Errorf("a first version becomes %s, %v", typ, err)
	}
}

func TestMistakesOfTheProgram(t *testing.T) {
	for name, types := range map[string][]schema.Type{
		"without data": {{Name: "a"}},
		"twice":        {{Name: "a", Data: struct{}{}}, {Name: "a", Data: struct{}{}}},
		"a channel":    {{Name: "a", Data: struct{ C chan int }{}}},
	} {
		if _, err := schema.New(types...); err == nil {
			t.Errorf("a type %s is taken", name)
		}
	}
}
