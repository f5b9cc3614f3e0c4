package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

type object = map[string]any

// of is the schema of what encoding/json writes for a Go type.
func of(t reflect.Type) (object, error) {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}, nil
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]():
		return object{}, nil
	case reflect.TypeFor[edge.Value]():
		return object{"type": "array", "minItems": 3, "maxItems": 3, "description": `["kind","semantics",value]`}, nil
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return nil, fmt.Errorf("%s writes itself: say what it writes", t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(t.Elem())
	case reflect.Struct:
		return ofStruct(t)
	case reflect.Slice, reflect.Array:
		items, err := of(t.Elem())
		return object{"type": []string{"array", "null"}, "items": items}, err
	case reflect.Map:
		values, err := of(t.Elem())
		return object{"type": []string{"object", "null"}, "additionalProperties": values}, err
	case reflect.String:
		return object{"type": "string"}, nil
	case reflect.Bool:
		return object{"type": "boolean"}, nil
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}, nil
	}
	return nil, fmt.Errorf("%s cannot be described", t)
}

// nullable is a value that may be null: unknown is never zero.
func nullable(t reflect.Type) (object, error) {
	s, err := of(t)
	if typ, ok := s["type"].(string); ok {
		s["type"] = []string{typ, "null"}
	}
	return s, err
}

// ofStruct describes the members; those that are always written are required.
func ofStruct(t reflect.Type) (object, error) {
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			inner, err := ofStruct(f.Type)
			if err != nil {
				return nil, err
			}
			for k, v := range inner["properties"].(object) {
				properties[k] = v
			}
			required = append(required, inner["required"].([]string)...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		s, err := of(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		properties[name] = s
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}, nil
}
