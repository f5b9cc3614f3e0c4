package discover

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
)

// Service is something that has announced itself.
type Service struct {
	Type    string   `json:"type"` // as in _mqtt._tcp
	Name    string   `json:"name"`
	Host    string   `json:"host"`
	Address string   `json:"address,omitempty"`
	Port    int      `json:"port"`
	Info    []string `json:"info,omitempty"` // key=value, as announced
	What    string   `json:"what"`           // what it is, for people
}

// Known lists the types that are asked for, and what they mean to a hub.
var Known = map[string]string{
	Hub:                        "Headcount hub",
	"_mqtt._tcp":               "MQTT broker: inputs: [{driver: mqtt, url: …}]",
	"_secure-mqtt._tcp":        "MQTT broker with TLS: inputs: [{driver: mqtt, url: mqtts://…}]",
	"_shelly._tcp":             "Shelly device: point its MQTT at the hub's broker",
	"_esphomelib._tcp":         "ESPHome device: add mqtt: to its configuration",
	"_zigbee-coordinator._tcp": "Zigbee coordinator in the network: for Zigbee2MQTT",
	"_matter._tcp":             "Matter device",
	"_hap._tcp":                "HomeKit accessory",
	"_axis-video._tcp":         "Axis camera: point its people counter at POST /v1/push",
}

// longest is what is kept of a text that somebody announced.
const longest = 256

// Browse asks the interfaces for services of the known types for a while and returns who answered, in
// order of type and name. No interfaces means all that carry multicast. Names are foreign text, cut
// and without control characters.
func Browse(ctx context.Context, wait time.Duration, faces []net.Interface) ([]Service, error) {
	if len(faces) == 0 {
		var err error
		if faces, err = Interfaces(); err != nil {
			return nil, err
		}
	}
	var mu sync.Mutex
	var out []Service
	var errs []error
	var asked sync.WaitGroup
	for kind := range Known {
		for _, face := range faces {
			asked.Go(func() {
				found, err := ask(ctx, kind, face, wait)
				mu.Lock()
				defer mu.Unlock()
				if out = append(out, found...); err != nil {
					errs = append(errs, err)
				}
			})
		}
	}
	asked.Wait()
	slices.SortFunc(out, func(a, b Service) int { return strings.Compare(a.key(), b.key()) })
	out = slices.CompactFunc(out, func(a, b Service) bool { return a.key() == b.key() })
	if len(errs) == len(faces)*len(Known) {
		return out, errors.Join(errs...)
	}
	return out, nil
}

func (s Service) key() string { return s.Type + " " + s.Name + " " + s.Address }

func ask(ctx context.Context, kind string, face net.Interface, wait time.Duration) (out []Service, err error) {
	entries := make(chan *mdns.ServiceEntry, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range entries {
			if s, ok := understand(kind, e); ok {
				out = append(out, s)
			}
		}
	}()
	err = mdns.QueryContext(ctx, &mdns.QueryParam{
		Service: kind, Domain: "local", Timeout: wait, Interface: &face, Entries: entries, Logger: quiet(), DisableIPv6: !hasIPv6(face),
	})
	close(entries)
	<-done
	return out, err
}

// hasIPv6 tells whether the interface has the link-local address without which its IPv6 carries no multicast.
func hasIPv6(face net.Interface) bool {
	return slices.ContainsFunc(reachable(face, nil), func(ip net.IP) bool { return ip.To4() == nil && ip.IsLinkLocalUnicast() })
}

// understand takes an answer of the type that was asked for; others answer their own questions.
func understand(kind string, e *mdns.ServiceEntry) (Service, bool) {
	name, ok := strings.CutSuffix(e.Name, "."+kind+".local.")
	if !ok || e.Port < 1 || e.Port > 65535 {
		return Service{}, false
	}
	s := Service{Type: kind, Name: printable(unescape(name)), Host: printable(strings.TrimSuffix(e.Host, ".")), Port: e.Port, What: Known[kind]}
	switch {
	case e.AddrV4 != nil:
		s.Address = e.AddrV4.String()
	case e.AddrV6IPAddr != nil:
		s.Address = e.AddrV6IPAddr.String()
	}
	for _, f := range e.InfoFields {
		if f = printable(f); f != "" && len(s.Info) < 32 {
			s.Info = append(s.Info, f)
		}
	}
	return s, true
}

// unescape reads a name of DNS as it is written: \. and \032.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '\\' || i+1 == len(name) {
			b.WriteByte(name[i])
			continue
		}
		if i+3 < len(name) && digits(name[i+1:i+4]) {
			b.WriteByte((name[i+1]-'0')*100 + (name[i+2]-'0')*10 + name[i+3] - '0')
			i += 3
			continue
		}
		i++
		b.WriteByte(name[i])
	}
	return b.String()
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	return s
}
