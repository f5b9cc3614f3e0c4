// Package uplink is the pump: it tails both lanes of the journal, sends batches and goes on from
// the cloud's mark.
//
// The cloud's mark is the only cursor. A message that is lost, repeated or overtaken changes
// nothing but the time it takes: whatever the mark does not confirm is sent again, and what was
// applied is skipped there. The pump forgets nothing by itself: it tells the journal how far the
// cloud has applied, and the journal deletes. What it can no longer send it declares lost in the
// batch that follows the gap.
//
// It refuses to go on when the cloud's chain is not the journal's (a restored or cloned disk); it
// then reports a conflict and waits until the journal has begun a new epoch. It looks back within
// the present epoch only: a cloud that is restored to before an epoch began does not get again what
// it had confirmed of the epochs before.
package uplink

import (
	"context"
	"log/slog"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// Journal is what the pump reads. The root adapts the journal to it. Its methods are called from
// the pump's goroutine only.
//
// An epoch may end with records that have not been sent and still can be. They come before those
// of the next epoch, so that a lane may be in an older epoch than the journal.
type Journal interface {
	// Epoch names the present epoch.
	Epoch() string
	// Head is the newest record of a lane in the present epoch; Seq is 0 when there is none.
	Head(lane edge.Lane) wire.Mark
	// Read returns the records directly after a record, of its epoch or, at the end of that, of
	// the next one (of the oldest one, after the zero Mark): as many as fit into maxBytes with a newline between them, but at least one.
	// Records is empty when there are none. First lies behind a gap when records are gone; Lost
	// is ignored.
	Read(lane edge.Lane, after wire.Mark, maxBytes int) (wire.Batch, error)
	// Mark is what Release was told last, the zero Mark when nothing.
	Mark(lane edge.Lane) wire.Mark
	// Release says that the cloud has applied the lane up to m: records up to m may be deleted.
	// It need not be durable. m may lie before the last one: the cloud has gone back, and what
	// is left after m should be kept.
	Release(lane edge.Lane, m wire.Mark) error
	// Changed returns a channel that is closed when records are written to the lane. It is asked
	// for before the lane is read.
	Changed(lane edge.Lane) <-chan struct{}
}

// Link carries messages to the cloud and back. It reconnects by itself.
type Link interface {
	// State numbers the connection, 0 while there is none; each new one has a larger number. reason
	// says why it is down, or, while it is up, why the server refuses what is sent.
	State() (connection int, reason string)
	// Changed holds a token after State has changed. Size 1; the pump is its only reader.
	Changed() <-chan struct{}
	// Publish hands a batch over without waiting for anything. An error means that it did not
	// leave; it wraps wire.ErrTooLarge when a smaller one might.
	Publish(ctx context.Context, b wire.Batch) error
	// Request asks the cloud: up.….<what>.
	Request(ctx context.Context, what string, body []byte) (reply []byte, err error)
	// Receive calls f, one call at a time, for each push of down.….<what> until stop is called.
	Receive(what string, f func(body []byte)) (stop func(), err error)
}

// Options make a pump. Journal, Link, Heartbeat and Snapshot are required.
//
// The On… functions are called from the pump's goroutine: they must return soon and must not wait
// for the pump.
type Options struct {
	Journal Journal
	Link    Link
	// Heartbeat describes the hub; the pump fills in version, epoch and positions. Snapshot is the
	// present state; the pump fills in the version. Both may be called from another goroutine.
	Heartbeat func() wire.Heartbeat
	Snapshot  func() wire.Snapshot

	// OnReply gets each answered heartbeat: the cloud's clock and configuration revision.
	OnReply func(wire.HeartbeatReply)
	// OnStatus gets the status when Connected, Reason or UnsyncedSince has changed.
	OnStatus func(Status)
	// OnConflict is told once per epoch why the cloud's chain is not this journal's. The hub must
	// begin a new epoch; until then nothing is sent.
	OnConflict func(reason string)
	// OnLost is told once about records that the cloud had confirmed, that were deleted here
	// therefore, and that the cloud has lost since (it was restored from a backup). Records that
	// the journal dropped unconfirmed are the journal's to declare.
	OnLost func(lane edge.Lane, from, to uint64)

	Timing Timing
	Log    *slog.Logger
}

// Timing are the pump's times and limits. Fields that are 0 get their default.
type Timing struct {
	Heartbeat     time.Duration // between heartbeats: 15 s
	ReplyTimeout  time.Duration // for an answer: 10 s
	Resend        time.Duration // without progress of the mark, then doubling: 10 s
	ResendMax     time.Duration // 2 min
	Release       time.Duration // between two calls of Release for a lane: 5 s
	UnsyncedAfter time.Duration // age of the oldest unapplied record that counts as not in sync: 30 s
	Snapshot      time.Duration // between snapshots while the events lane is far behind: 2 s
	Slow          time.Duration // a batch of readings that is not applied in this time narrows their window: 1 s
	Window        int           // batches in flight per lane: 16
	Batch         int           // bytes of records per batch: wire.MaxBatch
}

func (t *Timing) setDefaults() {
	setDefault(&t.Heartbeat, 15*time.Second)
	setDefault(&t.ReplyTimeout, 10*time.Second)
	setDefault(&t.Resend, 10*time.Second)
	setDefault(&t.ResendMax, 2*time.Minute)
	setDefault(&t.Release, 5*time.Second)
	setDefault(&t.UnsyncedAfter, 30*time.Second)
	setDefault(&t.Snapshot, 2*time.Second)
	setDefault(&t.Slow, time.Second)
	setDefault(&t.Window, 16)
	setDefault(&t.Batch, wire.MaxBatch)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// farBehind is how many records the events lane lacks when snapshots are repeated, so that the
// cloud shows the present while history catches up.
const farBehind = 1000

// Status is where the pump stands.
type Status struct {
	Connected     bool      // the link is up
	Reason        string    // what is wrong; may be set while connected; empty when all is well
	Epoch         string    //
	Events        Progress  //
	Readings      Progress  //
	AnsweredAt    time.Time // when the cloud last answered a heartbeat; zero = not since the start
	MarkedAt      time.Time // when a mark last moved; zero = not since the start
	UnsyncedSince time.Time // time of the oldest unapplied record when the hub fell behind; zero = in sync
}

// Progress is where one lane stands. While the lane is still in an older epoch than the journal,
// Sent and Mark are 0.
type Progress struct {
	Head uint64 // newest sequence written
	Sent uint64 // newest sequence handed to the link
	Mark uint64 // newest sequence the cloud has applied
}

// Backlog is how many records of the present epoch the cloud has yet to apply.
func (s Status) Backlog() uint64 {
	return s.Events.Head - s.Events.Mark + s.Readings.Head - s.Readings.Mark
}
