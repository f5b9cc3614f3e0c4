package replay

import (
	"context"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/occupancy"
)

// livePass runs readings in the order of their receipt and scores what was known at each
// truth's time.
func (o *Options) livePass(ctx context.Context, rs []edge.Reading, truths []truth) (*score, error) {
	order := live(rs)
	m, err := occupancy.New(o.Site, earlier(order[0].Received, truths[0].at))
	if err != nil {
		return nil, err
	}
	var s score
	for len(truths) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := truths[0].at
		for len(order) > 0 && !order[0].Received.After(to) {
			m.Advance(order[0].Received)
			m.Observe(*order[0])
			order = order[1:]
		}
		m.Advance(to)
		truths = s.take(m.Occupancies(), truths)
	}
	return &s, nil
}

var _ time.Time
