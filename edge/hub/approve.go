package hub

import (
	"context"
	"encoding/json"

	"github.com/headcount-hub/headcount/drivers/profiles"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
)

// commands is the engine for those who give commands. An approval that names only the sensor's
// model gets the model's class, as in the configuration.
type commands struct{ *engine.Engine }

// Do is api.Site.
func (c commands) Do(ctx context.Context, cmd edge.Command) (edge.CommandResult, error) {
	var s edge.Sensor
	if cmd.Kind == edge.ApproveDevice && json.Unmarshal(cmd.Args, &s) == nil && s.Class == "" {
		if p, ok := profiles.Lookup(s.Profile); ok {
			s.Class = p.Class
			if args, err := json.Marshal(s); err == nil {
				cmd.Args = args
			}
		}
	}
	return c.Engine.Do(ctx, cmd)
}
