package token

import "strings"

// MaySend tells whether the caller may send readings of a device: a device those of its own
// address and of the channels below it ("address/channel"), everybody else all.
func (id *Identity) MaySend(device string) bool {
	return id.Kind != Device || device == id.Subject || strings.HasPrefix(device, id.Subject+"/")
}
