package uplink

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// lane is what the pump knows of one lane. It is told the time and does no I/O.
//
// mark, sent and all that flies are of one epoch: the next one is begun when everything of this one
// is confirmed, as the cloud applies epochs independently of each other.
type lane struct {
	name   edge.Lane
	timing Timing

	mark     wire.Mark     // newest record the cloud is known to have applied
	sent     wire.Mark     // newest record handed to the link in this pass
	flying   []flight      // what was sent after mark, in order
	released uint64        // highest mark of the epoch: records up to it may be deleted here
	since    time.Time     // last progress, or begin of this pass
	patience time.Duration // without progress, before a new pass
	window   int           // batches that may fly
	batch    int           // bytes per batch; smaller after the server found one too large

	stored   wire.Mark // what the journal was told
	storedAt time.Time

	dry     wire.Mark // there was nothing after this record
	dryHead wire.Mark // when this was the head

	goal   wire.Mark // the head at goalAt: the lane is in sync when the mark reaches it in time
	goalAt time.Time
}

// flight is a batch on its way: its last record.
type flight struct {
	wire.Mark
	at time.Time
}

// begin starts from the newest known mark.
func (l *lane) begin(m wire.Mark, now time.Time) {
	l.window = 1
	if l.name == edge.Events {
		l.window = l.timing.Window
	}
	l.stored, l.storedAt = m, time.Time{}
	l.dry, l.dryHead = wire.Mark{}, wire.Mark{}
	l.goal, l.goalAt = m, now
	l.enter(m, now)
}

// enter starts from a mark of another epoch.
func (l *lane) enter(m wire.Mark, now time.Time) {
	l.mark, l.released, l.patience = m, m.Seq, l.timing.Resend
	l.rewind(now)
}

// rewind starts a new pass from the mark.
func (l *lane) rewind(now time.Time) {
	l.sent, l.since = l.mark, now
	l.flying = l.flying[:0]
}

// room tells whether another batch may be sent.
func (l *lane) room() bool { return len(l.flying) < l.window }

// drained tells whether all there is was sent.
func (l *lane) drained(head wire.Mark) bool {
	return l.sent.Epoch == head.Epoch && l.sent.Seq >= head.Seq || l.sent == l.dry && head == l.dryHead
}

// ranDry notes that there is nothing to send.
func (l *lane) ranDry(head wire.Mark) { l.dry, l.dryHead = l.sent, head }

// departed notes a batch that was sent, by its last record.
func (l *lane) departed(last wire.Mark, now time.Time) {
	if len(l.flying) == 0 {
		l.since = now
	}
	l.flying = append(l.flying, flight{last, now})
	l.sent = last
}

// applied moves the mark forward to m.
func (l *lane) applied(m wire.Mark, now time.Time) {
	landed := 0
	for landed < len(l.flying) && l.flying[landed].Seq <= m.Seq {
		landed++
	}
	if landed > 0 {
		l.pace(now.Sub(l.flying[landed-1].at))
	}
	l.flying = append(l.flying[:0], l.flying[landed:]...)
	l.mark, l.since, l.patience = m, now, l.timing.Resend
	if l.sent.Seq < m.Seq {
		l.sent = m
	}
	l.released = max(l.released, m.Seq)
}

// pace fits the window of the readings lane to the line: what is in flight is what an event
// behind it has to wait for.
func (l *lane) pace(took time.Duration) {
	switch {
	case l.name == edge.Events:
	case took > l.timing.Slow:
		l.window = max(1, l.window/2)
	default:
		l.window = min(l.timing.Window, l.window+1)
	}
}

// wentBack moves the mark backwards to m: the cloud has lost what it had confirmed.
func (l *lane) wentBack(m wire.Mark, now time.Time) {
	l.mark, l.patience = m, l.timing.Resend
	l.storedAt = time.Time{} // tell the journal at once: it should not delete
	l.rewind(now)
}

// expired tells whether a pass without progress has taken too long, and until when it has time.
func (l *lane) expired(now time.Time) (at time.Time, over bool) {
	if len(l.flying) == 0 {
		return time.Time{}, false
	}
	at = l.since.Add(l.patience)
	return at, !now.Before(at)
}

// impatient tells whether a refusal by the cloud is reason for a new pass: not when this pass has
// just begun, as every batch that followed a lost one is refused.
func (l *lane) impatient(now time.Time) bool {
	return len(l.flying) > 0 && now.Sub(l.since) > l.patience/10
}

// resend starts a new pass with more patience.
func (l *lane) resend(now time.Time) {
	l.patience = min(2*l.patience, l.timing.ResendMax)
	if l.name == edge.Readings {
		l.window = 1
	}
	l.rewind(now)
}

// behind tells whether what was written long ago has not been applied yet, or from when on it will
// be so; zero when there is nothing to apply.
func (l *lane) behind(head wire.Mark, now time.Time) (at time.Time, over bool) {
	done := l.drained(head) && len(l.flying) == 0
	if done || l.mark.Epoch == head.Epoch && (l.goal.Epoch != head.Epoch || l.mark.Seq >= l.goal.Seq) {
		l.goal, l.goalAt = head, now
	}
	if done {
		return time.Time{}, false
	}
	at = l.goalAt.Add(l.timing.UnsyncedAfter)
	return at, !now.Before(at)
}

// crcOf returns the CRC of a record in flight.
func (l *lane) crcOf(seq uint64) (uint32, bool) {
	for _, f := range l.flying {
		if f.Seq == seq {
			return f.CRC, true
		}
	}
	return 0, false
}
