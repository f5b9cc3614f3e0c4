package ingest

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/headcount-hub/headcount/cloud/schema"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// typeReadings is the type of records of the readings lane.
const typeReadings = "readings"

// parse reads a record and checks that it is the one its batch says.
func parse(body []byte, epoch string, lane edge.Lane, seq uint64) (*edge.Record, error) {
	rec, err := edge.ParseRecord(body)
	if err != nil {
		return nil, err
	}
	if rec.Epoch != epoch || rec.Lane != lane || rec.Seq != seq {
		return nil, fmt.Errorf("record says it is %.120s", rec.ID())
	}
	return &rec, nil
}

// event makes the row of an events record. What the twin is built from must be readable.
func event(rec *edge.Record, body []byte) (store.Event, error) {
	typ, data, err := schema.Up(rec.Type, rec.Data)
	if err != nil {
		return store.Event{}, err
	}
	rec = &edge.Record{Type: typ, Subject: rec.Subject, Time: rec.Time, At: rec.At, Input: rec.Input, Data: data}
	e := store.Event{Type: rec.Type, Subject: rec.Subject, Time: rec.Time, At: rec.At, Input: rec.Input, Body: body, Data: rec.Data}
	switch edge.EventType(rec.Type) {
	case edge.OccupancyChanged:
		var o edge.Occupancy
		if err := json.Unmarshal(rec.Data, &o); err != nil {
			return e, fmt.Errorf("data of %s: %w", rec.Type, err)
		}
		if o.Space == "" || o.Space != rec.Subject {
			return e, fmt.Errorf("data of %s: space %q under subject %q", rec.Type, o.Space, rec.Subject)
		}
		if !o.AsOf.IsZero() {
			e.At = o.AsOf
		}
		e.Fact = o
	case edge.AlertRaised, edge.AlertUpdated, edge.AlertAcknowledged, edge.AlertCleared:
		var a edge.Alert
		if err := json.Unmarshal(rec.Data, &a); err != nil {
			return e, fmt.Errorf("data of %s: %w", rec.Type, err)
		}
		if a.ID == "" {
			return e, fmt.Errorf("data of %s: alert without id", rec.Type)
		}
		e.Fact = a
	case edge.Loss:
		var l edge.LossEntry
		if err := json.Unmarshal(rec.Data, &l); err != nil {
			return e, fmt.Errorf("data of %s: %w", rec.Type, err)
		}
		e.Fact = l
	}
	return e, nil
}

// readings lists the distinct sensors of a readings record and notes the newest reading of
// each.
func readings(rec *edge.Record, newest map[string]edge.Reading) ([]string, error) {
	if rec.Type != typeReadings {
		return nil, nil // of a newer version: kept, not understood
	}
	var rs []edge.Reading
	if err := json.Unmarshal(rec.Data, &rs); err != nil {
		return nil, fmt.Errorf("data of %s: %w", rec.Type, err)
	}
	var sensors []string
	for _, r := range rs {
		if r.Sensor == "" {
			continue
		}
		if !slices.Contains(sensors, r.Sensor) {
			sensors = append(sensors, r.Sensor)
		}
		if have, ok := newest[r.Sensor]; !ok || !r.At.Before(have.At) {
			newest[r.Sensor] = r
		}
	}
	return sensors, nil
}
