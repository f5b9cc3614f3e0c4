package token

import (
	"slices"
	"strings"
)

// MaySend tells whether the caller may send readings of a device: a device those of its own
// address and of the channels below it ("address/channel"), everybody else all.
func (id *Identity) MaySend(device string) bool {
	return id.Kind != Device || device == id.Subject || strings.HasPrefix(device, id.Subject+"/")
}

// SitePermission begins the permission that names the site of a device's token; organisation,
// slash and site follow.
const SitePermission = "site:"

// CommandPermission is that of the tokens by which the cloud tells a hub who asks for a command and
// with what role at the site. They are good for that alone: no route of hub or cloud takes them.
const CommandPermission = "command"

// DeviceAt tells whether the caller is no device, or one whose token is for this site.
func (id *Identity) DeviceAt(org, site string) bool {
	return id.Kind != Device || slices.Contains(id.Permissions, SitePermission+org+"/"+site)
}
