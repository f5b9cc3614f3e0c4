package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/wire"
)

// requestQueue is how many requests may wait; what comes beyond is dropped by the client
// library and the hub asks again.
const requestQueue = 1024

// queueGroup lets one of several replicas answer each request.
const queueGroup = "ingest"

// subscribe listens for heartbeats and snapshots of all sites.
func (in *Ingest) subscribe() (<-chan *nats.Msg, func(), error) {
	ch := make(chan *nats.Msg, requestQueue)
	var subs []*nats.Subscription
	stop := func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // the connection may be closed already
		}
	}
	for _, what := range []string{wire.UpHeartbeat, wire.UpSnapshot} {
		sub, err := in.cfg.Conn.ChanQueueSubscribe(wire.UpSubject("*", "*", what), queueGroup, ch)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("listen for %ss: %w", what, err)
		}
		subs = append(subs, sub)
	}
	if err := in.cfg.Conn.FlushTimeout(requestTimeout); err != nil {
		stop()
		return nil, nil, fmt.Errorf("listen for heartbeats: %w", err)
	}
	return ch, stop, nil
}

// request is a heartbeat or snapshot that was read.
type request struct {
	msg       *nats.Msg
	org, site string
	beat      *wire.Heartbeat
	snapshot  *wire.Snapshot
	err       error // the hub's fault
}

// answer takes one request and all that wait, notes them in one transaction, and answers.
func (in *Ingest) answer(ctx context.Context, ch <-chan *nats.Msg) {
	for {
		var msg *nats.Msg
		select {
		case <-ctx.Done():
			return
		case msg = <-ch:
		}
		reqs := []request{readRequest(msg)}
		for more := true; more && len(reqs) < requestQueue; {
			select {
			case msg = <-ch:
				reqs = append(reqs, readRequest(msg))
			default:
				more = false
			}
		}
		err := in.note(ctx, reqs)
		in.report(ctx, "heartbeats", err)
		for i := range reqs {
			in.reply(ctx, &reqs[i], err)
		}
	}
}

func readRequest(msg *nats.Msg) request {
	r := request{msg: msg}
	org, site, what, ok := wire.ParseUp(msg.Subject)
	if !ok {
		r.err = fmt.Errorf("subject %q is not up.ORG.SITE.WHAT", msg.Subject)
		return r
	}
	r.org, r.site = org, site
	var epoch string
	if what == wire.UpHeartbeat {
		r.beat = &wire.Heartbeat{}
		r.err = json.Unmarshal(msg.Data, r.beat)
		epoch = r.beat.Epoch
	} else {
		r.snapshot = &wire.Snapshot{}
		r.err = json.Unmarshal(msg.Data, r.snapshot)
		epoch = r.snapshot.Epoch
	}
	switch {
	case r.err != nil:
		r.err = fmt.Errorf("%s is no valid JSON of its kind: %w", what, r.err)
	case !wire.ValidEpoch(epoch):
		r.err = fmt.Errorf("%s: epoch %.40q, want 32 lower-case hex digits", what, epoch)
	case r.snapshot != nil && r.snapshot.Seq > maxSeq:
		r.err = fmt.Errorf("snapshot: sequence %d is too large", r.snapshot.Seq)
	}
	return r
}

// note writes the newest heartbeat and snapshot of each site.
func (in *Ingest) note(ctx context.Context, reqs []request) error {
	now := in.now()
	latest := map[[3]string]int{}
	for i, r := range reqs {
		if r.err == nil {
			kind := wire.UpHeartbeat
			if r.snapshot != nil {
				kind = wire.UpSnapshot
			}
			latest[[3]string{r.org, r.site, kind}] = i
		}
	}
	if len(latest) == 0 {
		return nil
	}
	return in.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		for i, r := range reqs {
			if r.err != nil {
				continue
			}
			if r.snapshot != nil {
				in.stats.Snapshots.Add(1)
				if latest[[3]string{r.org, r.site, wire.UpSnapshot}] != i {
					continue
				}
			} else {
				in.stats.Heartbeats.Add(1)
				if latest[[3]string{r.org, r.site, wire.UpHeartbeat}] != i {
					continue
				}
			}
			if err := in.noteOne(tx, r, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (in *Ingest) noteOne(tx *store.Tx, r request, now time.Time) error {
	site, err := tx.Site(r.org, r.site, now)
	if err != nil {
		return err
	}
	if r.beat != nil {
		return in.cfg.Projector.Beat(tx, site, *r.beat, now)
	}
	epoch, _, err := tx.Epoch(site.ID, r.snapshot.Epoch, now)
	if err != nil {
		return err
	}
	return in.cfg.Projector.Snapshot(tx, site, epoch, *r.snapshot)
}

// reply answers one request; failed is why it could not be noted.
func (in *Ingest) reply(ctx context.Context, r *request, failed error) {
	if r.msg.Reply == "" {
		return
	}
	reason := ""
	if r.err != nil {
		reason = r.err.Error()
	} else if failed != nil {
		reason = "the cloud cannot write now; try again later"
	}
	var body []byte
	var err error
	if r.snapshot != nil || r.beat == nil {
		body, err = json.Marshal(struct {
			Error string `json:"error,omitempty"`
		}{reason})
	} else {
		h := wire.HeartbeatReply{Version: wire.Version, Time: in.now().UTC(), Error: reason}
		if r.err == nil {
			var marksErr error
			if h.Marks, marksErr = in.cfg.DB.Marks(ctx, r.org, r.site, r.beat.Epoch); marksErr != nil {
				h.Error = "the cloud cannot read its marks now; try again later"
			} else if in.cfg.Complete != nil {
				in.cfg.Complete(ctx, r.org, r.site, &h)
			}
		}
		body, err = json.Marshal(h)
	}
	if err == nil {
		err = r.msg.Respond(body)
	}
	if err != nil && ctx.Err() == nil {
		in.cfg.Log.Warn("request not answered; the hub asks again", "subject", r.msg.Subject, "err", err)
	}
}
