package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/edge/engine"
)

// buildChannels makes the channels that alerts can name.
func (h *Hub) buildChannels() error {
	channels := map[string]deliver.Channel{}
	for name, a := range h.cfg.Actions {
		switch a.Kind {
		case config.LogAction:
			channels[name] = deliver.Log{Log: h.log.With("action", name)}
		case config.WebhookAction:
			w, err := webhook(a)
			if err != nil {
				return fmt.Errorf("%s: action %s: %w", a.Pos, name, err)
			}
			channels[name] = w
		default:
			return fmt.Errorf("%s: action %s: no kind of action is called %q", a.Pos, name, a.Kind)
		}
	}
	h.parts.channels = channels
	return nil
}

func webhook(a config.Action) (deliver.Channel, error) {
	var secret []byte
	var err error
	if a.SecretFile != "" {
		if secret, err = config.ReadSecret(a.SecretFile); err != nil {
			return nil, err
		}
	}
	w, err := deliver.NewWebhook(deliver.WebhookOptions{URL: a.Webhook, Secret: secret, Timeout: a.Timeout})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// attemptLimit is above what anybody configures: each webhook bounds its calls by its own timeout.
const attemptLimit = 10 * time.Minute

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
