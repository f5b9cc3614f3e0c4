// Package apitest has a site in memory for tests of what stands on edge/api: a building whose
// rooms, alerts and devices a test changes by hand. It keeps the contracts of api.Site,
// api.History and api.Reporter; it estimates nothing and forgets everything.
package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/live"
)

// Epoch is the journal epoch of a new Site.
const Epoch = "0123456789abcdef0123456789abcdef"

// Site is a site in memory. Its methods may be called from many goroutines.
type Site struct {
	live.Signal

	mu       sync.Mutex // guards what follows
	snap     edge.Snapshot
	records  []edge.Record
	oldest   uint64 // sequence of records[0]
	history  map[string][]edge.Occupancy
	readings map[string][]edge.Reading
	done     map[string]edge.CommandResult
	commands []edge.Command
	status   api.Status
	fail     error
}

// New returns a site with the given model at a time; every space is unknown.
func New(model edge.Site, at time.Time) *Site {
	at = edge.Millis(at)
	s := &Site{oldest: 1, history: map[string][]edge.Occupancy{}, readings: map[string][]edge.Reading{}, done: map[string]edge.CommandResult{}}
	s.snap = edge.Snapshot{At: at, Epoch: Epoch, Site: &model}
	for _, sp := range model.Spaces {
		s.snap.Spaces = append(s.snap.Spaces, Unknown(sp, at))
	}
	for _, sensor := range model.Sensors {
		s.snap.Sensors = append(s.snap.Sensors, edge.SensorStatus{Sensor: sensor, Status: "waiting"})
	}
	s.status = api.Status{
		Site: model.ID, Name: model.Name, Version: "test", State: api.Running, StartedAt: at, Clock: "synced", Epoch: Epoch,
	}
	return s
}

// Unknown is the occupancy of a space before any evidence.
func Unknown(sp edge.Space, at time.Time) edge.Occupancy {
	return edge.Occupancy{Space: sp.ID, State: edge.Unknown, Quality: edge.QualityNone, AsOf: at, Since: at, Capacity: sp.Capacity}
}

// Known is an occupancy of count people within [low, high].
func Known(sp edge.Space, count, low, high int, q edge.OccupancyQuality, at time.Time) edge.Occupancy {
	mean, p := float64(count), 0.98
	o := edge.Occupancy{
		Space: sp.ID, State: edge.Occupied, Count: &count, Low: &low, High: &high, Mean: &mean, POccupied: &p,
		Quality: q, AsOf: edge.Millis(at), Since: edge.Millis(at), Capacity: sp.Capacity,
	}
	if count == 0 {
		p, o.State = 0.03, edge.Vacant
	}
	if sp.Capacity > 0 {
		u := float64(count) / float64(sp.Capacity)
		o.Utilisation = &u
	}
	return o
}

// Snapshot returns the newest state.
func (s *Site) Snapshot() *edge.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.snap
	return &snap
}

// Update changes the state and publishes it with the events that it caused.
func (s *Site) Update(at time.Time, change func(*edge.Snapshot), events ...edge.Event) {
	s.mu.Lock()
	s.update(at, change, events...)
	s.mu.Unlock()
	s.Notify()
}

func (s *Site) update(at time.Time, change func(*edge.Snapshot), events ...edge.Event) {
	next := s.snap
	next.Spaces, next.Alerts = slices.Clone(next.Spaces), slices.Clone(next.Alerts)
	next.Sensors, next.Devices = slices.Clone(next.Sensors), slices.Clone(next.Devices)
	next.At = edge.Millis(at)
	next.Commit++
	change(&next)
	for _, e := range events {
		next.Seq++
		next.Counts.Events++
		s.records = append(s.records, edge.Record{
			Epoch: next.Epoch, Lane: edge.Events, Seq: next.Seq, Commit: next.Commit, Source: next.Site.ID,
			Type: string(e.Type), Subject: e.Subject, Time: next.At, At: e.At, Data: e.Data,
		})
	}
	s.snap = next
}

// AddInput writes a record that is an input of the engine; clients never see it.
func (s *Site) AddInput(typ string) {
	s.Update(s.Snapshot().At, func(*edge.Snapshot) {}, edge.Event{Type: edge.EventType(typ)})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[len(s.records)-1].Input = true
}

// Set publishes a new occupancy of a space with its event, and remembers it as history.
func (s *Site) Set(o edge.Occupancy) {
	s.Update(o.AsOf, func(n *edge.Snapshot) {
		for i := range n.Spaces {
			if n.Spaces[i].Space == o.Space {
				n.Spaces[i] = o
			}
		}
		s.history[o.Space] = append(s.history[o.Space], o)
	}, EventOf(edge.OccupancyChanged, o.Space, o.AsOf, o))
}

// Past remembers an occupancy without publishing it; calls must be in order of time.
func (s *Site) Past(o edge.Occupancy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history[o.Space] = append(s.history[o.Space], o)
}

// AddReading remembers a reading of a sensor.
func (s *Site) AddReading(r edge.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readings[r.Sensor] = append(s.readings[r.Sensor], r)
}

// EventOf makes an event with v as its data.
func EventOf(typ edge.EventType, subject string, at time.Time, v any) edge.Event {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own type
	}
	return edge.Event{Type: typ, Subject: subject, At: at, Data: data}
}

// Trim forgets all records before sequence first.
func (s *Site) Trim(first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.oldest = s.records[first-s.oldest:], first
}

