package hub

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// The layout of the state directory.
func journalDir(dir string) string      { return filepath.Join(dir, "journal") }
func cloudDir(dir string) string        { return filepath.Join(dir, "cloud") }
func stateDir(dir, input string) string { return filepath.Join(dir, "inputs", input) }

// cardBudget is the flash-wear budget on an SD or eMMC card, in bytes per day: a 32 GB card of
// 3,000 program/erase cycles then lasts for decades, with a write amplification of 5 for years.
const cardBudget = 4e9

// secure wraps a listener in TLS: by the configured certificate, else beyond loopback by a
// self-signed one that is kept in the state directory, unless that is switched off.
func (h *Hub) secure(ln net.Listener) (net.Listener, error) {
	c := h.cfg.HTTP
	switch {
	case c.TLSCertFile != "":
		cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return ln, fmt.Errorf("http.tls_cert_file %s: %w", c.TLSCertFile, err)
		}
		return tls.NewListener(ln, gateway.TLSConfig(cert)), nil
	case !c.SelfSigned():
		return ln, nil
	}
	if err := os.MkdirAll(h.cfg.Storage.Dir, 0o700); err != nil {
		return ln, fmt.Errorf("storage.dir: %w", err)
	}
	cert, fingerprint, err := gateway.SelfSigned(h.cfg.Storage.Dir, c.Hosts, time.Now())
	if err != nil {
		return ln, fmt.Errorf("http: %w", err)
	}
	h.log.Warn("http speaks TLS by a self-signed certificate; give http.tls_cert_file and http.tls_key_file, or http.tls: off when sensors cannot do TLS", "sha256", fingerprint)
	return tls.NewListener(ln, gateway.TLSConfig(cert)), nil
}

// gatewayOptions is what the configuration says of proxies, origins and rates.
func gatewayOptions(c config.HTTP) (gateway.Options, error) {
	proxies, err := gateway.ParseProxies(c.TrustedProxies)
	limits := gateway.Limits{PerSecond: c.RateLimit.PerSecond, Burst: c.RateLimit.Burst, IngestPerSecond: c.RateLimit.IngestPerSecond}
	return gateway.Options{Hosts: c.Hosts, Proxies: proxies, Origins: c.CORSOrigins, Rates: limits.Rates()}, err
}
