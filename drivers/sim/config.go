package sim

import (
	"fmt"
	"strings"
)

// Addresses are where the hub of the building listens.
type Addresses struct {
	Broker string // host:port of the hub's own MQTT broker
	Serial string // path of the serial port that the building's boards are on; empty = none
	Socket bool   // sensors come over Socket.IO on the hub's own port too
}

// ConfigYAML is the hub's configuration of the building: site, spaces, doors, inputs and
// sensors. Storage, http, uplink, alerts and actions may follow it.
func (b *Building) ConfigYAML(a Addresses) []byte {
	var y strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&y, format, args...) }
	s := b.Site()
	p("site: {id: %s, name: %q, timezone: %q}\n", s.ID, s.Name, s.Timezone)
	p("spaces:\n")
	for _, sp := range s.Spaces {
		p("  - {id: %s, name: %q, kind: %s", sp.ID, sp.Name, sp.Kind)
		if sp.Parent != "" {
			p(", parent: %s", sp.Parent)
		}
		if sp.Capacity > 0 {
			p(", capacity: %d", sp.Capacity)
		}
		if sp.Hours != "" {
			p(", hours: %q", sp.Hours)
		}
		p("}\n")
	}
	p("doors:\n")
	for _, d := range s.Doors {
		p("  - {id: %s, between: [%s, %s]}\n", d.ID, d.Between[0], d.Between[1])
	}
	p("inputs:\n")
	p("  - {driver: broker, id: sensors-mqtt, listen: %q}\n", a.Broker)
	p("  - {driver: httppush, id: sensors-http}\n")
	if a.Serial != "" {
		p("  - {driver: lines, id: sensors-serial, port: %q, ack: true}\n", a.Serial)
	}
	if a.Socket {
		p("  - {driver: socketio, id: sensors-socketio}\n")
	}
	p("sensors:\n")
	for _, sn := range s.Sensors {
		p("  - {id: %s, horizon: %s, class: %s", sn.ID, sn.Horizon, sn.Class)
		if sn.Device != "" {
			p(", device: %q, profile: %s", sn.Device, sn.Profile)
		}
		if sn.Door != "" {
			p(", door: %s}\n", sn.Door)
		} else {
			p(", space: %s}\n", sn.Space)
		}
	}
	return []byte(y.String())
}
