package steer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	yamltoken "github.com/goccy/go-yaml/token"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Document is the part of a site's configuration that the cloud decides, in the form of the
// hub's own file. Over it the hub lays it: an element replaces the file's of the same id (name,
// for alerts) or is added, and what is in Remove is not there. What elements mean is the hub's to
// judge.
type Document struct {
	Spaces  []Element `json:"spaces,omitempty"`
	Doors   []Element `json:"doors,omitempty"`
	Sensors []Element `json:"sensors,omitempty"`
	Alerts  []Element `json:"alerts,omitempty"`
	Remove  *Removal  `json:"remove,omitempty"`
}

// Element is one space, door, sensor or alert.
type Element map[string]json.RawMessage

// Removal lists what the hub's file has and the site has not.
type Removal struct {
	Spaces  []string `json:"spaces,omitempty"`
	Doors   []string `json:"doors,omitempty"`
	Sensors []string `json:"sensors,omitempty"`
	Alerts  []string `json:"alerts,omitempty"`
}

// section is one list of a document, the key of its elements' ids, and what is removed of it.
type section struct {
	name string
	key  string
	list *[]Element
	gone *[]string
}

func (d *Document) sections() []section {
	if d.Remove == nil {
		d.Remove = &Removal{}
	}
	return []section{
		{"spaces", "id", &d.Spaces, &d.Remove.Spaces}, {"doors", "id", &d.Doors, &d.Remove.Doors},
		{"sensors", "id", &d.Sensors, &d.Remove.Sensors}, {"alerts", "name", &d.Alerts, &d.Remove.Alerts},
	}
}

// id is the element's id, empty when it has none.
func (e Element) id(key string) string {
	var s string
	_ = json.Unmarshal(e[key], &s) // none is empty
	return s
}

// parseDocument reads a document, JSON or YAML, strictly. The error is a problem that lists all
// mistakes with their places.
func parseDocument(data []byte, contentType string) (Document, error) {
	var d Document
	if len(data) > wire.MaxLayer {
		return d, problem(http.StatusRequestEntityTooLarge, "the document is larger than %d bytes; divide the site", wire.MaxLayer)
	}
	if strings.Contains(contentType, "yaml") {
		var err error
		if data, err = fromYAML(data); err != nil {
			return d, problem(http.StatusBadRequest, "body: %v", err)
		}
	}
	if err := gateway.DecodeStrict(data, &d); err != nil {
		return d, problem(http.StatusBadRequest, "body: %v; want {\"spaces\": […], \"doors\": […], \"sensors\": […], \"alerts\": […], \"remove\": {\"spaces\": [ID, …]}}", err)
	}
	return d, d.check()
}

// fromYAML turns YAML without aliases into JSON.
func fromYAML(data []byte) ([]byte, error) {
	for _, t := range lexer.Tokenize(string(data)) {
		if t.Type == yamltoken.AliasType || t.Type == yamltoken.AnchorType || t.Type == yamltoken.MergeKeyType {
			return nil, fmt.Errorf("line %d: anchors and aliases are not used here; write it out", t.Position.Line)
		}
	}
	b, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	if len(bytes.TrimSpace(b)) == 0 {
		b = []byte("{}")
	}
	return b, nil
}

// maxFieldProblems bounds what is told at once.
const maxFieldProblems = 50

// check finds what is wrong whatever the site looks like.
func (d *Document) check() error {
	var wrong []gateway.FieldProblem
	bad := func(where, format string, args ...any) {
		if len(wrong) < maxFieldProblems {
			wrong = append(wrong, gateway.FieldProblem{Location: "body." + where, Message: fmt.Sprintf(format, args...)})
		}
	}
	for _, s := range d.sections() {
		seen := map[string]bool{}
		for i, e := range *s.list {
			id, where := e.id(s.key), fmt.Sprintf("%s[%d].%s", s.name, i, s.key)
			switch {
			case id == "":
				bad(where, "is missing, or not text")
			case !wire.ValidToken(id):
				bad(where, "%.80q: want 1 to 64 of a-z 0-9 _ -", id)
			case seen[id]:
				bad(where, "%q is there twice", id)
			}
			seen[id] = true
		}
		for i, id := range *s.gone {
			if seen[id] {
				bad(fmt.Sprintf("remove.%s[%d]", s.name, i), "%q is among the %s, too", id, s.name)
			}
		}
	}
	d.tidy()
	if len(wrong) == 0 {
		return nil
	}
	p := gateway.NewProblem(http.StatusUnprocessableEntity, "the document has %d mistakes", len(wrong))
	p.Errors = wrong
	return p
}

