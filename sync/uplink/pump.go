package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Pump sends the journal to the cloud. New makes one.
type Pump struct {
	opts   Options
	status atomic.Pointer[Status]

	// Pushed marks on their way to Run. Small, and what does not fit is dropped: the next mark
	// or heartbeat says the same.
	pushes  chan wire.Marks
	replies chan reply     // of size 1: one heartbeat is asked at a time
	shown   chan error     // of size 1: one snapshot is sent at a time
	changed chan struct{}  // of size 1: the present state is to be shown again
	asks    sync.WaitGroup // requests on their way

	// All below belongs to Run.
	lanes      [2]*lane           // in the order of edge.Lanes: events first
	epoch      string             // of the journal
	connection int                // of the link; 0 = down
	session    int                // counts connections and epochs; answers of earlier ones are void
	ctx        context.Context    // of the session's requests
	cancel     context.CancelFunc //
	open       bool               // the first heartbeat of the session is answered or has failed
	answered   bool               // the newest heartbeat was answered
	asking     bool               // a heartbeat is on its way
	showing    bool               // a snapshot is on its way
	beatAt     time.Time          // when the next heartbeat is due
	beatenAt   time.Time          // when the last one was sent
	showAt     time.Time          // when the next snapshot is due; zero = not at all
	shownAt    time.Time          // when the last one was sent
	beats      int                // heartbeats asked
	heldTill   time.Time          // sending was given up until then
	held       string             // why
	conflict   string             // why nothing is sent in this epoch any more
	silent     string             // why the cloud does not answer
	now        Status             // as it was last published
	reported   Status             // as OnStatus was last told
}

// reply is the end of a heartbeat.
type reply struct {
	session int
	epoch   string       // asked about
	asked   [2]wire.Mark // the marks when it was asked
	body    wire.HeartbeatReply
	err     error
}

// New makes a pump; Run runs it.
func New(opts Options) *Pump {
	opts.Timing.setDefaults()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pump{opts: opts, pushes: make(chan wire.Marks, 64), replies: make(chan reply, 1), shown: make(chan error, 1), changed: make(chan struct{}, 1)}
	for i, name := range edge.Lanes {
		p.lanes[i] = &lane{name: name, timing: opts.Timing}
	}
	p.status.Store(&Status{Reason: "not started"})
	return p
}

// Status is where the pump stands now. It may be called from any goroutine.
func (p *Pump) Status() Status { return *p.status.Load() }

// Show has the present state sent to the cloud again, because more of it has changed than events
// tell. It does not wait.
func (p *Pump) Show() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then stores the marks and returns nil. It returns an error only when
// the link cannot be listened to. When it returns, nothing it started is left.
func (p *Pump) Run(ctx context.Context) error {
	stop, err := p.opts.Link.Receive(wire.DownMark, p.push)
	if err != nil {
		return fmt.Errorf("listen for marks: %w", err)
	}
	defer p.asks.Wait()
	p.ctx, p.cancel = context.WithCancel(ctx)
	defer func() { p.cancel() }()
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		events, readings := p.opts.Journal.Changed(edge.Events), p.opts.Journal.Changed(edge.Readings)
		more := p.round(ctx, time.Now())
		timer.Reset(p.pause(more))
		select {
		case <-ctx.Done():
		case <-events:
		case <-readings:
		case <-p.opts.Link.Changed():
		case <-p.changed:
			p.showAt = time.Now()
		case m := <-p.pushes:
			p.pushed(m, time.Now())
		case r := <-p.replies:
			p.replied(r, time.Now())
		case err := <-p.shown:
			p.showed(err, time.Now())
		case <-timer.C:
		}
	}
	p.release(time.Now(), 0)
	return nil
}

// push takes a mark from the link's goroutine.
func (p *Pump) push(body []byte) {
	var m wire.Marks
	if err := json.Unmarshal(body, &m); err != nil {
		p.opts.Log.Warn("mark from the cloud cannot be read", "error", err)
		return
	}
	select {
	case p.pushes <- m:
	default:
	}
}

// round does what can be done now and tells whether there is more.
func (p *Pump) round(ctx context.Context, now time.Time) (more bool) {
	p.notice(ctx, now)
	if p.connection > 0 {
		p.ask(now)
		p.show(now)
		p.giveUpWaiting(now)
		more = p.send(ctx, now)
	}
	p.release(now, p.opts.Timing.Release)
	p.report(now)
	return more
}

// notice sees whether the epoch or the connection has changed. Either begins a session.
func (p *Pump) notice(ctx context.Context, now time.Time) {
	epoch := p.opts.Journal.Epoch()
	connection, _ := p.opts.Link.State()
	if epoch == p.epoch && (connection == p.connection || connection == 0) {
		p.connection = connection
		return
	}
	if epoch != p.epoch {
		p.epoch, p.conflict = epoch, ""
		for _, l := range p.lanes {
			l.begin(p.place(l), now)
		}
	}
	p.connection = connection
	p.begin(ctx, now)
}

// place is where a lane has to go on: at its mark, or at the start of the epoch after it when
// nothing of the mark's own can be sent any more.
func (p *Pump) place(l *lane) wire.Mark {
	m := p.opts.Journal.Mark(l.name)
	if m.Epoch == p.epoch {
		return m
	}
	b, err := p.opts.Journal.Read(l.name, m, 1)
	switch {
	case err != nil && m.Epoch != "":
		return m
	case err != nil || len(b.Records) == 0:
		return wire.Mark{Epoch: p.epoch}
	case b.Epoch != m.Epoch:
		return wire.Mark{Epoch: b.Epoch}
	}
	return m
}

