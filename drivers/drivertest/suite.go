package drivertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
)

// Peer is the device at the other end of a driver's wire: a real client, broker or port. A
// message is one reading of one device with a cumulative count_in of n; the driver must
// deliver it with Device = device and that value.
type Peer interface {
	// Send sends message n of the device and blocks until the driver has acknowledged it,
	// sending it again as the protocol does when that fails (a lost connection, a 503, an
	// "err"). It returns an error only when ctx ends first. Where the protocol has no
	// acknowledgement it returns once the bytes are written.
	Send(ctx context.Context, device string, n int) error
	// SendBad sends something that cannot be understood, as a device would (not by breaking
	// the transport), and blocks like Send.
	SendBad(ctx context.Context) error
	// Close ends the peer and waits for all it started.
	Close() error
}

// Harness joins a driver with a peer.
type Harness struct {
	// New makes the driver anew, as after a restart of the hub: the same configuration, the
	// same state directory within one t.
	New func(t *testing.T) drivers.Driver
	// Dial makes a peer for the driver, which is running. It is called again after each New.
	Dial func(t *testing.T, d drivers.Driver) Peer
	// Device names device i (from 0) as the driver will; "dev-<i>" when nil.
	Device func(i int) string
	// NoAck says that the protocol has no acknowledgement: those parts of the contract are not run.
	NoAck bool
	// Cut takes the driver's connection away (unplugs the port, stops the broker) and Restore
	// brings it back. Both nil for drivers that have no connection of their own.
	Cut, Restore func(t *testing.T)
}

// Run runs the contract suite. Each part has a driver, a peer and a sink of its own.
func Run(t *testing.T, h Harness) {
	if h.Device == nil {
		h.Device = func(i int) string { return fmt.Sprintf("dev-%d", i) }
	}
	part := func(name string, f func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			r := newRig(t, h)
			f(t, r)
			r.stop()
			r.sink.CheckUnchanged(t)
			goleak.VerifyNone(t, before)
		})
	}
	part("delivers in order per device", inOrder)
	part("rejects what it cannot understand and goes on", rejectsBad)
	part("reports up and ends with its context", endsWithContext)
	part("runs again after a stop", runsAgain)
	if !h.NoAck {
		part("acknowledges nothing before it is durable", ackAfterPut)
		part("acknowledges nothing that failed", noAckOnError)
		part("stops while a delivery waits", stopsWhileHeld)
	}
	if h.Cut != nil && h.Restore != nil {
		part("comes back after its connection was lost", comesBack)
	}
}

// rig is one driver that is run again whenever it returns, its peer and its sink.
type rig struct {
	t      *testing.T
	h      Harness
	sink   *Sink
	driver drivers.Driver
	peer   Peer
	cancel context.CancelFunc
	done   chan struct{}
}

func newRig(t *testing.T, h Harness) *rig {
	r := &rig{t: t, h: h, sink: NewSink()}
	t.Cleanup(r.stop)
	r.start()
	return r
}

// start makes the driver, runs it under a supervisor like the hub's and dials the peer.
func (r *rig) start() {
	r.t.Helper()
	r.driver = r.h.New(r.t)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go supervise(ctx, r.driver, r.sink, r.done)
	r.sink.WaitUp(r.t)
	r.peer = r.h.Dial(r.t, r.driver)
}

// supervise runs d until ctx ends, again after every error.
func supervise(ctx context.Context, d drivers.Driver, sink *Sink, done chan struct{}) {
	defer close(done)
	for ctx.Err() == nil {
		_ = d.Run(ctx, sink)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends driver and peer; it may be called twice.
func (r *rig) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case <-r.done:
	case <-time.After(Patience):
		r.t.Errorf("Run did not return within %v of the end of its context", Patience)
	}
	if r.peer == nil {
		return
	}
	if err := r.peer.Close(); err != nil {
		r.t.Errorf("close peer: %v", err)
	}
	r.peer = nil
}

// send sends and fails the test when it is not acknowledged in time.
func (r *rig) send(device string, n int) {
	r.t.Helper()
	if err := <-r.sending(device, n); err != nil {
		r.t.Fatalf("send %s %d: %v", device, n, err)
	}
}

// sending sends in the background; the channel gets the result.
func (r *rig) sending(device string, n int) <-chan error {
	res := make(chan error, 1)
	peer := r.peer
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		res <- peer.Send(ctx, device, n)
	}()
	return res
}

// Counts lists the count_in values the sink has stored for a device, in order.
func (s *Sink) Counts(device string) []int {
	var ns []int
	for _, r := range s.Readings() {
		if r.Device != device {
			continue
		}
		for _, v := range r.Values {
			if v.Kind == edge.CountIn {
				ns = append(ns, int(v.Num))
			}
		}
	}
	return ns
}

// Has tells whether the sink has stored message n of the device.
func (s *Sink) Has(device string, n int) bool {
	for _, m := range s.Counts(device) {
		if m == n {
			return true
		}
	}
	return false
}

