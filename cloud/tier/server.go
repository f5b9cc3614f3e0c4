package tier

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/gateway"
)

// The connections of the tier, in all and of one address.
const (
	maxConns      = 4096
	maxConnsPerIP = 256
)

// maxBody bounds what is read of answers of the tier's own admin listener, in bytes.
const maxBody = 256 << 10

// The values of http.tls.
const (
	tlsAuto = "auto" // beyond loopback a self-signed certificate, when no other is configured
	tlsOff  = "off"  // plain HTTP, because something in front does TLS
)

// listen opens the API's listener: beyond loopback only with tokens, and with TLS unless that
// is switched off.
func (t *Tier) listen(open bool) (net.Listener, error) {
	c := t.cfg.HTTP
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: %w; is another program on this port?", err)
	}
	if open && !gateway.IsLoopback(ln.Addr()) {
		ln.Close()
		return nil, fmt.Errorf("%w: http: %s can be reached by other machines and there are no accounts and no tokens; make the first account (headcount-cloud user add), or set http.token_file, or listen on 127.0.0.1", ErrConfig, ln.Addr())
	}
	conf, err := t.httpTLS(ln.Addr())
	if err != nil {
		ln.Close()
		return nil, err
	}
	bounded := gateway.Bound(ln, maxConns, maxConnsPerIP)
	if t.secure = conf != nil; !t.secure {
		return bounded, nil
	}
	return tls.NewListener(bounded, conf), nil
}

// httpTLS is what the API speaks TLS by; nil = plain HTTP.
func (t *Tier) httpTLS(addr net.Addr) (*tls.Config, error) {
	c := t.cfg.HTTP
	switch {
	case c.Certificate != "":
		return serverTLS(c.Certificate, c.Key)
	case c.TLS == tlsOff || gateway.IsLoopback(addr):
		return nil, nil
	}
	cert, fingerprint, err := gateway.SelfSigned(t.cfg.Data, c.Hosts, time.Now())
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	t.cfg.Log.Warn("http speaks TLS by a self-signed certificate; give http.certificate and http.key, or http.tls: off when something in front does TLS", "sha256", fingerprint)
	t.fingerprint = fingerprint
	return gateway.TLSConfig(cert), nil
}

// Fingerprint is the SHA-256 of the API's self-signed certificate; empty when it has none.
func (t *Tier) Fingerprint() string { return t.fingerprint }

func serverTLS(certificate, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate %s: %w", ErrConfig, certificate, err)
	}
	return gateway.TLSConfig(pair), nil
}

// newGateway is what requests pass before the routes.
func (t *Tier) newGateway(d *doorkeeper) (*gateway.Gateway, error) {
	c := t.cfg.HTTP
	proxies, err := gateway.ParseProxies(c.TrustedProxies)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Options{
		What: "cloud", Log: t.cfg.Log, Identify: d.identify, Open: d.open, Hosts: c.Hosts, Proxies: proxies, Origins: c.CORSOrigins,
		Rates: c.RateLimit.limits().Rates(), Observe: t.metrics.observe,
	})
}

// RateLimit is how often a client may ask; 0 is the default, a negative number no limit.
type RateLimit struct {
	PerSecond      float64 `yaml:"per_second"`       // requests of one identity, else address; 500 by default
	Burst          int     `yaml:"burst"`            // at once; 5 seconds' worth of per_second by default, or 10000
	LoginPerMinute float64 `yaml:"login_per_minute"` // changes below /auth/ of one address; 60 by default
}

func (l RateLimit) limits() gateway.Limits {
	return gateway.Limits{PerSecond: l.PerSecond, Burst: l.Burst, LoginPerMinute: l.LoginPerMinute}
}

// check finds the mistakes of the API's configuration.
func (c *HTTP) check(bad func(format string, args ...any)) {
	if (c.Certificate == "") != (c.Key == "") {
		bad("http: certificate and key belong together")
	}
	switch {
	case c.TLS != "" && c.TLS != tlsAuto && c.TLS != tlsOff:
		bad("http: tls %q: want auto or off", c.TLS)
	case c.TLS == tlsOff && c.Certificate != "":
		bad("http: tls is off and there is a certificate; remove one of them")
	}
	if u := c.PublicURL; u != "" && !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
		bad("http: public_url %q is no http or https address", u)
	}
	if _, err := gateway.ParseProxies(c.TrustedProxies); err != nil {
		bad("http: %w", err)
	}
	for _, origin := range c.CORSOrigins {
		if err := gateway.CheckOrigin(origin); err != nil {
			bad("http: %w", err)
		}
	}
}