// Fail makes commands and history fail from now on; nil ends that.
func (s *Site) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Commands lists the commands that were carried out.
func (s *Site) Commands() []edge.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Do carries out a command.
func (s *Site) Do(_ context.Context, c edge.Command) (edge.CommandResult, error) {
	defer s.Notify()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return edge.CommandResult{}, s.fail
	}
	if res, ok := s.done[c.ID]; ok {
		return res, nil
	}
	res := s.carryOut(c)
	res.ID = c.ID
	s.done[c.ID] = res
	s.commands = append(s.commands, c)
	return res, nil
}

func (s *Site) carryOut(c edge.Command) edge.CommandResult {
	at := edge.Millis(time.Now())
	switch c.Kind {
	case edge.AcknowledgeAlert:
		return s.acknowledge(c, at)
	case edge.ApproveDevice, edge.IgnoreDevice:
		return s.assign(c, at)
	case edge.CorrectCount:
		s.update(at, func(*edge.Snapshot) {}, edge.Event{Type: edge.Correction, Subject: c.Subject, At: at, Data: c.Args})
		return edge.CommandResult{Applied: true}
	}
	return edge.CommandResult{Code: "invalid", Reason: "command " + string(c.Kind) + " is not known"}
}

func (s *Site) acknowledge(c edge.Command, at time.Time) edge.CommandResult {
	i := slices.IndexFunc(s.snap.Alerts, func(a edge.Alert) bool { return a.ID == c.Subject })
	if i < 0 {
		return edge.CommandResult{Code: "not_found", Reason: "alert " + c.Subject + " is not open"}
	}
	if s.snap.Alerts[i].State == edge.StateAcknowledged {
		return edge.CommandResult{Code: "conflict", Reason: "alert " + c.Subject + " is acknowledged already"}
	}
	a := s.snap.Alerts[i]
	a.State, a.AcknowledgedAt, a.AcknowledgedBy, a.UpdatedAt = edge.StateAcknowledged, at, c.By, at
	s.update(at, func(n *edge.Snapshot) { n.Alerts[i] = a }, EventOf(edge.AlertAcknowledged, a.ID, at, a))
	return edge.CommandResult{Applied: true}
}

func (s *Site) assign(c edge.Command, at time.Time) edge.CommandResult {
	i := slices.IndexFunc(s.snap.Devices, func(d edge.Device) bool { return d.Address == c.Subject })
	var sensor edge.Sensor
	if err := json.Unmarshal(c.Args, &sensor); err != nil || i < 0 {
		return edge.CommandResult{Code: "invalid", Reason: fmt.Sprint("device ", c.Subject, ": ", err)}
	}
	d := s.snap.Devices[i]
	d.State = edge.DeviceIgnored
	if c.Kind == edge.ApproveDevice {
		d.State, d.Sensor = edge.DeviceApproved, sensor.ID
	}
	s.update(at, func(n *edge.Snapshot) {
		n.Devices[i] = d
		if d.Sensor != "" {
			n.Sensors = append(n.Sensors, edge.SensorStatus{Sensor: sensor, Status: "ok", LastSeen: d.LastSeen, Readings: d.Readings, Last: d.Last})
		}
	}, EventOf(edge.DeviceStatusEvent, d.Address, at, map[string]any{"device": d.Address, "state": d.State, "sensor": d.Sensor}))
	return edge.CommandResult{Applied: true}
}

// Events returns the records after a sequence.
func (s *Site) Events(_ context.Context, after uint64, limit int) ([]edge.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fail != nil:
		return nil, s.fail
	case after == 0:
		after = s.oldest - 1
	case after+1 < s.oldest:
		return nil, fmt.Errorf("event %d: %w", after+1, api.ErrGone)
	}
	rs := s.records[min(int(after+1-s.oldest), len(s.records)):]
	return slices.Clone(rs[:min(limit, len(rs))]), nil
}

// Occupancy returns the step function of a space.
func (s *Site) Occupancy(_ context.Context, space string, from, to time.Time, limit int) ([]edge.Occupancy, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var out []edge.Occupancy
	for _, o := range s.history[space] {
		switch {
		case o.AsOf.After(to) || len(out) == limit:
			return out, nil
		case !o.AsOf.After(from):
			out = []edge.Occupancy{o}
		default:
			out = append(out, o)
		}
	}
	return out, nil
}

// Occupancies tells the past of all spaces.
func (s *Site) Occupancies(_ context.Context, from, to time.Time, see func(edge.Occupancy)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, past := range s.history {
		for _, o := range past {
			if !o.AsOf.After(to) && !o.AsOf.Before(from.Add(-time.Hour)) {
				see(o)
			}
		}
	}
	return s.fail
}

// Readings returns what a sensor said.
func (s *Site) Readings(_ context.Context, sensor string, from, to time.Time, limit int) ([]edge.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var out []edge.Reading
	for _, r := range s.readings[sensor] {
		if !r.At.Before(from) && !r.At.After(to) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// SetStatus changes what Status reports; change must not call the site.
func (s *Site) SetStatus(change func(*api.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// Status reports on the site.
func (s *Site) Status() api.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Now, st.Counts, st.Epoch = s.snap.At, s.snap.Counts, s.snap.Epoch
	st.Lanes.Events.Head = s.snap.Seq
	return st
}

// ID is the id of the event with this sequence.
func ID(seq uint64) string { return Epoch + "-events-" + strconv.FormatUint(seq, 10) }
