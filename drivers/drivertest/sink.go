// Package drivertest holds what every driver is tested with: [Sink], which records what a
// driver delivers and can be told to block, fail or wait, and [Run], the contract suite that
// every driver passes with a real peer at the other end of its wire.
//
// It is for tests only. It never sleeps to let something happen: every wait is for an event and
// ends with a clear message at a deadline.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
)

// Patience is how long a wait of this package lasts before it fails the test.
const Patience = 10 * time.Second

// ErrRefused is what a Put that was told to fail returns unless another error is named.
var ErrRefused = errors.New("sink refuses: told to fail by the test")

// Sink is a drivers.Sink in memory. Its zero value is not usable, see [NewSink]. All methods
// may be called from any goroutine.
type Sink struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	readings []edge.Reading
	copies   []edge.Reading // deep copies, to notice a driver that changes Values after Put
	rejects  []edge.Rejection
	statuses []drivers.Status
	puts     int
	held     int
	hold     chan struct{} // not nil while Put and Reject are to block; closed by Release
	failNext int
	failErr  error
	answer   func(edge.Reading) edge.Outcome
	seen     map[string]bool
}

var _ drivers.Sink = (*Sink)(nil)

// NewSink returns a Sink that accepts everything, and answers Duplicate to a reading with the
// same device, time, sequence and values as an earlier one.
func NewSink() *Sink {
	return &Sink{changed: make(chan struct{}), seen: map[string]bool{}}
}

// Put records the readings. It blocks while the sink is held and fails when told to.
func (s *Sink) Put(ctx context.Context, rs ...edge.Reading) ([]edge.Outcome, error) {
	if err := s.gate(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.notify()
	s.puts++
	if s.failNext > 0 {
		s.failNext--
		return nil, s.failErr
	}
	out := make([]edge.Outcome, len(rs))
	for i, r := range rs {
		out[i] = s.take(r)
	}
	return out, nil
}

func (s *Sink) take(r edge.Reading) edge.Outcome {
	if s.answer != nil {
		if o := s.answer(r); o.Status != edge.Accepted && o.Status != "" {
			return o
		}
	}
	key := Key(r)
	if s.seen[key] {
		return edge.Outcome{Status: edge.Duplicate}
	}
	s.seen[key] = true
	s.readings = append(s.readings, r)
	r.Values = slices.Clone(r.Values)
	s.copies = append(s.copies, r)
	return edge.Outcome{Status: edge.Accepted}
}

// Key is what the sink knows a reading by: device, device time, sequence and values.
func Key(r edge.Reading) string {
	return fmt.Sprint(r.Device, "|", r.At.UnixMilli(), "|", r.Seq, "|", r.Values)
}

// Reject records the rejection. It blocks while the sink is held.
func (s *Sink) Reject(ctx context.Context, r edge.Rejection) error {
	if err := s.gate(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.notify()
	s.rejects = append(s.rejects, r)
	return nil
}

// Status records a change of the connection's state; the same state again is not recorded.
func (s *Sink) Status(st drivers.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.notify()
	if n := len(s.statuses); n == 0 || s.statuses[n-1] != st {
		s.statuses = append(s.statuses, st)
	}
}

// gate blocks while the sink is held.
func (s *Sink) gate(ctx context.Context) error {
	s.mu.Lock()
	hold := s.hold
	if hold == nil {
		s.mu.Unlock()
		return ctx.Err()
	}
	s.held++
	s.notify()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.held--
		s.notify()
		s.mu.Unlock()
	}()
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// notify wakes everybody who waits. The caller holds s.mu.
func (s *Sink) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Hold makes Put and Reject block from now on, until Release.
func (s *Sink) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil {
		s.hold = make(chan struct{})
	}
}

// Release lets the held calls go on, and the later ones through.
func (s *Sink) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

// FailNext makes the next n calls of Put fail with err (ErrRefused when nil), storing nothing.
func (s *Sink) FailNext(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = ErrRefused
	}
	s.failNext, s.failErr = n, err
}

// Answer sets what becomes of a reading: anything but Accepted is answered and not recorded.
// nil restores the default.
func (s *Sink) Answer(f func(edge.Reading) edge.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Readings returns what was stored so far, in order.
func (s *Sink) Readings() []edge.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.readings)
}

// Rejections returns what was rejected so far, in order.
func (s *Sink) Rejections() []edge.Rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rejects)
}

// Rejected is how many things were rejected: the sum of the rejections' counts.
func (s *Sink) Rejected() int {
	n := 0
	for _, r := range s.Rejections() {
		n += max(1, r.Count)
	}
	return n
}

// Statuses returns the changes of the connection's state so far.
func (s *Sink) Statuses() []drivers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.statuses)
}

// Puts is how many calls of Put came through the gate, the failed ones included.
func (s *Sink) Puts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// Held is how many calls are blocked now.
func (s *Sink) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// CheckUnchanged fails the test when a driver changed a reading's Values after Put.
func (s *Sink) CheckUnchanged(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.readings {
		if !slices.Equal(r.Values, s.copies[i].Values) {
			t.Errorf("reading %d of %s: values changed after Put: got %v, were %v", i, r.Device, r.Values, s.copies[i].Values)
		}
	}
}

// Wait blocks until cond holds. cond may call the sink's methods; it is asked after each change.
func (s *Sink) Wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("after %v still no %s; sink has %d readings, %d rejected, %d held, statuses %v",
				Patience, what, len(s.Readings()), s.Rejected(), s.Held(), s.Statuses())
		}
	}
}

// WaitReadings blocks until at least n readings are stored and returns them.
func (s *Sink) WaitReadings(t testing.TB, n int) []edge.Reading {
	t.Helper()
	s.Wait(t, fmt.Sprintf("%d readings", n), func() bool { return len(s.Readings()) >= n })
	return s.Readings()
}

// WaitRejected blocks until at least n things are rejected.
func (s *Sink) WaitRejected(t testing.TB, n int) {
	t.Helper()
	s.Wait(t, fmt.Sprintf("%d rejections", n), func() bool { return s.Rejected() >= n })
}

// WaitHeld blocks until at least n calls are blocked.
func (s *Sink) WaitHeld(t testing.TB, n int) {
	t.Helper()
	s.Wait(t, fmt.Sprintf("%d held calls", n), func() bool { return s.Held() >= n })
}

// WaitUp blocks until the newest status is up, WaitDown until it is down.
func (s *Sink) WaitUp(t testing.TB) { t.Helper(); s.waitStatus(t, true) }

// WaitDown blocks until the newest status is down.
func (s *Sink) WaitDown(t testing.TB) { t.Helper(); s.waitStatus(t, false) }

func (s *Sink) waitStatus(t testing.TB, up bool) {
	t.Helper()
	s.Wait(t, fmt.Sprintf("status up=%v", up), func() bool {
		st := s.Statuses()
		return len(st) > 0 && st[len(st)-1].Up == up
	})
}
