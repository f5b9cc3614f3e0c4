package analytics

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// contentTypes are what reports are, by format.
var contentTypes = map[string]string{
	"csv":  "text/csv; charset=utf-8",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"html": "text/html; charset=utf-8",
}

// encode writes a table in a format.
func (t *table) encode(format string) ([]byte, error) {
	var b bytes.Buffer
	err := map[string]func(io.Writer) error{"csv": t.csv, "xlsx": t.xlsx, "html": t.html}[format](&b)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", format, err)
	}
	return b.Bytes(), nil
}

// guarded keeps a text from being taken for a formula by a spreadsheet.
func guarded(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

// text is a cell as people and CSV readers read it; what is not known is empty.
func text(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case string:
		return guarded(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return fmt.Sprint(cell)
}

// csv writes RFC 4180.
func (t *table) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write(t.Columns); err != nil {
		return err
	}
	row := make([]string, len(t.Columns))
	for _, r := range t.Rows {
		for i, cell := range r {
			row[i] = text(cell)
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// The sheets of a workbook.
const (
	sheetData  = "Data"
	sheetAbout = "About"
)

// xlsx writes a workbook: the sheet Data is the table from A1 on, with numbers as numbers and
// times as the clock on the wall showed them, so that charts can be made of it as it is.
func (t *table) xlsx(w io.Writer) (err error) {
	f := excelize.NewFile()
	defer f.Close()
	if err := f.SetSheetName("Sheet1", sheetData); err != nil {
		return err
	}
	format := "yyyy-mm-dd hh:mm"
	day, err := f.NewStyle(&excelize.Style{CustomNumFmt: &format})
	if err != nil {
		return err
	}
	if err := t.dataSheet(f, day); err != nil {
		return err
	}
	if err := t.aboutSheet(f); err != nil {
		return err
	}
	return f.Write(w)
}

func (t *table) dataSheet(f *excelize.File, day int) error {
	bold, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}})
	if err != nil {
		return err
	}
	s, err := f.NewStreamWriter(sheetData)
	if err != nil {
		return err
	}
	if err := s.SetColWidth(1, len(t.Columns), 18); err != nil {
		return err
	}
	if err := s.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	head := make([]any, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = excelize.Cell{StyleID: bold, Value: c}
	}
	if err := s.SetRow("A1", head); err != nil {
		return err
	}
	for i, r := range t.Rows {
		row := make([]any, len(r))
		for j, cell := range r {
			if row[j] = cell; cell == nil {
				continue
			}
			switch v := cell.(type) {
			case time.Time:
				row[j] = excelize.Cell{StyleID: day, Value: onWall(v)}
			case string: // a text cell is no formula; it is the same text as in CSV
				row[j] = guarded(v)
			}
		}
		if err := s.SetRow("A"+strconv.Itoa(i+2), row); err != nil {
			return err
		}
	}
	return s.Flush()
}

// onWall is the time that spreadsheets, which know no zones, are to show.
func onWall(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

func (t *table) aboutSheet(f *excelize.File) error {
	if _, err := f.NewSheet(sheetAbout); err != nil {
		return err
	}
	for i, line := range t.about() {
		if err := f.SetSheetRow(sheetAbout, "A"+strconv.Itoa(i+1), &[]string{line[0], guarded(line[1])}); err != nil {
			return err
		}
	}
	return nil
}

// about says what the table is of.
func (t *table) about() [][2]string {
	return [][2]string{
		{"Report", t.Title}, {"Site", t.Site}, {"From", t.From.Format(time.RFC3339)}, {"To", t.To.Format(time.RFC3339)}, {"Zone", t.Zone},
		{"Made", t.Made.Format(time.RFC3339)}, {"Empty cells", "not known; that is not zero"}, {"Averages", "over known time; see coverage"},
	}
}

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}} - {{.Site}}</title>
<style>
body { font: 10pt sans-serif; margin: 1cm; }
table { border-collapse: collapse; }
th, td { border: 1px solid #bbb; padding: 2px 5px; text-align: right; }
th { background: #eee; vertical-align: bottom; }
td.text { text-align: left; }
td.none { background: #f4f4f4; }
thead { display: table-header-group; }
tr { page-break-inside: avoid; }
@page { size: A4 landscape; margin: 1cm; }
</style></head><body>
<h1>{{.Title}}</h1>
<dl>{{range .About}}<dt>{{index . 0}}</dt><dd>{{index . 1}}</dd>{{end}}</dl>
<table><thead><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr></thead>
<tbody>{{range .Rows}}<tr>{{range .}}<td{{if .Class}} class="{{.Class}}"{{end}}>{{.Text}}</td>{{end}}</tr>
{{end}}</tbody></table>
</body></html>
`))

// htmlCell is a cell of the print view.
type htmlCell struct{ Text, Class string }

// html writes a page for printing, without scripts.
func (t *table) html(w io.Writer) error {
	rows := make([][]htmlCell, len(t.Rows))
	for i, r := range t.Rows {
		for _, cell := range r {
			c := htmlCell{Text: text(cell)}
			switch v := cell.(type) {
			case string:
				c = htmlCell{v, "text"}
			case time.Time:
				c = htmlCell{v.Format("2006-01-02 15:04"), "text"}
			case nil:
				c.Class = "none"
			}
			rows[i] = append(rows[i], c)
		}
	}
	return page.Execute(w, struct {
		*table
		About [][2]string
		Rows  [][]htmlCell
	}{t, t.about(), rows})
}
