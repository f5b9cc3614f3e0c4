package alerts

import (
	"fmt"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// building is 1,000 rooms with three rules each, all with known counts.
func building(tb testing.TB) (*Machine, *world, []string) {
	tb.Helper()
	site := &edge.Site{ID: "s"}
	w := newWorld()
	var ids []string
	for i := range 1000 {
		id := fmt.Sprintf("room-%d", i)
		site.Spaces = append(site.Spaces, edge.Space{ID: id, Kind: edge.Room, Capacity: 8, Hours: "Mon-Fri 07:00-19:00"})
		w.spaces[id], ids = people(2, 3, 4), append(ids, id)
	}
	m, err := New([]Rule{overCapacity(),
		{Name: "after-hours", ForEach: "room", When: "p_occupied > 0.9 and not open_hours", For: 5 * time.Minute},
		{Name: "crowd", ForEach: "room", When: "count > 6", For: time.Minute}}, site)
	if err != nil {
		tb.Fatal(err)
	}
	m.Evaluate(t0, w)
	return m, w, ids
}

func BenchmarkEvaluateNothingChanged(b *testing.B) {
	m, w, _ := building(b)
	b.ReportAllocs()
	now := t0
	for b.Loop() {
		now = now.Add(time.Millisecond)
		m.Evaluate(now, w)
	}
}

func BenchmarkEvaluateTouchedButTheSame(b *testing.B) {
	m, w, ids := building(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.TouchSpace(ids[i%1000])
		m.Evaluate(t0, w)
	}
}

func BenchmarkEvaluateOneRoomChanged(b *testing.B) {
	m, w, ids := building(b)
	few, more := people(2, 3, 4), people(3, 4, 5)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := ids[i%1000]
		w.spaces[id] = few
		if i/1000%2 == 0 {
			w.spaces[id] = more
		}
		m.TouchSpace(id)
		m.Evaluate(t0, w)
	}
}

func BenchmarkEvaluateAllRoomsChanged(b *testing.B) {
	m, w, ids := building(b)
	o := [2]edge.Occupancy{people(2, 3, 4), people(3, 4, 5)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for _, id := range ids {
			w.spaces[id] = o[i%2]
			m.TouchSpace(id)
		}
		m.Evaluate(t0, w)
	}
}

func TestWhereNothingChangesNothingIsAllocated(t *testing.T) {
	m, w, ids := building(t)
	now := t0
	if n := testing.AllocsPerRun(100, func() { now = now.Add(time.Millisecond); m.Evaluate(now, w) }); n != 0 {
		t.Errorf("%v allocations where nothing is touched", n)
	}
	if n := testing.AllocsPerRun(100, func() { m.TouchSpace(ids[7]); m.Evaluate(now, w) }); n != 0 {
		t.Errorf("%v allocations where a touched room is the same", n)
	}
}