// tidy drops an empty removal.
func (d *Document) tidy() {
	r := d.Remove
	if r != nil && len(r.Spaces)+len(r.Doors)+len(r.Sensors)+len(r.Alerts) == 0 {
		d.Remove = nil
	}
}

// Diff is what laying a document over another changed.
type Diff struct {
	Added    []string `json:"added"`    // "spaces/lobby"
	Replaced []string `json:"replaced"` //
	Same     int      `json:"same"`     // elements that were there as they are
	Removed  []string `json:"removed"`
}

// lay lays a fragment over the document: elements by id, removals added. An element that is
// removed is no longer there, one that is there is no longer removed.
func (d *Document) lay(over Document) Diff {
	diff := Diff{Added: []string{}, Replaced: []string{}, Removed: []string{}}
	own := d.sections()
	for i, s := range over.sections() {
		mine := own[i]
		*mine.list = slices.Clone(*mine.list)
		for _, e := range *s.list {
			id := e.id(s.key)
			at := slices.IndexFunc(*mine.list, func(x Element) bool { return x.id(s.key) == id })
			switch {
			case at < 0:
				*mine.list = append(*mine.list, e)
				diff.Added = append(diff.Added, s.name+"/"+id)
			case sameElement((*mine.list)[at], e):
				diff.Same++
			default:
				(*mine.list)[at] = e
				diff.Replaced = append(diff.Replaced, s.name+"/"+id)
			}
			*mine.gone = slices.DeleteFunc(slices.Clone(*mine.gone), func(x string) bool { return x == id })
		}
		for _, id := range *s.gone {
			*mine.list = slices.DeleteFunc(*mine.list, func(x Element) bool { return x.id(s.key) == id })
			if !slices.Contains(*mine.gone, id) {
				*mine.gone = append(*mine.gone, id)
				diff.Removed = append(diff.Removed, s.name+"/"+id)
			}
		}
	}
	d.tidy()
	return diff
}

func sameElement(a, b Element) bool {
	x, _ := json.Marshal(a) // keys are sorted; what was read can be written
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// patch changes the document by a merge patch: a section that is null is withdrawn, so that the
// hub's own file decides it alone; all else is laid over it.
func (d *Document) patch(data []byte, contentType string) (Diff, error) {
	over, err := parseDocument(data, contentType)
	if err != nil {
		return Diff{}, err
	}
	if strings.Contains(contentType, "yaml") {
		if data, err = fromYAML(data); err != nil {
			return Diff{}, err
		}
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil {
		return Diff{}, problem(http.StatusBadRequest, "body: want an object")
	}
	var withdrawn []string
	for _, s := range d.sections() {
		if string(given[s.name]) == "null" && len(*s.list) > 0 {
			*s.list = nil
			withdrawn = append(withdrawn, s.name)
		}
	}
	if string(given["remove"]) == "null" {
		d.Remove = nil
	}
	diff := d.lay(over)
	diff.Removed = append(diff.Removed, withdrawn...)
	return diff, nil
}

// text is the form in which a document is stored and goes down: a line per value, so that the
// hub's messages can name one.
func (d Document) text() ([]byte, error) {
	d.tidy()
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	if len(b) > wire.MaxLayer {
		return nil, problem(http.StatusRequestEntityTooLarge, "the document would have %d bytes, at most %d are possible; divide the site", len(b), wire.MaxLayer)
	}
	return b, nil
}
