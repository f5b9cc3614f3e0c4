package wire

import "strings"

// The last tokens of subjects.
const (
	UpHeartbeat   = "heartbeat" // request: Heartbeat, answered HeartbeatReply
	UpSnapshot    = "snapshot"  // request: Snapshot, answered {} or {"error": "…"}
	UpConfig      = "config"    // request: ConfigRequest, answered ConfigReply
	UpAuth        = "auth"      // request: {}, answered Auth
	UpAnswer      = "answer"    // with an id behind it: the hub's answer to a command
	DownMark      = "mark"      // push: Marks
	DownCommand   = "cmd"       // request: Command, answered edge.CommandResult
	DownConfigNew = "config"    // push: ConfigNews
	DownAuthNew   = "auth"      // push: there is a new Auth
)

// ValidToken tells whether s can name an organisation or a site: [a-z0-9_-]{1,64}.
func ValidToken(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// ParseUp takes a subject up.<org>.<site>.<what> apart; what may have several tokens. The site of a
// message is this one, never what a body says.
func ParseUp(subject string) (org, site, what string, ok bool) {
	parts := strings.SplitN(subject, ".", 4)
	if len(parts) != 4 || parts[0] != "up" || !ValidToken(parts[1]) || !ValidToken(parts[2]) || parts[3] == "" {
		return "", "", "", false
	}
	return parts[1], parts[2], parts[3], true
}
