//go:build !linux && !windows

package serialport

import (
	"fmt"

	"go.bug.st/serial"
)

// List tells which serial ports are there, by name only: what USB says of them needs cgo here.
func List() ([]Info, error) {
	names, err := serial.GetPortsList()
	if err != nil {
		return nil, fmt.Errorf("list serial ports: %w", err)
	}
	var out []Info
	for _, n := range names {
		out = append(out, Info{Path: n})
	}
	return out, nil
}
