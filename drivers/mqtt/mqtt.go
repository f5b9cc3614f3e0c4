// Package mqtt takes readings from any MQTT 3.1.1 broker.
//
// The session at the broker is persistent: what is published with QoS 1 while the hub is away
// waits there. A message is acknowledged only after its readings are durable, in the order of
// arrival; the handler never blocks, so that a slow disk does not cost the connection. Each
// connection has a client of its own and subscribes anew, with the broker's answers checked.
// When the connection is lost, Run returns, and is called again after its caller's back-off.
package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// Name is the driver's name in the catalog and in rejections.
const Name = "mqtt"

// Options are the input's own options.
type Options struct {
	URL          string                     `json:"url"`           // mqtt://host[:1883], mqtts://host[:8883], ws:// or wss://
	Subscribe    []string                   `json:"subscribe"`     // topic filters
	ClientID     string                     `json:"client_id"`     // must be the hub's alone; made once when empty
	Username     string                     `json:"username"`      //
	PasswordFile string                     `json:"password_file"` // holds the password alone
	CAFile       string                     `json:"ca_file"`       // PEM; the system's authorities when empty
	CertFile     string                     `json:"cert_file"`     // PEM; certificate of the hub itself, with key_file
	KeyFile      string                     `json:"key_file"`      //
	QoS          *byte                      `json:"qos"`           // 0 or 1; 1 when absent
	Profiles     map[string]json.RawMessage `json:"profiles"`      // topic filter -> profile
}

// Times of the connection. A dead line is noticed after keepAlive + pingTimeout.
const (
	keepAlive      = 15 * time.Second
	pingTimeout    = 8 * time.Second
	connectTimeout = 10 * time.Second
	writeTimeout   = 10 * time.Second
	farewell       = 250 // milliseconds for the DISCONNECT to go out
)

// Driver is a client of one broker.
type Driver struct {
	opts     Options
	server   string // URL in paho's words
	secure   bool
	stateDir string
	bindings *profiles.Bindings
	log      *slog.Logger
	brief    int // connections in a row that lasted less than briefly
}

// briefly: a connection that ends earlier, time and again, was probably taken over by another
// client with the same id.
const (
	briefly   = 10 * time.Second
	manyBrief = 3
)

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Factory = New
)

// New makes the driver from its options.
func New(cfg drivers.Config, log *slog.Logger) (drivers.Driver, error) {
	var o Options
	if err := drivers.DecodeOptions(cfg.Options, &o); err != nil {
		return nil, err
	}
	d := &Driver{stateDir: cfg.StateDir, log: log}
	if err := d.setURL(o.URL); err != nil {
		return nil, err
	}
	if len(o.Subscribe) == 0 {
		return nil, fmt.Errorf("subscribe is empty: name the topics to read, as in [zigbee2mqtt/#]")
	}
	for _, f := range o.Subscribe {
		if err := profiles.CheckFilter(f); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
	}
	switch {
	case o.QoS != nil && *o.QoS > 1:
		return nil, fmt.Errorf("qos %d: want 1 (each message is acknowledged after it is stored) or 0", *o.QoS)
	case o.PasswordFile != "" && o.Username == "":
		return nil, fmt.Errorf("password_file needs a username")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, fmt.Errorf("cert_file and key_file belong together; one is missing")
	case !d.secure && (o.CAFile != "" || o.CertFile != ""):
		return nil, fmt.Errorf("ca_file and cert_file need TLS: write mqtts:// (or wss://) in the url")
	case o.ClientID == "" && cfg.StateDir == "":
		return nil, fmt.Errorf("client_id is needed: there is no directory to keep one in")
	case len(o.ClientID) > 64:
		return nil, fmt.Errorf("client_id has %d bytes, at most 64 are taken", len(o.ClientID))
	}
	b, err := profiles.NewBindings(Name, o.Profiles, cfg.Sensors)
	if err != nil {
		return nil, err
	}
	d.opts, d.bindings = o, b
	return d, nil
}

// schemes in our words: paho's, the default port, and whether it is TLS.
var schemes = map[string]struct {
	paho, port string
	secure     bool
}{
	"mqtt": {"tcp", "1883", false}, "tcp": {"tcp", "1883", false},
	"mqtts": {"ssl", "8883", true}, "ssl": {"ssl", "8883", true}, "tls": {"ssl", "8883", true},
	"ws": {"ws", "80", false}, "wss": {"wss", "443", true},
}

func (d *Driver) setURL(s string) error {
	if s == "" {
		return fmt.Errorf("url is missing: where is the broker? as in mqtt://10.0.0.5:1883")
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("url: not a URL; write for example mqtt://10.0.0.5:1883")
	}
	sc, ok := schemes[u.Scheme]
	switch {
	case !ok || u.Hostname() == "":
		return fmt.Errorf("url %q: want mqtt://host:port, mqtts://, ws:// or wss://", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("url %q: user and password do not belong in a URL; use username and password_file", u.Redacted())
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), sc.port)
	}
	u.Scheme = sc.paho
	d.server, d.secure = u.String(), sc.secure
	return nil
}

func (d *Driver) qos() byte {
	if d.opts.QoS != nil {
		return *d.opts.QoS
	}
	return 1
}

// Run connects, subscribes and delivers until ctx ends or the connection is lost.
func (d *Driver) Run(ctx context.Context, out drivers.Sink) error {
	err := d.run(ctx, out)
	if ctx.Err() != nil {
		return nil
	}
	out.Status(drivers.Status{Detail: err.Error()})
	return err
}

