package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headcount-hub/headcount/edge"
)

// LineOptions say what the lines of a text protocol look like.
type LineOptions struct {
	// Format is "json", "csv" or "auto" (a line that begins with { or [ is JSON); auto when empty.
	Format string `json:"format,omitempty"`
	// CSVColumns name the fields of a CSV line: "id", "ts", "seq", "count_in", "motion", …; an
	// empty name or "-" is a column that is not read.
	CSVColumns []string `json:"csv_columns,omitempty"`
	// Delimiter separates the fields of a CSV line: one character; a comma when empty.
	Delimiter string `json:"delimiter,omitempty"`
	MapOptions
}

// MaxLine is the longest line in bytes, without its end.
const MaxLine = 4 << 10

// Lines reads lines of JSON or CSV text, one reading each.
type Lines struct {
	format  string
	columns []*field // nil: not read
	names   []string
	access  bool // the lines are about accesses
	comma   string
	mapping *Mapping
}

// NewLines checks the options.
func NewLines(o LineOptions) (*Lines, error) {
	l := &Lines{format: o.Format, comma: o.Delimiter}
	switch l.format {
	case "":
		l.format = "auto"
	case "auto", "json", "csv":
	default:
		return nil, fmt.Errorf("format %q: want json, csv or auto", o.Format)
	}
	if l.comma == "" {
		l.comma = ","
	}
	if utf8.RuneCountInString(l.comma) != 1 || strings.ContainsAny(l.comma, "\"\r\n") {
		return nil, fmt.Errorf("delimiter %q: want one character, not a quote", o.Delimiter)
	}
	if l.format == "csv" && len(o.CSVColumns) == 0 {
		return nil, fmt.Errorf("format csv needs csv_columns, as in [id, count_in, count_out]")
	}
	values, known := 0, fields
	l.access = slices.ContainsFunc(o.CSVColumns, func(c string) bool {
		return strings.EqualFold(c, "event") || strings.EqualFold(c, string(edge.Access))
	})
	if l.access {
		known = accessFields
	}
	for _, name := range o.CSVColumns {
		if name == "" || name == "-" || name == "_" {
			l.columns, l.names = append(l.columns, nil), append(l.names, "")
			continue
		}
		f := known[strings.ToLower(name)]
		if f == nil || f.role == roleCompact {
			return nil, fmt.Errorf("csv_columns: %q is not a field or kind; known are id, ts, seq and kinds such as motion, count_in, count_abs, co2_ppm; - skips a column", name)
		}
		if f.role == roleValue || f.role == roleEvent {
			values++
		}
		l.columns, l.names = append(l.columns, f), append(l.names, name)
	}
	if len(l.columns) > 0 && values == 0 {
		return nil, fmt.Errorf("csv_columns: no column is a value")
	}
	m, err := NewMapping(o.MapOptions)
	if err != nil {
		return nil, err
	}
	l.mapping = m
	return l, nil
}

// DecodeLine reads one line, in.Body, without its end. An empty line and a comment (#) say
// nothing. Sensors without an id of their own are named by in.Topic or in.Path.
func (l *Lines) DecodeLine(in Input) ([]Observation, error) {
	line := bytes.TrimSpace(in.Body)
	switch {
	case len(line) == 0 || line[0] == '#':
		return nil, nil
	case len(line) > MaxLine:
		return nil, errorf(TooLarge, "line of %d bytes, at most %d are taken", len(line), MaxLine)
	case !text(line):
		return nil, errorf("noise", "bytes that are no text")
	}
	in.Body = line
	isJSON := line[0] == '{' || line[0] == '['
	if l.format == "json" || l.format == "auto" && (isJSON || l.columns == nil) {
		return l.mapping.Decode(in)
	}
	return l.csv(in)
}

// text tells whether b is UTF-8 without control characters but the tab.
func text(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// csv reads one CSV line by making the reading its columns stand for.
func (l *Lines) csv(in Input) ([]Observation, error) {
	cells, err := splitCells(string(in.Body), l.comma)
	if err != nil {
		return nil, err
	}
	if len(cells) != len(l.columns) {
		return nil, errorf(Malformed, "%d columns, want %d: %s", len(cells), len(l.columns), strings.Join(l.names, ","))
	}
	if l.header(cells) {
		return nil, nil
	}
	p := plain{zone: l.mapping.zone}
	h := head{sensor: in.source(), idRank: noRank, timeRank: noRank}
	for i, f := range l.columns {
		if f == nil {
			continue
		}
		cell, _ := json.Marshal(cells[i])
		d, err := ParseJSON(cell, Limits{})
		if err != nil {
			return nil, err
		}
		if e := p.member(f, d.Root(), &h, 0); e != nil {
			d.Free()
			return nil, errorf(e.Cause, "column %s: %s", l.names[i], e.Detail)
		}
		d.Free()
	}
	if l.access {
		if p.obs = sighted(p.obs); len(p.obs) == 0 {
			return nil, nil
		}
		if err := h.settle(); err != nil {
			return nil, err
		}
	}
	for i := range p.obs {
		h.stamp(&p.obs[i])
		if s, ok := l.mapping.semantics[p.obs[i].Value.Kind]; ok {
			p.obs[i].Value.Semantics = s
		}
	}
	return p.obs, nil
}

// header tells whether the cells are the names of the columns.
func (l *Lines) header(cells []string) bool {
	same := 0
	for i, c := range cells {
		if l.columns[i] != nil && strings.EqualFold(strings.TrimSpace(c), l.names[i]) {
			same++
		}
	}
	return same > 1
}

// splitCells splits a line; cells may stand in quotes, a quote within is doubled.
func splitCells(line, comma string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		cells := strings.Split(line, comma)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		return cells, nil
	}
	var cells []string
	for {
		line = strings.TrimLeft(line, " \t")
		var cell string
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			var b strings.Builder
			for {
				before, after, found := strings.Cut(quoted, `"`)
				if !found {
					return nil, errorf(Malformed, "quote without end")
				}
				b.WriteString(before)
				if quoted, ok = strings.CutPrefix(after, `"`); !ok {
					line = strings.TrimLeft(after, " \t")
					break
				}
				b.WriteByte('"')
			}
			cell = b.String()
		} else if at := strings.Index(line, comma); at >= 0 {
			cell, line = strings.TrimSpace(line[:at]), line[at:]
		} else {
			cell, line = strings.TrimSpace(line), ""
		}
		cells = append(cells, cell)
		if line == "" {
			return cells, nil
		}
		rest, ok := strings.CutPrefix(line, comma)
		if !ok {
			return nil, errorf(Malformed, "text after a quote")
		}
		line = rest
	}
}

// Decode reads a whole text: lines that end in CR, LF or both. What stands behind the last end
// of line is not a line yet and is not read. The error is that of the first bad line; the
// others are read.
func (l *Lines) Decode(in Input) ([]Observation, error) {
	var all []Observation
	var first error
	for rest := in.Body; ; {
		at := bytes.IndexAny(rest, "\r\n")
		if at < 0 {
			return all, first
		}
		in.Body, rest = rest[:at], rest[at+1:]
		obs, err := l.DecodeLine(in)
		if err != nil && first == nil {
			first = err
		}
		all = append(all, obs...)
	}
}
