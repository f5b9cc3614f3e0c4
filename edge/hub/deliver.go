package hub

import (
	"context"
	"time"

	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/edge/engine"
)

// attemptLimit is above what anybody configures: each webhook bounds its calls by its own timeout.
const attemptLimit = 10 * time.Minute

// buildActions makes what delivers the actions.
func (h *Hub) buildActions() error {
	h.actions = deliver.New(jobs{h.engine, h.cfg.Site.ID}, h.parts.channels, deliver.Options{Timeout: attemptLimit, Log: h.log.With("part", "deliver")})
	return nil
}

// jobs is the engine's list of undelivered actions as a durable queue.
type jobs struct {
	engine *engine.Engine
	site   string
}

// Pending is deliver.Queue.
func (q jobs) Pending() []deliver.Job {
	list := q.engine.View().Jobs
	out := make([]deliver.Job, len(list))
	for i, j := range list {
		out[i] = deliver.Job{
			ID: j.ID, Channel: j.Action, Order: j.Event.Subject, Created: j.Created,
			Message: deliver.Message{Key: j.ID, Source: q.site, Type: string(j.Event.Type), Subject: j.Event.Subject, At: j.Event.At, Data: j.Event.Data},
		}
	}
	return out
}

// Changed is deliver.Queue.
func (q jobs) Changed() <-chan struct{} { return q.engine.Changed() }

// Done is deliver.Queue.
func (q jobs) Done(ctx context.Context, r deliver.Result) error {
	return q.engine.Delivered(ctx, engine.ActionResult{Job: r.Job, Delivered: r.Delivered, Attempts: r.Attempts, Error: r.Error})
}
