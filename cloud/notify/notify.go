// Package notify tells organisations' webhooks about alerts. It follows the event table by a
// cursor; what it decides about an event stands in the outbox in the same transaction that
// moves the cursor, so a step of an alert is decided once, whatever crashes.
//
// It guarantees that a webhook gets the steps of alerts in order, each at least once and with
// the same key when again, and that what is not sent is recorded with the reason: too late (the
// hub was offline when it happened: nobody is woken on Monday for Saturday's crowd), or the
// hub's own to deliver. It takes over a hub's channel only after the hub reported failure or
// fell silent.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// DefaultMaxAge is how old an event may be on arrival to be told.
const DefaultMaxAge = 15 * time.Minute

// Webhook is one channel of one organisation.
type Webhook struct {
	Org         string
	Name        string // an alert that names it among its actions is the hub's to deliver here
	MinSeverity edge.Severity
	MaxAge      time.Duration // an event older than this on arrival is recorded, not sent; 0 = DefaultMaxAge
	Channel     deliver.Channel
}

// Notifier decides and sends. Several processes may run one on the same database.
type Notifier struct {
	db    *store.DB
	log   *slog.Logger
	hooks []Webhook
	now   func() time.Time
	queue *queue
	opts  deliver.Options
}

// New makes a Notifier; Run starts it.
func New(db *store.DB, hooks []Webhook, log *slog.Logger) *Notifier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{db: db, log: log, hooks: slices.Clone(hooks), now: time.Now, opts: deliver.Options{Log: log}}
	for i := range n.hooks {
		if h := &n.hooks[i]; h.MaxAge <= 0 {
			h.MaxAge = DefaultMaxAge
		}
	}
	n.queue = newQueue(db, log)
	return n
}

// cursor names the notifier among the followers of the event table.
const cursor = "notify"

const pageEvents = 256

// Run decides and sends until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.send(ctx) })
	for {
		changed := n.db.Changed()
		more, err := n.Decide(ctx)
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			n.log.Error("notifications wait; tried again soon", "err", err)
			again = time.After(time.Second)
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

// Decide takes one page of new events and tells whether there may be more.
func (n *Notifier) Decide(ctx context.Context) (more bool, err error) {
	at, err := n.db.Cursor(ctx, cursor)
	if err != nil {
		return false, err
	}
	events, err := n.db.NotifyEvents(ctx, int64(at.Position), pageEvents)
	if err != nil || len(events) == 0 {
		return false, err
	}
	err = n.db.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Cursor(cursor)
		if err != nil || now.Position != at.Position { // another process was faster
			return err
		}
		for _, e := range events {
			if err := n.decide(tx, e); err != nil {
				return fmt.Errorf("event %d: %w", e.ID, err)
			}
		}
		return tx.PutCursor(cursor, store.Cursor{Position: uint64(events[len(events)-1].ID)})
	})
	if err != nil {
		return false, err
	}
	n.queue.kick()
	return len(events) == pageEvents, nil
}

// decide writes what one event means to the outbox.
func (n *Notifier) decide(tx *store.Tx, e store.Event) error {
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return nil // ingest has let it pass; it says nothing that could be sent
	}
	switch edge.EventType(e.Type) {
	case edge.ActionDelivered, edge.ActionFailed:
		return n.action(tx, e, rec.Data)
	}
	var a edge.Alert
	if err := json.Unmarshal(rec.Data, &a); err != nil {
		return nil
	}
	for _, h := range n.hooks {
		if h.Org != e.Org || rank(a.Severity) < rank(h.MinSeverity) {
			continue
		}
		d, err := n.judge(tx, h, e, a)
		if err != nil {
			return err
		}
		if err := tx.AddDelivery(d); err != nil {
			return err
		}
	}
	if a.Rule == store.RuleHubOffline && strings.HasPrefix(a.ID, "cloud:") && edge.EventType(e.Type) == edge.AlertRaised {
		return n.takeOver(tx, e.Site, "", "", "the hub is offline")
	}
	return nil
}

// judge decides about one event for one webhook.
func (n *Notifier) judge(tx *store.Tx, h Webhook, e store.Event, a edge.Alert) (store.Delivery, error) {
	now := n.now()
	d := store.Delivery{
		Event: e.ID, Org: e.Org, Site: e.Site, Webhook: h.Name, Alert: a.ID, Type: e.Type, At: e.At,
		State: store.DeliveryDue, Updated: now,
	}
	age := now.Sub(e.At)
	switch {
	case age > h.MaxAge:
		d.State, d.Reason = store.DeliveryLate, fmt.Sprintf("arrived %s after the event", age.Round(time.Second))
	case slices.Contains(a.Actions, h.Name):
		d.State, d.Reason = store.DeliveryHub, "the hub delivers this itself"
	}
	if edge.EventType(e.Type) != edge.AlertCleared || d.State != store.DeliveryDue {
		return d, nil
	}
	raised, err := tx.FindDelivery(e.Site, a.ID, string(edge.AlertRaised), h.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return d, err
	case raised.State == store.DeliveryLate || raised.State == store.DeliveryFailed || raised.State == store.DeliveryCancelled:
		d.State, d.Reason = store.DeliveryLate, "that it was raised was not told either"
	}
	return d, nil
}

// action takes a hub's report about one of its own actions.
func (n *Notifier) action(tx *store.Tx, e store.Event, data json.RawMessage) error {
	var report struct {
		Job    string `json:"job"`
		Action string `json:"action"`
		Event  string `json:"event"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil
	}
	alert, ok := strings.CutSuffix(report.Job, "/"+report.Event+"/"+report.Action)
	if !ok {
		alert = e.Subject
	}
	if edge.EventType(e.Type) == edge.ActionFailed {
		return n.takeOver(tx, e.Site, alert, report.Action, "the hub could not deliver it")
	}
	waiting, err := tx.Waiting(e.Site, alert, report.Action)
	if err != nil {
		return err
	}
	for _, d := range waiting {
		if d.Type != report.Event {
			continue
		}
		d.State, d.Reason, d.Updated = store.DeliveryByHub, "", n.now()
		if _, err := tx.PutDelivery(d, store.DeliveryHub); err != nil {
			return err
		}
	}
	return nil
}

// takeOver makes due what waits for a hub, unless it is too old by now.
func (n *Notifier) takeOver(tx *store.Tx, site int64, alert, webhook, why string) error {
	waiting, err := tx.Waiting(site, alert, webhook)
	if err != nil {
		return err
	}
	now := n.now()
	for _, d := range waiting {
		h, ok := n.hook(d)
		d.State, d.Reason, d.Updated = store.DeliveryDue, why, now
		if !ok {
			d.State, d.Reason = store.DeliveryCancelled, "the webhook is not configured any more"
		} else if now.Sub(d.At) > h.MaxAge {
			d.State, d.Reason = store.DeliveryLate, why+"; too old by then"
		}
		if _, err := tx.PutDelivery(d, store.DeliveryHub); err != nil {
			return err
		}
	}
	return nil
}

// hook finds the webhook of a delivery.
func (n *Notifier) hook(d store.Delivery) (Webhook, bool) {
	i := slices.IndexFunc(n.hooks, func(h Webhook) bool { return h.Org == d.Org && h.Name == d.Webhook })
	if i < 0 {
		return Webhook{}, false
	}
	return n.hooks[i], true
}

func rank(s edge.Severity) int {
	return slices.Index([]edge.Severity{edge.Info, edge.Warning, edge.Critical}, s)
}
