package alerts

import (
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

func (b *bench) door(d time.Duration, s edge.DoorStatus) []string {
	b.doors["d"] = s
	b.m.TouchDoor("d")
	return b.at(d)
}

func TestRulesAboutDoors(t *testing.T) {
	b := newBench(t, append(Builtin(),
		Rule{Name: "many-denied", ForEach: "door", When: "denied_count >= 3"},
		Rule{Name: "ajar", ForEach: "door", When: "open", For: time.Minute, Message: "{id} is open"})...)
	b.want(b.at(0))
	b.want(b.door(time.Second, edge.DoorStatus{State: edge.DoorOpen, Since: after(time.Second), Forced: true}), "1s raised door-forced.d: d: forced open")
	b.want(b.door(2*time.Second, edge.DoorStatus{State: edge.DoorOpen, Since: after(time.Second), Forced: true, HeldOpen: true, Denied: 3}),
		"2s raised door-held-open.d: d: forced open, held open, 3 denied in 10m",
		"2s raised many-denied.d: d: forced open, held open, 3 denied in 10m")
	b.want(b.at(61*time.Second),
		"1m1s updated door-forced.d: d: forced open, held open, 3 denied in 10m", "1m1s raised ajar.d: d is open")
	// A door that is not known to be open or closed neither raises nor clears what is about that.
	b.want(b.door(70*time.Second, edge.DoorStatus{State: edge.DoorUnknown, Forced: true, HeldOpen: true}),
		"1m10s updated door-held-open.d: d: forced open, held open", "1m10s cleared many-denied.d: d: forced open, held open")
	b.want(b.door(90*time.Second, edge.DoorStatus{State: edge.DoorShut}),
		"1m30s cleared door-forced.d: d: closed", "1m30s cleared door-held-open.d: d: closed", "1m30s cleared ajar.d: d is open")
}
