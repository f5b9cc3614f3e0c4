package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// The pace of looking into the queue.
const (
	claimFor    = time.Minute     // longer than an attempt
	idleLook    = 5 * time.Second // another process may have died with something claimed; quiet hours end
	pageDue     = 500
	sqlPatience = 5 * time.Second
)

// send delivers what the queue holds until ctx ends.
func (n *Notifier) send(ctx context.Context) {
	opts := n.opts
	opts.Find = func(name string) deliver.Channel {
		if s := n.channel(name); s != nil {
			return s
		}
		return nil
	}
	runner := deliver.New(n.queue, nil, opts)
	n.mu.Lock()
	n.runner = runner
	n.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.look(ctx) })
	_ = runner.Run(ctx) // it returns nil
}

// look kicks from time to time, and takes over channels that another process has changed.
func (n *Notifier) look(ctx context.Context) {
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.reload(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("channels not read; looked at again soon", "err", err)
		}
		n.queue.kick()
	}
}

// Channels tells how the channels fare that have sent something in this process.
func (n *Notifier) Channels() []deliver.ChannelStatus {
	n.mu.Lock()
	runner := n.runner
	n.mu.Unlock()
	if runner == nil {
		return nil
	}
	return runner.Status()
}

// queue is the table as a deliver.Queue.
type queue struct {
	n       *Notifier
	owner   string
	changed chan struct{} // size 1: a token that says look again

	mu   sync.Mutex // guards jobs
	jobs map[string]Delivery
}

func newQueue(n *Notifier) *queue {
	return &queue{n: n, owner: rand.Text(), changed: make(chan struct{}, 1), jobs: map[string]Delivery{}}
}

func (q *queue) kick() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// Changed is of deliver.Queue.
func (q *queue) Changed() <-chan struct{} { return q.changed }

// Pending is of deliver.Queue.
func (q *queue) Pending() []deliver.Job {
	ctx, cancel := context.WithTimeout(context.Background(), sqlPatience)
	defer cancel()
	rows, err := due(ctx, q.n.db, q.owner, time.Now(), pageDue)
	if err != nil {
		q.n.log.Error("queue not read; looked at again soon", "err", err)
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = make(map[string]Delivery, len(rows))
	out := make([]deliver.Job, len(rows))
	for i, d := range rows {
		id := strconv.FormatInt(d.ID, 10)
		q.jobs[id] = d
		created := d.Updated
		if d.Due.After(created) {
			created = d.Due
		}
		out[i] = deliver.Job{ID: id, Channel: d.Channel, Order: d.Order, Created: created, Message: d.Message}
	}
	return out
}

// Done is of deliver.Queue. The text of a delivered mail is not kept.
func (q *queue) Done(ctx context.Context, r deliver.Result) error {
	id, err := strconv.ParseInt(r.Job, 10, 64)
	if err != nil {
		return fmt.Errorf("job %q is not of this queue", r.Job)
	}
	state, reason := Done, ""
	if !r.Delivered {
		state, reason = Failed, r.Error
	}
	q.mu.Lock()
	d := q.jobs[r.Job]
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sqlPatience)
	defer cancel()
	return q.n.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := put(tx, id, Due, state, reason, time.Now()); err != nil {
			return err
		}
		if state != Done || d.Message.Type != mailType {
			return nil
		}
		m := d.Message
		m.Text = ""
		return tx.Exec(`UPDATE notify_deliveries SET message = ? WHERE id = ?`, toJSON(m), id)
	})
}

// delivery returns the row of a job.
func (q *queue) delivery(job string) (Delivery, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d, ok := q.jobs[job]
	return d, ok
}

// sender is a channel that claims a delivery before it sends it.
type sender struct {
	n       *Notifier
	version string // of what it was made from
	deliver func(context.Context, Delivery) error
}

// errElsewhere says that another process is at it.
var errElsewhere = errors.New("another process is sending it")

// Deliver is of deliver.Channel.
func (s *sender) Deliver(context.Context, deliver.Message) error {
	return fmt.Errorf("%w: only jobs of the queue can be sent", deliver.ErrRefused)
}

// DeliverJob is of deliver.JobChannel.
func (s *sender) DeliverJob(ctx context.Context, j deliver.Job) error {
	d, ok := s.n.queue.delivery(j.ID)
	mine := false
	err := s.n.db.Update(ctx, func(tx *store.Tx) (err error) {
		now := time.Now()
		mine, err = claim(tx, d.ID, s.n.queue.owner, now, now.Add(claimFor))
		return err
	})
	if err != nil {
		return err
	}
	if !ok || !mine {
		return &deliver.RetryAfter{Wait: claimFor, Err: errElsewhere}
	}
	if d.Message.Trace == "" || s.n.o.Span == nil {
		return s.deliver(ctx, d)
	}
	next, end := s.n.o.Span(d.Channel, d.Message.Trace)
	d.Message.Trace = next
	err = s.deliver(ctx, d)
	end(err)
	return err
}

// channel finds the channel of a name; nil when there is none.
func (n *Notifier) channel(name string) *sender {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.channels[name]
	if s == nil && n.o.Push != nil && strings.HasPrefix(name, pushPrefix) {
		s = &sender{n: n, deliver: n.sendPush}
		n.channels[name] = s
	}
	return s
}

// sendMail sends a mail to an address, or to where a person reads mail now.
func (n *Notifier) sendMail(ctx context.Context, d Delivery) error {
	m, to := d.Message, d.Target
	if id, ok := strings.CutPrefix(to, "user:"); ok {
		var err error
		if to, err = n.address(ctx, id); err != nil {
			return err
		}
	}
	m.To = []string{to}
	return n.o.Mail.Deliver(ctx, m)
}
