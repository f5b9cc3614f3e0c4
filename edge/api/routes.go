package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// describe lists a mounted route in the API's description. What it takes and answers is said of
// those that everybody uses; of the others, that they are there.
func describe(doc *huma.OpenAPI, pattern string) {
	method, path, ok := strings.Cut(pattern, " ")
	path = strings.ReplaceAll(path, "...}", "}")
	if !ok || !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}, method) || doc.Paths[path] != nil {
		return
	}
	op := &huma.Operation{
		Method: method, Path: path, OperationID: strings.ToLower(method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(path),
		Tags: []string{"inputs"}, Summary: "Served by an input of the hub's configuration",
		Responses: map[string]*huma.Response{"200": {Description: "Taken in; see the input's documentation"}},
	}
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{Name: strings.TrimRight(name, ".}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	switch path {
	case "/v1/readings", "/sensors/data":
		describeReadings(op)
	case "/metrics":
		op.Tags, op.Summary = []string{"hub"}, "Metrics in the Prometheus text format"
		op.Responses = map[string]*huma.Response{"200": {Description: "Metrics", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	}
	doc.AddOperation(op)
}

func describeReadings(op *huma.Operation) {
	one := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"sensor"}, AdditionalProperties: true,
		Description: "A reading: who, when, and one or more values by kind, such as count_in, count_out, motion, presence, count_abs, co2_ppm.",
		Properties: map[string]*huma.Schema{
			"sensor": {Type: huma.TypeString, Description: "id of the sensor, or address of a device"},
			"ts":     {Description: "the device's own time: RFC 3339, or seconds or milliseconds since 1970; without it the time of receipt counts"},
			"seq":    {Description: "the device's own sequence number or key; a repeated one is taken once"},
		},
		Examples: []any{map[string]any{"sensor": "door-7", "count_in": 103, "count_out": 98}},
	}
	op.Summary = "Take readings in: an object, an array, or NDJSON; answered after they are on the disk"
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json":     {Schema: &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one}}}},
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "one object per line"}},
	}}
	number := &huma.Schema{Type: huma.TypeInteger}
	answer := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"accepted": number, "duplicate": number, "pending": number,
		"rejected": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
			"index": number, "reason": {Type: huma.TypeString},
		}}},
	}}
	op.Responses = map[string]*huma.Response{
		"200": {Description: "What became of each; all of it is on the disk", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
		"400": {Description: "The body as a whole is malformed"},
		"413": {Description: "Too large"},
		"415": {Description: "Not a type that is understood"},
		"429": {Description: "Too much at once; send it again after Retry-After"},
		"503": {Description: "Not stored now; send it again after Retry-After"},
	}
}
