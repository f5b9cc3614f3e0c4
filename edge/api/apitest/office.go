package apitest

import (
	"fmt"
	"math"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
)

// Model is an office of three floors with 14 rooms, its doors and some sensors.
func Model() edge.Site {
	m := edge.Site{ID: "hq-oslo", Name: "Oslo HQ", Timezone: "Europe/Oslo"}
	m.Spaces = append(m.Spaces, edge.Space{ID: "building", Name: "Main building", Kind: edge.Building, Capacity: 220})
	rooms := [][]edge.Space{
		{{ID: "lobby", Name: "Lobby", Capacity: 40}, {ID: "canteen", Name: "Canteen", Capacity: 80}, {ID: "reception", Name: "Reception", Capacity: 6}, {ID: "room-101", Name: "Fjord", Capacity: 8}},
		{{ID: "open-2", Name: "Open space east", Capacity: 36}, {ID: "room-201", Name: "Skagen", Capacity: 12}, {ID: "room-202", Name: "Bergen", Capacity: 10}, {ID: "room-203", Name: "Focus 1", Capacity: 1}, {ID: "room-204", Name: "Quiet room"}},
		{{ID: "open-3", Name: "Open space west", Capacity: 30}, {ID: "board", Name: "Board room", Capacity: 20}, {ID: "lab", Name: "Sensor laboratory with a long name", Capacity: 9}, {ID: "room-303", Name: "Tromsø", Capacity: 6}, {ID: "room-304", Name: "Lofoten", Capacity: 6}},
	}
	for i, floor := range rooms {
		id := fmt.Sprintf("floor-%d", i+1)
		m.Spaces = append(m.Spaces, edge.Space{ID: id, Name: fmt.Sprintf("Floor %d", i+1), Kind: edge.Floor, Parent: "building"})
		for _, r := range floor {
			r.Kind, r.Parent = edge.Room, id
			m.Spaces = append(m.Spaces, r)
			if r.ID != floor[0].ID {
				m.Doors = append(m.Doors, edge.Door{ID: "door-" + r.ID, Between: [2]string{floor[0].ID, r.ID}})
				m.Sensors = append(m.Sensors, edge.Sensor{ID: "line-" + r.ID, Device: "mqtt:line/" + r.ID, Class: edge.LineToF, Door: "door-" + r.ID})
			}
		}
	}
	m.Doors = append(m.Doors, edge.Door{ID: "entrance", Between: [2]string{edge.Outside, "lobby"}})
	m.Sensors = append(m.Sensors,
		edge.Sensor{ID: "entrance-cam", Name: "Entrance camera", Device: "xovis:00:6E:02:00:11:22", Class: edge.LineStereo, Door: "entrance"},
		edge.Sensor{ID: "co2-board", Device: "mqtt:co2/board", Class: edge.CO2, Space: "board"},
		edge.Sensor{ID: "pir-204", Device: "mqtt:pir/204", Class: edge.PIR, Space: "room-204"})
	return m
}

