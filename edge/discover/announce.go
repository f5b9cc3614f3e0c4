// Package discover finds hubs and what a hub can use in the local network, by multicast DNS
// (RFC 6762, RFC 6763), and announces a hub there.
//
// It guarantees that nothing leaves the local network: mDNS is link-local, and brokers are looked
// for only at hosts that the caller names. It refuses to scan addresses, and it never believes
// what it hears: an answer is a hint for a person, nothing is connected or configured by it.
package discover

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"github.com/hashicorp/mdns"
)

// Hub is the type of service as which hubs are announced.
const Hub = "_headcount._tcp"

// Announcement says where a hub is.
type Announcement struct {
	Site       string // id of the site: the name of the service
	Version    string
	Addr       net.Addr // that the hub listens on
	TLS        bool
	Interfaces []net.Interface // empty = all on which others can reach Addr
}

// Announcer answers questions of the network until it is closed.
type Announcer struct{ servers []*mdns.Server }

// Announce begins to answer. One interface on which it can is enough; an error says why there is
// none.
func Announce(a Announcement) (*Announcer, error) {
	tcp, ok := a.Addr.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("announce %v: want a TCP address", a.Addr)
	}
	faces := a.Interfaces
	if len(faces) == 0 {
		var err error
		if faces, err = Interfaces(); err != nil {
			return nil, err
		}
	}
	out, errs := &Announcer{}, []error{}
	for _, face := range faces {
		ips := reachable(face, tcp.IP)
		if len(ips) == 0 {
			continue
		}
		s, err := serve(a, face, tcp.Port, ips)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", face.Name, err))
			continue
		}
		out.servers = append(out.servers, s)
	}
	if len(out.servers) == 0 {
		return nil, fmt.Errorf("announce %s: no network interface can be used: %w", Hub, errors.Join(errs...))
	}
	return out, nil
}

func serve(a Announcement, face net.Interface, port int, ips []net.IP) (*mdns.Server, error) {
	scheme := "http"
	if a.TLS {
		scheme = "https"
	}
	txt := []string{"site=" + a.Site, "version=" + a.Version, "scheme=" + scheme, "path=/"}
	zone, err := mdns.NewMDNSService(a.Site, Hub, "", hostName(a.Site), port, ips, txt)
	if err != nil {
		return nil, err
	}
	return mdns.NewServer(&mdns.Config{Zone: zone, Iface: &face, Logger: quiet()})
}

// hostName is this machine's name in the local network.
func hostName(otherwise string) string {
	name, err := os.Hostname()
	if name, _, _ = strings.Cut(name, "."); err != nil || name == "" {
		name = otherwise
	}
	return name + ".local."
}

// Close stops answering.
func (a *Announcer) Close() error {
	var errs []error
	for _, s := range a.servers {
		errs = append(errs, s.Shutdown())
	}
	return errors.Join(errs...)
}

// Interfaces lists the network interfaces that are up and carry multicast, without loopback.
func Interfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var out []net.Interface
	for _, f := range all {
		if f.Flags&net.FlagUp != 0 && f.Flags&net.FlagMulticast != 0 && f.Flags&net.FlagLoopback == 0 {
			out = append(out, f)
		}
	}
	return out, nil
}

// reachable is the addresses of an interface at which somebody who listens on ip can be reached.
func reachable(face net.Interface, ip net.IP) (out []net.IP) {
	addrs, err := face.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && (ip == nil || ip.IsUnspecified() || ip.Equal(n.IP)) {
			out = append(out, n.IP)
		}
	}
	return out
}

// quiet is the log of the library, which tells of every odd packet of the network.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
