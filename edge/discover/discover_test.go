package discover

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/mdns"
)

// multicast returns an interface on which this machine hears itself, loopback if possible.
func multicast(t *testing.T) net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b net.Interface) int { return int(b.Flags&net.FlagLoopback) - int(a.Flags&net.FlagLoopback) })
	for _, f := range all {
		if f.Flags&net.FlagUp == 0 {
			continue
		}
		if c, err := net.ListenMulticastUDP("udp4", &f, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}); err == nil {
			c.Close()
			return f
		}
	}
	t.Fatal("no interface of this machine carries multicast, not even loopback; discovery cannot be tested here")
	return net.Interface{}
}

func TestAnnouncedHubIsFound(t *testing.T) {
	face := multicast(t)
	a, err := Announce(Announcement{Site: "hq-oslo", Version: "1.2.3", Addr: &net.TCPAddr{IP: net.IPv4zero, Port: 8443}, TLS: true, Interfaces: []net.Interface{face}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	found, err := Browse(t.Context(), 400*time.Millisecond, []net.Interface{face})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(s Service) bool { return s.Type == Hub && s.Name == "hq-oslo" })
	if i < 0 {
		t.Fatalf("found on %s: %+v, want the hub", face.Name, found)
	}
	s := found[i]
	if s.Port != 8443 || s.Address == "" || s.What != "Headcount hub" || !slices.Contains(s.Info, "site=hq-oslo") || !slices.Contains(s.Info, "version=1.2.3") || !slices.Contains(s.Info, "scheme=https") {
		t.Errorf("got %+v", s)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if found, _ = Browse(t.Context(), 300*time.Millisecond, []net.Interface{face}); slices.ContainsFunc(found, func(s Service) bool { return s.Name == "hq-oslo" }) {
		t.Errorf("found after the end: %+v", found)
	}
}

func TestAnnounceRefusesAddressesOfNoInterface(t *testing.T) {
	if a, err := Announce(Announcement{Site: "x", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}); err == nil {
		a.Close()
		t.Error("an address that this machine does not have is announced")
	}
}

func TestBrokerIsRecognised(t *testing.T) {
	for answer, want := range map[string]string{
		"\x20\x02\x00\x00": "without a name", "\x20\x02\x00\x05": "wants a name", "HTTP/1.1 400": "", "": "",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Read(make([]byte, 64))
			_, _ = c.Write([]byte(answer))
		}()
		b, err := FindBroker(t.Context(), ln.Addr().String())
		if ln.Close(); (err == nil) != (want != "") || !strings.Contains(b.What, want) {
			t.Errorf("answer %q: %+v, %v; want %q", answer, b, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindBroker(ctx, "127.0.0.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func FuzzUnderstand(f *testing.F) {
	f.Add(`Hall\032sensor._mqtt._tcp.local.`, "h.local.", "a=b", 1883)
	f.Add(`\`, "", "\x00", 0)
	f.Fuzz(func(t *testing.T, name, host, info string, port int) {
		s, ok := understand("_mqtt._tcp", &mdns.ServiceEntry{Name: name, Host: host, InfoFields: []string{info}, Port: port})
		if !ok {
			return
		}
		for _, text := range append(s.Info, s.Name, s.Host) {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n\r") || len(text) > longest {
				t.Errorf("shows %q", text)
			}
		}
	})
}
