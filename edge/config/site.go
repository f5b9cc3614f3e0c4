package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// site reads the site model; what is wrong in the tree already is left out of it.
func (b *builder) site() edge.Site {
	n := b.root.get("site")
	s := edge.Site{ID: n.str("id"), Name: n.str("name"), Timezone: n.str("timezone")}
	for _, v := range b.root.list("spaces") {
		s.Spaces = append(s.Spaces, edge.Space{
			ID: v.str("id"), Name: v.str("name"), Kind: edge.SpaceKind(v.str("kind")), Parent: v.str("parent"),
			Capacity: int(v.number("capacity")), VolumeM3: v.number("volume_m3"), Hours: v.str("hours"),
		})
	}
	for _, v := range b.root.list("doors") {
		d := edge.Door{ID: v.str("id"), HeldOpenAfter: duration(v, "held_open_after"), GrantWithin: duration(v, "grant_within")}
		copy(d.Between[:], v.texts("between"))
		s.Doors = append(s.Doors, d)
	}
	for _, v := range b.root.list("sensors") {
		se := edge.Sensor{
			ID: v.str("id"), Name: v.str("name"), Device: v.str("device"), Profile: v.str("profile"),
			Class: edge.Class(v.str("class")), Space: v.str("space"), Door: v.str("door"),
			Reversed: v.boolean("reversed"), Direction: v.str("direction"), Horizon: duration(v, "horizon"),
		}
		if p := v.get("params"); p != nil && len(p.members) > 0 {
			se.Params = map[string]float64{}
			for _, m := range p.members {
				se.Params[m.key] = m.value.num
			}
		}
		s.Sensors = append(s.Sensors, se)
	}
	return s
}

// checkSite notes everything in the site model that does not fit together.
func (b *builder) checkSite(s *edge.Site) {
	spaces, doors := b.unique("spaces", "space"), b.unique("doors", "door")
	b.unique("sensors", "sensor")
	b.checkSpaces(s, spaces)
	b.checkDoors(s, spaces)
	b.checkSensors(s, spaces, doors)
	b.checkGuards(s)
	if !b.opts.SiteOnly && len(b.ps.list) == 0 {
		b.warnBlind(s)
	}
}

