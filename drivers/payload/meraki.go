package payload

import (
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

// MerakiMV reads what Meraki MV cameras publish: /merakimv/<serial>/<zone> with the number of
// people in a zone (0 is the whole frame), and /merakimv/<serial>/light.
type MerakiMV struct{}

// Decode reads one message.
func (MerakiMV) Decode(in Input) ([]Observation, error) {
	levels := strings.Split(strings.TrimPrefix(in.Topic, "/"), "/")
	if len(levels) != 3 {
		return nil, errorf(UnknownFormat, "topic %q: want /merakimv/<serial>/<zone>", Clip(in.Topic, 60))
	}
	f, at := fields[string(edge.CountAbs)], path{{key: "counts", index: -1}, {key: "person", index: -1}}
	switch levels[2] {
	case "raw_detections", "net_audio", "audio_analytics", "audio_detections", "custom_analytics":
		return nil, nil
	case "light":
		f, at = fields[string(edge.Illuminance)], path{{key: "lux", index: -1}}
	}
	d, err := ParseJSON(in.Body, Limits{})
	if err != nil {
		return nil, err
	}
	defer d.Free()
	v, perr := at.find(d.Root())
	if perr != nil {
		return nil, perr
	}
	t, _, ok := instant(d.Root().Get("ts"), nil)
	if !ok {
		return nil, badValue(d.Root().Get("ts"), "want milliseconds since 1970")
	}
	obs, err := appendField(nil, levels[1]+"/"+levels[2], f, v)
	return stampAll(obs, t), err
}
