package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// registry knows which device serves which sensor, and every device that was heard.
//
// The configured sensors are the base; what was approved or ignored at run time is laid over
// it and outlives changes of the configuration, unless those say otherwise of the same sensor or
// device: the newer word holds.
type registry struct {
	site     edge.Site               // effective: configured sensors and approved ones
	approved []edge.Sensor           // laid over the configuration, in order of approval
	ignored  map[string]bool         // by address
	byAddr   map[string]int          // address -> index in site.Sensors
	heard    []heard                 // parallel to site.Sensors
	devices  map[string]*edge.Device // heard, but serving no sensor
}

// heard is what was taken in from one sensor.
type heard struct {
	last     time.Time // receipt
	at       time.Time // newest event time
	readings uint64
	values   []edge.Value // newest of each kind
}

// maxPending bounds how many unknown devices are kept; readings of further ones are refused.
const maxPending = 1000

func newRegistry() *registry {
	return &registry{ignored: map[string]bool{}, devices: map[string]*edge.Device{}}
}

// configure lays what was approved over a configured site and keeps what was heard.
func (g *registry) configure(site edge.Site) {
	old := map[string]heard{}
	for i, s := range g.site.Sensors {
		old[s.ID] = g.heard[i]
	}
	g.site = site
	g.site.Sensors = slices.Clone(site.Sensors)
	for _, s := range g.approved {
		g.overlay(s)
	}
	g.byAddr = make(map[string]int, len(g.site.Sensors))
	g.heard = make([]heard, len(g.site.Sensors))
	for i, s := range g.site.Sensors {
		g.byAddr[s.Address()] = i
		g.heard[i] = old[s.ID]
	}
}

// adopt takes the devices that now serve a sensor off the lists of unknown ones.
func (g *registry) adopt() {
	for _, s := range g.site.Sensors {
		delete(g.devices, s.Address())
		delete(g.ignored, s.Address())
	}
}

// yield drops the approvals that a new configuration contradicts: one of a sensor whose device it
// changes, and one of a device that it gives to another sensor.
func (g *registry) yield(old, site edge.Site) {
	if len(old.Spaces) == 0 {
		return // there was none to compare with
	}
	was := map[string]string{}
	for _, s := range old.Sensors {
		was[s.ID] = s.Address()
	}
	g.approved = slices.DeleteFunc(slices.Clone(g.approved), func(a edge.Sensor) bool {
		return slices.ContainsFunc(site.Sensors, func(s edge.Sensor) bool {
			if s.ID != a.ID {
				return s.Address() == a.Device
			}
			before, configured := was[s.ID]
			return !configured || before != s.Address()
		})
	})
}

// overlay adds an approved sensor, or gives an existing one its new device.
func (g *registry) overlay(s edge.Sensor) {
	for i := range g.site.Sensors {
		if g.site.Sensors[i].ID == s.ID {
			g.site.Sensors[i].Device = s.Device
			return
		}
	}
	_, space := g.site.Space(s.Space)
	_, door := g.site.Door(s.Door)
	if space || door {
		g.site.Sensors = append(g.site.Sensors, s)
	}
}

// resolve names the sensor that a device serves.
func (g *registry) resolve(address string) (sensor string, ok bool) {
	i, ok := g.byAddr[address]
	if !ok {
		return "", false
	}
	return g.site.Sensors[i].ID, true
}

// note remembers that r was taken in. first tells that it is the first of an unknown device.
func (g *registry) note(r *edge.Reading) (first bool) {
	if i, ok := g.byAddr[r.Device]; ok && r.Sensor != "" {
		h := &g.heard[i]
		h.last, h.readings = r.Received, h.readings+1
		if r.At.After(h.at) {
			h.at = r.At
		}
		h.values = newest(h.values, r.Values)
		return false
	}
	d := g.devices[r.Device]
	if first = d == nil; first {
		d = &edge.Device{Address: r.Device, State: edge.DevicePending, First: r.Received}
		g.devices[r.Device] = d
	}
	d.LastSeen, d.Readings = r.Received, d.Readings+1
	d.Last = newest(d.Last, r.Values)
	return first
}

// newest replaces in have, by kind, what values has. Kinds beyond maxKinds are not remembered.
func newest(have, values []edge.Value) []edge.Value {
	for _, v := range values {
		i := slices.IndexFunc(have, func(h edge.Value) bool { return h.Kind == v.Kind })
		switch {
		case i >= 0:
			have[i] = v
		case len(have) < maxKinds:
			have = append(have, v)
		}
	}
	return have
}

// idLetters are the characters of configured ids.
const idLetters = "abcdefghijklmnopqrstuvwxyz0123456789-_"

// approve makes the pending device serve a sensor: a new one, or an existing one whose
// hardware it replaces.
func (g *registry) approve(address string, s edge.Sensor) error {
	s.Device = address
	if s.ID == "" {
		return fmt.Errorf("args.id is missing: name the sensor that the device serves")
	}
	if len(s.ID) > 64 || strings.Trim(s.ID, idLetters) != "" {
		return fmt.Errorf("args.id %.64q: use up to 64 of a-z, 0-9, - and _", s.ID)
	}
	if have, ok := g.resolve(address); ok {
		return fmt.Errorf("device %s already serves sensor %s", address, have)
	}
	exists := slices.ContainsFunc(g.site.Sensors, func(x edge.Sensor) bool { return x.ID == s.ID })
	if !exists {
		if (s.Space == "") == (s.Door == "") {
			return fmt.Errorf("sensor %s: give either a space or a door", s.ID)
		}
		if _, ok := g.site.Space(s.Space); s.Space != "" && !ok {
			return fmt.Errorf("sensor %s: there is no space %q", s.ID, s.Space)
		}
		if _, ok := g.site.Door(s.Door); s.Door != "" && !ok {
			return fmt.Errorf("sensor %s: there is no door %q", s.ID, s.Door)
		}
		if s.Class == "" {
			return fmt.Errorf("sensor %s: give its class (pir, line-tof, desk, …)", s.ID)
		}
	}
	g.approved = slices.DeleteFunc(g.approved, func(x edge.Sensor) bool { return x.ID == s.ID })
	g.approved = append(g.approved, s)
	return nil
}

// ignore makes readings of the device counted only.
func (g *registry) ignore(address string) error {
	if have, ok := g.resolve(address); ok {
		return fmt.Errorf("device %s serves sensor %s", address, have)
	}
	d := g.devices[address]
	if d == nil {
		d = &edge.Device{Address: address}
		g.devices[address] = d
	}
	d.State = edge.DeviceIgnored
	g.ignored[address] = true
	return nil
}

// list gives every device that was heard or is named, sorted by address.
func (g *registry) list() []edge.Device {
	out := make([]edge.Device, 0, len(g.devices)+len(g.site.Sensors))
	for _, d := range g.devices {
		c := *d
		c.Last = slices.Clone(d.Last)
		out = append(out, c)
	}
	for i, s := range g.site.Sensors {
		h := g.heard[i]
		out = append(out, edge.Device{
			Address: s.Address(), State: edge.DeviceApproved, Sensor: s.ID,
			LastSeen: h.last, Readings: h.readings, Last: slices.Clone(h.values),
		})
	}
	slices.SortFunc(out, func(a, b edge.Device) int { return cmp.Compare(a.Address, b.Address) })
	return out
}
