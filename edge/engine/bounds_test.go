package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// The memory of what was taken is bounded for the site, and small enough for a checkpoint every
// ten minutes on a flash card.
func TestTheMemoryOfDuplicatesIsBounded(t *testing.T) {
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	setup := func(sensors int) Setup {
		s := Setup{Hash: fmt.Sprint(sensors), Site: edge.Site{Spaces: []edge.Space{{ID: "hall", Kind: edge.Room}}}}
		for i := range sensors {
			s.Site.Sensors = append(s.Site.Sensors, edge.Sensor{ID: fmt.Sprint("s", i), Class: edge.Environment, Space: "hall"})
		}
		return s
	}
	c, err := NewCore(setup(1000), at)
	if err != nil {
		t.Fatal(err)
	}
	reading := func(sensor, n int) *edge.Reading {
		return &edge.Reading{Device: fmt.Sprint("s", sensor), At: at.Add(time.Duration(n) * time.Second), Received: at, Timed: true}
	}
	taken := func(sensor, n int) bool { return c.Take(reading(sensor, n)).Status != edge.Duplicate }
	for i := range 1000 {
		for n := range 300 {
			taken(i, n)
		}
	}
	c.End()
	state, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(state) > 4<<20 {
		t.Errorf("a checkpoint of 1,000 sensors has %d bytes", len(state))
	}
	depth := dedupTotal / 1000
	restored, err := RestoreCore(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, core := range []*Core{c, restored} {
		c = core
		if taken(7, 299) || taken(7, 300-depth) {
			t.Error("one of the newest readings was taken twice")
		}
		if !taken(7, 300-depth-1) { // and forgets the oldest
			t.Errorf("more than %d readings are remembered", depth)
		}
	}
	if err := c.configure(setup(10)); err != nil { // a smaller site remembers more, beginning with what it knows
		t.Fatal(err)
	}
	for n := 1000; n < 1000+dedupDepth-depth; n++ {
		taken(7, n)
	}
	if taken(7, 299) || taken(7, 1000) {
		t.Error("what was remembered is forgotten with a new configuration")
	}
	if got := len(c.dedup.rings); got > 10 {
		t.Errorf("%d sensors are remembered of 10", got)
	}
}
