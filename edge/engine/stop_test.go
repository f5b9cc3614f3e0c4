package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// When a commit fails every caller is told, none of "accepted", and Run ends with the cause.
func TestAFailedCommitIsToldToEverybody(t *testing.T) {
	clock := &fakeClock{}
	clock.set(start)
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Source: "hq", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(engine.Options{Journal: j, Setup: setup(), Now: clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil { // the disk goes away
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if out, err := e.Put(context.Background(), edge.Reading{Device: "pir"}); err == nil {
				t.Errorf("put: %v", out)
			}
		})
		wg.Go(func() {
			if err := e.Reject(context.Background(), edge.Rejection{Driver: "d", Cause: "c"}); err == nil {
				t.Error("a rejection was counted")
			}
		})
	}
	if err := e.Run(context.Background()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Run: %v, want the journal's error", err)
	}
	wg.Wait()
	if err := e.NewEpoch(context.Background(), "late"); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("after the end: %v, want ErrStopped", err)
	}
}

// A caller that goes away while its commit runs leaves nothing behind, and stops nobody.
func TestACallerThatGoesAwayStopsNobody(t *testing.T) {
	b := start1(t)
	gone, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() { _, _ = b.Put(gone, b.count(float64(n), 0, n)) })
		if n == 100 {
			cancel()
		}
	}
	wg.Wait()
	b.put(edge.Accepted, b.count(1000, 0, 1000))
	b.verify()
}
