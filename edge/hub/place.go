package hub

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"

	"github.com/headcount-hub/headcount/edge/config"
)

// The layout of the state directory.
func journalDir(dir string) string      { return filepath.Join(dir, "journal") }
func stateDir(dir, input string) string { return filepath.Join(dir, "inputs", input) }

// cardBudget is the flash-wear budget on an SD or eMMC card, in bytes per day: a 32 GB card of
// 3,000 program/erase cycles then lasts for decades, with a write amplification of 5 for years.
const cardBudget = 4e9

// secure wraps a listener in TLS when a certificate is configured.
func secure(ln net.Listener, c config.HTTP) (net.Listener, error) {
	if c.TLSCertFile == "" {
		return ln, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return ln, fmt.Errorf("http.tls_cert_file %s: %w", c.TLSCertFile, err)
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}