// begin starts a session: the cloud's mark is not known, and nothing that was sent counts.
func (p *Pump) begin(ctx context.Context, now time.Time) {
	p.cancel() // what was asked before
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.session++
	p.open, p.answered, p.silent, p.held = false, false, "", ""
	p.beatAt, p.showAt = now, now
	for _, l := range p.lanes {
		l.batch = p.opts.Timing.Batch
		l.rewind(now)
	}
}

// giveUpWaiting sends again from the mark what the cloud should have applied by now. While it does
// not answer heartbeats either, what was sent waits in its stream and is not sent again.
func (p *Pump) giveUpWaiting(now time.Time) {
	for _, l := range p.lanes {
		if _, over := l.expired(now); over && p.answered {
			p.opts.Log.Info("no progress, sending again", "lane", l.name, "from", l.mark.Seq+1, "to", l.sent.Seq)
			l.resend(now)
		}
	}
}

// send sends one batch: of events if there is any, else of readings. While events wait for room
// readings wait too, as they would be in the way.
func (p *Pump) send(ctx context.Context, now time.Time) (more bool) {
	if !p.open || p.conflict != "" || now.Before(p.heldTill) {
		return false
	}
	for _, l := range p.lanes {
		head := p.opts.Journal.Head(l.name)
		if l.drained(head) {
			continue
		}
		if !l.room() || p.sendOne(ctx, l, head, now) {
			return l.room()
		}
		if !l.drained(head) {
			return false
		}
	}
	return false
}

func (p *Pump) sendOne(ctx context.Context, l *lane, head wire.Mark, now time.Time) (more bool) {
	b, err := p.opts.Journal.Read(l.name, l.sent, l.batch)
	switch {
	case err != nil:
		p.hold(now, "the journal cannot be read: "+err.Error())
		return false
	case len(b.Records) == 0:
		l.ranDry(head)
		return false
	case b.Epoch != l.sent.Epoch:
		return p.nextEpoch(l, b.Epoch, now)
	}
	b.Lost = b.First - 1 - l.sent.Seq
	crc, err := b.Verify()
	if err != nil {
		p.hold(now, "the journal holds what cannot be sent: "+err.Error())
		return false
	}
	p.declare(l, b)
	err = p.opts.Link.Publish(ctx, b)
	switch {
	case err == nil:
		p.held = ""
		l.departed(wire.Mark{Epoch: b.Epoch, Seq: b.Last(), CRC: crc}, now)
		return true
	case errors.Is(err, wire.ErrTooLarge) && len(b.Records) > 1:
		l.batch /= 2
		return true
	}
	p.hold(now, "sending fails: "+err.Error())
	return false
}

// nextEpoch goes on to the epoch after the lane's, once the cloud has all of the lane's own.
func (p *Pump) nextEpoch(l *lane, epoch string, now time.Time) (more bool) {
	if len(l.flying) > 0 {
		return false
	}
	p.opts.Log.Info("all of an epoch is sent, the next begins", "lane", l.name, "ended", l.mark.Epoch, "begins", epoch)
	l.enter(wire.Mark{Epoch: epoch}, now)
	p.beatAt = now // the cloud may have some of it
	return true
}

// hold stops sending for a second.
func (p *Pump) hold(now time.Time, why string) {
	p.heldTill, p.held = now.Add(time.Second), why
}

// declare reports records that are gone although the cloud needs them again. Those beyond the
// highest mark were dropped by the journal, which has declared them itself.
func (p *Pump) declare(l *lane, b wire.Batch) {
	from, to := b.First-b.Lost, min(b.First-1, l.released)
	if from > to {
		return
	}
	l.released = from - 1 // once
	p.opts.Log.Error("records that the cloud has lost are gone here too", "lane", l.name, "from", from, "to", to)
	if p.opts.OnLost != nil {
		p.opts.OnLost(l.name, from, to)
	}
}

// release tells the journal the marks, not more often than every so often: it may cost a write.
func (p *Pump) release(now time.Time, every time.Duration) {
	for _, l := range p.lanes {
		if l.mark == l.stored || now.Sub(l.storedAt) < every || p.epoch != p.opts.Journal.Epoch() {
			continue
		}
		l.storedAt = now
		if err := p.opts.Journal.Release(l.name, l.mark); err != nil {
			p.opts.Log.Error("the journal does not take the cloud's mark", "lane", l.name, "mark", l.mark.Seq, "error", err)
			continue
		}
		l.stored = l.mark
	}
}

// pause is how long there is nothing to do unless something happens.
func (p *Pump) pause(more bool) time.Duration {
	if more {
		return 0
	}
	now := time.Now()
	next := now.Add(p.opts.Timing.Heartbeat)
	soonest := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if p.connection > 0 {
		if !p.asking {
			soonest(p.beatAt)
		}
		if p.answered && !p.showing && !p.showAt.IsZero() {
			soonest(p.showAt)
		}
		if p.heldTill.After(now) {
			soonest(p.heldTill)
		}
	}
	for _, l := range p.lanes {
		if at, over := l.expired(now); !at.IsZero() && !over {
			soonest(at)
		}
		if l.mark != l.stored {
			soonest(l.storedAt.Add(p.opts.Timing.Release))
		}
		if at, over := l.behind(p.opts.Journal.Head(l.name), now); !at.IsZero() && !over {
			soonest(at)
		}
	}
	return max(0, next.Sub(now))
}
