package occupancy

import (
	"fmt"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

var monday = time.Date(2026, 9, 7, 0, 0, 0, 0, time.UTC)

func benchModel(b *testing.B, capacity int) *Model {
	site := &edge.Site{ID: "s",
		Spaces:  []edge.Space{{ID: "room", Kind: edge.Room, Capacity: capacity}},
		Doors:   []edge.Door{{ID: "door", Between: [2]string{edge.Outside, "room"}}},
		Sensors: []edge.Sensor{{ID: "line", Class: edge.LineToF, Door: "door"}, {ID: "pir", Class: edge.PIR, Space: "room"}},
	}
	m, err := New(site, monday)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkPassage is one person through a door: kernel, shift, normalise.
func BenchmarkPassage(b *testing.B) {
	for _, n := range []int{20, 60, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchModel(b, n)
			in := edge.Reading{Sensor: "line", Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.PassageEvent, 1)}}
			out := edge.Reading{Sensor: "line", Values: []edge.Value{edge.NumberValue(edge.CountOut, edge.PassageEvent, 1)}}
			at := monday
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at = at.Add(7 * time.Second)
				m.now = millis(at)
				if in.At = at; i%2 == 0 {
					m.Observe(in)
					continue
				}
				out.At = at
				m.Observe(out)
			}
		})
	}
}

// BenchmarkPresence is one report of a motion sensor.
func BenchmarkPresence(b *testing.B) {
	for _, n := range []int{20, 60, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchModel(b, n)
			r := edge.Reading{Sensor: "pir", Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, true)}}
			at := monday
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at = at.Add(20 * time.Second)
				m.now, r.At = millis(at), at
				r.Values[0].Num = float64(i & 1)
				m.Observe(r)
			}
		})
	}
}

// BenchmarkTick is 30 s of one room with a door counter and a motion sensor, nothing new to
// publish.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{20, 60, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchModel(b, n)
			m.Observe(edge.Reading{Sensor: "pir", At: monday, Values: []edge.Value{edge.BoolValue(edge.Presence, edge.MotionState, false)}})
			b.ReportAllocs()
			for b.Loop() {
				m.now = m.grid + tickMillis
				m.tick()
			}
		})
	}
}
