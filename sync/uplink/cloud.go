package uplink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// ask sends a heartbeat when one is due; its answer comes by p.replies.
func (p *Pump) ask(now time.Time) {
	if p.asking || now.Before(p.beatAt) {
		return
	}
	p.asking, p.beatenAt, p.beatAt = true, now, now.Add(p.opts.Timing.Heartbeat)
	h := p.opts.Heartbeat()
	h.Version, h.Epoch = wire.Version, p.lanes[p.beats%len(p.lanes)].mark.Epoch // in turn, if they differ
	h.Events, h.Readings = p.position(p.lanes[0]), p.position(p.lanes[1])
	r := reply{session: p.session, epoch: h.Epoch, asked: [2]wire.Mark{p.lanes[0].mark, p.lanes[1].mark}}
	p.beats++
	ctx := p.ctx
	p.asks.Go(func() {
		r.err = p.request(ctx, wire.UpHeartbeat, h, &r.body)
		if r.err == nil && r.body.Error != "" {
			r.err = errors.New(r.body.Error)
		}
		p.replies <- r
	})
}

// show sends a snapshot when one is due and the cloud is there to take it.
func (p *Pump) show(now time.Time) {
	if p.showAt.IsZero() && p.catchingUp() {
		p.showAt = p.shownAt.Add(p.opts.Timing.Snapshot)
	}
	if p.showing || !p.answered || p.showAt.IsZero() || now.Before(p.showAt) {
		return
	}
	p.showing, p.shownAt, p.showAt = true, now, time.Time{}
	ctx := p.ctx
	p.asks.Go(func() {
		s := p.opts.Snapshot()
		s.Version = wire.Version
		var body struct {
			Error string `json:"error"`
		}
		err := p.request(ctx, wire.UpSnapshot, s, &body)
		if err == nil && body.Error != "" {
			err = errors.New(body.Error)
		}
		p.shown <- err
	})
}

// catchingUp tells whether the events lane is so far behind that the cloud needs snapshots to know
// the present.
func (p *Pump) catchingUp() bool {
	p0 := p.progress(p.lanes[0])
	return p.answered && p0.Head > p0.Mark+farBehind
}

// request asks and decodes an answer. An empty answer leaves v as it is.
func (p *Pump) request(ctx context.Context, what string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timing.ReplyTimeout)
	defer cancel()
	answer, err := p.opts.Link.Request(ctx, what, b)
	if err != nil || len(answer) == 0 {
		return err
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("read answer to %s: %w", what, err)
	}
	return nil
}

func (p *Pump) position(l *lane) wire.Position {
	at := p.progress(l)
	return wire.Position{Head: at.Head, Mark: at.Mark, OldestUnsent: p.oldest(l)}
}

// oldest is the time of the first record that the cloud has not applied; zero when there is none.
func (p *Pump) oldest(l *lane) time.Time {
	if head := p.opts.Journal.Head(l.name); l.mark.Epoch == head.Epoch && l.mark.Seq >= head.Seq {
		return time.Time{}
	}
	b, err := p.opts.Journal.Read(l.name, l.mark, 1)
	if err != nil || len(b.Records) == 0 {
		return time.Time{}
	}
	r, err := edge.ParseRecord(b.Records[0])
	if err != nil {
		return time.Time{}
	}
	return r.Time
}

func (p *Pump) showed(err error, now time.Time) {
	p.showing = false
	if err != nil && p.showAt.IsZero() { // else a new session has asked for one already
		p.opts.Log.Warn("snapshot not taken by the cloud", "error", err)
		p.showAt = now.Add(p.opts.Timing.Heartbeat)
	}
}

// replied takes the end of a heartbeat.
func (p *Pump) replied(r reply, now time.Time) {
	p.asking = false
	if r.session != p.session {
		p.beatAt = now
		return
	}
	p.open = true
	if p.answered = r.err == nil; !p.answered {
		p.silent = "the cloud does not answer: " + r.err.Error()
		return
	}
	p.silent, p.now.AnsweredAt = "", now
	if p.opts.OnReply != nil {
		p.opts.OnReply(r.body)
	}
	marks := r.body.Marks
	if marks.Conflict != "" {
		p.refuse(marks.Conflict)
	}
	for i, m := range []wire.Mark{marks.Events, marks.Readings} {
		if l := p.lanes[i]; l.mark.Epoch == r.epoch {
			p.settle(l, m, r.asked[i], now)
		}
	}
}

// settle takes a mark that the cloud gave when asked: the truth at that time. A mark of another
// epoch says that nothing of the lane's was applied.
func (p *Pump) settle(l *lane, m, asked wire.Mark, now time.Time) {
	if m.Epoch != l.mark.Epoch {
		m = wire.Mark{Epoch: l.mark.Epoch}
	}
	switch {
	case !p.ours(l, m) || m == l.mark:
	case m.Seq > l.mark.Seq:
		l.applied(m, now)
		p.now.MarkedAt = now
	case asked.Epoch == m.Epoch && m.Seq < asked.Seq: // and not only overtaken by a push
		p.opts.Log.Warn("the cloud has gone back, sending again", "lane", l.name, "from", m.Seq+1, "mark_was", l.mark.Seq)
		l.wentBack(m, now)
		p.beatAt = now
	}
}

