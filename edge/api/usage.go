package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// UsageSummary is the answer of GET /v1/analytics/summary: how the spaces were used in a time,
// by the hub's own history. Longer times, opening hours and trends are the cloud's.
type UsageSummary struct {
	Site     string       `json:"site"`
	Timezone string       `json:"timezone"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Spaces   []SpaceUsage `json:"spaces" nullable:"false"`
}

// SpaceUsage is how one space was used.
type SpaceUsage struct {
	Space string         `json:"space"`
	Name  string         `json:"name,omitempty"`
	Kind  edge.SpaceKind `json:"kind"`
	usage.Figures
}

// The bounds of a summary: a journal is read whole for it.
const (
	usageSpan    = 24 * time.Hour // when from is not given
	maxUsageSpan = 7 * 24 * time.Hour
)

func (a *API) usageRoutes(h huma.API) {
	huma.Register(h, operation(http.MethodGet, "/v1/analytics/summary", "usage-summary", "spaces",
		"How the spaces were used in the last day, or in a time of at most a week"),
		func(ctx context.Context, in *struct{ Span }) (*body[UsageSummary], error) {
			return a.usageSummary(ctx, in.Span)
		})
}

func (a *API) usageSummary(ctx context.Context, sp Span) (*body[UsageSummary], error) {
	now := time.Now()
	from, to, err := sp.resolve(now, usageSpan)
	if err != nil {
		return nil, err
	}
	if to.Sub(from) > maxUsageSpan {
		return nil, badParameter("query.from", sp.From, "lies more than 7 days before to; ask the cloud for longer times")
	}
	if to.After(now) { // what is to come is not unknown
		to = edge.Millis(now)
	}
	steps := map[string][]usage.Step{}
	err = a.opts.History.Occupancies(ctx, from, to, func(o edge.Occupancy) {
		steps[o.Space] = append(steps[o.Space], usage.StepOf(o, o.AsOf))
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	site := a.opts.Site.Snapshot().Site
	out := UsageSummary{Site: site.ID, Timezone: site.Location().String(), From: from, To: to, Spaces: []SpaceUsage{}}
	for _, space := range site.Spaces {
		t := usage.Fold(usage.Chain(usage.Step{}, steps[space.ID]), from.UnixMilli(), to.UnixMilli())
		if t.Capacity == 0 {
			t.Capacity = space.Capacity
		}
		out.Spaces = append(out.Spaces, SpaceUsage{space.ID, space.Name, space.Kind, t.Figures()})
	}
	return answer(out), nil
}
