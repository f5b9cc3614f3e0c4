//go:build linux || darwin || freebsd || openbsd

package sim

import (
	"errors"
	"fmt"
	"os"

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
	return &Cable{Device: master, Path: slave.Name(), other: slave}, nil
}

// Close unplugs the cable at both ends.
func (c *Cable) Close() error { return errors.Join(c.Device.Close(), c.other.Close()) }
