// Package broker is the hub's own MQTT broker (3.1.1 and 5) for sensors that are pointed at
// the hub.
//
// A QoS 1 message is acknowledged only after its readings are durable; acknowledgements are
// withheld and pipelined, so that a client with many messages in flight pays for few commits.
// Messages of one client are taken, committed and acknowledged in order. Other subscribers are
// served after the commit. When the sink is slow, the broker stops reading from the client;
// when it fails, the client is disconnected and sends again.
//
// It offers QoS 1 at most: a 3.1.1 client that publishes with QoS 2 gets its handshake, but no
// more than QoS 1's promise; an MQTT 5 client is told when it connects. Retained messages and
// sessions live in memory. Without a password file it listens on loopback only.
package broker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// Name is the driver's name in the catalog and in rejections.
const Name = "broker"

// Options are the input's own options.
type Options struct {
	Listen       string                     `json:"listen"`        // host:port; 127.0.0.1:1883 when empty
	PasswordFile string                     `json:"password_file"` // lines user:hash; needed beyond loopback
	ACLFile      string                     `json:"acl_file"`      // lines "user read|write|readwrite filter"
	TLSCert      string                     `json:"tls_cert_file"` // PEM files; both or none
	TLSKey       string                     `json:"tls_key_file"`
	Profiles     map[string]json.RawMessage `json:"profiles"`    // topic filter -> profile
	MaxClients   int                        `json:"max_clients"` // connections at once; 1,000 when 0
}

// The limits that bound memory.
const (
	defaultListen  = "127.0.0.1:1883"
	defaultClients = 1000
	maxPacket      = 260 << 10 // bytes; a message of the largest JSON that is taken
	maxUnacked     = 1024      // messages of one client that are not acknowledged yet
	maxClientBytes = 1 << 20   // payload bytes of one client that are not committed yet
	maxTotalBytes  = 16 << 20  // of all clients
)

// Driver is the broker.
type Driver struct {
	opts     Options
	bindings *profiles.Bindings
	log      *slog.Logger

	mu   sync.Mutex
	addr net.Addr
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Factory = New
)

// New makes the driver from its options.
func New(cfg drivers.Config, log *slog.Logger) (drivers.Driver, error) {
	o := Options{Listen: defaultListen, MaxClients: defaultClients}
	if err := drivers.DecodeOptions(cfg.Options, &o); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %q: want host:port, as in %s", o.Listen, defaultListen)
	}
	switch {
	case !loopback(host) && o.PasswordFile == "":
		return nil, fmt.Errorf("listen %q is reachable from other machines: name a password_file with lines user:hash, or listen on %s", o.Listen, defaultListen)
	case o.ACLFile != "" && o.PasswordFile == "":
		return nil, fmt.Errorf("acl_file needs a password_file: without users there is nobody to tell apart")
	case (o.TLSCert == "") != (o.TLSKey == ""):
		return nil, fmt.Errorf("tls_cert_file and tls_key_file belong together; one is missing")
	case o.MaxClients < 1 || o.MaxClients > 100_000:
		return nil, fmt.Errorf("max_clients %d: want 1 to 100,000", o.MaxClients)
	}
	b, err := profiles.NewBindings(Name, o.Profiles, cfg.Sensors)
	if err != nil {
		return nil, err
	}
	return &Driver{opts: o, bindings: b, log: log}, nil
}

// loopback tells whether only this machine can reach the host.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Addr is where the broker listens, nil while Run is not running.
func (d *Driver) Addr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

func (d *Driver) setAddr(a net.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr = a
}

// Run serves clients until ctx ends. It returns an error when it cannot listen or a file of
// its options cannot be used.
func (d *Driver) Run(ctx context.Context, out drivers.Sink) error {
	users, err := loadUsers(d.opts.PasswordFile, d.opts.ACLFile)
	if err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if d.opts.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(d.opts.TLSCert, d.opts.TLSKey)
		if err != nil {
			return fmt.Errorf("tls_cert_file and tls_key_file: %w", err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	ln, err := net.Listen("tcp", d.opts.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", d.opts.Listen, err)
	}
	s, err := d.serve(ctx, out, newGate(ln, tlsConfig, d.opts.MaxClients, d.log), users)
	if err != nil {
		ln.Close()
		return err
	}
	d.setAddr(ln.Addr())
	defer d.setAddr(nil)
	scheme := "mqtt"
	if tlsConfig != nil {
		scheme = "mqtts"
	}
	out.Status(drivers.Status{Up: true, Detail: "listens on " + scheme + "://" + ln.Addr().String()})
	<-ctx.Done()
	s.stop()
	return nil
}
