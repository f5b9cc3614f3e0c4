package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// The pace of looking into the outbox.
const (
	claimFor    = time.Minute      // longer than an attempt
	idleLook    = 30 * time.Second // another process may have died with something claimed
	pageDue     = 500
	sqlPatience = 5 * time.Second
)

// send delivers what the outbox holds until ctx ends.
func (n *Notifier) send(ctx context.Context) {
	channels := map[string]deliver.Channel{}
	for _, h := range n.hooks {
		name := channelName(h.Org, h.Name)
		channels[name] = &claiming{queue: n.queue, name: name, Channel: h.Channel}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.queue.look(ctx) })
	_ = deliver.New(n.queue, channels, n.opts).Run(ctx) // it returns nil
}

func channelName(org, webhook string) string { return org + "/" + webhook }

// queue is the outbox as a deliver.Queue.
type queue struct {
	db      *store.DB
	log     *slog.Logger
	owner   string
	changed chan struct{} // size 1: a token that says look again

	mu   sync.Mutex // guards jobs
	jobs map[int64]deliver.Job
}

func newQueue(db *store.DB, log *slog.Logger) *queue {
	return &queue{db: db, log: log, owner: rand.Text(), changed: make(chan struct{}, 1), jobs: map[int64]deliver.Job{}}
}

func (q *queue) kick() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// look kicks from time to time.
func (q *queue) look(ctx context.Context) {
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			q.kick()
		}
	}
}

// Changed is of deliver.Queue.
func (q *queue) Changed() <-chan struct{} { return q.changed }

// Pending is of deliver.Queue.
func (q *queue) Pending() []deliver.Job {
	ctx, cancel := context.WithTimeout(context.Background(), sqlPatience)
	defer cancel()
	rows, err := q.db.DueDeliveries(ctx, q.owner, time.Now(), pageDue)
	if err != nil {
		q.log.Error("outbox not read; looked at again soon", "err", err)
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.jobs
	q.jobs = make(map[int64]deliver.Job, len(rows))
	var out []deliver.Job
	for _, d := range rows {
		j, ok := known[d.ID]
		if !ok {
			if j, err = q.job(ctx, d); err != nil {
				q.log.Error("notification cannot be made", "delivery", d.ID, "err", err)
				continue
			}
		}
		q.jobs[d.ID] = j
		out = append(out, j)
	}
	return out
}

// job makes the message of a row.
func (q *queue) job(ctx context.Context, d store.Delivery) (deliver.Job, error) {
	e, err := q.db.Event(ctx, d.Event)
	if err != nil {
		return deliver.Job{}, err
	}
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return deliver.Job{}, err
	}
	return deliver.Job{
		ID: strconv.FormatInt(d.ID, 10), Channel: channelName(d.Org, d.Webhook), Created: d.Updated,
		Order: e.SiteName + "/" + d.Alert,
		Message: deliver.Message{
			Key:    fmt.Sprintf("%s/%s/%s/%s", e.Org, e.SiteName, d.Alert, d.Type),
			Source: "/" + e.Org + "/" + e.SiteName, Type: e.Type, Subject: d.Alert, At: e.At, Data: rec.Data,
		},
	}, nil
}

// Done is of deliver.Queue.
func (q *queue) Done(ctx context.Context, r deliver.Result) error {
	id, err := strconv.ParseInt(r.Job, 10, 64)
	if err != nil {
		return fmt.Errorf("job %q is not of this queue", r.Job)
	}
	d := store.Delivery{ID: id, State: store.DeliveryDone, Updated: time.Now()}
	if !r.Delivered {
		d.State, d.Reason = store.DeliveryFailed, r.Error
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sqlPatience)
	defer cancel()
	return q.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDelivery(d, store.DeliveryDue)
		return err
	})
}

// claiming is a channel that claims a delivery before it sends it.
type claiming struct {
	deliver.Channel
	queue *queue
	name  string
}

// errElsewhere says that another process is at it.
var errElsewhere = errors.New("another process is sending it")

// Deliver is of deliver.Channel.
func (c *claiming) Deliver(ctx context.Context, m deliver.Message) error {
	id, ok := c.queue.find(c.name, m.Key)
	mine := false
	err := c.queue.db.Update(ctx, func(tx *store.Tx) (err error) {
		now := time.Now()
		mine, err = tx.Claim(id, c.queue.owner, now, now.Add(claimFor))
		return err
	})
	if err != nil {
		return err
	}
	if !ok || !mine {
		return &deliver.RetryAfter{Wait: claimFor, Err: errElsewhere}
	}
	return c.Channel.Deliver(ctx, m)
}

// find returns the row of a message.
func (q *queue) find(channel, key string) (int64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, j := range q.jobs {
		if j.Channel == channel && j.Message.Key == key {
			return id, true
		}
	}
	return 0, false
}
