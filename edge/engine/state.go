package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
	"github.com/headcount-hub/headcount/edge/doors"
	"github.com/headcount-hub/headcount/edge/occupancy"
)

// stateVersion is the version of the checkpoint's form. A checkpoint of another version is not
// read; the state is then built from the journal's inputs.
const stateVersion = 2

// checkpoint is the whole state of a core as it is stored.
type checkpoint struct {
	Version  int               `json:"version"`
	Now      time.Time         `json:"now"`
	Setup    Setup             `json:"setup"`
	Model    []byte            `json:"model"`
	Rules    json.RawMessage   `json:"rules"`
	Approved []edge.Sensor     `json:"approved,omitempty"`
	Ignored  []string          `json:"ignored,omitempty"`
	Heard    []heardState      `json:"heard,omitempty"`
	Devices  []edge.Device     `json:"devices,omitempty"`
	Rings    map[string][]byte `json:"dedup,omitempty"`
	Loss     []edge.LossEntry  `json:"loss,omitempty"`
	Untold   []edge.LossEntry  `json:"untold,omitempty"`
	Jobs     []Job             `json:"jobs,omitempty"`
	Link     Link              `json:"link"`
	Drivers  []DriverStatus    `json:"drivers,omitempty"`
	Cleared  []edge.Alert      `json:"cleared,omitempty"`
	Done     []string          `json:"done,omitempty"`
	Counts   edge.Counts       `json:"counts"`
	Samples  []sample          `json:"samples,omitempty"`
	Spaces   []edge.Occupancy  `json:"spaces,omitempty"` // as last published
	Doors    doors.State       `json:"doors,omitempty"`
}

type heardState struct {
	Sensor   string       `json:"sensor"`
	Last     time.Time    `json:"last"`
	At       time.Time    `json:"at"`
	Readings uint64       `json:"readings"`
	Values   []edge.Value `json:"values,omitempty"`
}

// Marshal returns the whole state; RestoreCore goes on from it bit for bit.
func (c *Core) Marshal() ([]byte, error) {
	model, err := c.model.MarshalState()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: occupancy: %w", err)
	}
	rules, err := c.rules.MarshalState()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: alerts: %w", err)
	}
	s := checkpoint{
		Version: stateVersion, Now: c.now, Setup: c.setup, Model: model, Rules: rules,
		Approved: c.reg.approved, Devices: c.unknownDevices(), Rings: c.dedup.entries(), Loss: c.ledger.entries(),
		Jobs: c.jobs, Link: c.link, Drivers: c.drivers, Cleared: c.cleared, Done: c.done, Counts: c.counts, Samples: c.samples,
		Doors: c.doors.State(),
	}
	for _, sp := range c.reg.site.Spaces {
		if o, ok := c.facts.spaces[sp.ID]; ok {
			s.Spaces = append(s.Spaces, o)
		}
	}
	for k := range c.ledger.dirty {
		s.Untold = append(s.Untold, *c.ledger.lines[k])
	}
	sortLoss(s.Untold)
	for a := range c.reg.ignored {
		s.Ignored = append(s.Ignored, a)
	}
	slices.Sort(s.Ignored)
	for i, sensor := range c.reg.site.Sensors {
		h := c.reg.heard[i]
		s.Heard = append(s.Heard, heardState{sensor.ID, h.last, h.at, h.readings, h.values})
	}
	return json.Marshal(s)
}

func (c *Core) unknownDevices() []edge.Device {
	return slices.DeleteFunc(c.reg.list(), func(d edge.Device) bool { return d.State == edge.DeviceApproved })
}

// RestoreCore makes the core that Marshal described. When only the rules are not understood any
// more, there are both a core without rules, which is to be configured, and an error.
func RestoreCore(state []byte) (*Core, error) {
	var s checkpoint
	if err := json.Unmarshal(state, &s); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("checkpoint: version %d, this program reads %d", s.Version, stateVersion)
	}
	c := &Core{
		setup: s.Setup, reg: newRegistry(), dedup: newDedup(), jobs: s.Jobs, link: s.Link, drivers: s.Drivers,
		cleared: s.Cleared, done: s.Done, counts: s.Counts, now: s.Now, samples: s.Samples,
	}
	c.facts = newFacts(&c.link)
	for _, o := range s.Spaces {
		c.facts.spaces[o.Space] = o
	}
	c.ledger.restore(s.Loss, s.Untold)
	if err := c.dedup.restore(s.Rings); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	c.restoreRegistry(s)
	c.fitDedup()
	var err error
	if c.model, err = occupancy.Restore(&c.reg.site, s.Model); err != nil {
		return nil, fmt.Errorf("checkpoint: occupancy: %w", err)
	}
	c.doors = doors.New(&c.reg.site)
	c.doors.Restore(s.Doors)
	for _, d := range c.doors.Statuses() {
		c.facts.doors[d.Door] = d
	}
	if len(c.samples) != len(c.reg.site.Sensors) {
		return nil, fmt.Errorf("checkpoint: %d sensors, %d samples of them", len(c.reg.site.Sensors), len(c.samples))
	}
	rules, flaw := alerts.New(s.Setup.Rules, &c.reg.site)
	if flaw != nil {
		flaw = fmt.Errorf("checkpoint: rules: %w", flaw)
		c.setup.Hash, c.setup.Rules = "", nil
		if rules, err = alerts.New(nil, &c.reg.site); err != nil {
			return nil, err
		}
	}
	c.rules = rules
	for i, sensor := range c.reg.site.Sensors {
		c.facts.sensors[sensor.ID] = c.samples[i].status(sensor)
	}
	if err := c.rules.Restore(s.Rules, c.facts); err != nil {
		return nil, fmt.Errorf("checkpoint: alerts: %w", err)
	}
	return c, flaw
}

// salvage makes a core without a site that holds what people have decided, the ledger and the
// undelivered actions, as far as a checkpoint that cannot be restored has them.
func salvage(state []byte, now time.Time) *Core {
	c, _ := NewCore(Setup{}, now) // nothing to refuse in it
	var s checkpoint
	if json.Unmarshal(state, &s) != nil {
		var least struct {
			Approved []edge.Sensor `json:"approved"`
			Ignored  []string      `json:"ignored"`
		}
		_ = json.Unmarshal(state, &least) // nothing can be had then
		s = checkpoint{Approved: least.Approved, Ignored: least.Ignored}
	}
	c.reg.approved, c.jobs, c.done, c.counts, c.cleared = s.Approved, s.Jobs, s.Done, s.Counts, s.Cleared
	for _, a := range s.Ignored {
		c.reg.ignored[a] = true
	}
	for _, d := range s.Devices {
		c.reg.devices[d.Address] = &d
	}
	c.ledger.restore(s.Loss, s.Untold)
	if c.dedup.restore(s.Rings) != nil {
		c.dedup = newDedup()
	}
	return c
}

func (c *Core) restoreRegistry(s checkpoint) {
	c.reg.approved = s.Approved
	for _, a := range s.Ignored {
		c.reg.ignored[a] = true
	}
	c.reg.configure(s.Setup.Site)
	for _, h := range s.Heard {
		i := slices.IndexFunc(c.reg.site.Sensors, func(x edge.Sensor) bool { return x.ID == h.Sensor })
		if i >= 0 {
			c.reg.heard[i] = heard{last: h.Last, at: h.At, readings: h.Readings, values: h.Values}
		}
	}
	for _, d := range s.Devices {
		c.reg.devices[d.Address] = &d
	}
}
