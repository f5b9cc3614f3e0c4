package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Port is the sensors' end of a serial line: an *os.File of a pty's master, or a real port.
type Port interface {
	io.ReadWriter
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// Transports say where the building's sensors send to. What is left empty is not sent: its
// messages are dropped and counted.
type Transports struct {
	MQTTURL      string // tcp://host:port of the hub's broker, or of one the hub reads from
	MQTTUser     string
	MQTTPassword string
	HTTPURL      string // http://host:port of the hub
	HTTPToken    string // bearer token; empty = none
	Serial       Port   // the hub's lines driver is at the other end, with ack: true
	SocketURL    string // http://host:port of the hub, for sensors that speak Socket.IO; HTTPToken is theirs too
	Log          *slog.Logger
}

// Stats counts a transport's messages since the start.
type Stats struct {
	Said    uint64 `json:"said"`              // by sensors
	Acked   uint64 `json:"acknowledged"`      // acknowledged by the hub: stored, or counted as not understood
	Refused uint64 `json:"refused"`           // answered with no: not to be sent again
	Resent  uint64 `json:"resent"`            // sent again, as no answer came
	Dropped uint64 `json:"dropped"`           // never sent: no such transport, or too many waited
	Waiting int    `json:"waiting"`           // said and not yet acknowledged
	Trouble string `json:"trouble,omitempty"` // why it is not delivered now; empty = it is
}

// Runner sends what a building says.
type Runner struct {
	b     *Building
	to    Transports
	boxes map[Via]*outbox
}

const (
	stepEvery = 100 * time.Millisecond
	maxBox    = 20_000 // messages that wait for one transport; beyond it the oldest are dropped
	pauseMin  = 200 * time.Millisecond
	pauseMax  = 2 * time.Second
	answerIn  = 5 * time.Second // for one acknowledgement
)

// NewRunner joins a building with its transports.
func NewRunner(b *Building, to Transports) *Runner {
	if to.Log == nil {
		to.Log = slog.New(slog.DiscardHandler)
	}
	r := &Runner{b: b, to: to, boxes: map[Via]*outbox{}}
	for _, v := range []Via{Zigbee, MQTT, HTTP, Serial, Socket} {
		r.boxes[v] = newOutbox()
	}
	r.boxes[Zigbee] = r.boxes[MQTT] // one client for both, as Zigbee2MQTT and its neighbours share a broker
	return r
}

// Run lets the building live by the wall clock and sends what it says until ctx ends. Each
// message is sent again, with its own number, until the hub acknowledges it; of one sensor they
// stay in order.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	send := func(name string, v Via, on bool, f func(context.Context, *outbox) error) {
		if !on {
			r.boxes[v].close()
			return
		}
		wg.Go(func() { r.keep(ctx, name, r.boxes[v], f) })
	}
	send("mqtt", MQTT, r.to.MQTTURL != "", r.sendMQTT)
	send("http", HTTP, r.to.HTTPURL != "", r.sendHTTP)
	send("serial", Serial, r.to.Serial != nil, r.sendSerial)
	send("socketio", Socket, r.to.SocketURL != "", r.sendSocket)
	every := time.NewTicker(stepEvery)
	defer every.Stop()
	for {
		for _, e := range r.b.Step(time.Now()) {
			r.boxes[e.Via].push(e)
		}
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case <-every.C:
		}
	}
}

// keep runs a sender again after every failure, with a growing pause.
func (r *Runner) keep(ctx context.Context, name string, box *outbox, f func(context.Context, *outbox) error) {
	pause := pauseMin
	for {
		before := box.stats().Acked
		err := f(ctx, box)
		if ctx.Err() != nil {
			return
		}
		if box.stats().Acked > before {
			pause = pauseMin
		}
		box.trouble(err)
		r.to.Log.Debug("simulated sensors cannot send", "transport", name, "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, pauseMax)
	}
}

// Stats tells what became of the messages, by transport.
func (r *Runner) Stats() map[Via]Stats {
	all := map[Via]Stats{MQTT: r.boxes[MQTT].stats(), HTTP: r.boxes[HTTP].stats(), Serial: r.boxes[Serial].stats()}
	if s := r.boxes[Socket].stats(); s.Said > 0 || r.to.SocketURL != "" {
		all[Socket] = s
	}
	return all
}

// outbox is what waits for one transport, in order.
type outbox struct {
	mu     sync.Mutex
	items  []Emission
	sent   int           // of items: handed to the transport at least once
	wake   chan struct{} // of size 1: something was pushed
	closed bool
	s      Stats
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) push(e Emission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.s.Said++
	if o.closed {
		o.s.Dropped++
		return
	}
	if len(o.items) >= maxBox {
		o.items, o.sent = o.items[1:], max(0, o.sent-1)
		o.s.Dropped++
	}
	o.items = append(o.items, e)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// next waits for messages and returns up to n of the oldest. They stay until they are done.
func (o *outbox) next(ctx context.Context, n int) ([]Emission, error) {
	for {
		o.mu.Lock()
		if k := min(n, len(o.items)); k > 0 {
			o.s.Resent += uint64(min(k, o.sent))
			o.sent = max(k, o.sent)
			out := append([]Emission(nil), o.items[:k]...)
			o.mu.Unlock()
			return out, nil
		}
		o.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-o.wake:
		}
	}
}

// done takes away those of es that are still there: refused ones were answered with no.
func (o *outbox) done(es []Emission, refused int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := es[len(es)-1]
	for i, e := range o.items {
		if e.Sensor == last.Sensor && e.Seq == last.Seq {
			o.items, o.sent = o.items[i+1:], max(0, o.sent-i-1)
			break
		}
	}
	o.s.Acked += uint64(len(es) - refused)
	o.s.Refused += uint64(refused)
	o.s.Trouble = ""
}

func (o *outbox) trouble(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.s.Trouble = err.Error()
	}
}

func (o *outbox) stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.s
	s.Waiting = len(o.items)
	return s
}

var errNoAnswer = errors.New("no answer")

func noAnswer(what string) error { return fmt.Errorf("%s: %w within %v", what, errNoAnswer, answerIn) }