func inOrder(t *testing.T, r *rig) {
	const devices, each = 3, 20
	res := make(chan error, devices)
	for d := range devices {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
			defer cancel()
			var err error
			for n := 1; n <= each && err == nil; n++ {
				err = r.peer.Send(ctx, r.h.Device(d), n)
			}
			res <- err
		}()
	}
	for range devices {
		if err := <-res; err != nil {
			t.Fatalf("send: %v", err)
		}
	}
	r.sink.WaitReadings(t, devices*each)
	for d := range devices {
		got := r.sink.Counts(r.h.Device(d))
		if len(got) != each {
			t.Errorf("%s: %d readings, want %d: %v", r.h.Device(d), len(got), each, got)
		}
		for i, n := range got {
			if n != i+1 {
				t.Fatalf("%s: reading %d is message %d, want %d: %v", r.h.Device(d), i, n, i+1, got)
			}
		}
	}
	for _, rd := range r.sink.Readings() {
		if rd.Received.IsZero() {
			t.Fatalf("%s: Received is not set", rd.Device)
		}
	}
}

func rejectsBad(t *testing.T, r *rig) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := r.peer.SendBad(ctx); err != nil {
		t.Fatalf("send bad: %v", err)
	}
	r.send(r.h.Device(0), 7)
	r.sink.WaitRejected(t, 1)
	r.sink.WaitReadings(t, 1)
	if !r.sink.Has(r.h.Device(0), 7) {
		t.Errorf("the good message after the bad one: got %v, want 7", r.sink.Counts(r.h.Device(0)))
	}
	for _, rj := range r.sink.Rejections() {
		if rj.Driver == "" || rj.Cause == "" || rj.At.IsZero() {
			t.Errorf("rejection lacks driver, cause or time: %+v", rj)
		}
		if len(rj.Detail) > 200 {
			t.Errorf("rejection detail has %d bytes, at most 200 are allowed", len(rj.Detail))
		}
	}
}

func endsWithContext(t *testing.T, r *rig) {
	r.send(r.h.Device(0), 1)
	r.sink.WaitReadings(t, 1)
	r.stop()
	n := len(r.sink.Readings())
	if n != 1 {
		t.Errorf("got %d readings, want 1", n)
	}
}

func runsAgain(t *testing.T, r *rig) {
	for n := 1; n <= 3; n++ {
		r.send(r.h.Device(0), n)
		r.sink.WaitReadings(t, n)
		r.stop()
		r.sink.Status(drivers.Status{Detail: "stopped by the test"})
		r.start()
	}
}

func ackAfterPut(t *testing.T, r *rig) {
	r.sink.Hold()
	res := r.sending(r.h.Device(0), 1)
	r.sink.WaitHeld(t, 1)
	select {
	case err := <-res:
		t.Fatalf("acknowledged (%v) while Put was still waiting", err)
	case <-time.After(100 * time.Millisecond): // the time in which a wrong driver would answer
	}
	r.sink.Release()
	if err := <-res; err != nil {
		t.Fatalf("send: %v", err)
	}
	if !r.sink.Has(r.h.Device(0), 1) {
		t.Error("acknowledged, but not stored")
	}
}

func noAckOnError(t *testing.T, r *rig) {
	r.send(r.h.Device(0), 1)
	r.sink.FailNext(1, nil)
	before := r.sink.Puts()
	r.send(r.h.Device(0), 2)
	if !r.sink.Has(r.h.Device(0), 2) {
		t.Fatal("acknowledged although Put failed and nothing was stored")
	}
	if got := r.sink.Puts() - before; got < 2 {
		t.Errorf("%d calls of Put, want the failed one and another", got)
	}
	r.send(r.h.Device(0), 3)
	if got := r.sink.Counts(r.h.Device(0)); len(got) != 3 {
		t.Errorf("stored %v, want 1, 2 and 3 once each", got)
	}
}

func stopsWhileHeld(t *testing.T, r *rig) {
	r.sink.Hold()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res := make(chan error, 1)
	peer := r.peer
	go func() { res <- peer.Send(ctx, r.h.Device(0), 1) }()
	r.sink.WaitHeld(t, 1)
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(Patience):
		t.Fatalf("Run did not return within %v while a delivery was waiting", Patience)
	}
	cancel()
	if err := <-res; err == nil {
		t.Error("acknowledged although it was never stored")
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("Send: %v, want it to go on until its context ended", err)
	}
	r.sink.Release()
}

func comesBack(t *testing.T, r *rig) {
	r.send(r.h.Device(0), 1)
	r.sink.WaitReadings(t, 1)
	for n := 2; n <= 3; n++ {
		r.h.Cut(t)
		r.sink.WaitDown(t)
		r.h.Restore(t)
		r.sink.WaitUp(t)
		r.send(r.h.Device(0), n)
		r.sink.Wait(t, fmt.Sprintf("message %d", n), func() bool { return r.sink.Has(r.h.Device(0), n) })
	}
}
