package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
)

// The pace of sending.
const (
	attemptTimeout = 15 * time.Second
	claimFor       = time.Minute // longer than an attempt
	firstRetry     = 2 * time.Second
	longestRetry   = 10 * time.Minute
	idleLook       = 30 * time.Second // another process may have left something
)

// sendLoop sends until ctx ends; attempts under way are finished or cut off.
func (n *Notifier) sendLoop(ctx context.Context) {
	for ctx.Err() == nil {
		next, err := n.Send(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Error("notifications not sent; tried again soon", "err", err)
			next = n.now().Add(time.Second)
		}
		wait := idleLook
		if !next.IsZero() {
			wait = min(idleLook, max(0, next.Sub(n.now())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-n.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Send makes one attempt for the oldest due delivery of each webhook and returns when to look
// again (zero: when something new is decided).
func (n *Notifier) Send(ctx context.Context) (next time.Time, err error) {
	heads, err := n.db.DueDeliveries(ctx)
	if err != nil {
		return next, err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards err
	for _, d := range heads {
		if d.NextTry.After(n.now()) {
			if next.IsZero() || d.NextTry.Before(next) {
				next = d.NextTry
			}
			continue
		}
		next = n.now() // there may be more behind it
		wg.Go(func() {
			if e := n.attempt(ctx, d); e != nil {
				mu.Lock()
				err = errors.Join(err, e)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return next, err
}

// attempt claims one delivery, sends it, and notes what became of it.
func (n *Notifier) attempt(ctx context.Context, d store.Delivery) error {
	mine := false
	err := n.db.Update(ctx, func(tx *store.Tx) (err error) {
		mine, err = tx.Claim(d, n.now().Add(claimFor))
		return err
	})
	if err != nil || !mine {
		return err
	}
	d.Attempts++
	n.settle(&d, n.deliver(ctx, d))
	if ctx.Err() != nil {
		d.State, d.NextTry = store.DeliveryDue, n.now() // cut off by our own end: others may go on at once
	}
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return n.db.Update(noting, func(tx *store.Tx) error {
		_, err := tx.PutDelivery(d, store.DeliveryDue)
		return err
	})
}

// settle sets the delivery's state by the outcome of an attempt.
func (n *Notifier) settle(d *store.Delivery, err error) {
	h, _ := n.hook(*d)
	now := n.now()
	d.Updated = now
	log := n.log.With("org", d.Org, "webhook", d.Webhook, "alert", d.Alert, "type", d.Type, "attempt", d.Attempts)
	switch {
	case err == nil:
		d.State, d.Reason = store.DeliveryDone, ""
		log.Info("notification delivered")
	case errors.Is(err, errGone):
		d.State, d.Reason = store.DeliveryCancelled, err.Error()
	case errors.Is(err, ErrRefused), now.Sub(d.At) > h.GiveUp:
		d.State, d.Reason = store.DeliveryFailed, err.Error()
		log.Error("notification given up", "err", err)
	default:
		d.Reason, d.NextTry = err.Error(), now.Add(backoff(d.Attempts))
		log.Warn("notification not delivered; tried again later", "next", d.NextTry, "err", err)
	}
}

// errGone says that what a delivery needs is not there any more.
var errGone = errors.New("the webhook is not configured any more")

func (n *Notifier) deliver(ctx context.Context, d store.Delivery) error {
	h, ok := n.hook(d)
	if !ok {
		return errGone
	}
	e, err := n.db.Event(ctx, d.Event)
	if err != nil {
		return err
	}
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	body := Body{Type: e.Type, Key: fmt.Sprintf("%s/%s/%s/%s", e.Org, e.SiteName, d.Alert, d.Type), Org: e.Org, Site: e.SiteName, At: e.At}
	if err := json.Unmarshal(rec.Data, &body.Data); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return h.Channel.Deliver(ctx, Message{Key: body.Key, Type: e.Type, At: e.At, Body: b})
}

// backoff doubles with each attempt and is spread by a quarter, so that many receivers that
// come back together are not met together.
func backoff(attempt int) time.Duration {
	d := firstRetry << min(attempt-1, 20)
	if d > longestRetry {
		d = longestRetry
	}
	return d*3/4 + rand.N(d/2)
}
