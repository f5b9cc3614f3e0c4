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

// Core is the deterministic domain state of a site: estimator, rules, devices, ledger,
// delivery jobs. It does no I/O and reads no clock. It is not safe for concurrent use.
//
// One commit is: Begin(now), then Apply for each input, then Take for each reading, then End,
// which returns the outputs. Begin(t1), End, Begin(t2), End gives the same outputs as
// Begin(t2), End.
type Core struct {
	setup   Setup
	model   *occupancy.Model
	rules   *alerts.Machine
	doors   *doors.Machine
	reg     *registry
	dedup   *dedup
	ledger  ledger
	jobs    []Job // undelivered actions, oldest first
	link    Link
	drivers []DriverStatus
	cleared []edge.Alert // newest last
	done    []string     // ids of the newest commands, so that a repeated one is not applied twice
	counts  edge.Counts
	now     time.Time
	out     []edge.Event
	touched bool // the present commit changed something to settle at its end
	facts   *facts
	samples []sample // parallel to the site's sensors
}

// grid is the UTC grid on which time-dependent facts are looked at.
const grid = 30 * time.Second

// How many of the newest are kept.
const (
	keepCleared  = 50
	keepCommands = 256
	maxJobs      = 10000
)

// NewCore makes the state of a store's first start.
func NewCore(setup Setup, start time.Time) (*Core, error) {
	c := &Core{reg: newRegistry(), dedup: newDedup(), now: edge.Millis(start)}
	c.facts = newFacts(&c.link)
	if err := c.configure(setup); err != nil {
		return nil, err
	}
	return c, nil
}

// configure runs the site under a new setup. What spaces and sensors with the same ids knew is
// kept.
func (c *Core) configure(setup Setup) error {
	reg := *c.reg
	reg.yield(c.setup.Site, setup.Site)
	reg.configure(setup.Site)
	model, err := c.buildModel(&reg.site)
	if err != nil {
		return err
	}
	rules, err := alerts.New(setup.Rules, &reg.site)
	if err != nil {
		return err
	}
	atDoors := doors.New(&reg.site)
	if c.doors != nil {
		atDoors.Restore(c.doors.State())
	}
	samples := c.carrySamples(&reg.site)
	if c.rules != nil {
		for _, e := range c.rules.Evaluate(c.now, c.facts) { // its state is whole only after that
			c.follow(e)
		}
		state, err := c.rules.MarshalState()
		if err == nil {
			err = rules.Restore(state, c.facts)
		}
		if err != nil {
			return fmt.Errorf("carry alerts over: %w", err)
		}
	}
	*c.reg, c.model, c.rules, c.doors, c.setup, c.samples = reg, model, rules, atDoors, setup, samples
	c.reg.adopt()
	c.fitDedup()
	return nil
}

// possible tells whether configure will take a setup. It changes nothing.
func (c *Core) possible(setup Setup) error {
	reg := *c.reg
	reg.yield(c.setup.Site, setup.Site)
	reg.configure(setup.Site)
	if _, err := c.buildModel(&reg.site); err != nil {
		return err
	}
	_, err := alerts.New(setup.Rules, &reg.site)
	return err
}

// fitDedup remembers readings of the site's sensors and of devices that are listed as unknown.
func (c *Core) fitDedup() {
	known := make(map[string]bool, len(c.reg.site.Sensors)+len(c.reg.devices))
	for _, s := range c.reg.site.Sensors {
		known[s.ID] = true
	}
	for a := range c.reg.devices {
		known[unknownDevice+a] = true
	}
	c.dedup.fit(len(c.reg.site.Sensors), func(who string) bool { return known[who] })
}

// unknownDevice stands before the address of a device that serves no sensor.
const unknownDevice = "device:"

// carrySamples lines the sensors' samples up with a new site.
func (c *Core) carrySamples(site *edge.Site) []sample {
	old := map[string]sample{}
	for i, s := range c.reg.site.Sensors {
		old[s.ID] = c.samples[i]
	}
	out := make([]sample, len(site.Sensors))
	for i, s := range site.Sensors {
		if out[i] = old[s.ID]; out[i].Status == "" {
			out[i].Status = sensorWaiting
		}
		c.facts.sensors[s.ID] = out[i].status(s)
	}
	return out
}

// sensorWaiting is the status of a sensor that was never heard.
const sensorWaiting = "waiting"

func (c *Core) buildModel(site *edge.Site) (*occupancy.Model, error) {
	if c.model == nil {
		return occupancy.New(site, c.now)
	}
	state, err := c.model.MarshalState()
	if err != nil {
		return nil, fmt.Errorf("carry occupancy over: %w", err)
	}
	return occupancy.Restore(site, state)
}

// Setup is what the core runs under.
func (c *Core) Setup() Setup { return c.setup }

