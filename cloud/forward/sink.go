package forward

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// SinkConfig is a system that gets an organisation's events: exactly one of MQTT, NATS and SNS is
// set.
type SinkConfig struct {
	Name  string   // [a-z0-9-]{1,32}
	Org   string   // whose events
	Types []string // such as alert.*; empty = all
	Sites []string // ids; empty = all
	MQTT  *MQTT
	NATS  *NATS
	SNS   *SNS
}

var sinkName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Check says what is wrong with the settings.
func (c *SinkConfig) Check() error {
	set := 0
	for _, is := range []bool{c.MQTT != nil, c.NATS != nil, c.SNS != nil} {
		if is {
			set++
		}
	}
	switch {
	case !sinkName.MatchString(c.Name):
		return errors.New("name: want 1 to 32 of a-z 0-9 -")
	case !sitePattern.MatchString(c.Org):
		return errors.New("org: want the organisation whose events it gets")
	case set != 1:
		return errors.New("want exactly one of mqtt, nats and sns")
	}
	if err := checkFilter(c.Types, c.Sites); err != nil {
		return err
	}
	switch {
	case c.MQTT != nil:
		return c.MQTT.check()
	case c.NATS != nil:
		return c.NATS.check()
	}
	return c.SNS.check()
}

func (c *SinkConfig) kind() string {
	switch {
	case c.MQTT != nil:
		return "mqtt"
	case c.NATS != nil:
		return "nats"
	}
	return "sns"
}

func (c *SinkConfig) open() (Sink, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	switch {
	case c.MQTT != nil:
		return openMQTT(*c.MQTT)
	case c.NATS != nil:
		return openNATS(*c.NATS)
	}
	return openSNS(*c.SNS), nil
}

// placeholders are what topics and subjects may hold.
var placeholders = []string{"{org}", "{site}", "{type}"}

// fill puts an event's values for the placeholders; an event without site has "-" there.
func fill(pattern string, e Event) string {
	site := e.Site
	if site == "" {
		site = "-"
	}
	return strings.NewReplacer("{org}", e.Org, "{site}", site, "{type}", e.Type).Replace(pattern)
}

// checkPattern refuses what a topic or subject must not hold.
func checkPattern(what, pattern, without string) error {
	rest := pattern
	for _, p := range placeholders {
		rest = strings.ReplaceAll(rest, p, "x")
	}
	if rest == "" || len(rest) > 1000 || strings.ContainsAny(rest, without+"{}") || strings.ContainsFunc(rest, func(c rune) bool { return c <= ' ' }) {
		return fmt.Errorf("%s %q: want one without %s and spaces; it may hold %s", what, pattern, strings.Join(strings.Split(without, ""), " "), strings.Join(placeholders, ", "))
	}
	return nil
}

// checkAddress refuses a URL that has another scheme than these, no host, or holds a password.
func checkAddress(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("url: want %s://HOST:PORT", schemes[0])
	}
	for _, s := range schemes {
		if u.Scheme == s {
			if u.User != nil {
				return nil, errors.New("url: want one without user and password; they have settings of their own")
			}
			return u, nil
		}
	}
	return nil, fmt.Errorf("url: its scheme is %q, want %s", u.Scheme, strings.Join(schemes, " or "))
}
