package engine

import (
	"slices"

	"github.com/headcount-hub/headcount/edge"
)

// Snapshot describes the present state. It shares nothing with the core that the core changes.
func (c *Core) Snapshot() *edge.Snapshot {
	site := c.reg.site
	s := &edge.Snapshot{
		At: c.now, Site: &site, Spaces: c.model.Occupancies(), Devices: c.reg.list(),
		Loss: c.ledger.entries(), Counts: c.counts, Doors: c.doors.Statuses(),
	}
	s.Alerts = append(c.rules.Open(), c.cleared...)
	s.Sensors = make([]edge.SensorStatus, len(site.Sensors))
	for i, sensor := range site.Sensors {
		h, trust := c.reg.heard[i], c.model.SensorTrust(i)
		s.Sensors[i] = edge.SensorStatus{
			Sensor: sensor, Status: trust.Status, Reason: trust.Reason,
			LastSeen: h.last, LastAt: h.at, Readings: h.readings, Last: slices.Clone(h.values),
		}
	}
	return s
}

// Jobs lists the deliveries that are not done, oldest first.
func (c *Core) Jobs() []Job { return slices.Clone(c.jobs) }

// Drivers lists the inputs' connections as they were last reported.
func (c *Core) Drivers() []DriverStatus { return slices.Clone(c.drivers) }

// Link is the connection to the cloud as it was last reported.
func (c *Core) Link() Link { return c.link }
