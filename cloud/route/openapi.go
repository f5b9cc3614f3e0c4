package route

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// Describe is the OpenAPI 3.1 description of a table of routes, as JSON: every route with its
// policy, parameters, body, answer and problems.
func Describe(title, version string, routes []Route) (doc []byte, err error) {
	defer func() { // huma panics on types that it cannot describe
		if p := recover(); p != nil {
			err = fmt.Errorf("describe routes: %v", p)
		}
	}()
	d := newDescription(title, version)
	for _, r := range routes {
		d.add(r)
	}
	for name, s := range d.in.Map() { // what may be left out is said by the answers, not by Go's types
		s.Required = nil
		d.doc.Components.Schemas.Map()[name] = s
	}
	return json.Marshal(d.doc)
}

type description struct {
	doc     *huma.OpenAPI
	in, out huma.Registry
	problem *huma.Schema
}

func newDescription(title, version string) *description {
	named := func(suffix string) huma.Registry {
		r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string { return schemaName(t, hint) + suffix })
		r.RegisterTypeAlias(reflect.TypeFor[edge.Value](), reflect.TypeFor[valueSchema]())
		return r
	}
	d := &description{in: named("Input"), out: named("")}
	d.problem = d.out.Schema(reflect.TypeFor[gateway.Problem](), true, "Problem")
	d.doc = &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: title, Version: version, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Description: "Unknown is null, never zero. Errors are RFC 9457 problems.",
		},
		Components: &huma.Components{
			Schemas:         d.out,
			SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"}},
		},
	}
	return d
}

// schemaName tells types of the same name in several packages apart.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if pkg := path.Base(t.PkgPath()); t.PkgPath() != "" && pkg != "edge" && pkg != "gateway" {
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// valueSchema describes edge.Value, which is written as ["kind","semantics",value].
type valueSchema struct{}

// Schema is an array of three.
func (valueSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{}, Description: `One measured value: ["kind","semantics",value]`}
}

func (d *description) add(r Route) {
	where, params := parameters(r.Path)
	op := &huma.Operation{
		Method: r.Method, Path: where, Tags: []string{cmp.Or(r.Tag, "other")}, Summary: r.Summary, Description: r.Need.String(), Parameters: params,
		OperationID: operationID(r.Method, where), Responses: d.responses(r),
	}
	if !r.Need.Public {
		op.Security = []map[string][]string{{"token": {}}}
	}
	if r.In != nil {
		op.RequestBody = &huma.RequestBody{Content: jsonContent("application/json", d.in.Schema(reflect.TypeOf(r.In), true, op.OperationID))}
	}
	d.doc.AddOperation(op)
}

func operationID(method, where string) string {
	return strings.ToLower(method) + strings.NewReplacer("/", "-", "{", "", "}", "", ".", "-").Replace(where)
}

// parameters turns a pattern of http.ServeMux into a path of OpenAPI.
func parameters(pattern string) (where string, params []*huma.Param) {
	where = strings.ReplaceAll(strings.ReplaceAll(pattern, "...}", "}"), "{$}", "")
	for part := range strings.SplitSeq(where, "/") {
		begin, end := strings.Index(part, "{"), strings.Index(part, "}")
		if begin >= 0 && end > begin {
			params = append(params, &huma.Param{Name: part[begin+1 : end], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	return where, params
}

// responses are the answer as far as it is known, and the problems that the policy brings.
func (d *description) responses(r Route) map[string]*huma.Response {
	good := &huma.Response{Description: "Done"}
	if r.Out != nil {
		good.Content = jsonContent("application/json", d.out.Schema(reflect.TypeOf(r.Out), true, operationID(r.Method, r.Path)+"-answer"))
	}
	out := map[string]*huma.Response{strconv.Itoa(http.StatusOK): good}
	problems := []int{http.StatusTooManyRequests, http.StatusInternalServerError}
	if !r.Need.Public {
		problems = append(problems, http.StatusUnauthorized, http.StatusForbidden)
	}
	if r.Need.Of != nil || strings.Contains(r.Path, "{") {
		problems = append(problems, http.StatusNotFound)
	}
	if r.In != nil {
		problems = append(problems, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	}
	for _, status := range problems {
		out[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: jsonContent("application/problem+json", d.problem)}
	}
	return out
}

func jsonContent(contentType string, s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{contentType: {Schema: s}}
}

// String says the policy in words.
func (n Need) String() string {
	switch {
	case n.Public:
		return "Needs no token."
	case n.SignedIn && n.Permission != "":
		return "Needs a token; a service's one with the permission " + n.Permission + "."
	case n.SignedIn:
		return "Needs a token; answers about what its holder may see."
	case n.Permission != "":
		return "Needs the role " + n.Role.String() + "; of a service, the permission " + n.Permission + " as well."
	}
	return "Needs the role " + n.Role.String() + "."
}
