package assist

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// Tool is one thing that an assistant can ask for.
type Tool struct {
	Name        string
	Title       string
	Description string
	fields      []string // of Arguments
	required    []string
	call        func(ctx context.Context, api API, a Arguments, now time.Time) (Answer, error)
}

// Arguments are those of all tools; each takes some.
type Arguments struct {
	Site   string `json:"site,omitempty"`
	Org    string `json:"org,omitempty"`
	Space  string `json:"space,omitempty"`
	Query  string `json:"query,omitempty"`
	Kind   string `json:"kind,omitempty"`
	State  string `json:"state,omitempty"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Every  string `json:"every,omitempty"`
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

// descriptions of the arguments, for the model.
var descriptions = map[string]string{
	"site":   "id of a site, as list_sites has it",
	"org":    "organisation of the site; only needed where several have a site of that id",
	"space":  "id of a space, as list_spaces has it",
	"query":  "text that id or name must hold",
	"kind":   "building, floor, room or zone",
	"state":  "only those in this state",
	"from":   "RFC 3339 time, such as 2026-03-02T08:00:00Z",
	"to":     "RFC 3339 time; now by default",
	"every":  "one point per step, such as 15m or 1h; without it every change",
	"cursor": "next of an earlier answer, for more rows",
	"limit":  "most rows to answer, 1 to 200; 50 by default",
}

// Answer is what a tool answers. Rows is never nil.
type Answer struct {
	Tool  string    `json:"tool"`
	Known bool      `json:"known"`          // false: there is no row, or nothing of them is known
	Note  string    `json:"note,omitempty"` // what to say when it is not known, or to bear in mind
	AsOf  time.Time `json:"as_of,omitzero"` // newest time that any of it holds for
	Rows  []any     `json:"rows"`
	Next  string    `json:"next,omitempty"` // there are more: ask again with this as cursor
	Links []string  `json:"links"`          // of the API: where the rows come from
}

// notKnown is what is said where there is no number.
const notKnown = "not known"

// The bounds of an answer's rows.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// Tools lists the tools.
func Tools() []Tool {
	return []Tool{
		{"list_sites", "Sites", "Lists the sites you may see, with the people in them now.", []string{"query", "org", "cursor", "limit"}, nil, listSites},
		{"list_spaces", "Spaces of a site", "Lists the spaces of a site (building, floors, rooms, zones): ids, names, capacities.", []string{"site", "org", "kind", "query", "cursor", "limit"}, []string{"site"}, listSpaces},
		{"occupancy_now", "Occupancy now", "How many people are in the spaces of a site now, with a 90 % interval, quality and time. Without space: all spaces.", []string{"site", "org", "space", "kind", "query", "cursor", "limit"}, []string{"site"}, occupancyNow},
		{"occupancy_history", "Past occupancy", "How many people were in a space over a time; the last 24 hours by default.", []string{"site", "org", "space", "from", "to", "every", "cursor", "limit"}, []string{"site", "space"}, occupancyHistory},
		{"alerts", "Alerts", "Alerts of a site, or of all sites: firing, acknowledged and lately cleared ones.", []string{"site", "org", "state", "cursor", "limit"}, nil, alerts},
		{"trend", "Trend", "Average, least and most people in a space per hour (or per day over longer times), and whether it rises or falls; the last 24 hours by default.", []string{"site", "org", "space", "from", "to"}, []string{"site", "space"}, trend},
		{"work_orders", "Work orders", "Work orders, newest first: what somebody has to do, its state and deadlines.", []string{"site", "org", "state", "query", "cursor", "limit"}, nil, workOrders},
	}
}

// Schema is the JSON Schema of the tool's arguments.
func (t *Tool) Schema() json.RawMessage {
	properties := map[string]any{}
	for _, f := range t.fields {
		p := map[string]any{"type": "string", "description": descriptions[f], "maxLength": maxArgument}
		if f == "limit" {
			p = map[string]any{"type": "integer", "description": descriptions[f], "minimum": 1, "maximum": maxLimit}
		}
		properties[f] = p
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(t.required) > 0 {
		s["required"] = t.required
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// maxArgument bounds one argument in bytes.
const maxArgument = 500

// parse reads and checks arguments; errors are problems.
func (t *Tool) parse(raw []byte) (a Arguments, err error) {
	if len(strings.TrimSpace(string(raw))) == 0 {
		raw = []byte("{}")
	}
	if err := gateway.DecodeStrict(raw, &a); err != nil {
		return a, problem("arguments: %v", err)
	}
	var given map[string]any
	if err := json.Unmarshal(raw, &given); err != nil {
		return a, problem("arguments: want a JSON object")
	}
	for name, v := range given {
		if !slices.Contains(t.fields, name) {
			return a, problem("argument %q: %s takes %s", name, t.Name, strings.Join(t.fields, ", "))
		}
		s, ok := v.(string)
		switch {
		case ok && (len(s) > maxArgument || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' })):
			return a, problem("argument %q: want at most %d bytes on one line", name, maxArgument)
		case s == "." || s == "..": // would name another path
			return a, problem("argument %q: %q is no id", name, s)
		}
	}
	for _, name := range t.required {
		if s, _ := given[name].(string); s == "" {
			return a, problem("argument %q is missing: %s", name, descriptions[name])
		}
	}
	if a.Limit < 0 || a.Limit > maxLimit {
		return a, problem("limit %d: want 1 to %d", a.Limit, maxLimit)
	}
	if a.Limit == 0 {
		a.Limit = defaultLimit
	}
	return a, nil
}

// Call runs a tool in the name of the caller that ctx carries.
func (t *Tool) Call(ctx context.Context, api API, raw []byte, now time.Time) (Answer, error) {
	args, err := t.parse(raw)
	if err != nil {
		return Answer{}, err
	}
	out, err := t.call(ctx, api, args, now)
	if err != nil {
		return Answer{}, err
	}
	out.Tool = t.Name
	if out.Rows == nil {
		out.Rows = []any{}
	}
	if !out.Known && out.Note == "" {
		out.Note = notKnown + ": there are no rows about this"
	}
	return out, nil
}

// path joins escaped parts and a query without its empty values.
func path(parts []string, query ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			q.Set(query[i], query[i+1])
		}
	}
	if len(q) > 0 {
		b.WriteString("?" + q.Encode())
	}
	return b.String()
}

// sitePath is the path of something of a site.
func (a *Arguments) sitePath(rest ...string) string {
	return path(append([]string{"v1", "sites", a.Site}, rest...), "org", a.Org)
}

// window cuts a page out of a list and says where the next one begins.
func window[T any](list []T, a Arguments) (page []T, next string, err error) {
	from := 0
	if a.Cursor != "" {
		if from, err = strconv.Atoi(a.Cursor); err != nil || from < 0 {
			return nil, "", problem("cursor %q: want the next of an earlier answer", a.Cursor)
		}
	}
	from = min(from, len(list))
	to := min(from+a.Limit, len(list))
	if to < len(list) {
		next = fmt.Sprint(to)
	}
	return list[from:to], next, nil
}

// holds tells whether any of the texts has query in it.
func holds(query string, texts ...string) bool {
	return strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(query))
}
