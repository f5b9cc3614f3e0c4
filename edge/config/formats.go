package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// checkFormat judges text by the format that the schema names; an empty msg is fine.
func (c checker) checkFormat(text, format string) (msg, hint string) {
	var err error
	switch format {
	case "id":
		return c.checkID(text)
	case "duration":
		_, err = ParseDuration(text)
	case "size":
		_, err = ParseSize(text)
	case "wear":
		if text != "auto" && text != "none" {
			if _, err = ParseSize(text); err != nil {
				return fmt.Sprintf("must be auto, none or a size per day, not %q", text), "for example 4GB"
			}
		}
	case "hours":
		_, err = edge.ParseHours(text, time.UTC)
	case "timezone":
		return checkZone(text)
	case "http-url":
		return checkURL(text, "http", "https")
	case "nats-url":
		return checkURLs(text)
	case "listen":
		return checkListen(text)
	case "network":
		return checkNetwork(text)
	case "origin":
		return checkOrigin(text)
	}
	if err != nil {
		return err.Error(), ""
	}
	return "", ""
}

func (c checker) checkID(text string) (msg, hint string) {
	if c.siteOnly {
		if text == "" || len(text) > 128 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Sprintf("%q is not an id", text), "use 1 to 128 characters without spaces"
		}
		return "", ""
	}
	if idPattern(text) {
		return "", ""
	}
	hint = "use 1 to 64 of a-z, 0-9, - and _, a letter or digit first"
	if s := slug(text); s != "" {
		hint += fmt.Sprintf(": for example %q", s)
	}
	return fmt.Sprintf("%q is not an id", text), hint
}

func idPattern(s string) bool {
	for i, r := range s {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || r != '-' && r != '_') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// slug makes an id of a name, as far as its letters go.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	s = strings.Trim(s, "-_")
	return s[:min(len(s), 64)]
}

func checkZone(text string) (msg, hint string) {
	if text == "Local" || text == "" {
		return fmt.Sprintf("%q is not a time zone", text), "use an IANA name such as Europe/Oslo or UTC"
	}
	if _, err := time.LoadLocation(text); err != nil {
		return fmt.Sprintf("there is no time zone %q", text), "use an IANA name such as Europe/Oslo or UTC"
	}
	return "", ""
}

func checkURL(text string, schemes ...string) (msg, hint string) {
	hint = "for example " + schemes[len(schemes)-1] + "://host.example.org"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is not a URL", hint // the error would quote it, password included
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Sprintf("must be a URL that begins with %s://", strings.Join(schemes, ":// or ")), hint
	case u.Hostname() == "":
		return "is a URL without a host", hint
	case u.Port() != "" && !isPort(u.Port()):
		return fmt.Sprintf("has the port %s, which does not exist", u.Port()), "1 to 65535"
	}
	return "", ""
}

func checkURLs(text string) (msg, hint string) {
	for _, one := range strings.Split(text, ",") {
		if msg, hint = checkURL(strings.TrimSpace(one), "nats", "ws", "wss", "tls"); msg != "" {
			return msg, hint
		}
	}
	return "", ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func checkListen(text string) (msg, hint string) {
	hint = "write host:port, for example 127.0.0.1:8080"
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not an address to listen on", text), hint
	case port != "0" && !isPort(port):
		return fmt.Sprintf("%q has no port from 1 to 65535", text), hint
	case strings.ContainsAny(host, " /@"):
		return fmt.Sprintf("%q is not a host", host), hint
	}
	return "", ""
}

// units of time, longest name first.
var timeUnits = []struct {
	name string
	d    time.Duration
}{
	{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour},
	{"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour},
}

// maxDuration is the longest duration that can be configured.
const maxDuration = 100 * 365 * 24 * time.Hour

// ParseDuration reads a length of time such as 500ms, 90s, 2m, 1h30m, 30d or 2w, at most 100
// years. A number needs its unit.
func ParseDuration(s string) (time.Duration, error) {
	bad := func() error {
		return fmt.Errorf("%q is not a duration: write a number with ms, s, m, h, d or w, as in 90s or 30d", s)
	}
	var total float64
	for rest := s; ; {
		digits := strings.TrimLeft(rest, "0123456789.")
		x, err := strconv.ParseFloat(rest[:len(rest)-len(digits)], 64)
		if err != nil || rest[0] == '.' {
			return 0, bad()
		}
		name := digits[:len(digits)-len(strings.TrimLeft(digits, "abcdefghijklmnopqrstuvwxyz"))]
		i := slices.IndexFunc(timeUnits, func(u struct {
			name string
			d    time.Duration
		}) bool {
			return u.name == name
		})
		if i < 0 {
			return 0, bad()
		}
		total += x * float64(timeUnits[i].d)
		if rest = digits[len(name):]; rest == "" {
			break
		}
	}
	if total > float64(maxDuration) {
		return 0, fmt.Errorf("%q is longer than 100 years", s)
	}
	return time.Duration(math.Round(total)), nil
}

var sizeUnits = map[string]float64{
	"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// ParseSize reads a number of bytes such as 512MiB, 4GiB or 1.5GB, below 2^53. A number needs
// its unit.
func ParseSize(s string) (int64, error) {
	unit := strings.TrimLeft(s, "0123456789.")
	digits := s[:len(s)-len(unit)]
	x, err := strconv.ParseFloat(digits, 64)
	factor, ok := sizeUnits[unit]
	if err != nil || !ok || digits[0] == '.' {
		return 0, fmt.Errorf("%q is not a size: write a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, as in 4GiB", s)
	}
	if x *= factor; x >= 1<<53 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(math.Round(x)), nil
}

func checkNetwork(text string) (msg, hint string) {
	if _, err := netip.ParseAddr(text); err == nil {
		return "", ""
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return "", ""
	}
	return fmt.Sprintf("%q is not an address or network", text), "for example 127.0.0.1 or 10.0.0.0/8"
}

func checkOrigin(text string) (msg, hint string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, "*") || text != u.Scheme+"://"+u.Host {
		return fmt.Sprintf("%q is not the origin of a page", text), "write scheme and host without a path, for example https://intranet.example.org"
	}
	return "", ""
}
