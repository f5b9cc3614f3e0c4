//go:build linux || darwin || freebsd || openbsd

package sim

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/creack/pty"
)

// Cable is a serial cable made of a pseudo terminal: the boards of the building hold Device,
// the hub opens Path.
type Cable struct {
	Device *os.File
	Path   string
	other  *os.File // keeps the line up while the hub has it closed
}

// OpenCable makes a cable.
func OpenCable() (*Cable, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open pseudo terminal: %w", err)
	}
	defer master.Close()
	device, err := pollable(master)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open pseudo terminal: %w", err), slave.Close())
	}
	return &Cable{Device: device, Path: slave.Name(), other: slave}, nil
}

// pollable is f again, in a state in which deadlines end its reads: pty.Open leaves it blocking.
func pollable(f *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Close unplugs the cable at both ends.
func (c *Cable) Close() error { return errors.Join(c.Device.Close(), c.other.Close()) }