// Office returns a site with Model in the middle of a working day: most rooms known, one stale,
// two unknown, two alerts, a silent sensor, a pending device, and the history of the day.
func Office(now time.Time) *Site {
	now = edge.Millis(now)
	s := New(Model(), now)
	counts := map[string][3]int{ // count, low, high
		"building": {93, 86, 101}, "floor-1": {43, 39, 48}, "floor-2": {31, 27, 35}, "floor-3": {19, 16, 23},
		"lobby": {7, 6, 9}, "canteen": {33, 29, 38}, "reception": {2, 2, 2}, "room-101": {1, 1, 2},
		"open-2": {22, 19, 25}, "room-201": {0, 0, 0}, "room-202": {9, 8, 12}, "room-203": {0, 0, 1},
		"open-3": {12, 10, 15}, "board": {7, 6, 9}, "room-303": {8, 7, 9},
	}
	for i, sp := range s.Snapshot().Site.Spaces {
		c, known := counts[sp.ID]
		if !known {
			continue
		}
		for t := now.Add(-10 * time.Hour); t.Before(now); t = t.Add(10 * time.Minute) {
			day := math.Sin(math.Pi * float64(t.Sub(now)+10*time.Hour) / float64(11*time.Hour))
			n := int(math.Round(float64(c[0]) * day * (1 + 0.2*math.Sin(float64(i)+float64(t.Unix()/600)))))
			s.Past(Known(sp, n, n*9/10, n+n/6+1, edge.QualityGood, t))
		}
		q := edge.QualityGood
		switch sp.ID {
		case "room-101":
			q = edge.QualityStale
		case "open-2", "floor-2", "building":
			q = edge.QualityDegraded
		}
		o := Known(sp, c[0], c[1], c[2], q, now)
		o.Since, o.Sources = now.Add(-47*time.Minute), []string{"line-" + sp.ID}
		s.Set(o)
	}
	s.Update(now, func(n *edge.Snapshot) { dress(n, now) })
	s.SetStatus(func(st *api.Status) {
		horizon := int64(11*86400 + 4*3600)
		st.HorizonS = &horizon
		st.Uplink = api.Uplink{Configured: true, Connected: true, Since: now.Add(-time.Hour), LastMarkAt: now}
		st.StartedAt = now.Add(-26 * time.Hour)
		st.Storage = api.Storage{Dir: "/var/lib/headcount", Bytes: 412 << 20, MaxSize: 4 << 30, Segments: 7}
		st.Inputs = []api.Input{{ID: "broker-1", Driver: "broker", Up: true, Detail: ":1883", Since: now.Add(-time.Hour)}}
		st.ConfigHash = "4f1c"
	})
	return s
}

func dress(n *edge.Snapshot, now time.Time) {
	for i := range n.Sensors {
		st := &n.Sensors[i]
		st.Status, st.LastSeen, st.LastAt, st.Readings = "ok", now.Add(-time.Duration(3+i)*time.Second), now, uint64(1000+37*i)
		st.Last = []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, float64(120+i)), edge.NumberValue(edge.CountOut, edge.Cumulative, float64(90+i))}
		switch st.ID {
		case "co2-board":
			st.Last = []edge.Value{edge.NumberValue(edge.CO2PPM, edge.Absolute, 812), edge.NumberValue(edge.TemperatureC, edge.Absolute, 21.4)}
		case "line-room-101":
			st.Status, st.LastSeen, st.Reason = "silent", now.Add(-3*time.Hour), "nothing heard for 3 h, usually every minute"
		case "line-lab", "pir-204":
			st.Status, st.LastSeen, st.LastAt, st.Readings, st.Last = "waiting", time.Time{}, time.Time{}, 0, nil
		}
	}
	n.Alerts = []edge.Alert{
		{ID: "over-capacity:room-303:1", Rule: "over-capacity", Subject: "room-303", SubjectKind: "room", Severity: edge.Critical, State: edge.StateFiring, Message: "Tromsø is over capacity: 8 people, 6 allowed", Since: now.Add(-9 * time.Minute), RaisedAt: now.Add(-7 * time.Minute)},
		{ID: "sensor-silent:line-room-101:1", Rule: "sensor-silent", Subject: "line-room-101", SubjectKind: "sensor", Severity: edge.Warning, State: edge.StateFiring, Message: "line-room-101 has been silent for 3 h", Since: now.Add(-3 * time.Hour), RaisedAt: now.Add(-2 * time.Hour)},
	}
	n.Devices = []edge.Device{
		{Address: "zigbee2mqtt/pir kitchen", Driver: "mqtt", State: edge.DevicePending, First: now.Add(-20 * time.Minute), LastSeen: now.Add(-12 * time.Second), Readings: 61, Last: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true), edge.NumberValue(edge.BatteryV, edge.Absolute, 2.9)}},
		{Address: "httppush:desk-77", Driver: "httppush", State: edge.DeviceIgnored, First: now.Add(-time.Hour), LastSeen: now, Readings: 9},
	}
	n.Loss = []edge.LossEntry{{Cause: "malformed", Source: "httppush", First: now.Add(-2 * time.Hour), Last: now.Add(-time.Hour), Count: 3, Detail: "not JSON"}}
	n.Counts = edge.Counts{Readings: 48210, Pending: 61, Duplicates: 12, Rejected: 3, Events: n.Counts.Events, Commits: 9120}
}
