package config

import (
	"fmt"
	"strings"
	"testing"
	_ "time/tzdata" // the tests do not depend on the machine's zones
)

// large is a site of 1,000 rooms, each with a door and three sensors.
func large() []byte {
	var b strings.Builder
	b.WriteString("site: {id: s, timezone: Europe/Oslo}\nspaces:\n  - {id: hall, kind: room}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {id: room-%d, kind: room, capacity: 8, hours: \"Mon-Fri 07:00-19:00\"}\n", i)
	}
	b.WriteString("doors:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {id: door-%d, between: [hall, room-%d]}\n", i, i)
	}
	b.WriteString("inputs: [{driver: httppush}]\nsensors:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {id: door-%d, class: line-tof, door: door-%d}\n  - {id: pir-%d, class: pir, space: room-%d}\n  - {id: co2-%d, class: co2, space: room-%d}\n", i, i, i, i, i, i)
	}
	return []byte(b.String())
}

func BenchmarkParseThousandRooms(b *testing.B) {
	data := large()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse("f", data, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
