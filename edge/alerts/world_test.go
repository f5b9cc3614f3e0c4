package alerts

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// t0 is a Monday at noon.
var t0 = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

func siteOf(spaces ...edge.Space) *edge.Site {
	return &edge.Site{ID: "s", Spaces: spaces, Doors: []edge.Door{{ID: "d", Between: [2]string{edge.Outside, "room-1"}}}, Sensors: []edge.Sensor{
		{ID: "pir-1", Class: edge.PIR, Space: "room-1"}, {ID: "door-1", Class: edge.LineToF, Door: "d"},
	}}
}

var (
	room     = edge.Space{ID: "room-1", Kind: edge.Room, Capacity: 8}
	office   = edge.Space{ID: "office", Name: "Office", Kind: edge.Room, Hours: "Mon-Fri 07:00-19:00"}
	testSite = siteOf(edge.Space{ID: "floor", Kind: edge.Floor}, room, office)
)

// world is facts in memory.
type world struct {
	spaces  map[string]edge.Occupancy
	sensors map[string]edge.SensorStatus
	doors   map[string]edge.DoorStatus
	hub     Hub
}

func newWorld() *world {
	return &world{spaces: map[string]edge.Occupancy{}, sensors: map[string]edge.SensorStatus{}, doors: map[string]edge.DoorStatus{}}
}

func (w *world) Occupancy(id string) (edge.Occupancy, bool) { o, ok := w.spaces[id]; return o, ok }
func (w *world) Sensor(id string) (edge.SensorStatus, bool) { s, ok := w.sensors[id]; return s, ok }
func (w *world) Door(id string) (edge.DoorStatus, bool)     { d, ok := w.doors[id]; return d, ok }
func (w *world) Hub() Hub                                   { return w.hub }

// people is an occupancy with the interval [low, high].
func people(low, best, high int) edge.Occupancy {
	mean, p := float64(best), 0.0
	state := edge.Vacant
	if best > 0 {
		state, p = edge.Occupied, 0.99
	}
	return edge.Occupancy{State: state, Count: &best, Low: &low, High: &high, Mean: &mean, POccupied: &p, Quality: edge.QualityGood, Since: t0}
}

// bench is a machine with its world; it says what happened as short lines.
type bench struct {
	*testing.T
	*world
	m *Machine
}

func newBench(t *testing.T, rules ...Rule) *bench {
	t.Helper()
	m, err := New(rules, testSite)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, newWorld(), m}
}

// set changes a space's occupancy and evaluates.
func (b *bench) set(d time.Duration, space string, o edge.Occupancy) []string {
	b.spaces[space] = o
	b.m.TouchSpace(space)
	return b.at(d)
}

func (b *bench) at(d time.Duration) []string { return lines(b.m.Evaluate(after(d), b.world)) }

// lines writes events as "2m0s raised over-capacity.room-1: text".
func lines(events []edge.Event) []string {
	var out []string
	for _, e := range events {
		var a edge.Alert
		if err := json.Unmarshal(e.Data, &a); err != nil {
			panic(err)
		}
		kind := strings.TrimPrefix(string(e.Type), "alert.")
		out = append(out, fmt.Sprintf("%s %s %s.%s: %s", e.At.Sub(t0), kind, a.Rule, a.Subject, a.Message))
	}
	return out
}

func (b *bench) want(got []string, want ...string) {
	b.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
