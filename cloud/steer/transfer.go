package steer

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/wire"
)

// columns of the CSV form. kind is building, floor, room, zone, door or sensor; what a kind has no
// use for stays empty. A door leads from "from" to "to", which is its "in".
var columns = []string{"kind", "id", "name", "parent", "capacity", "volume_m3", "hours", "from", "to", "class", "profile", "device", "space", "door", "reversed", "horizon"}

// fits says which columns a kind may have besides kind and id.
var fits = map[string][]string{
	"space":  {"name", "parent", "capacity", "volume_m3", "hours"},
	"door":   {"from", "to"},
	"sensor": {"name", "class", "profile", "device", "space", "door", "reversed", "horizon"},
}

// parseImport reads a document as JSON, YAML or, by its content type or first line, CSV.
func parseImport(data []byte, contentType string) (Document, error) {
	first, _, _ := bytes.Cut(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\n"))
	if strings.Contains(contentType, "csv") || bytes.HasPrefix(first, []byte("kind,")) || bytes.HasPrefix(first, []byte("kind;")) {
		return parseCSV(data)
	}
	return parseDocument(data, contentType)
}

// parseCSV reads the CSV form; all mistakes are told by line.
func parseCSV(data []byte) (Document, error) {
	var d Document
	if len(data) > wire.MaxLayer {
		return d, problem(http.StatusRequestEntityTooLarge, "the file is larger than %d bytes; divide it", wire.MaxLayer)
	}
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	if first, _, _ := bytes.Cut(data, []byte("\n")); bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		in.Comma = ';'
	}
	header, err := in.Read()
	if err != nil {
		return d, problem(http.StatusBadRequest, "line 1: want the names of columns, such as %s", strings.Join(columns, ","))
	}
	for i, name := range header {
		if header[i] = strings.ToLower(strings.TrimSpace(name)); !slices.Contains(columns, header[i]) || slices.Contains(header[:i], header[i]) {
			return d, problem(http.StatusUnprocessableEntity, "line 1: column %.80q is not one of %s, or there twice", name, strings.Join(columns, ","))
		}
	}
	p := gateway.NewProblem(http.StatusUnprocessableEntity, "the file has mistakes; nothing was changed")
	bad := func(line int, format string, args ...any) {
		if len(p.Errors) < maxFieldProblems {
			p.Errors = append(p.Errors, gateway.FieldProblem{Location: "line " + strconv.Itoa(line), Message: fmt.Sprintf(format, args...)})
		}
	}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := in.FieldPos(0)
		if err != nil {
			var at *csv.ParseError
			if errors.As(err, &at) {
				line, err = at.Line, at.Err
			}
			bad(line, "%v", err)
			if record == nil || at == nil || !errors.Is(at.Err, csv.ErrFieldCount) {
				break
			}
			continue
		}
		cells := map[string]string{}
		for i, cell := range record {
			if cell = strings.TrimSpace(cell); cell != "" {
				cells[header[i]] = cell
			}
		}
		if len(cells) > 0 {
			d.addLine(cells, func(format string, args ...any) { bad(line, format, args...) })
		}
	}
	if len(p.Errors) > 0 {
		return d, p
	}
	return d, d.check()
}

