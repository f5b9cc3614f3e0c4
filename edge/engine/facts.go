package engine

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
)

// facts is what the rules see: occupancies as they were last published, sensors as they were
// on the last tick of the grid. Both change only when the rules are told (touched).
type facts struct {
	spaces  map[string]edge.Occupancy
	sensors map[string]edge.SensorStatus
	doors   map[string]edge.DoorStatus
	link    *Link
}

func newFacts(link *Link) *facts {
	return &facts{spaces: map[string]edge.Occupancy{}, sensors: map[string]edge.SensorStatus{}, doors: map[string]edge.DoorStatus{}, link: link}
}

// Occupancy is alerts.Source.
func (f *facts) Occupancy(space string) (edge.Occupancy, bool) {
	o, ok := f.spaces[space]
	return o, ok
}

// Sensor is alerts.Source.
func (f *facts) Sensor(id string) (edge.SensorStatus, bool) {
	s, ok := f.sensors[id]
	return s, ok
}

// Door is alerts.Source.
func (f *facts) Door(id string) (edge.DoorStatus, bool) {
	d, ok := f.doors[id]
	return d, ok
}

// Hub is alerts.Source.
func (f *facts) Hub() alerts.Hub {
	return alerts.Hub{
		UplinkConfigured: f.link.Configured, Connected: f.link.Connected,
		UnsyncedSince: f.link.UnsyncedSince, Backlog: f.link.Backlog, Clock: f.link.Clock,
	}
}

// sample is a sensor's facts on the last tick.
type sample struct {
	Status   string    `json:"status"`
	Reason   string    `json:"reason,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	Readings uint64    `json:"readings"`
}

// watchSensors samples every sensor, tells the rules what changed and writes a status event for
// each whose trust has changed.
func (c *Core) watchSensors() {
	for i := range c.reg.site.Sensors {
		c.watchSensor(i)
	}
}

func (c *Core) watchSensor(i int) {
	s, h, trust := &c.reg.site.Sensors[i], &c.reg.heard[i], c.model.SensorTrust(i)
	was, now := c.samples[i], sample{trust.Status, trust.Reason, h.last, h.readings}
	if was == now {
		return
	}
	c.samples[i] = now
	c.facts.sensors[s.ID] = now.status(*s)
	c.rules.TouchSensor(s.ID)
	if was.Status == now.Status {
		return
	}
	c.emit(edge.SensorStatusEvent, s.ID, c.now, map[string]any{
		"sensor": s.ID, "from": was.Status, "status": now.Status, "reason": now.Reason,
	})
	if s.Class == edge.Camera {
		c.cameraChanged(s, was, now)
	}
}

// watchDoors tells the rules which doors have changed.
func (c *Core) watchDoors() {
	for _, d := range c.doors.Touched() {
		c.facts.doors[d.Door] = d
		c.rules.TouchDoor(d.Door)
	}
}

func (s sample) status(sensor edge.Sensor) edge.SensorStatus {
	return edge.SensorStatus{Sensor: sensor, Status: s.Status, Reason: s.Reason, LastSeen: s.LastSeen, Readings: s.Readings}
}

// published notes an occupancy that was written, for the rules.
func (c *Core) published(o edge.Occupancy) {
	c.emit(edge.OccupancyChanged, o.Space, o.AsOf, o)
	c.facts.spaces[o.Space] = o
	c.rules.TouchSpace(o.Space)
}