// Next is when the core next has something to do by itself.
func (c *Core) Next() time.Time {
	next := c.now.Truncate(grid).Add(grid)
	for _, t := range []time.Time{c.model.Next(), c.rules.Next(), c.doors.Next()} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// Begin brings the state to now: everything due at or before it happens first, each at its own
// due time. A now before the present time counts as the present time.
func (c *Core) Begin(now time.Time) {
	now = edge.Millis(now)
	for {
		due := c.Next()
		if due.After(now) || !due.After(c.now) {
			break
		}
		c.now = due
		c.settle(due.Equal(due.Truncate(grid)))
	}
	if now.After(c.now) {
		c.now = now
	}
	for _, o := range c.model.Advance(c.now) { // nothing is due; the estimator is told the time of what comes in
		c.published(o)
	}
}

// Skip passes over the time until to, in which nobody listened: nothing falls due in it but
// what rules have to say, and spaces are unknown. It comes before Begin.
func (c *Core) Skip(to time.Time) {
	to = edge.Millis(to)
	if !to.After(c.now) {
		return
	}
	for _, o := range c.model.Skip(to) {
		c.published(o)
	}
	c.doors.Skip()
	for _, e := range c.rules.Evaluate(c.now, c.facts) {
		c.follow(e)
	}
	c.now, c.touched = to, true
}

// End completes a commit and returns its outputs in order.
func (c *Core) End() []edge.Event {
	if c.touched {
		c.settle(false)
	}
	out := c.out
	c.out = nil
	c.counts.Events += uint64(len(out))
	return out
}

// settle collects what changed by c.now: occupancies, doors, then sensors' trust, then the rules.
func (c *Core) settle(onGrid bool) {
	for _, o := range c.model.Advance(c.now) {
		c.published(o)
	}
	c.out = append(c.out, c.doors.Advance(c.now)...)
	c.watchDoors()
	if onGrid {
		c.watchSensors()
		for _, e := range c.ledger.untold() {
			c.emit(edge.Loss, e.Source, c.now, e)
		}
	}
	for _, e := range c.rules.Evaluate(c.now, c.facts) {
		c.follow(e)
	}
	c.touched = false
}

// follow writes an alert's event and queues its actions.
func (c *Core) follow(e edge.Event) {
	c.out = append(c.out, e)
	if e.Type != edge.AlertRaised && e.Type != edge.AlertCleared {
		return
	}
	var a edge.Alert
	if err := json.Unmarshal(e.Data, &a); err != nil {
		panic(fmt.Sprintf("engine: alert event: %v", err)) // our own bytes
	}
	if e.Type == edge.AlertCleared {
		c.cleared = append(c.cleared, a)
		c.cleared = c.cleared[max(0, len(c.cleared)-keepCleared):]
	}
	for _, action := range a.Actions {
		if len(c.jobs) >= maxJobs {
			c.lose("delivery queue full", "action "+action, a.ID, 1)
			continue
		}
		c.jobs = append(c.jobs, Job{ID: a.ID + "/" + string(e.Type) + "/" + action, Action: action, Created: e.At, Event: e})
	}
}

// emit appends an output.
func (c *Core) emit(typ edge.EventType, subject string, at time.Time, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("engine: encode %s: %v", typ, err)) // only our own types come here
	}
	c.out = append(c.out, edge.Event{Type: typ, Subject: subject, At: at, Data: b})
}

// lose counts a loss and says so upstream.
func (c *Core) lose(cause, source, detail string, n uint64) {
	if e, first := c.ledger.add(cause, source, detail, n, c.now); first {
		c.emit(edge.Loss, source, c.now, e)
	}
}

// Refuse says why a reading is not to be taken, or "". It changes nothing.
func (c *Core) Refuse(r *edge.Reading) string {
	if _, known := c.reg.resolve(r.Device); known {
		return ""
	}
	if c.reg.ignored[r.Device] {
		return "device is ignored"
	}
	if _, heard := c.reg.devices[r.Device]; !heard && len(c.reg.devices) >= maxPending {
		return "too many unknown devices"
	}
	return ""
}

// Take takes one reading whose times are fixed: it names the sensor, recognises what was taken
// before, and steps the estimator. Only accepted and pending readings are to be stored.
func (c *Core) Take(r *edge.Reading) edge.Outcome {
	sensor, known := c.reg.resolve(r.Device)
	r.Sensor = sensor
	who := sensor
	if !known {
		who = unknownDevice + r.Device
	}
	if !c.dedup.take(who, r) {
		return edge.Outcome{Status: edge.Duplicate}
	}
	sights := c.sights(r)
	if first := c.reg.note(r); first {
		c.emit(edge.DeviceStatusEvent, r.Device, c.now, map[string]any{"device": r.Device, "state": edge.DevicePending})
	}
	c.counts.Readings++
	if !known {
		c.counts.Pending++
		return edge.Outcome{Status: edge.Pending, Reason: "no sensor names device " + r.Device + "; it is listed as pending"}
	}
	c.model.Observe(*r)
	for _, f := range c.model.Faults() {
		c.emit(edge.SensorStatusEvent, f.Sensor, f.At, map[string]any{"sensor": f.Sensor, "status": "fault", "cause": f.Cause, "reason": f.Detail})
	}
	c.out = append(c.out, c.doors.Observe(r, c.now)...)
	c.atCamera(r.Device, sights)
	c.touched = true
	return edge.Outcome{Status: edge.Accepted}
}

