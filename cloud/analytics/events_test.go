package analytics

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

func TestAlertsCountOnceWithTheirTimes(t *testing.T) {
	r := newRig(t)
	ten := at(t, "2026-03-25T10:00")
	raised := edge.Alert{ID: "over/meet@1", Rule: "over", Subject: "meet", State: edge.StateFiring, RaisedAt: ten}
	step := func(typ edge.EventType, minute int) event {
		return event{typ, raised.ID, ten.Add(time.Duration(minute) * time.Minute), raised}
	}
	r.tell("hq", step(edge.AlertRaised, 0), step(edge.AlertAcknowledged, 4))
	r.project(r.m)
	r.tell("hq", step(edge.AlertRaised, 0), step(edge.AlertAcknowledged, 9), step(edge.AlertCleared, 30)) // the hub was restored, and tells again
	r.tell("hq",
		event{edge.ActionDelivered, "x", ten, map[string]any{"action": "lamp"}},
		event{edge.ActionDelivered, "x", ten, map[string]any{"action": "lamp"}},
		event{edge.ActionFailed, "x", ten, map[string]any{"action": "sms"}},
		event{edge.Correction, "meet", ten, map[string]any{"count": 3}})
	r.project(r.m)
	var e Events
	r.get("/v1/sites/hq/analytics/events?from=2026-03-25&to=2026-03-26", &e)
	if a := e.Alerts; a.Raised != 1 || a.Acknowledged != 1 || a.Cleared != 1 || *a.AcknowledgeMinutes != 4 || *a.ClearMinutes != 30 {
		t.Errorf("alerts are %+v", a)
	}
	if e.AtHub.Sent != 2 || e.AtHub.Failed != 1 || *e.AtHub.FailureRate != .3333 || e.Deliveries["late"] != 1 {
		t.Errorf("deliveries are %+v and %v", e.AtHub, e.Deliveries)
	}
	found := false
	for _, k := range e.Kinds {
		found = found || k == EventCount{string(edge.Correction), "meet", 1}
	}
	if !found {
		t.Errorf("the correction is not in %+v", e.Kinds)
	}
	r.get("/v1/sites/hq/analytics/events?from=2026-03-27&to=2026-03-28", &e)
	if e.Alerts.Raised != 0 || e.Alerts.AcknowledgeMinutes != nil || e.AtHub.FailureRate != nil {
		t.Errorf("a day without events has %+v", e)
	}
}

func TestAccessPerDoorAndHour(t *testing.T) {
	r := newRig(t)
	nine := at(t, "2026-03-25T09:10")
	pass := func(typ edge.EventType, minute int, direction string) event {
		return event{typ, "front", nine.Add(time.Duration(minute) * time.Minute), edge.Passage{Door: "front", Sensor: "reader", Direction: direction}}
	}
	r.tell("hq", pass(edge.AccessGranted, 0, "in"), pass(edge.AccessGranted, 1, "in"), pass(edge.AccessDenied, 2, "none"), pass(edge.AccessGranted, 60, "out"),
		event{edge.DoorForced, "front", nine, edge.DoorChange{Door: "front"}})
	r.project(r.m)
	var a Access
	r.get("/v1/sites/hq/analytics/access?from=2026-03-25&to=2026-03-26", &a)
	if len(a.Doors) != 1 || a.Doors[0].Granted != 3 || a.Doors[0].Denied != 1 || a.Doors[0].Forced != 1 || *a.Doors[0].DenialRate != .25 || *a.Doors[0].SuccessRate != .75 {
		t.Fatalf("doors are %+v", a.Doors)
	}
	if h := a.Doors[0].Hours; len(h) != 2 || h[0].Granted != 2 || h[0].Denied != 1 || *h[0].DenialRate != .3333 || !h[0].From.Equal(at(t, "2026-03-25T09:00")) {
		t.Errorf("hours are %+v", h)
	}
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	same(t, "entries", s.group(t, "lab").Entries, 2)
	same(t, "exits", s.group(t, "lab").Exits, 1)
	none(t, "entries of a room without reader", s.group(t, "meet").Entries)
	r.get("/v1/sites/hq/analytics/access?from=2026-03-26&to=2026-03-27", &a)
	if len(a.Doors) != 1 || a.Doors[0].Granted != 0 || a.Doors[0].DenialRate != nil {
		t.Errorf("a door at which nobody was is %+v", a.Doors)
	}
}

