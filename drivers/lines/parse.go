package lines

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// parser turns a line into a reading. Its Device is the id in the line, empty without one.
type parser func(text []byte, received time.Time) (edge.Reading, error)

// Fields that are no kind.
const (
	fieldID     = "id"
	fieldSeq    = "seq"
	fieldTS     = "ts"
	fieldMotion = "motion" // presence as a motion pulse
)

// aliases are the keys that boards use for a field where "map" says nothing else.
var aliases = map[string]string{
	"id": fieldID, "sensor": fieldID, "device": fieldID, "seq": fieldSeq, "ts": fieldTS, "t": fieldTS, "time": fieldTS,
	"in": string(edge.CountIn), "out": string(edge.CountOut), "people": string(edge.CountAbs), fieldMotion: fieldMotion,
}

func newParser(o Options) (parser, error) {
	keys, err := jsonKeys(o.Map)
	if err != nil {
		return nil, err
	}
	for _, c := range o.CSVColumns {
		if err := checkField(c); c != "" && err != nil {
			return nil, fmt.Errorf("csv_columns: %w", err)
		}
	}
	fromJSON := func(text []byte, at time.Time) (edge.Reading, error) { return parseJSON(keys, text, at) }
	fromCSV := func(text []byte, at time.Time) (edge.Reading, error) { return parseCSV(o.CSVColumns, text, at) }
	switch o.Format {
	case "json":
		return fromJSON, nil
	case "csv":
		if len(o.CSVColumns) == 0 {
			return nil, errors.New(`csv_columns is missing: say what each column is, as in [id, count_in, count_out]`)
		}
		return fromCSV, nil
	case "", "auto":
		return func(text []byte, at time.Time) (edge.Reading, error) {
			if text[0] == '{' || len(o.CSVColumns) == 0 {
				return fromJSON(text, at)
			}
			return fromCSV(text, at)
		}, nil
	}
	return nil, fmt.Errorf("format %q: want auto, json or csv", o.Format)
}

func checkField(name string) error {
	switch name {
	case fieldID, fieldSeq, fieldTS, fieldMotion:
		return nil
	}
	if _, ok := edge.Kind(name).Info(); !ok {
		return fmt.Errorf("%q is neither id, seq, ts, motion nor a kind like count_in", name)
	}
	return nil
}

// jsonKeys is which field each key of a line stands for: the kinds and the aliases, and instead
// of them what the configuration maps.
func jsonKeys(m map[string]string) (map[string]string, error) {
	keys := map[string]string{}
	edge.KnownKinds(func(k edge.Kind, _ edge.KindInfo) bool { keys[string(k)] = string(k); return true })
	for key, field := range aliases {
		keys[key] = field
	}
	for field, key := range m {
		if err := checkField(field); err != nil {
			return nil, fmt.Errorf("map: %w", err)
		}
		for k, f := range keys {
			if f == field && m[field] != k {
				delete(keys, k)
			}
		}
		keys[key] = field
	}
	return keys, nil
}

// parseJSON reads one object. Keys that stand for nothing are passed over; one that stands twice
// refuses the line.
func parseJSON(keys map[string]string, text []byte, received time.Time) (edge.Reading, error) {
	r := edge.Reading{Received: received}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return r, errors.New("not a JSON object")
	}
	var seen []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return r, err
		}
		key, _ := t.(string)
		if slices.Contains(seen, key) {
			return r, fmt.Errorf("key %.60q stands twice", key)
		}
		seen = append(seen, key)
		var raw any
		if err := dec.Decode(&raw); err != nil {
			return r, err
		}
		if field, ok := keys[key]; ok && raw != nil {
			if err := set(&r, field, raw); err != nil {
				return r, err
			}
		}
	}
	if _, err := dec.Token(); err != nil {
		return r, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return r, errors.New("more than one object on a line")
	}
	return r, complete(&r)
}