// Apply takes one input that is no reading. The result answers a command.
func (c *Core) Apply(in input) (edge.CommandResult, error) {
	switch in.typ {
	case TypeBoot:
		b, err := decode[Boot](in)
		c.boot(b)
		c.emit(edge.HubStatus, "hub", c.now, map[string]any{"status": "started", "boot": b.ID, "version": b.Version, "clock": b.Clock})
		return edge.CommandResult{}, err
	case TypeConfig:
		return edge.CommandResult{}, c.applyConfig(in)
	case TypeCommand:
		cmd, err := decode[edge.Command](in)
		if err != nil {
			return edge.CommandResult{}, err
		}
		return c.command(cmd), nil
	case TypeRejected:
		r, err := decode[edge.Rejection](in)
		c.rejected(r)
		return edge.CommandResult{}, err
	case TypeDriver:
		d, err := decode[DriverStatus](in)
		c.driver(d)
		return edge.CommandResult{}, err
	case TypeLink:
		l, err := decode[Link](in)
		if l.Since = c.link.Since; l.Connected != c.link.Connected || c.link.Since.IsZero() {
			l.Since = c.now
		}
		c.link, c.touched = l, true
		c.rules.TouchHub()
		return edge.CommandResult{}, err
	case TypeAction:
		a, err := decode[ActionResult](in)
		c.delivered(a)
		return edge.CommandResult{}, err
	case TypeLost:
		l, err := decode[Lost](in)
		c.lose(l.Cause, "lane "+string(l.Lane), fmt.Sprintf("epoch %s, %d-%d. %s", l.Epoch, l.From, l.To, l.Detail), l.Count)
		return edge.CommandResult{}, err
	case TypePause:
		p, err := decode[Pause](in)
		c.emit(edge.HubStatus, "hub", c.now, map[string]any{"status": "paused", "from": p.Since, "to": c.now})
		return edge.CommandResult{}, err
	case TypeRefused:
		r, err := decode[RefusedSetup](in)
		c.emit(edge.ConfigRefused, "hub", c.now, r)
		return edge.CommandResult{}, err
	case TypeAnew:
		a, err := decode[Anew](in)
		c.lose("state not restored", "hub", a.Reason, 1)
		return edge.CommandResult{}, err
	}
	return edge.CommandResult{}, fmt.Errorf("input type %q is not known to this version", in.typ)
}

// boot forgets what only holds while a process runs: drivers report anew, and a hub without an
// uplink has none to be out of sync with.
func (c *Core) boot(b Boot) {
	c.drivers, c.touched = nil, true
	if !b.Uplink && c.link.Configured {
		c.link = Link{}
		c.rules.TouchHub()
	}
}

func (c *Core) applyConfig(in input) error {
	s, err := readSetup(in)
	if err != nil {
		return err
	}
	if err := c.configure(s); err != nil {
		return err
	}
	c.touched = true
	data := map[string]any{"hash": s.Hash}
	if s.Revision > 0 {
		data["revision"] = s.Revision
	}
	c.emit(edge.ConfigApplied, "hub", c.now, data)
	return nil
}

func (c *Core) rejected(r edge.Rejection) {
	n := uint64(max(1, r.Count))
	c.counts.Rejected += n
	source := r.Driver
	if r.Device != "" {
		source += " " + r.Device
	}
	c.lose(r.Cause, source, r.Detail, n)
}

func (c *Core) driver(d DriverStatus) {
	d.Since = c.now
	i := slices.IndexFunc(c.drivers, func(x DriverStatus) bool { return x.ID == d.ID })
	if i < 0 {
		c.drivers = append(c.drivers, d)
	} else {
		c.drivers[i] = d
	}
	c.touched = true
	c.emit(edge.HubStatus, d.ID, c.now, d)
}

// delivered ends a delivery job.
func (c *Core) delivered(a ActionResult) {
	i := slices.IndexFunc(c.jobs, func(j Job) bool { return j.ID == a.Job })
	if i < 0 {
		return
	}
	job := c.jobs[i]
	c.jobs = slices.Delete(c.jobs, i, i+1)
	typ := edge.ActionFailed
	if a.Delivered {
		typ = edge.ActionDelivered
	}
	c.emit(typ, job.Event.Subject, c.now, map[string]any{
		"job": job.ID, "action": job.Action, "event": job.Event.Type, "attempts": a.Attempts, "error": a.Error,
	})
}