// unique notes ids that are taken, and returns the ids.
func (b *builder) unique(section, what string) []string {
	var ids []string
	for i, n := range b.root.list(section) {
		id, path := n.str("id"), fmt.Sprintf("%s[%d].id", section, i)
		switch {
		case id == "":
		case what == "space" && id == edge.Outside:
			b.ps.add(n.get("id"), path, "delete it, it exists by itself", "the space %q cannot be configured", id)
		case slices.Contains(ids, id):
			b.ps.add(n.get("id"), path, "give it another id", "there is already a %s %q", what, id)
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

var rank = map[edge.SpaceKind]int{edge.Building: 1, edge.Floor: 2, edge.Room: 3, edge.Zone: 4}

func (b *builder) checkSpaces(s *edge.Site, ids []string) {
	byID := map[string]*edge.Space{}
	for i := range s.Spaces {
		byID[s.Spaces[i].ID] = &s.Spaces[i]
	}
	for i, n := range b.root.list("spaces") {
		sp, path := s.Spaces[i], fmt.Sprintf("spaces[%d].parent", i)
		if sp.Parent == "" {
			continue
		}
		parent, at := byID[sp.Parent], n.get("parent")
		switch {
		case sp.Parent == edge.Outside:
			b.ps.add(at, path, "delete it", "nothing lies within %q", edge.Outside)
		case parent == nil:
			b.ps.add(at, path, choices(sp.Parent, ids), "there is no space %q", sp.Parent)
		case inCycle(sp, byID):
			b.ps.add(at, path, "one of them must have another parent or none", "is a circle: %s", circle(sp, byID))
		case rank[parent.Kind] >= rank[sp.Kind] && rank[parent.Kind] > 0 && rank[sp.Kind] > 0:
			b.ps.add(at, path, "buildings hold floors, floors rooms, rooms zones", "a %s cannot lie within a %s (%q)", sp.Kind, parent.Kind, sp.Parent)
		}
	}
}

// inCycle tells whether a space is its own ancestor.
func inCycle(sp edge.Space, byID map[string]*edge.Space) bool {
	at := byID[sp.Parent]
	for steps := 0; at != nil && steps <= len(byID); steps++ {
		if at.ID == sp.ID {
			return true
		}
		at = byID[at.Parent]
	}
	return false
}

func circle(sp edge.Space, byID map[string]*edge.Space) string {
	names := []string{sp.ID}
	for at := byID[sp.Parent]; at != nil && at.ID != sp.ID && len(names) < 8; at = byID[at.Parent] {
		names = append(names, at.ID)
	}
	return strings.Join(append(names, sp.ID), " > ")
}

func (b *builder) checkDoors(s *edge.Site, spaces []string) {
	known := append([]string{edge.Outside}, spaces...)
	for i, n := range b.root.list("doors") {
		path := fmt.Sprintf("doors[%d].between", i)
		sides := n.list("between")
		for j, side := range sides {
			if side.kind == textNode && side.text != "" && !slices.Contains(known, side.text) {
				b.ps.add(side, fmt.Sprintf("%s[%d]", path, j), choices(side.text, known), "there is no space %q", side.text)
			}
		}
		if d := s.Doors[i]; len(sides) == 2 && d.Between[0] == d.Between[1] && d.Between[0] != "" {
			b.ps.add(n.get("between"), path, "a door joins two different spaces", "leads from %q to itself", d.Between[0])
		}
	}
}

// checkGuards notes alarms of doors that could never be, or would always be.
func (b *builder) checkGuards(s *edge.Site) {
	for i, n := range b.root.list("doors") {
		d, path := s.Doors[i], fmt.Sprintf("doors[%d]", i)
		for key, value := range map[string]time.Duration{"held_open_after": d.HeldOpenAfter, "grant_within": d.GrantWithin} {
			if _, err := ParseDuration(n.str(key)); err == nil && value < time.Second {
				b.ps.add(n.get(key), join(path, key), "delete it if the door is not to be watched", "must be at least 1s, not %s", n.str(key))
			}
		}
		reader := slices.ContainsFunc(s.Sensors, func(se edge.Sensor) bool { return se.Door == d.ID && se.Class == edge.Badge })
		if d.GrantWithin > 0 && !reader && !b.opts.SiteOnly {
			b.ps.warn(n.get("grant_within"), join(path, "grant_within"), "give the door a sensor of the class badge", "every opening of %q will count as forced, as nobody can be granted one", d.ID)
		}
	}
}

func (b *builder) checkSensors(s *edge.Site, spaces, doors []string) {
	devices := map[string]string{}
	for i, n := range b.root.list("sensors") {
		se, path := s.Sensors[i], fmt.Sprintf("sensors[%d]", i)
		if n.kind != mapNode {
			continue
		}
		b.checkPlace(n, path, spaces, doors)
		if se.Class == "" && se.Profile == "" && n.get("class") == nil && n.get("profile") == nil && !b.opts.SiteOnly {
			b.ps.add(n, path, "give it a class such as pir or line-tof, or the profile of its model", "has neither class nor profile")
		}
		if se.Reversed && n.get("door") == nil {
			b.ps.add(n.get("reversed"), join(path, "reversed"), "delete it", "is for sensors on doors only")
		}
		if se.Direction != "" && se.Class != edge.Badge {
			b.ps.add(n.get("direction"), join(path, "direction"), "delete it", "is for sensors of the class badge only")
		}
		if _, err := ParseDuration(n.str("horizon")); err == nil && se.Horizon == 0 {
			b.ps.add(n.get("horizon"), join(path, "horizon"), "delete it for the class's default", "must be longer than nothing")
		}
		if p := n.get("params"); p != nil && b.opts.CheckSensor != nil {
			if err := b.opts.CheckSensor(se); err != nil {
				b.ps.add(p, join(path, "params"), "", "%v", err)
			}
		}
		if se.ID == "" {
			continue
		}
		if other, taken := devices[se.Address()]; taken {
			at := n.at("id")
			if d := n.get("device"); d != nil {
				at = d
			}
			b.ps.add(at, join(path, "device"), "each point of a device serves one sensor", "the device %q serves the sensor %q already", se.Address(), other)
		}
		devices[se.Address()] = se.ID
	}
}

// checkPlace notes a sensor that observes nothing, too much or what does not exist.
func (b *builder) checkPlace(n *node, path string, spaces, doors []string) {
	space, door := n.get("space"), n.get("door")
	switch {
	case space == nil && door == nil:
		b.ps.add(n, path, "give it a space or a door", "observes nothing")
	case space != nil && door != nil:
		b.ps.add(door, path, "delete one of them", "observes both a space and a door")
	case space != nil && space.text == edge.Outside:
		b.ps.add(space, join(path, "space"), "", "%q is never counted", edge.Outside)
	case space != nil && space.kind == textNode && !slices.Contains(spaces, space.text):
		b.ps.add(space, join(path, "space"), choices(space.text, spaces), "there is no space %q", space.text)
	case door != nil && door.kind == textNode && !slices.Contains(doors, door.text):
		b.ps.add(door, join(path, "door"), choices(door.text, doors), "there is no door %q", door.text)
	}
}

// warnBlind warns of rooms that nothing observes: no sensor within, none on a door.
func (b *builder) warnBlind(s *edge.Site) {
	seen, watched := map[string]bool{}, map[string]bool{}
	for _, se := range s.Sensors {
		watched[se.Door] = true
		for id := se.Space; id != ""; {
			seen[id] = true
			sp, _ := s.Space(id)
			id = sp.Parent
		}
	}
	for _, d := range s.Doors {
		if watched[d.ID] {
			seen[d.Between[0]], seen[d.Between[1]] = true, true
		}
	}
	for i, n := range b.root.list("spaces") {
		if sp := s.Spaces[i]; sp.Kind == edge.Room && !seen[sp.ID] {
			b.ps.warn(n.at("id"), fmt.Sprintf("spaces[%d]", i), "its occupancy stays unknown", "no sensor observes the room %q or its doors", sp.ID)
		}
	}
	if len(b.root.list("inputs")) == 0 {
		b.ps.warn(nil, "inputs", "only the HTTP API takes readings", "there are none")
	}
}
