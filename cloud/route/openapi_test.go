package route

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

type thing struct {
	Name  string      `json:"name"`
	Role  token.Role  `json:"role"`
	At    time.Time   `json:"at,omitzero"`
	Last  edge.Value  `json:"last"`
	Inner *thing      `json:"inner,omitempty"`
	Any   interface{} `json:"any"`
}

// document is as much of OpenAPI as the test looks at.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Parameters  []struct {
			Name, In string
			Required bool
		}
		Security    []map[string][]string
		RequestBody struct {
			Content map[string]struct{ Schema map[string]any }
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema map[string]any }
		}
	}
	Components struct{ Schemas map[string]map[string]any }
}

func TestDescribe(t *testing.T) {
	b, err := Describe("T", "1", []Route{
		{Method: "GET", Path: "/things/{id}", Need: Need{Of: func(*Request) ([]string, error) { return nil, nil }, Role: token.Manager}, Out: thing{}},
		{Method: "PATCH", Path: "/things/{id}", Need: Need{SignedIn: true}, In: thing{}, Out: []thing{}},
		{Method: "GET", Path: "/files/{path...}", Need: Need{Public: true}},
		{Method: "GET", Path: "/{$}", Need: Need{Public: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	get := doc.Paths["/things/{id}"]["get"]
	if len(get.Parameters) != 1 || get.Parameters[0].Name != "id" || !get.Parameters[0].Required || len(get.Security) != 1 {
		t.Errorf("GET is %+v", get)
	}
	if ref := get.Responses["200"].Content["application/json"].Schema["$ref"]; ref != "#/components/schemas/RouteThing" {
		t.Errorf("its answer is %v", ref)
	}
	if get.Responses["404"].Content["application/problem+json"].Schema == nil {
		t.Error("its problems are not described")
	}
	if public := doc.Paths["/files/{path}"]["get"]; public.Security != nil || public.Parameters[0].Name != "path" {
		t.Errorf("the public one is %+v", public)
	}
	if doc.Paths["/"] == nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("paths are %v of OpenAPI %s", doc.Paths, doc.OpenAPI)
	}
	in := doc.Components.Schemas["RouteThingInput"]
	if in == nil || in["required"] != nil || doc.Components.Schemas["RouteThing"]["required"] == nil {
		t.Errorf("schemas are %v", doc.Components.Schemas)
	}
	if props, _ := in["properties"].(map[string]any); props["role"].(map[string]any)["type"] != "string" {
		t.Errorf("a role is %v", props["role"])
	}
}