func TestAvailability(t *testing.T) {
	r := newRig(t)
	h := func(hour int) time.Time { return at(t, "2026-03-25T00:00").Add(time.Duration(hour) * time.Hour) }
	status := func(hour int, is string) event {
		return event{edge.SensorStatusEvent, "pir", h(hour), map[string]any{"sensor": "pir", "status": is}}
	}
	off := edge.Alert{ID: "cloud:hub-offline:1", Rule: "hub-offline", Subject: "hub", State: edge.StateFiring, Since: h(20), RaisedAt: h(20)}
	on := off
	on.State, on.ClearedAt = edge.StateCleared, h(21)
	r.tell("hq",
		event{edge.HubStatus, "hub", h(0), map[string]any{"status": "started"}}, status(0, "waiting"), status(4, "ok"),
		status(10, "fault"), status(12, "silent"), status(14, "ok"),
		event{edge.HubStatus, "hub", h(18), map[string]any{"status": "paused", "from": h(16), "to": h(18)}},
		event{edge.AlertRaised, off.ID, h(20), off}, event{edge.AlertCleared, off.ID, h(21), on})
	r.project(r.m)
	var a Availability
	r.get("/v1/sites/hq/analytics/availability?from=2026-03-25&to=2026-03-26", &a)
	var pir Available
	for _, s := range a.Sensors {
		if s.ID == "pir" {
			pir = s
		} else if s.Availability != nil || s.State != "unknown" {
			t.Errorf("a sensor that was never heard of is %+v", s)
		}
	}
	// ok from 4 to 12 and from 14 to 24, but for the two hours in which the hub was off.
	if pir.UpMinutes != 16*60 || pir.DownMinutes != 120 || pir.Outages != 1 || *pir.Availability != .8889 || pir.State != "ok" {
		t.Errorf("the sensor is %+v", pir)
	}
	if a.Hub.DownMinutes != 120 || a.Hub.UpMinutes != 22*60 || a.Hub.Outages != 1 {
		t.Errorf("the hub is %+v", a.Hub)
	}
	if a.Link.DownMinutes != 60 || a.Link.UpMinutes != 23*60 || a.Link.Outages != 1 {
		t.Errorf("the link is %+v", a.Link)
	}
}

func TestEntriesByLineCounters(t *testing.T) {
	r := newRig(t)
	m := office
	m.Doors = append(m.Doors, edge.Door{ID: "inner", Between: [2]string{"lab", "meet"}})
	m.Doors = append(m.Doors, edge.Door{ID: "yard", Between: [2]string{edge.Outside, "lab"}})
	m.Sensors = append(m.Sensors, edge.Sensor{ID: "steps", Class: edge.LineThermopile, Door: "yard"}, edge.Sensor{ID: "line", Class: edge.LineToF, Door: "inner", Reversed: true}, edge.Sensor{ID: "second", Class: edge.LineBeam, Door: "inner"})
	r.model("hq", m)
	nine := at(t, "2026-03-25T09:00")
	reading := func(sensor string, minute int, s edge.Semantics, in, out float64) edge.Reading {
		when := nine.Add(time.Duration(minute) * time.Minute)
		return edge.Reading{Sensor: sensor, Device: sensor, At: when, Received: when, Values: []edge.Value{edge.NumberValue(edge.CountIn, s, in), edge.NumberValue(edge.CountOut, s, out)}}
	}
	r.readings("hq",
		reading("line", 0, edge.Cumulative, 100, 50), reading("line", 10, edge.Cumulative, 102, 55), // 2 out of the room, 5 into it
		reading("second", 10, edge.Cumulative, 900, 900), reading("second", 11, edge.Cumulative, 905, 905), // the door is counted once
		reading("line", 5, edge.Cumulative, 101, 52), // late: in the total already
		reading("line", 70, edge.Cumulative, 1, 1),   // it began again
		reading("line", 80, edge.Cumulative, 1, 4), reading("line", 81, edge.Delta, 0, 1),
		reading("line", 82, edge.Cumulative, 1_000_000, 5), reading("steps", 0, edge.Delta, 4, 1), reading("steps", 1, edge.PassageEvent, 1, 0))
	r.tell("hq", event{edge.AccessGranted, "front", nine, edge.Passage{Door: "front", Sensor: "reader", Direction: "in"}})
	for range 2 { // again: nothing is counted twice
		if _, err := r.m.ProjectReadings(r.Context()); err != nil {
			t.Fatal(err)
		}
		r.project(r.m)
	}
	var s Summary
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	same(t, "entries of the room", s.group(t, "meet").Entries, 5+3+1)
	same(t, "exits of the room", s.group(t, "meet").Exits, 2)
	same(t, "entries of the lab", s.group(t, "lab").Entries, 2+1+5)
	none(t, "entries of a floor without doors of its own", s.group(t, "first").Entries)
	m.Doors = append(m.Doors, edge.Door{ID: "hatch", Between: [2]string{"meet", edge.Outside}})
	r.model("hq", m)
	r.get("/v1/sites/hq/analytics/summary?from=2026-03-25&to=2026-03-26", &s)
	none(t, "entries of a room with a door that is not counted", s.group(t, "meet").Entries)
}

// readings stores readings as ingest does.
func (r *rig) readings(site string, rs ...edge.Reading) {
	r.Helper()
	r.update(site, func(tx *store.Tx, s store.Site) error {
		id, _, err := tx.Epoch(s.ID, epoch, r.clock())
		if err != nil {
			return err
		}
		data, err := json.Marshal(rs)
		if err != nil {
			return err
		}
		r.seq++
		rec := edge.Record{Epoch: epoch, Lane: edge.Readings, Seq: r.seq, Source: site, Type: "readings", Time: r.clock(), Data: data}
		return tx.AddReadings([]store.Reading{{Site: s.ID, Position: store.Position{Epoch: id, Seq: r.seq}, Time: rec.Time, Body: rec.AppendJSON(nil)}})
	})
}