// parseCSV reads one record with exactly the configured columns.
func parseCSV(columns []string, text []byte, received time.Time) (edge.Reading, error) {
	r := edge.Reading{Received: received}
	c := csv.NewReader(bytes.NewReader(text))
	c.FieldsPerRecord, c.TrimLeadingSpace = len(columns), true
	cells, err := c.Read()
	if err != nil {
		return r, err
	}
	for i, field := range columns {
		cell := strings.TrimSpace(cells[i])
		if field == "" || cell == "" {
			continue
		}
		var raw any = cell
		if info, ok := edge.Kind(field).Info(); field != fieldSeq && field != fieldID && (ok && info.Shape != edge.AnyShape || field == fieldTS || field == fieldMotion) {
			raw = scalar(cell)
		}
		if err := set(&r, field, raw); err != nil {
			return r, err
		}
	}
	return r, complete(&r)
}

// scalar is what a cell of CSV would be in JSON.
func scalar(cell string) any {
	switch strings.ToLower(cell) {
	case "true", "on":
		return true
	case "false", "off":
		return false
	}
	if json.Valid([]byte(cell)) {
		return json.Number(cell)
	}
	return cell
}

func complete(r *edge.Reading) error {
	if len(r.Values) == 0 {
		return errors.New("no value that is known; name the keys with map, or the columns with csv_columns")
	}
	return nil
}

const maxName = 200 // bytes of an id or a text

// set puts one field into the reading.
func set(r *edge.Reading, field string, raw any) error {
	text, isText := raw.(string)
	number, isNumber := raw.(json.Number)
	if len(text) > maxName {
		return fmt.Errorf("%s has %d bytes; at most %d are taken", field, len(text), maxName)
	}
	switch field {
	case fieldID:
		r.Device = text + number.String()
		if r.Device == "" {
			return errors.New("id is neither a text nor a number")
		}
		return nil
	case fieldSeq:
		r.Seq = text + number.String()
		if r.Seq == "" || len(r.Seq) > 64 || strings.ContainsAny(r.Seq, " \t") {
			return errors.New("seq is no number or word of up to 64 bytes")
		}
		return nil
	case fieldTS:
		return setTime(r, text, number, isText, isNumber)
	}
	v, err := value(field, raw)
	if err != nil {
		return err
	}
	r.Values = append(r.Values, v)
	return nil
}

// setTime reads RFC 3339 with zone, or seconds or milliseconds since 1970.
func setTime(r *edge.Reading, text string, number json.Number, isText, isNumber bool) (err error) {
	switch {
	case isText:
		r.At, err = time.Parse(time.RFC3339, text)
	case isNumber:
		var x float64
		if x, err = number.Float64(); err == nil {
			if math.Abs(x) < 1e11 {
				x *= 1000
			}
			if math.Abs(x) > 1e15 {
				x = 0 // no clock says that: the hub will find it implausible
			}
			r.At = time.UnixMilli(int64(math.Round(x))).UTC()
		}
	default:
		err = errors.New("ts is neither a text nor a number")
	}
	return err
}

func value(field string, raw any) (edge.Value, error) {
	kind, info := edge.Kind(field), edge.KindInfo{}
	if field == fieldMotion {
		kind, info = edge.Presence, edge.KindInfo{Semantics: edge.MotionState, Shape: edge.Truth}
	} else {
		info, _ = kind.Info()
	}
	switch x := raw.(type) {
	case bool:
		return info.Shape.Fit(edge.BoolValue(kind, info.Semantics, x))
	case string:
		return info.Shape.Fit(edge.TextValue(kind, info.Semantics, x))
	case json.Number:
		f, err := strconv.ParseFloat(x.String(), 64)
		if err != nil {
			return edge.Value{}, fmt.Errorf("%s: %w", kind, err)
		}
		return info.Shape.Fit(edge.NumberValue(kind, info.Semantics, f))
	}
	return edge.Value{}, fmt.Errorf("%s: want a number, a boolean or a text", kind)
}
