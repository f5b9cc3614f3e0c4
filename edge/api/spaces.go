package api

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// SpaceList is the answer of GET /v1/spaces.
type SpaceList struct {
	Spaces []edge.SpaceView `json:"spaces" nullable:"false"`
	AsOf   time.Time        `json:"as_of"`
}

// SpaceHistory is the answer of GET /v1/spaces/{id}/history.
type SpaceHistory struct {
	Space  string           `json:"space"`
	From   time.Time        `json:"from"`
	To     time.Time        `json:"to"`
	Every  string           `json:"every,omitempty" doc:"distance of the points; without it they are the changes themselves"`
	Points []edge.Occupancy `json:"points" nullable:"false" doc:"oldest first; each holds until the next one"`
	Next   *time.Time       `json:"next,omitempty" doc:"there is more: ask again with this as from"`
}

// The bounds of a history request.
const (
	maxPoints   = 5000
	minEvery    = time.Second
	historySpan = 24 * time.Hour // when from is not given
)

func (a *API) spaceRoutes(h huma.API) {
	const tag = "spaces"
	huma.Register(h, operation(http.MethodGet, "/v1/spaces", "list-spaces", tag, "All spaces with their present occupancy"),
		func(_ context.Context, in *struct {
			Conditional
			Kind string `query:"kind" enum:"building,floor,room,zone" doc:"only spaces of this kind"`
		}) (*tagged[SpaceList], error) {
			s := a.opts.Site.Snapshot()
			views := s.Views()
			if in.Kind != "" {
				views = slices.DeleteFunc(views, func(v edge.SpaceView) bool { return string(v.Kind) != in.Kind })
			}
			return in.answer(views, SpaceList{Spaces: views, AsOf: s.At})
		})
	huma.Register(h, operation(http.MethodGet, "/v1/spaces/{id}", "get-space", tag, "One space with its present occupancy", 404),
		func(_ context.Context, in *struct {
			Conditional
			ID string `path:"id"`
		}) (*tagged[edge.SpaceView], error) {
			v, err := a.space(in.ID)
			if err != nil {
				return nil, err
			}
			return answerTagged(in.IfNoneMatch, v, v)
		})
	huma.Register(h, operation(http.MethodGet, "/v1/spaces/{id}/history", "get-space-history", tag,
		"A space's occupancy over time: the changes, or with every= one point per step", 404),
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
			Span
			Every string `query:"every" doc:"distance of the points, such as 5m; without it every change is a point" example:"5m"`
		}) (*body[SpaceHistory], error) {
			return a.spaceHistory(ctx, in.ID, in.Span, in.Every)
		})
	huma.Register(h, operation(http.MethodPut, "/v1/spaces/{id}/count", "correct-count", tag,
		"Correct a space's count by hand; audited", 404, 409),
		func(ctx context.Context, in *struct {
			ID   string `path:"id"`
			Body struct {
				Count  int    `json:"count" minimum:"0" maximum:"100000" doc:"people who are in the space now"`
				Reason string `json:"reason,omitempty" maxLength:"200"`
			}
			Idempotent
		}) (*body[edge.CommandResult], error) {
			if _, err := a.space(in.ID); err != nil {
				return nil, err
			}
			return a.do(ctx, edge.CorrectCount, in.ID, in.Key, in.Body)
		})
}

// space returns a space's view or a 404 problem.
func (a *API) space(id string) (edge.SpaceView, error) {
	s := a.opts.Site.Snapshot()
	for i, sp := range s.Site.Spaces {
		if sp.ID == id && i < len(s.Spaces) {
			return edge.SpaceView{Space: sp, Occupancy: s.Spaces[i]}, nil
		}
	}
	return edge.SpaceView{}, huma.Error404NotFound(fmt.Sprintf("space %q is not on this site; GET /v1/spaces lists what is", id))
}

func (a *API) spaceHistory(ctx context.Context, id string, sp Span, every string) (*body[SpaceHistory], error) {
	if _, err := a.space(id); err != nil {
		return nil, err
	}
	from, to, err := sp.resolve(time.Now(), historySpan)
	if err != nil {
		return nil, err
	}
	out := SpaceHistory{Space: id, From: from, To: to, Every: every}
	if every == "" {
		if out.Points, err = a.opts.History.Occupancy(ctx, id, from, to, maxPoints+1); err != nil {
			return nil, a.fail(ctx, err)
		}
		if len(out.Points) > maxPoints {
			next := out.Points[maxPoints].AsOf
			out.Points, out.Next = out.Points[:maxPoints], &next
		}
	} else {
		out.Points, err = a.sample(ctx, id, from, to, every)
	}
	if err != nil {
		return nil, err
	}
	if out.Points == nil {
		out.Points = []edge.Occupancy{}
	}
	return answer(out), nil
}

// sample turns the step function into one point per step: what held at that time, unknown
// where nothing did.
func (a *API) sample(ctx context.Context, id string, from, to time.Time, every string) ([]edge.Occupancy, error) {
	step, err := time.ParseDuration(every)
	if err != nil || step < minEvery {
		return nil, badParameter("query.every", every, "want a duration of at least 1s, such as 5m")
	}
	n := int(to.Sub(from)/step) + 1
	if n > maxPoints {
		return nil, badParameter("query.every", every, fmt.Sprintf("this makes %d points, at most %d are possible; ask for a shorter time or larger steps", n, maxPoints))
	}
	out := make([]edge.Occupancy, 0, n)
	held := edge.Occupancy{Space: id, State: edge.Unknown, Quality: edge.QualityNone, Since: from}
	emit := func(until time.Time) { // every step before until
		for t := from.Add(time.Duration(len(out)) * step); t.Before(until) && !t.After(to); t = t.Add(step) {
			p := held
			p.AsOf = t
			out = append(out, p)
		}
	}
	for at := from; ; {
		points, err := a.opts.History.Occupancy(ctx, id, at, to, maxPoints)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		for _, p := range points {
			emit(p.AsOf)
			held = p
		}
		if len(points) < maxPoints {
			break
		}
		at = held.AsOf.Add(time.Millisecond) // the resolution of time; the held one comes again, which does no harm
	}
	emit(to.Add(1))
	return out, nil
}

// Conditional is the request side of ETags.
type Conditional struct {
	IfNoneMatch string `header:"If-None-Match" doc:"ETag of what the caller has"`
}

func (c Conditional) answer(version any, list SpaceList) (*tagged[SpaceList], error) {
	return answerTagged(c.IfNoneMatch, version, list)
}

// tagged is an answer with an ETag.
type tagged[T any] struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         T
}

// answerTagged answers 304 when the caller has this version of the body already.
func answerTagged[T any](have string, version any, v T) (*tagged[T], error) {
	b, err := json.Marshal(version)
	if err != nil {
		return nil, err
	}
	sum := fnv.New64a()
	sum.Write(b)
	etag := fmt.Sprintf(`W/"%016x"`, sum.Sum64())
	if slices.Contains(splitETags(have), etag) {
		return nil, huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"ETag": {etag}})
	}
	return &tagged[T]{ETag: etag, CacheControl: "no-cache", Body: v}, nil
}