func (d *Driver) run(ctx context.Context, out drivers.Sink) error {
	o, err := d.clientOptions()
	if err != nil {
		return err
	}
	q := newQueue(d.bindings)
	lost := make(chan error, 1)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { q.push(m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	client := paho.NewClient(o)
	defer client.Disconnect(farewell)
	if err := wait(ctx, client.Connect(), connectTimeout+time.Second); err != nil {
		return d.explain(err)
	}
	began := time.Now()
	delivered := make(chan error, 1)
	go func() { delivered <- q.deliver(ctx, out) }()
	defer func() {
		q.close()
		<-delivered
	}()
	detail, err := d.subscribe(ctx, client)
	if err != nil {
		return err
	}
	out.Status(drivers.Status{Up: true, Detail: detail})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-delivered:
		delivered <- nil // for the deferred wait
		return err
	case err := <-lost:
		return d.lost(err, time.Since(began))
	}
}

// lost says why the connection is gone.
func (d *Driver) lost(err error, after time.Duration) error {
	if after >= briefly {
		d.brief = 0
	} else {
		d.brief++
	}
	if d.brief >= manyBrief {
		return fmt.Errorf("connection to %s lost %d times in a row soon after it was made: is another client connected with the same client_id? (%w)", d.server, d.brief, err)
	}
	return fmt.Errorf("connection to %s lost: %w", d.server, err)
}

func (d *Driver) clientOptions() (*paho.ClientOptions, error) {
	id, err := d.clientID()
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions().AddBroker(d.server).SetClientID(id).SetProtocolVersion(4).
		SetCleanSession(false).SetAutoReconnect(false).SetConnectRetry(false).
		SetAutoAckDisabled(true).SetOrderMatters(true).
		SetKeepAlive(keepAlive).SetPingTimeout(pingTimeout).
		SetConnectTimeout(connectTimeout).SetWriteTimeout(writeTimeout)
	if d.opts.Username != "" {
		o.SetUsername(d.opts.Username)
	}
	if d.opts.PasswordFile != "" {
		password, err := readSecret(d.opts.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
		o.SetPassword(password)
	}
	if d.secure {
		c, err := d.tlsConfig()
		if err != nil {
			return nil, err
		}
		o.SetTLSConfig(c)
	}
	return o, nil
}

// readSecret reads a file that others than its owner and group must not be able to read.
func readSecret(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s can be read by everybody on this machine: chmod 600 it", name)
	}
	b, err := os.ReadFile(name)
	return strings.TrimRight(string(b), "\r\n"), err
}

func (d *Driver) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.opts.CAFile != "" {
		pem, err := os.ReadFile(d.opts.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", d.opts.CAFile)
		}
	}
	if d.opts.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(d.opts.CertFile, d.opts.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// clientID returns the configured id, or one that was made once and is kept.
func (d *Driver) clientID() (string, error) {
	if d.opts.ClientID != "" {
		return d.opts.ClientID, nil
	}
	file := filepath.Join(d.stateDir, "mqtt-client-id")
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read client id: %w", err)
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	id := "headcount-" + hex.EncodeToString(random)
	if err := keep(d.stateDir, file, id+"\n"); err != nil {
		return "", fmt.Errorf("keep client id: %w", err)
	}
	return id, nil
}

// keep writes a small file that a power cut leaves either whole or absent.
func keep(dir, name, text string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// subscribe asks for all filters and checks what the broker granted. It goes on when a part is
// granted; the status tells the rest.
func (d *Driver) subscribe(ctx context.Context, client paho.Client) (detail string, err error) {
	filters := map[string]byte{}
	for _, f := range d.opts.Subscribe {
		filters[f] = d.qos()
	}
	tok := client.SubscribeMultiple(filters, nil)
	if err := wait(ctx, tok, connectTimeout); err != nil {
		return "", fmt.Errorf("subscribe at %s: %w", d.server, err)
	}
	var refused []string
	for f, code := range tok.(*paho.SubscribeToken).Result() {
		if code > 2 {
			refused = append(refused, f)
		}
	}
	slices.Sort(refused)
	detail = "subscribed to " + strings.Join(d.opts.Subscribe, ", ") + " at " + d.server
	if len(refused) == 0 {
		return detail, nil
	}
	what := fmt.Sprintf("%s refused the subscription to %s: may user %q read it?", d.server, strings.Join(refused, ", "), d.opts.Username)
	if len(refused) == len(filters) {
		return "", errors.New(what)
	}
	return what, nil
}

var errTimeout = errors.New("no answer in time")

func wait(ctx context.Context, tok paho.Token, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-tok.Done():
		return tok.Error()
	case <-t.C:
		return errTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain turns what paho says of a failed connection into what to do.
func (d *Driver) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return fmt.Errorf("%s does not accept user %q: check username and password_file", d.server, d.opts.Username)
	case errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return fmt.Errorf("not authorised at %s as user %q: check username, password_file and the broker's rules", d.server, d.opts.Username)
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Errorf("%s does not accept the client_id", d.server)
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return fmt.Errorf("%s does not speak MQTT 3.1.1", d.server)
	case errors.As(err, &unknown):
		return fmt.Errorf("certificate of %s is not trusted: name its authority in ca_file (%w)", d.server, err)
	case errors.As(err, &wrongName), errors.As(err, &invalid):
		return fmt.Errorf("certificate of %s is not valid for it: %w", d.server, err)
	}
	return fmt.Errorf("cannot reach broker %s: %w", d.server, err)
}
