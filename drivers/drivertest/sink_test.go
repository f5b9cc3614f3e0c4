package drivertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

func count(device string, n int) edge.Reading {
	return edge.Reading{Device: device, Received: time.UnixMilli(1), Values: []edge.Value{edge.NumberValue(edge.CountIn, edge.Cumulative, float64(n))}}
}

func TestSinkAnswersPerReading(t *testing.T) {
	s := NewSink()
	s.Answer(func(r edge.Reading) edge.Outcome {
		if r.Device == "unknown" {
			return edge.Outcome{Status: edge.Pending}
		}
		return edge.Outcome{Status: edge.Accepted}
	})
	out, err := s.Put(t.Context(), count("a", 1), count("a", 1), count("unknown", 1), count("a", 2))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []edge.OutcomeStatus{edge.Accepted, edge.Duplicate, edge.Pending, edge.Accepted} {
		if out[i].Status != want {
			t.Errorf("outcome %d is %s, want %s", i, out[i].Status, want)
		}
	}
	if got := s.Counts("a"); len(got) != 2 || !s.Has("a", 2) || s.Has("unknown", 1) {
		t.Errorf("stored %v, want 1 and 2 of a", got)
	}
}

func TestSinkHoldsAndFails(t *testing.T) {
	s := NewSink()
	s.FailNext(1, nil)
	if _, err := s.Put(t.Context(), count("a", 1)); !errors.Is(err, ErrRefused) {
		t.Errorf("put: %v, want ErrRefused", err)
	}
	s.Hold()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(context.Background(), count("a", 1))
		done <- err
	}()
	s.WaitHeld(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Reject(ctx, edge.Rejection{Count: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("reject while held: %v, want its context's end", err)
	}
	s.Release()
	if err := <-done; err != nil || len(s.WaitReadings(t, 1)) != 1 {
		t.Errorf("put after release: %v, %d stored", err, len(s.Readings()))
	}
	if err := s.Reject(t.Context(), edge.Rejection{Count: 3}); err != nil {
		t.Fatal(err)
	}
	if s.Rejected() != 3 {
		t.Errorf("%d rejected, want 3", s.Rejected())
	}
}
