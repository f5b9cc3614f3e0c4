package payload

import (
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

// Homie reads the values of Homie 4 and 5 devices: homie[/5]/<device>/<node>/<property>. What a
// property measures is the site's to say in the map ("node/property"); else its name tells,
// where it is one of the vocabulary. $state is the device's health.
type Homie struct{ points }

// Decode reads one message.
func (c *Homie) Decode(in Input) ([]Observation, error) {
	levels := strings.Split(in.Topic, "/")
	if len(levels) > 1 && (levels[1] == "5" || levels[1] == "4") {
		levels = levels[1:]
	}
	levels = levels[1:]
	switch {
	case len(levels) == 2 && levels[1] == "$state":
		return homieState(levels[0], string(in.Body))
	case len(levels) != 3 || strings.HasPrefix(levels[1], "$") || strings.HasPrefix(levels[2], "$"):
		return nil, nil // descriptions, alerts, /set and /$target
	}
	f := c.kinds[levels[1]+"/"+levels[2]]
	if f == nil {
		if f = fields[strings.ReplaceAll(levels[2], "-", "_")]; f == nil || f.role != roleValue {
			return nil, nil
		}
	}
	return bareValue(levels[0]+"/"+levels[1], f, in.Body)
}

func homieState(device, state string) ([]Observation, error) {
	switch state {
	case "":
		return nil, nil
	case "ready":
		state = "online"
	case "lost", "disconnected":
		state = "offline"
	case "init", "sleeping", "alert":
	default:
		return nil, errorf(BadValue, "$state %q is not known", Clip(state, 60))
	}
	return one(device, edge.TextValue(edge.Health, edge.State, state)), nil
}
