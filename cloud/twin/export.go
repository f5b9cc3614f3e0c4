package twin

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// Row is one line of an export of history: flat, for the tables of analytical databases. What is
// not known is null in NDJSON and empty in CSV.
type Row struct {
	Org         string                `json:"org"`
	Site        string                `json:"site"`
	Space       string                `json:"space"`
	At          string                `json:"at"` // UTC, milliseconds: it holds from here until the space's next row
	State       edge.OccupancyState   `json:"state"`
	Quality     edge.OccupancyQuality `json:"quality"`
	Count       *int                  `json:"count"`
	Low         *int                  `json:"low"`
	High        *int                  `json:"high"`
	Mean        *float64              `json:"mean"`
	POccupied   *float64              `json:"p_occupied"`
	Capacity    int                   `json:"capacity"`
	Utilisation *float64              `json:"utilisation"`
}

var rowColumns = []string{"org", "site", "space", "at", "state", "quality", "count", "low", "high", "mean", "p_occupied", "capacity", "utilisation"}

// exportTime is how exports write times: what analytical databases read without being told.
const exportTime = "2006-01-02 15:04:05.000"

func (r Row) fields() []string {
	return []string{r.Org, r.Site, r.Space, r.At, string(r.State), string(r.Quality), whole(r.Count), whole(r.Low), whole(r.High),
		fraction(r.Mean), fraction(r.POccupied), strconv.Itoa(r.Capacity), fraction(r.Utilisation)}
}

func whole(v *int) string {
	if v == nil {
		return ""
	}
	return strconv.Itoa(*v)
}

func fraction(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

// exportPatience bounds one export.
const exportPatience = 10 * time.Minute

// export streams the occupancy history of all spaces of a site, or of ?space=, as NDJSON
// (ClickHouse's JSONEachRow) or CSV with a header. It holds one page in memory.
func (t *Twin) export(w http.ResponseWriter, r *http.Request) {
	s := route.Found(r.Context()).(store.Site)
	from, to, err := t.span(r)
	format := r.URL.Query().Get("format")
	if err == nil && format != "" && format != "ndjson" && format != "csv" {
		err = problem(http.StatusBadRequest, "format %q: want ndjson or csv", format)
	}
	var spaces []string
	if err == nil {
		spaces, err = t.exported(r.Context(), s, r.URL.Query()["space"])
	}
	if err != nil {
		t.refuse(w, r, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportPatience)) // a recorder of tests has none
	out := newRowWriter(w, format)
	for _, space := range spaces {
		if err := t.exportSpace(r, s, space, from, to, out); err != nil {
			t.log.Error("export ended early", "site", s.Site, "space", space, "err", err)
			panic(http.ErrAbortHandler) // half an export must not look like a whole one
		}
	}
	if err := out.Close(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (t *Twin) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *gateway.Problem
	if !errors.As(err, &p) {
		t.log.Error("export failed", "path", r.URL.Path, "err", err)
		p = gateway.NewProblem(http.StatusInternalServerError, "the cloud could not do this; its log says why")
	}
	gateway.WriteProblem(w, p)
}

// exported lists the spaces to export.
func (t *Twin) exported(ctx context.Context, s store.Site, only []string) ([]string, error) {
	if len(only) > 0 {
		return only, nil
	}
	v, err := t.View(ctx, s)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(v.Spaces))
	for i, sp := range v.Spaces {
		ids[i] = sp.ID
	}
	return ids, nil
}

func (t *Twin) exportSpace(r *http.Request, s store.Site, space string, from, to time.Time, out *rowWriter) error {
	for {
		points, err := t.points(r, s, space, from, to, maxPoints+1)
		if err != nil {
			return err
		}
		page := points[:min(len(points), maxPoints)]
		for _, o := range page {
			if err := out.Write(row(s, o)); err != nil {
				return err
			}
		}
		if len(points) <= maxPoints {
			return nil
		}
		from = points[maxPoints].AsOf
	}
}

func row(s store.Site, o edge.Occupancy) Row {
	return Row{
		Org: s.Org, Site: s.Site, Space: o.Space, At: o.AsOf.UTC().Format(exportTime), State: o.State, Quality: o.Quality,
		Count: o.Count, Low: o.Low, High: o.High, Mean: o.Mean, POccupied: o.POccupied, Capacity: o.Capacity, Utilisation: o.Utilisation,
	}
}

// rowWriter writes rows in a format; Close says whether all of them went out.
type rowWriter struct {
	Write func(Row) error
	Close func() error
}

func newRowWriter(w http.ResponseWriter, format string) *rowWriter {
	w.Header().Set("Cache-Control", "no-store")
	buf := bufio.NewWriter(w)
	if format == "csv" {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="occupancy.csv"`)
		return csvRows(buf)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(buf)
	return &rowWriter{Write: func(r Row) error { return enc.Encode(r) }, Close: buf.Flush}
}

func csvRows(w io.Writer) *rowWriter {
	c := csv.NewWriter(w)
	_ = c.Write(rowColumns) // an error stays and Close tells it
	return &rowWriter{
		Write: func(r Row) error { return c.Write(r.fields()) },
		Close: func() error {
			c.Flush()
			if b, ok := w.(*bufio.Writer); ok {
				return errors.Join(c.Error(), b.Flush())
			}
			return c.Error()
		},
	}
}
