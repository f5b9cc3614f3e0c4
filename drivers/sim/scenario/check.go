package scenario

import (
	"fmt"
	"maps"
	"slices"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
)

// checker notes what the schema cannot tell: references, and whether people can walk there.
type checker struct {
	*config.Document
	f       *file
	spaces  map[string]int // id -> place in the list
	doors   map[string]int
	sensors map[string]int
	behind  map[string]bool // spaces that people can reach
}

func check(d *config.Document, f *file) {
	c := &checker{Document: d, f: f, spaces: map[string]int{}, doors: map[string]int{}, sensors: map[string]int{}, behind: map[string]bool{}}
	for i, s := range f.Spaces {
		c.name("spaces", c.spaces, i, s.ID)
		if s.ID == edge.Outside {
			c.Wrong(at("spaces", i, "id"), "delete it, it is always there", "must not be %q", s.ID)
		}
	}
	for i, s := range f.Doors {
		c.name("doors", c.doors, i, s.ID)
	}
	for i, s := range f.Sensors {
		c.name("sensors", c.sensors, i, s.ID)
	}
	c.checkParents()
	c.checkDoors()
	c.checkRooms()
	for i := range f.Sensors {
		c.checkSensor(i)
	}
	for i := range f.Events {
		c.checkEvent(i)
	}
}

func at(list string, i int, key string) string { return fmt.Sprintf("%s[%d].%s", list, i, key) }

func (c *checker) name(list string, seen map[string]int, i int, id string) {
	if first, twice := seen[id]; twice {
		c.Wrong(at(list, i, "id"), "give it another id", "%q is the id of %s[%d] already", id, list, first)
		return
	}
	seen[id] = i
}

// known tells whether an id is there, and notes it when it is not.
func (c *checker) known(path, what, id string, of map[string]int) bool {
	_, ok := of[id]
	if !ok {
		c.WrongWord(path, id, what, slices.Collect(maps.Keys(of)))
	}
	return ok
}

func (c *checker) checkParents() {
	for i, s := range c.f.Spaces {
		if s.Parent == "" || !c.known(at("spaces", i, "parent"), "space", s.Parent, c.spaces) {
			continue
		}
		up := s.Parent
		for steps := 0; up != ""; steps++ {
			k, ok := c.spaces[up]
			if !ok {
				break
			}
			if up == s.ID || steps > len(c.f.Spaces) {
				c.Wrong(at("spaces", i, "parent"), "", "%s would lie within itself", s.ID)
				break
			}
			up = c.f.Spaces[k].Parent
		}
	}
}

// checkDoors goes from outside through the doors: each room is behind one.
func (c *checker) checkDoors() {
	reached, to := map[string]bool{edge.Outside: true}, map[string]string{}
	var open []int
	for i, d := range c.f.Doors {
		ok := true
		for k, id := range d.Between {
			path := fmt.Sprintf("doors[%d].between[%d]", i, k)
			if k == 1 && id == edge.Outside {
				c.Wrong(path, "write the space that is nearer to outside first", "must not be %q", id)
				ok = false
			} else if id != edge.Outside && !c.known(path, "space", id, c.spaces) {
				ok = false
			}
		}
		if first, twice := to[d.Between[1]]; ok && twice {
			c.Wrong(at("doors", i, "between"), "simulated people know one way to each space", "door %s leads to %s already", first, d.Between[1])
			ok = false
		}
		if ok {
			to[d.Between[1]] = d.ID
			open = append(open, i)
		}
	}
	for before := -1; before != len(open); {
		before = len(open)
		open = slices.DeleteFunc(open, func(i int) bool {
			b := c.f.Doors[i].Between
			if reached[b[0]] {
				reached[b[1]] = true
			}
			return reached[b[0]]
		})
	}
	for _, i := range open {
		c.Wrong(at("doors", i, "between"), "begin with a door from outside", "there is no way from outside to %s", c.f.Doors[i].Between[0])
	}
	c.behind = reached
	delete(c.behind, edge.Outside)
}

func (c *checker) checkRooms() {
	desks, canteen := 0, ""
	for i, s := range c.f.Spaces {
		desks += s.Desks
		switch {
		case (s.Desks > 0 || s.Use != "other") && !c.behind[s.ID]:
			c.Wrong(at("spaces", i, "id"), "add a door that leads to it", "people cannot get to %s", s.ID)
		case s.Use == "meeting" && s.Capacity < 2:
			c.Wrong(at("spaces", i, "use"), "give it a capacity of at least 2", "a meeting room needs places")
		case s.Use == "canteen" && canteen != "":
			c.Wrong(at("spaces", i, "use"), "", "%s is the canteen already", canteen)
		case s.Use == "canteen":
			canteen = s.ID
		}
	}
	if n := c.f.People.Count; n > desks {
		c.Wrong("people.count", "give spaces more desks", "%d people have %d desks", n, desks)
	}
}

func (c *checker) checkSensor(i int) {
	s := c.f.Sensors[i]
	atDoor := slices.Contains([]edge.Class{edge.LineToF, edge.LineStereo, edge.LineThermopile, edge.LineBeam, edge.Badge}, edge.Class(s.Class))
	switch {
	case (s.Door == "") == (s.Space == ""):
		c.Wrong(at("sensors", i, "id"), "give it a door or a space", "must observe one of both")
	case atDoor && s.Door == "":
		c.Wrong(at("sensors", i, "space"), "write door: …", "%s observes doors", s.Class)
	case !atDoor && s.Space == "":
		c.Wrong(at("sensors", i, "door"), "write space: …", "%s observes spaces", s.Class)
	case s.Door != "":
		c.known(at("sensors", i, "door"), "door", s.Door, c.doors)
	default:
		c.known(at("sensors", i, "space"), "space", s.Space, c.spaces)
	}
	if s.Via == "zigbee2mqtt" && s.Class != string(edge.PIR) {
		c.Wrong(at("sensors", i, "via"), "write mqtt", "zigbee2mqtt is for class pir, not %s", s.Class)
	}
}

func (c *checker) checkEvent(i int) {
	e := c.f.Events[i]
	given := map[string]string{"crowd": e.Crowd, "people": e.People, "fail": e.Fail, "mend": e.Mend}
	maps.DeleteFunc(given, func(_, v string) bool { return v == "" })
	if len(given) != 1 {
		c.Wrong(at("events", i, "at"), "write one of crowd, people, fail and mend", "has %d things that happen", len(given))
		return
	}
	for key, id := range given {
		path := at("events", i, key)
		if key == "fail" || key == "mend" {
			c.known(path, "sensor", id, c.sensors)
			continue
		}
		if c.known(path, "space", id, c.spaces) && !c.behind[id] {
			c.Wrong(path, "add a door that leads to it", "people cannot get to %s", id)
		}
		if e.Count == nil {
			c.Wrong(path, "write count: …", "how many people?")
		}
	}
}
