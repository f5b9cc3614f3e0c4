//go:build !linux

package serialport

import (
	"context"
	"errors"
	"os"
	"time"

	"go.bug.st/serial"
)

var errLocked = errors.New("locked by another program")

// pollEvery is how long a reader sleeps in the kernel before it looks at its context: the
// library cannot wake a reader safely (its Close closes the descriptor first).
const pollEvery = 200 * time.Millisecond

// side reads and writes through the library alone, which also keeps others out.
type side struct{}

func openSide(string) (*side, error) { return &side{}, nil }

// read polls: the library's timeout is (0, nil).
func (s *side) read(ctx context.Context, p serial.Port, b []byte) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		wait := pollEvery
		if end, ok := ctx.Deadline(); ok {
			wait = max(0, min(wait, time.Until(end)))
		}
		if err := p.SetReadTimeout(wait); err != nil {
			return 0, err
		}
		if n, err := p.Read(b); n > 0 || err != nil {
			return n, err
		}
	}
}

// write goes through the library. One that does not come back is left behind, and the port
// reported as stuck; closing it ends the write where the system allows that.
func (s *side) write(p serial.Port, b []byte, within time.Duration) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1) // room for the one that comes too late
	go func() {
		n, err := p.Write(b)
		done <- result{n, err}
	}()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-late.C:
		return 0, os.ErrDeadlineExceeded
	}
}

func (s *side) Close() error { return nil }
