// Package clock is the hub's trusted clock: it never runs backwards, not across restarts and
// not when the wall clock is set back, because boards without a battery boot in 1970.
//
// It returns the largest of the wall clock, the build's date and the newest time found in the
// store, advanced by the monotonic clock. How far it can be trusted is told by [Clock.State].
package clock

import (
	"sync"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// State says where the time comes from.
type State string

// The states of the clock.
const (
	Unsynced State = "unsynced" // the wall clock is behind what is known to have passed; time runs from the store's newest
	Holdover State = "holdover" // the wall clock was set back while running; time runs on monotonically
	Synced   State = "synced"   // time is the wall clock's
)

// Built is the earliest time at which this program can run: its source's date.
var Built = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// slack is how far the wall clock may lie behind before it counts as wrong.
const slack = 2 * time.Second

// Clock is safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	floor  time.Time // trusted time at anchor
	anchor time.Time // wall reading with its monotonic part
	state  State
}

// New starts a clock that never reads earlier than stored, the newest time in the store.
func New(stored time.Time) *Clock {
	wall := time.Now()
	c := &Clock{floor: wall, anchor: wall, state: Synced}
	for _, t := range []time.Time{Built, stored} {
		if t.After(wall.Add(slack)) {
			c.state = Unsynced
		}
		if t.After(c.floor) {
			c.floor = t
		}
	}
	return c
}

// Now returns the trusted time in UTC, cut to milliseconds. It never runs backwards.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := time.Now()
	elapsed := wall.Sub(c.anchor) // monotonic
	steady := c.floor.Add(elapsed)
	now := wall.Round(0)
	switch {
	case now.Before(steady.Add(-slack)):
		if c.state == Synced {
			c.state = Holdover
		}
		now = steady
	case now.Before(steady):
		now = steady // within the slack: hold until the wall clock has caught up
	default:
		c.state = Synced
	}
	c.floor, c.anchor = now, wall
	return edge.Millis(now)
}

// State says where the time came from when it was last asked.
func (c *Clock) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
