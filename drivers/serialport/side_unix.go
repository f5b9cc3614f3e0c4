//go:build linux || darwin || freebsd || openbsd

package serialport

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"go.bug.st/serial"
)

var errLocked = errors.New("locked by another program")

// side is a second descriptor of the same port. It carries the lock (TIOCEXCL does not stop
// root) and the writes: it is non-blocking, so that a write has a deadline; one through the
// library stays in the kernel for ever, even after Close.
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

func (s *side) write(_ serial.Port, b []byte, within time.Duration) (int, error) {
	if err := s.f.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	return s.f.Write(b)
}

func (s *side) Close() error { return s.f.Close() }
