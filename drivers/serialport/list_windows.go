package serialport

import (
	"fmt"

	"go.bug.st/serial/enumerator"
)

// List tells which serial ports are there.
func List() ([]Info, error) {
	details, err := enumerator.GetDetailedPortsList()
	if err != nil {
		return nil, fmt.Errorf("list serial ports: %w", err)
	}
	var out []Info
	for _, d := range details {
		out = append(out, Info{Path: d.Name, VID: d.VID, PID: d.PID, Serial: d.SerialNumber, Product: d.Product})
	}
	return out, nil
}
