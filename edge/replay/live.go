package replay

import (
	"context"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
)

// livePass runs readings through the engine's core in the order of their receipt, each as a
// commit of its own, and scores what was known at each truth's time.
func (o *Options) livePass(ctx context.Context, rs []edge.Reading, truths []truth) (*score, error) {
	order := live(rs)
	core, err := engine.NewCore(engine.Setup{Hash: "replay", Site: *o.Site}, earlier(order[0].Received, truths[0].at))
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, s := range o.Site.Sensors {
		addresses[s.ID] = s.Address()
	}
	var s score
	for len(truths) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := truths[0].at
		for len(order) > 0 && !order[0].Received.After(to) {
			r := *order[0]
			r.Device = addresses[r.Sensor]
			core.Begin(r.Received)
			core.Take(&r)
			core.End()
			order = order[1:]
		}
		core.Begin(to)
		core.End()
		truths = s.take(core.Snapshot().Spaces, truths)
	}
	return &s, nil
}
