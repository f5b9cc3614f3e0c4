// Package schema says what the data of each type of event looks like: a JSON Schema (2020-12) per
// type and major version, made from the Go types that are written, and how data of an older major
// version becomes today's.
//
// The type of an event is its name, with ".vN" behind it from the second major version on. Within
// a major version members are only added: who reads ignores those it does not know. A change that
// an older reader would misunderstand is a new major version, together with a Cast from the one
// before, so that what was ever recorded is read for ever.
package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
)

// Type is one type of event in one major version.
type Type struct {
	Name  string // without version; "workorder.*" stands for all that begin so
	Major int    // 0 = 1
	About string // one line
	Data  any    // zero value of what is written
}

// Catalogue knows all types. It is immutable.
type Catalogue struct {
	types []Type
	docs  map[string][]byte // by name and major
}

// New makes a catalogue of the given types. An error is a mistake of the program.
func New(types ...Type) (*Catalogue, error) {
	c := &Catalogue{types: slices.Clone(types), docs: map[string][]byte{}}
	for i := range c.types {
		t := &c.types[i]
		t.Major = max(1, t.Major)
		doc, err := document(*t)
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", t.Name, err)
		}
		if c.docs[key(t.Name, t.Major)] != nil {
			return nil, fmt.Errorf("schema of %s: it is there twice", t.Name)
		}
		c.docs[key(t.Name, t.Major)] = doc
	}
	slices.SortFunc(c.types, func(a, b Type) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Major-b.Major) })
	return c, nil
}

func key(name string, major int) string { return name + ".v" + strconv.Itoa(major) }

// Split takes a CloudEvents type apart into its name and major version.
func Split(typ string) (name string, major int) {
	at := strings.LastIndex(typ, ".v")
	if at > 0 {
		if n, err := strconv.Atoi(typ[at+2:]); err == nil && n > 1 && strconv.Itoa(n) == typ[at+2:] {
			return typ[:at], n
		}
	}
	return typ, 1
}

// Find returns the JSON Schema of an event's data; nil when the type is not known.
func (c *Catalogue) Find(name string, major int) []byte {
	if doc := c.docs[key(name, major)]; doc != nil {
		return doc
	}
	if family, _, ok := strings.Cut(name, "."); ok {
		return c.docs[key(family+".*", major)]
	}
	return nil
}

// Entry is one line of the list of schemas.
type Entry struct {
	Type  string `json:"type"`
	Major int    `json:"major"`
	About string `json:"about"`
	URL   string `json:"url"`
}

// Types lists all types.
func (c *Catalogue) Types() []Entry {
	out := make([]Entry, len(c.types))
	for i, t := range c.types {
		out[i] = Entry{Type: t.Name, Major: t.Major, About: t.About, URL: fmt.Sprintf("/v1/schemas/%s/%d", t.Name, t.Major)}
	}
	return out
}

// Routes is the module's part of the API. Schemas are no secret.
func (c *Catalogue) Routes() []route.Route {
	public := route.Need{Public: true}
	return []route.Route{
		{Method: http.MethodGet, Path: "/v1/schemas", Tag: "schemas", Summary: "The types of event with their major versions", Need: public,
			Handle: func(*route.Request) (any, error) { return map[string][]Entry{"schemas": c.Types()}, nil }},
		{Method: http.MethodGet, Path: "/v1/schemas/{type}/{major}", Tag: "schemas", Summary: "JSON Schema of the data of a type of event", Need: public,
			Handle: func(r *route.Request) (any, error) {
				major, err := strconv.Atoi(r.PathValue("major"))
				doc := c.Find(r.PathValue("type"), major)
				if err != nil || doc == nil {
					return nil, route.Problem(http.StatusNotFound, "there is no such type of event in this version; /v1/schemas lists them")
				}
				return &route.Response{ContentType: "application/schema+json", Raw: doc}, nil
			}},
	}
}

// Cast turns the data of one major version into that of the next.
type Cast func(json.RawMessage) (json.RawMessage, error)

// Casts are the casts of all types, by the name and the major version that they read: "name.v1".
type Casts map[string]Cast

// released are the casts from versions that hubs were released with. So far every type is in its
// first major version.
var released = Casts{}

// Up brings an event to the newest major version of its type that this program knows a way to.
func Up(typ string, data json.RawMessage) (string, json.RawMessage, error) {
	return released.Up(typ, data)
}

// Up brings an event to the newest major version that there is a way to.
func (c Casts) Up(typ string, data json.RawMessage) (string, json.RawMessage, error) {
	name, major := Split(typ)
	for {
		cast := c[key(name, major)]
		if cast == nil {
			return typ, data, nil
		}
		next, err := cast(data)
		if err != nil {
			return typ, data, fmt.Errorf("read %s as its next version: %w", typ, err)
		}
		major++
		typ, data = key(name, major), next
	}
}

// document writes the schema of one type.
func document(t Type) ([]byte, error) {
	if t.Data == nil {
		return nil, errors.New("it has no data")
	}
	body, err := of(reflect.TypeOf(t.Data))
	if err != nil {
		return nil, err
	}
	body["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	body["title"], body["description"] = t.Name, t.About
	body["$comment"] = fmt.Sprintf("major version %d; members may be added within it", t.Major)
	return json.MarshalIndent(body, "", "  ")
}
