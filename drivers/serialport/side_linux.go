package serialport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"go.bug.st/serial"
)

var errLocked = errors.New("locked by another program")

// side is a second descriptor of the same port, a non-blocking one. It carries the lock
// (TIOCEXCL does not stop root), and the bytes: a read ends with its context without polling,
// and a write has a deadline; one through the library stays in the kernel for ever, even after
// Close. The library's descriptor holds the line's settings.
type side struct{ f *os.File }

// openSide must come before the library opens the port and sets TIOCEXCL.
func openSide(path string) (*side, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode()&fs.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%s is not a serial port: %s", path, st.Mode().Type())
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err == nil {
		var locked error
		err = raw.Control(func(fd uintptr) { locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
		err = errors.Join(err, locked)
	}
	if err == nil {
		return &side{f: f}, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errLocked
	}
	return nil, err
}

// read returns bytes, ctx's error, or what happened to the port.
func (s *side) read(ctx context.Context, _ serial.Port, b []byte) (int, error) {
	for {
		end, _ := ctx.Deadline() // the zero time is no deadline
		if err := s.f.SetReadDeadline(end); err != nil {
			return 0, err
		}
		stop := context.AfterFunc(ctx, func() { _ = s.f.SetReadDeadline(time.Unix(1, 0)) })
		n, err := s.f.Read(b)
		stop()
		switch {
		case n > 0 || err == nil:
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case !end.IsZero() && !time.Now().Before(end):
			return 0, context.DeadlineExceeded // ctx's own timer is a little late
		}
		// The end of an earlier context came in late: read on.
	}
}

func (s *side) write(_ serial.Port, b []byte, within time.Duration) (int, error) {
	if err := s.f.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	return s.f.Write(b)
}

func (s *side) Close() error { return s.f.Close() }
