package uplink

import (
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// lane is what the pump knows of one lane. It is told the time and does no I/O.
type lane struct {
	name   edge.Lane
	timing Timing

	mark     wire.Mark // newest record the cloud is known to have applied
	sent     uint64    // newest record handed to the link in this pass
	flying   []flight  // what was sent after mark, in order
	released uint64    // highest mark ever: records up to it may be deleted here
	stored   wire.Mark // what the journal was told
	storedAt time.Time
	since    time.Time     // last progress, or begin of this pass
	patience time.Duration // without progress, before a new pass
	window   int           // batches that may fly
	batch    int           // bytes per batch; smaller after the server found one too large

	goal   uint64    // the head at goalAt: the lane is in sync when the mark reaches it in time
	goalAt time.Time //
}

// flight is a batch on its way.
type flight struct {
	last uint64
	crc  uint32
	at   time.Time
}

// begin starts on an epoch whose newest known mark is m.
func (l *lane) begin(m wire.Mark, now time.Time) {
	l.mark, l.stored, l.released = m, m, m.Seq
	l.window = 1
	if l.name == edge.Events {
		l.window = l.timing.Window
	}
	l.patience = l.timing.Resend
	l.goal, l.goalAt = m.Seq, now
	l.rewind(now)
}

// rewind starts a new pass from the mark.
func (l *lane) rewind(now time.Time) {
	l.sent, l.since = l.mark.Seq, now
	l.flying = l.flying[:0]
}

// room tells whether another batch may be sent.
func (l *lane) room() bool { return len(l.flying) < l.window }

// departed notes a batch that was sent.
func (l *lane) departed(last uint64, crc uint32, now time.Time) {
	if len(l.flying) == 0 {
		l.since = now
	}
	l.flying = append(l.flying, flight{last, crc, now})
	l.sent = last
}

// applied moves the mark forward to m.
func (l *lane) applied(m wire.Mark, now time.Time) {
	landed := 0
	for landed < len(l.flying) && l.flying[landed].last <= m.Seq {
		landed++
	}
	if landed > 0 {
		l.pace(now.Sub(l.flying[landed-1].at))
	}
	l.flying = append(l.flying[:0], l.flying[landed:]...)
	l.mark, l.since, l.patience = m, now, l.timing.Resend
	l.sent, l.released = max(l.sent, m.Seq), max(l.released, m.Seq)
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
// be so; zero when the mark has reached the head.
func (l *lane) behind(head uint64, now time.Time) (at time.Time, over bool) {
	if l.mark.Seq >= l.goal {
		l.goal, l.goalAt = head, now
	}
	if l.mark.Seq >= l.goal {
		return time.Time{}, false
	}
	at = l.goalAt.Add(l.timing.UnsyncedAfter)
	return at, !now.Before(at)
}

// crcOf returns the CRC of a record in flight.
func (l *lane) crcOf(seq uint64) (uint32, bool) {
	for _, f := range l.flying {
		if f.last == seq {
			return f.crc, true
		}
	}
	return 0, false
}
