package uplinktest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/sync/wire"
)

// Fate is what the link does to one message.
type Fate struct {
	Lose   bool
	Twice  bool
	Delay  time.Duration // other messages may overtake
	Repeat time.Duration // delay of the second copy
}

// Link joins a pump and a Cloud. Every message passes Fate, which may be nil. Call Close to wait
// for the messages on their way.
type Link struct {
	cloud *Cloud
	// fate is asked about each message; what is "batch", "mark", "request" or "reply".
	fate func(what string) Fate

	mu         sync.Mutex
	connection int
	dialled    int
	reason     string
	changed    chan struct{}
	limit      int
	sent       int
	flights    sync.WaitGroup
	ended      chan struct{}
}

// NewLink makes a link that is up.
func NewLink(cloud *Cloud, fate func(what string) Fate) *Link {
	if fate == nil {
		fate = func(string) Fate { return Fate{} }
	}
	return &Link{cloud: cloud, fate: fate, connection: 1, dialled: 1, changed: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Close drops what is on its way and waits.
func (l *Link) Close() {
	close(l.ended)
	l.flights.Wait()
}

// Cut takes the link down and gives the reason; Restore brings it up again.
func (l *Link) Cut(reason string) { l.set(0, reason) }

// Restore brings the link up with a new connection.
func (l *Link) Restore() { l.set(1, "") }

// Complain keeps the link up and gives a reason why the server refuses messages.
func (l *Link) Complain(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = reason
	l.wake()
}

func (l *Link) set(up int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialled += up
	l.connection, l.reason = up*l.dialled, reason
	l.wake()
}

func (l *Link) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Limit makes batches with more bytes of records than n too large for the server.
func (l *Link) Limit(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = n
}

// Sent is how many batches were handed over.
func (l *Link) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// State is uplink.Link.
func (l *Link) State() (int, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connection, l.reason
}

// Changed is uplink.Link.
func (l *Link) Changed() <-chan struct{} { return l.changed }

// Publish is uplink.Link. The batch passes the encoding of the wire.
func (l *Link) Publish(_ context.Context, b wire.Batch) error {
	if c, reason := l.State(); c == 0 {
		return errors.New(reason)
	}
	size := 0
	for _, r := range b.Records {
		size += len(r) + 1
	}
	l.mu.Lock()
	limit := l.limit
	if limit == 0 || size <= limit {
		l.sent++
	}
	l.mu.Unlock()
	if limit > 0 && size > limit {
		return wire.ErrTooLarge
	}
	header, payload, err := wire.Encode(b)
	if err != nil {
		return err
	}
	l.carry("batch", func() {
		if got, err := wire.Decode(header, payload); err == nil {
			l.cloud.Apply(got)
		}
	})
	return nil
}

// carry delivers a message as its fate says. What is on its way while the link is cut is lost.
func (l *Link) carry(what string, deliver func()) {
	f := l.fate(what)
	if f.Lose {
		return
	}
	from, _ := l.State()
	send := func(after time.Duration) {
		l.flights.Go(func() {
			if after > 0 {
				select {
				case <-time.After(after):
				case <-l.ended:
					return
				}
			}
			if now, _ := l.State(); now == from && now > 0 {
				deliver()
			}
		})
	}
	if f.Delay > 0 {
		send(f.Delay)
	} else {
		deliver() // keeps the order
	}
	if f.Twice {
		send(f.Repeat)
	}
}

// Request is uplink.Link.
func (l *Link) Request(ctx context.Context, what string, body []byte) ([]byte, error) {
	type answer struct {
		body []byte
		err  error
	}
	got := make(chan answer, 4) // for repeated requests and replies
	l.carry("request", func() {
		b, err := l.cloud.Answer(what, body)
		l.carry("reply", func() { got <- answer{b, err} })
	})
	select {
	case a := <-got:
		return a.body, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Receive is uplink.Link. Only marks are pushed.
func (l *Link) Receive(what string, f func([]byte)) (stop func(), err error) {
	if what != wire.DownMark {
		return nil, errors.New("no such push: " + what)
	}
	var one sync.Mutex
	return l.cloud.Listen(func(m wire.Marks) {
		b := Body(m)
		if c, _ := l.State(); c == 0 {
			return
		}
		l.carry("mark", func() {
			one.Lock()
			defer one.Unlock()
			f(b)
		})
	}), nil
}
