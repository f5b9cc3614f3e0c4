//go:build !linux && !darwin && !freebsd && !openbsd

package serialport

import (
	"errors"
	"os"
	"time"

	"go.bug.st/serial"
)

var errLocked = errors.New("locked by another program")

// side is nothing here: the system opens serial ports for one program only.
type side struct{}

func openSide(string) (*side, error) { return &side{}, nil }

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