// addLine adds the element of one line.
func (d *Document) addLine(cells map[string]string, bad func(string, ...any)) {
	kind, group, list := cells["kind"], "space", &d.Spaces
	switch kind {
	case string(edge.Building), string(edge.Floor), string(edge.Room), string(edge.Zone):
	case "door":
		group, list = kind, &d.Doors
	case "sensor":
		group, list = kind, &d.Sensors
	default:
		bad("kind %.80q: want building, floor, room, zone, door or sensor", kind)
		return
	}
	if !wire.ValidToken(cells["id"]) {
		bad("id %.80q: want 1 to 64 of a-z 0-9 _ -", cells["id"])
		return
	}
	if hasID(*list, "id", cells["id"]) {
		bad("there is already a %s %q", group, cells["id"])
	}
	e := Element{"id": quote(cells["id"])}
	if group == "space" {
		e["kind"] = quote(kind)
	}
	for _, column := range columns[2:] {
		text, given := cells[column]
		switch {
		case !given:
		case !slices.Contains(fits[group], column):
			bad("%s: a %s has none", column, kind)
		case column == "capacity" || column == "volume_m3":
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || n < 0 || column == "capacity" && n != float64(int(n)) {
				bad("%s %.80q: want a number", column, text)
				continue
			}
			e[column] = json.RawMessage(strconv.FormatFloat(n, 'f', -1, 64))
		case column == "reversed":
			yes, err := strconv.ParseBool(text)
			if err != nil {
				bad("reversed %.80q: want true or false", text)
				continue
			}
			e[column] = json.RawMessage(strconv.FormatBool(yes))
		case group != "door":
			e[column] = quote(text)
		}
	}
	if group == "door" {
		if cells["from"] == "" || cells["to"] == "" {
			bad("a door leads from one space to another: give from and to")
		}
		between, _ := json.Marshal([]string{cells["from"], cells["to"]})
		e["between"] = between
	}
	*list = append(*list, e)
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // text always encodes
	return b
}

// export answers the site's model as its hub runs it; before any hub spoke, what is desired.
func (s *Steer) export(r *route.Request) (any, error) {
	site := r.Found.(store.Site)
	var doc Document
	if len(site.Model) > 0 {
		var model edge.Site
		if err := json.Unmarshal(site.Model, &model); err != nil {
			return nil, fmt.Errorf("model of site %s: %w", site.Site, err)
		}
		var err error
		if doc, err = modelDocument(model); err != nil {
			return nil, err
		}
	} else {
		d, err := s.Desired(r.Context(), site)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(d.Document, &doc); err != nil {
			return nil, fmt.Errorf("read revision %d: %w", d.Rev, err)
		}
		doc.Alerts, doc.Remove = nil, nil
	}
	if r.URL.Query().Get("format") != "csv" {
		return doc, nil
	}
	b, err := doc.csv()
	return &route.Response{ContentType: "text/csv; charset=utf-8", Raw: b, Header: http.Header{"Content-Disposition": {`attachment; filename="` + site.Site + `.csv"`}}}, err
}

// modelDocument writes a site model in the form of the file.
func modelDocument(m edge.Site) (Document, error) {
	var d Document
	for _, x := range m.Spaces {
		d.Spaces = append(d.Spaces, elementOf(x))
	}
	for _, x := range m.Doors {
		d.Doors = append(d.Doors, elementOf(x))
	}
	for _, x := range m.Sensors {
		e := elementOf(x)
		if x.Horizon > 0 {
			e["horizon"] = quote(x.Horizon.String())
		}
		d.Sensors = append(d.Sensors, e)
	}
	return d, nil
}

func elementOf(v any) Element {
	var e Element
	b, _ := json.Marshal(v) // our own types always encode
	_ = json.Unmarshal(b, &e)
	return e
}

// csv writes the CSV form; what it has no column for (params) is left out.
func (d *Document) csv() ([]byte, error) {
	var buf bytes.Buffer
	out := csv.NewWriter(&buf)
	_ = out.Write(columns) // Flush tells
	for _, sec := range d.sections() {
		for _, e := range *sec.list {
			row := make([]string, len(columns))
			for i, c := range columns {
				row[i] = cell(e[c])
			}
			switch sec.name {
			case "doors":
				var between [2]string
				_ = json.Unmarshal(e["between"], &between) // none is empty
				row[0], row[slices.Index(columns, "from")], row[slices.Index(columns, "to")] = "door", between[0], between[1]
			case "sensors":
				row[0] = "sensor"
			}
			_ = out.Write(row)
		}
	}
	out.Flush()
	return buf.Bytes(), out.Error()
}

// cell is a value as text. A leading = + - @ that a spreadsheet would run cannot be in ids; in
// names it is kept off by an apostrophe.
func cell(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
