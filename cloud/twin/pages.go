package twin

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// SensorPage is the answer of GET /sensors/{id}/data.
type SensorPage struct {
	Org      string        `json:"org"`
	Site     string        `json:"site"`
	Sensor   string        `json:"sensor"`
	Readings []SensorDatum `json:"readings"`       // in the order in which the hub took them
	Next     string        `json:"next,omitempty"` // there may be more: ask again with this as after
}

// SensorDatum is a reading as people see it.
type SensorDatum struct {
	At       time.Time `json:"at"`
	Received time.Time `json:"received,omitzero"`
	Device   string    `json:"device,omitempty"`
	Seq      string    `json:"seq,omitempty"`
	Backfill bool      `json:"backfill,omitempty"`
	Quality  string    `json:"quality,omitempty"` // empty is good
	Values   []Datum   `json:"values"`
}

// Datum is one measured value.
type Datum struct {
	Kind      edge.Kind      `json:"kind"`
	Semantics edge.Semantics `json:"semantics"`
	Value     any            `json:"value"` // number, boolean or text by kind
}

// place is where in a site's readings a page begins: the record, and how many of its readings
// were there before. Records never change and never move, so no reading comes twice.
type place struct {
	store.Position
	index int
}

func (p place) String() string { return fmt.Sprintf("%d.%d.%d", p.Epoch, p.Seq, p.index) }

func parsePlace(s string) (p place, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return p, false
	}
	epoch, err1 := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[1], 10, 63)
	index, err3 := strconv.ParseUint(parts[2], 10, 31)
	p = place{Position: store.Position{Epoch: epoch, Seq: seq}, index: int(index)}
	return p, err1 == nil && err2 == nil && err3 == nil && epoch >= 0
}

// The bounds of a page: readings answered, and records looked at for them.
const (
	maxPageReadings = 5000
	maxPageRecords  = 2000
)

func (t *Twin) sensorData(r *route.Request) (any, error) {
	s := r.Found.(store.Site)
	out := SensorPage{Org: s.Org, Site: s.Site, Sensor: r.PathValue("id"), Readings: []SensorDatum{}}
	limit, err := intParam(r.Request, "limit", 1000, maxPageReadings)
	if err != nil {
		return nil, err
	}
	from, err := timeParam(r.Request, "from", time.Time{})
	if err != nil {
		return nil, err
	}
	to, err := timeParam(r.Request, "to", time.UnixMilli(math.MaxInt64/2))
	if err != nil {
		return nil, err
	}
	at := place{}
	if after := r.URL.Query().Get("after"); after != "" {
		var ok bool
		if at, ok = parsePlace(after); !ok {
			return nil, problem(http.StatusBadRequest, "after %q: want the next of an earlier answer", after)
		}
	}
	records, err := t.recordsFrom(r.Context(), s.ID, out.Sensor, at.Position, maxPageRecords)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if rec.Position != at.Position {
			at = place{Position: rec.Position}
		}
		readings, err := readingsOf(rec)
		if err != nil {
			return nil, err
		}
		for ; at.index < len(readings); at.index++ {
			rd := &readings[at.index]
			if rd.Sensor != out.Sensor || rd.At.Before(from) || rd.At.After(to) {
				continue
			}
			if len(out.Readings) == limit {
				out.Next = at.String()
				return out, nil
			}
			out.Readings = append(out.Readings, datumOf(rd))
		}
	}
	if len(records) == maxPageRecords {
		out.Next = at.String()
	}
	return out, nil
}

// recordsFrom lists the records with readings of a sensor from a position on, oldest first.
func (t *Twin) recordsFrom(ctx context.Context, site int64, sensor string, from store.Position, limit int) ([]store.Reading, error) {
	const query = `SELECT r.epoch, r.seq, r.body FROM sensor_readings x JOIN readings r ON r.epoch = x.epoch AND r.seq = x.seq
		WHERE x.site = ? AND x.sensor = ? AND (x.epoch > ? OR x.epoch = ? AND x.seq >= ?) ORDER BY x.epoch, x.seq LIMIT ?`
	rows, err := t.db.Query(ctx, query, site, sensor, from.Epoch, from.Epoch, int64(from.Seq), limit)
	return store.Collect(rows, err, func(r *sql.Rows) (rec store.Reading, err error) {
		err = r.Scan(&rec.Position.Epoch, &rec.Position.Seq, &rec.Body)
		return rec, err
	})
}

func readingsOf(row store.Reading) ([]edge.Reading, error) {
	rec, err := edge.ParseRecord(row.Body)
	if err != nil {
		return nil, fmt.Errorf("readings record %d: %w", row.Position.Seq, err)
	}
	var out []edge.Reading
	if rec.Type != "readings" {
		return nil, nil
	}
	if err := json.Unmarshal(rec.Data, &out); err != nil {
		return nil, fmt.Errorf("readings record %d: %w", row.Position.Seq, err)
	}
	return out, nil
}

func datumOf(r *edge.Reading) SensorDatum {
	d := SensorDatum{At: r.At, Received: r.Received, Device: r.Device, Seq: r.Seq, Backfill: r.Backfill, Quality: string(r.Quality), Values: make([]Datum, len(r.Values))}
	for i, v := range r.Values {
		d.Values[i] = Datum{Kind: v.Kind, Semantics: v.Semantics, Value: v.Num}
		switch v.Type {
		case edge.Bool:
			d.Values[i].Value = v.True()
		case edge.Text:
			d.Values[i].Value = v.Text
		}
	}
	return d
}
