package main

import (
	"os"
	"runtime/debug"
)

// The heap that the collector works harder to stay within, so that a flood keeps a usual site in
// 64 MiB: with 12,000 messages in flight and 96 sensors, 49 and 50 MiB instead of 54 and 58, at
// about the same CPU (make bench). At 200 readings a second the hub needs 13 MiB and never comes
// near.
const (
	memoryGoal      = 48 << 20
	memoryPerSensor = 64 << 10 // newest readings, keys of duplicates, filter, snapshots
)

// boundMemory sets the goal, unless GOMEMLIMIT has set one already. It is soft: a site that
// needs more gets more, and the service's MemoryMax is the hard bound.
func boundMemory(sensors int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryGoal + memoryPerSensor*int64(sensors))
	}
}
