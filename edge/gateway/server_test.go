package gateway

import (
	"net"
	"net/netip"
	"testing"
)

// crowd is a listener whose connections come from given addresses.
type crowd struct{ from []string }

func (c *crowd) Accept() (net.Conn, error) {
	if len(c.from) == 0 {
		return nil, net.ErrClosed
	}
	conn := &visitor{addr: c.from[0]}
	c.from = c.from[1:]
	return conn, nil
}

func (*crowd) Close() error   { return nil }
func (*crowd) Addr() net.Addr { return &net.TCPAddr{} }

type visitor struct {
	net.Conn
	addr string
}

func (v *visitor) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(v.addr))
}
func (*visitor) Close() error { return nil }

func TestConnectionLimits(t *testing.T) {
	c := &crowd{from: []string{
		"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", // the third of one address is turned away
		"[::ffff:192.0.2.1]:4",                                     // the same address in another form
		"192.0.2.2:1", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", // loopback counts in the total only
		"192.0.2.3:1", // beyond the total
	}}
	ln := Bound(c, 6, 2)
	var got []net.Conn
	for {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		got = append(got, conn)
	}
	if len(got) != 6 {
		t.Fatalf("%d connections were let in, want 6", len(got))
	}
	got[0].Close()
	got[0].Close() // closing twice gives one place back
	got[3].Close()
	c.from = []string{"192.0.2.1:5", "192.0.2.1:6", "192.0.2.4:1", "192.0.2.5:1"}
	var again int
	for {
		if _, err := ln.Accept(); err != nil {
			break
		}
		again++
	}
	if again != 2 {
		t.Fatalf("%d connections were let in after two had closed, want 2", again)
	}
}