// pushed takes marks that the cloud sent by itself. They may be late: nothing is believed that was
// not sent in this session.
func (p *Pump) pushed(marks wire.Marks, now time.Time) {
	if epoch := cmp.Or(marks.Events.Epoch, marks.Readings.Epoch); marks.Conflict != "" && (epoch == p.lanes[0].mark.Epoch || epoch == p.lanes[1].mark.Epoch) {
		p.refuse(marks.Conflict)
	}
	for i, m := range []wire.Mark{marks.Events, marks.Readings} {
		l := p.lanes[i]
		switch {
		case m.Epoch != l.mark.Epoch || m.Seq > l.sent.Seq:
		case m.Seq < l.mark.Seq: // late, or the cloud has gone back: ask
			if now.Sub(p.beatenAt) > time.Second {
				p.beatAt = now
			}
		case !p.ours(l, m):
		case m.Seq > l.mark.Seq:
			l.applied(m, now)
			p.now.MarkedAt = now
		case marks.Resend == l.name && l.impatient(now):
			l.resend(now)
		}
	}
}

// ours tells whether a mark of the lane's epoch lies on the journal's chain; if not, it reports
// the conflict. A mark on a record that is gone is believed.
func (p *Pump) ours(l *lane, m wire.Mark) bool {
	head := p.opts.Journal.Head(l.name)
	if m.Epoch == head.Epoch && m.Seq > head.Seq {
		p.refuse(fmt.Sprintf("the cloud has applied %s up to %d, the journal ends at %d: it is a restored copy", l.name, m.Seq, head.Seq))
		return false
	}
	if m.Seq == 0 || m == l.mark {
		return true
	}
	crc, ok, err := p.crc(l, m, head)
	if err != nil {
		p.hold(time.Now(), "the journal cannot be read: "+err.Error())
		return false
	}
	if ok && crc != m.CRC {
		p.refuse(fmt.Sprintf("the cloud's record %d of %s is not the journal's (CRC %08x, here %08x): a restored or cloned disk", m.Seq, l.name, m.CRC, crc))
		return false
	}
	return true
}

// crc finds the chained CRC of the record at m, if it or the one after it is kept.
func (p *Pump) crc(l *lane, m, head wire.Mark) (crc uint32, ok bool, err error) {
	if m.Epoch == head.Epoch && m.Seq == head.Seq {
		return head.CRC, true, nil
	}
	if crc, ok := l.crcOf(m.Seq); ok {
		return crc, true, nil
	}
	b, err := p.opts.Journal.Read(l.name, m, 1)
	if err != nil || b.Epoch != m.Epoch || b.First != m.Seq+1 {
		return 0, false, err
	}
	return b.CRC, true, nil
}

// refuse stops sending until a new epoch begins.
func (p *Pump) refuse(reason string) {
	if p.conflict != "" {
		return
	}
	p.conflict = reason
	p.opts.Log.Error("the cloud's chain is not this journal's", "reason", reason, "epoch", p.epoch)
	if p.opts.OnConflict != nil {
		p.opts.OnConflict(reason)
	}
}

// report publishes the status, and tells OnStatus what changed.
func (p *Pump) report(now time.Time) {
	s := &p.now
	_, s.Reason = p.opts.Link.State()
	s.Connected, s.Epoch = p.connection > 0, p.epoch
	switch {
	case p.conflict != "":
		s.Reason = "conflict: " + p.conflict
	case s.Connected && p.held != "":
		s.Reason = p.held
	case s.Connected && s.Reason == "":
		s.Reason = p.silent
	}
	s.Events, s.Readings = p.progress(p.lanes[0]), p.progress(p.lanes[1])
	p.synced(now)
	published := *s
	p.status.Store(&published)
	if s.Connected == p.reported.Connected && s.Reason == p.reported.Reason && s.UnsyncedSince.Equal(p.reported.UnsyncedSince) {
		return
	}
	p.reported = published
	if p.opts.OnStatus != nil {
		p.opts.OnStatus(published)
	}
}

// synced keeps UnsyncedSince: set when a lane falls behind, cleared when none is.
func (p *Pump) synced(now time.Time) {
	since := p.now.UnsyncedSince
	p.now.UnsyncedSince = time.Time{}
	for _, l := range p.lanes {
		if _, over := l.behind(p.opts.Journal.Head(l.name), now); !over {
			continue
		}
		at := since
		if at.IsZero() {
			at = p.oldest(l)
		}
		if at.IsZero() {
			at = l.goalAt
		}
		if p.now.UnsyncedSince.IsZero() || at.Before(p.now.UnsyncedSince) {
			p.now.UnsyncedSince = at
		}
	}
}

func (p *Pump) progress(l *lane) Progress {
	head := p.opts.Journal.Head(l.name)
	if l.mark.Epoch != head.Epoch {
		return Progress{Head: head.Seq}
	}
	return Progress{Head: max(head.Seq, l.mark.Seq), Sent: l.sent.Seq, Mark: l.mark.Seq}
}
