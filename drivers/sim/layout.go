package sim

import (
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Via is how a sensor of the building talks to the hub.
type Via string

// The transports.
const (
	Zigbee Via = "zigbee2mqtt" // MQTT in the shape of Zigbee2MQTT, topic zigbee2mqtt/<id>
	MQTT   Via = "mqtt"        // MQTT with the hub's own JSON, topic sensors/<id>
	HTTP   Via = "http"        // POST /v1/readings with the hub's own JSON
	Serial Via = "serial"      // JSON lines on a serial port, each acknowledged
	Socket Via = "socketio"    // Socket.IO, event "reading" with an acknowledgement
)

// layout is the building as it stands: a tree of rooms, each behind one door.
type layout struct {
	site    edge.Site // id, name, time zone
	spaces  []edge.Space
	doors   []edge.Door
	sensors []edge.Sensor
	via     map[string]Via
	homes   []string            // rooms with work places, one entry a place
	meeting []edge.Space        // meeting rooms
	breaks  map[string]string   // floor -> its break room
	up      map[string]passage  // room -> the way towards outside
	floorOf map[string]string   // room -> floor
	depth   map[string]int      // room -> doors between it and outside
	at      map[string][]string // space or door -> its sensors
	canteen string              // where people have lunch; empty = none
	arrive  time.Duration       // when people come and how long they stay, on average
	stay    time.Duration
	errors  map[string]Errors // of sensors that are not as their class
	script  []Happening
}

// passage is a door as seen from one of its sides.
type passage struct {
	door string
	to   string // the space behind it
}

// Floors is how many floors the building has.
const Floors = 3

func newLayout(access bool) *layout {
	l := &layout{
		site: edge.Site{ID: SiteID, Name: "Simulated building", Timezone: "UTC"}, canteen: "canteen", arrive: usualArrival, stay: usualStay,
		via: map[string]Via{}, breaks: map[string]string{}, up: map[string]passage{},
		floorOf: map[string]string{}, depth: map[string]int{edge.Outside: 0}, at: map[string][]string{},
	}
	l.spaces = append(l.spaces, edge.Space{ID: "building", Name: "Simulated building", Kind: edge.Building, Hours: "Mon-Sun 06:00-22:00"})
	for f := 1; f <= Floors; f++ {
		l.spaces = append(l.spaces, edge.Space{ID: floorID(f), Name: fmt.Sprintf("Floor %d", f), Kind: edge.Floor, Parent: "building"})
	}
	l.groundFloor()
	for f := 2; f <= Floors; f++ {
		l.officeFloor(f)
	}
	if access {
		l.sensor(edge.Sensor{ID: "reader-entrance", Class: edge.Badge, Door: "entrance"}, "entrance", MQTT)
		l.observe("cam-lobby", edge.Camera, "lobby", MQTT)
	}
	return l
}

func floorID(f int) string { return fmt.Sprintf("floor-%d", f) }

func (l *layout) groundFloor() {
	l.room(1, "lobby", "Lobby", 60, edge.Outside, "entrance", edge.LineStereo, HTTP)
	l.observe("lobby-people", edge.ZoneCount, "lobby", HTTP)
	l.room(1, "canteen", "Canteen", 90, "lobby", "", edge.LineStereo, HTTP)
	l.observe("canteen-people", edge.ZoneCount, "canteen", HTTP)
	l.breaks[floorID(1)] = "canteen"
	l.room(1, "corridor-1", "Corridor 1", 40, "lobby", "", edge.LineStereo, HTTP)
	l.observe("radar-corridor-1", edge.MMWave, "corridor-1", MQTT)
	l.office(1, "office-101", 20, edge.LineToF, MQTT)
	l.office(1, "office-102", 20, edge.LineToF, MQTT)
	l.office(1, "office-103", 6, edge.LineBeam, Serial)
	l.meetingRoom(1, "meeting-104", 12)
	l.meetingRoom(1, "meeting-105", 8)
}

func (l *layout) officeFloor(f int) {
	id := func(format string) string { return fmt.Sprintf(format, f) }
	corridor := id("corridor-%d")
	l.room(f, corridor, id("Corridor %d"), 40, fmt.Sprintf("corridor-%d", f-1), id("stairs-%d"), edge.LineToF, MQTT)
	l.observe("radar-"+corridor, edge.MMWave, corridor, MQTT)
	l.office(f, id("office-%d01"), 30, edge.LineToF, MQTT)
	l.office(f, id("office-%d02"), 30, edge.LineToF, MQTT)
	l.observe(id("office-%d02-people"), edge.ZoneCount, id("office-%d02"), MQTT)
	l.office(f, id("office-%d03"), 20, edge.LineStereo, HTTP)
	l.meetingRoom(f, id("meeting-%d04"), 10)
	l.meetingRoom(f, id("meeting-%d05"), 8)
	l.meetingRoom(f, id("meeting-%d06"), 6)
	l.room(f, id("break-%d07"), id("Break room %d07"), 14, corridor, "", edge.LineBeam, Serial)
	l.observe(id("radar-break-%d07"), edge.MMWave, id("break-%d07"), MQTT)
	l.breaks[floorID(f)] = id("break-%d07")
	// Two small offices have no counter at the door: presence only.
	l.office(f, id("office-%d08"), 2, "", "")
	l.observe(id("radar-%d08"), edge.MMWave, id("office-%d08"), MQTT)
	l.office(f, id("office-%d09"), 2, "", "")
	l.observe(id("desk-%d09"), edge.Desk, id("office-%d09"), MQTT)
}

// room adds a room behind a door from the room before; class empty = a door without a counter.
func (l *layout) room(f int, id, name string, capacity int, from, door string, class edge.Class, via Via) {
	if door == "" {
		door = "door-" + id
	}
	l.spaces = append(l.spaces, edge.Space{ID: id, Name: name, Kind: edge.Room, Parent: floorID(f), Capacity: capacity})
	l.doors = append(l.doors, edge.Door{ID: door, Between: [2]string{from, id}})
	l.up[id], l.depth[id], l.floorOf[id] = passage{door, from}, l.depth[from]+1, floorID(f)
	if class != "" {
		l.sensor(edge.Sensor{ID: "count-" + door, Class: class, Door: door}, door, via)
	}
}

func (l *layout) office(f int, id string, places int, class edge.Class, via Via) {
	l.room(f, id, "Office "+id[len("office-"):], places+places/4+1, fmt.Sprintf("corridor-%d", f), "", class, via)
	for range places {
		l.homes = append(l.homes, id)
	}
	if places > 2 {
		l.observe("pir-"+id, edge.PIR, id, Zigbee)
	}
}

func (l *layout) meetingRoom(f int, id string, capacity int) {
	l.room(f, id, "Meeting "+id[len("meeting-"):], capacity, fmt.Sprintf("corridor-%d", f), "", edge.LineThermopile, Serial)
	l.observe("pir-"+id, edge.PIR, id, Zigbee)
	l.meeting = append(l.meeting, l.spaces[len(l.spaces)-1])
}

// observe adds a sensor that looks into a room.
func (l *layout) observe(id string, class edge.Class, room string, via Via) {
	l.sensor(edge.Sensor{ID: id, Class: class, Space: room}, room, via)
}

func (l *layout) sensor(s edge.Sensor, where string, via Via) {
	if via == Zigbee {
		s.Device, s.Profile = "zigbee2mqtt/"+s.ID, "zigbee2mqtt"
	}
	l.sensors = append(l.sensors, s)
	l.via[s.ID] = via
	l.at[where] = append(l.at[where], s.ID)
}

// next is the first door on the way from one space to another. The building is a tree: go up
// from the deeper one until both meet.
func (l *layout) next(from, to string) passage {
	for to != from && l.depth[to] > l.depth[from] {
		if l.up[to].to == from {
			return passage{l.up[to].door, to}
		}
		to = l.up[to].to
	}
	return l.up[from]
}
