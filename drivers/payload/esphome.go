package payload

import (
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

// ESPHome reads <prefix>/<component>/<id>/state and <prefix>/status. The kind of a point is
// the site's to say in the map (by id); else it follows from the id where that is plain.
type ESPHome struct{ points }

// Decode reads one message.
func (c *ESPHome) Decode(in Input) ([]Observation, error) {
	levels := strings.Split(in.Topic, "/")
	n := len(levels)
	switch {
	case n >= 2 && levels[n-1] == "status":
		return online(strings.Join(levels[:n-1], "/"), in.Body)
	case n < 4 || levels[n-1] != "state":
		return nil, nil // commands, logs, debug output
	}
	component, id := levels[n-3], levels[n-2]
	f := c.kinds[id]
	if f == nil {
		f = esphomeKind(component, id)
	}
	if f == nil {
		return nil, nil
	}
	return bareValue(strings.Join(levels[:n-3], "/")+"/"+id, f, in.Body)
}

// esphomeKind tells what a point with a plain name measures.
func esphomeKind(component, id string) *field {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(id, p) {
				return true
			}
		}
		return false
	}
	switch component {
	case "binary_sensor":
		switch {
		case has("pir", "motion"):
			return motion
		case has("presence", "occupancy", "mmwave", "radar", "has_target", "still_target", "moving_target"):
			return fields[string(edge.Presence)]
		case has("door", "window", "contact"):
			return fields["door_open"] // ON is open
		}
	case "sensor":
		switch {
		case has("people", "person_count", "head_count"):
			return fields[string(edge.CountAbs)]
		case has("co2", "carbon_dioxide"):
			return fields[string(edge.CO2PPM)]
		case has("temperature"):
			return fields[string(edge.TemperatureC)]
		case has("humidity"):
			return fields[string(edge.HumidityPct)]
		case has("illuminance", "lux"):
			return fields[string(edge.Illuminance)]
		case has("target_count"):
			return fields[string(edge.TargetCount)]
		}
	}
	return nil
}
