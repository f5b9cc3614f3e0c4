package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// jsonFormat reads bodies strictly: encoding/json would take the last of two equal keys.
// Unknown keys are refused by the schema.
var jsonFormat = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalStrict}

func unmarshalStrict(data []byte, v any) error {
	if err := gateway.CheckJSON(data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// valueSchema describes edge.Value, which is written as ["kind","semantics",value].
type valueSchema struct{}

func (valueSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeArray, Items: &huma.Schema{}, Description: `One measured value: ["kind","semantics",value]`,
		Examples: []any{[]any{"co2_ppm", "absolute", 812}},
	}
}

func registerSchemas(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[edge.Value](), reflect.TypeFor[valueSchema]())
}
