package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Events projects events of one site that were just stored, in order.
func (t *Twin) Events(tx *store.Tx, site store.Site, events []store.Event) error {
	newest := map[string]store.Space{}
	for _, e := range events {
		if err := project(tx, site, e, newest); err != nil {
			return fmt.Errorf("project event %d: %w", e.Position.Seq, err)
		}
	}
	for _, s := range newest {
		if err := tx.PutSpace(site.ID, s); err != nil {
			return err
		}
	}
	return nil
}

// project takes one event; of occupancies it only notes the newest per space.
func project(tx *store.Tx, site store.Site, e store.Event, newest map[string]store.Space) error {
	switch fact := e.Fact.(type) {
	case edge.Occupancy:
		if was, ok := newest[fact.Space]; !ok || was.Position.Before(e.Position) {
			newest[fact.Space] = store.Space{Space: fact.Space, Occupancy: e.Data, Position: e.Position}
		}
		return nil
	case edge.Alert:
		// What happened before the snapshot that is shown is known already, but for the
		// details of an alert's end.
		if e.Backfill && fact.State != edge.StateCleared {
			return nil
		}
		return tx.PutAlert(store.Alert{Site: site.ID, Alert: fact, Position: e.Position})
	case edge.LossEntry:
		return tx.PutLoss(site.ID, fact, e.Position)
	}
	if edge.EventType(e.Type) == edge.SensorStatusEvent {
		return sensorStatus(tx, site, e)
	}
	return nil
}

// sensorStatus projects a sensor.status event.
func sensorStatus(tx *store.Tx, site store.Site, e store.Event) error {
	var change struct {
		Status string `json:"status"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(e.Data, &change); err != nil || e.Subject == "" {
		return nil // of another version; the next snapshot tells
	}
	status, row, err := readSensor(tx, site.ID, e.Subject)
	if err != nil || e.Position.Before(row.Position) {
		return err
	}
	status.Status, status.Reason = change.Status, change.Reason
	return putSensor(tx, site.ID, status, e.Position)
}

// Readings projects the newest reading of each sensor.
func (t *Twin) Readings(tx *store.Tx, site store.Site, newest map[string]edge.Reading) error {
	for id, r := range newest {
		status, row, err := readSensor(tx, site.ID, id)
		if err != nil {
			return err
		}
		if r.At.Before(status.LastAt) {
			continue
		}
		status.LastAt, status.LastSeen = r.At, later(status.LastSeen, r.Received)
		for _, v := range r.Values {
			i := slices.IndexFunc(status.Last, func(have edge.Value) bool { return have.Kind == v.Kind })
			if i < 0 {
				status.Last = append(status.Last, v)
			} else {
				status.Last[i] = v
			}
		}
		if err := putSensor(tx, site.ID, status, row.Position); err != nil {
			return err
		}
	}
	return nil
}

// readSensor reads what is known of a sensor; one that is not known begins as heard.
func readSensor(tx *store.Tx, site int64, id string) (edge.SensorStatus, store.Sensor, error) {
	row, err := tx.Sensor(site, id)
	if errors.Is(err, store.ErrNotFound) {
		return edge.SensorStatus{Sensor: edge.Sensor{ID: id}, Status: "ok"}, store.Sensor{}, nil
	}
	var s edge.SensorStatus
	if err == nil {
		err = json.Unmarshal(row.Status, &s)
	}
	return s, row, err
}

func putSensor(tx *store.Tx, site int64, s edge.SensorStatus, p store.Position) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode sensor %s: %w", s.ID, err)
	}
	return tx.PutSensor(site, store.Sensor{Sensor: s.ID, Status: doc, Position: p})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Snapshot sets the twin to the whole present state of a site, but for what is known from
// records that are newer than the snapshot. One that is older than the last is ignored.
func (t *Twin) Snapshot(tx *store.Tx, site store.Site, epoch int64, s wire.Snapshot) error {
	p := store.Position{Epoch: epoch, Seq: s.Seq}
	if p.Before(site.Snapshot) {
		return nil
	}
	model, err := json.Marshal(s.Site)
	if err != nil {
		return fmt.Errorf("encode model: %w", err)
	}
	if err := tx.PutModel(site.ID, s.Site.Name, model, p, s.Time); err != nil {
		return err
	}
	if err := snapshotSpaces(tx, site, s, p); err != nil {
		return err
	}
	if err := snapshotSensors(tx, site, s, p); err != nil {
		return err
	}
	if err := snapshotAlerts(tx, site, s, p); err != nil {
		return err
	}
	return tellState(tx, site, t.now())
}

func snapshotSpaces(tx *store.Tx, site store.Site, s wire.Snapshot, p store.Position) error {
	for _, o := range s.Spaces {
		doc, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("encode occupancy of %s: %w", o.Space, err)
		}
		if err := tx.PutSpace(site.ID, store.Space{Space: o.Space, Occupancy: doc, Position: p}); err != nil {
			return err
		}
	}
	var spaces, sensors []string
	for _, sp := range s.Site.Spaces {
		spaces = append(spaces, sp.ID)
	}
	for _, se := range s.Sensors {
		sensors = append(sensors, se.ID)
	}
	for _, se := range s.Site.Sensors {
		sensors = append(sensors, se.ID)
	}
	return tx.ForgetExcept(site.ID, spaces, sensors)
}

func snapshotSensors(tx *store.Tx, site store.Site, s wire.Snapshot, p store.Position) error {
	for _, status := range s.Sensors {
		have, row, err := readSensor(tx, site.ID, status.ID)
		if err != nil {
			return err
		}
		from := p
		if p.Before(row.Position) {
			have.Sensor = status.Sensor // the model is new, the status is not
			status, from = have, row.Position
		}
		if err := putSensor(tx, site.ID, status, from); err != nil {
			return err
		}
	}
	return nil
}

// snapshotAlerts takes the open alerts over and closes the hub's others: they were cleared
// before the snapshot. The event of their end, when it arrives, fills in the details.
func snapshotAlerts(tx *store.Tx, site store.Site, s wire.Snapshot, p store.Position) error {
	open := map[string]bool{}
	for _, a := range s.Alerts {
		open[a.ID] = true
		if a.ID == "" {
			continue
		}
		if err := tx.PutAlert(store.Alert{Site: site.ID, Alert: a, Position: p}); err != nil {
			return err
		}
	}
	known, err := tx.OpenAlerts(site.ID)
	if err != nil {
		return err
	}
	for _, a := range known {
		if a.Cloud || open[a.Alert.ID] || p.Before(a.Position) {
			continue
		}
		a.Alert.State, a.Alert.ClearedAt, a.Alert.UpdatedAt = edge.StateCleared, s.Time, s.Time
		if err := tx.PutAlert(a); err != nil {
			return err
		}
	}
	return nil
}

// Beat notes a heartbeat that came at now and ends "hub offline".
func (t *Twin) Beat(tx *store.Tx, site store.Site, h wire.Heartbeat, now time.Time) error {
	doc, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	if err := tx.Beat(site.ID, h.Name, doc, now); err != nil {
		return err
	}
	if !Stale(site.LastHeartbeat, now) {
		return nil
	}
	if err := tx.ClearCloudAlert(site, store.RuleHubOffline, now); err != nil {
		return err
	}
	return tellState(tx, site, now)
}
