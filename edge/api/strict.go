package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// jsonFormat reads bodies strictly: encoding/json would take the last of two equal keys.
// Unknown keys are refused by the schema.
var jsonFormat = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalStrict}

// maxDepth bounds the nesting of request bodies.
const maxDepth = 8

func unmarshalStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return json.Unmarshal(data, v)
}

// checkValue walks one value and refuses duplicate keys and deep nesting.
func checkValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return fmt.Errorf("not JSON: %w", err)
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("key %q stands twice in one object", name)
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
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
