package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// TLSConfig is what servers speak TLS by: 1.2 or newer, HTTP/2 when the client can.
func TLSConfig(certificate tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
}

// The files of a self-signed certificate, in the data directory.
const (
	SelfSignedCert = "http-cert.pem"
	SelfSignedKey  = "http-key.pem"
)

// The life of a self-signed certificate. Clients pin it, so it lives long; boards without clock
// may make it in 1970, so it is valid from then on.
const (
	selfSignedLife  = 10 * 365 * 24 * time.Hour
	selfSignedRenew = 30 * 24 * time.Hour // before its end
)

// SelfSigned is the certificate kept in dir, which it makes (mode 0600) when there is none, or
// when its end is near. hosts are further names and addresses to put in a new one. The
// fingerprint is the SHA-256 of the certificate, as browsers show it.
func SelfSigned(dir string, hosts []string, now time.Time) (c tls.Certificate, fingerprint string, err error) {
	certFile, keyFile := filepath.Join(dir, SelfSignedCert), filepath.Join(dir, SelfSignedKey)
	c, err = tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil && now.Before(c.Leaf.NotAfter.Add(-selfSignedRenew)) {
		return c, Fingerprint(c), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, "", fmt.Errorf("self-signed certificate: %w; remove %s and %s to have a new one made", err, certFile, keyFile)
	}
	cert, key, err := makeSelfSigned(hosts, now)
	if err != nil {
		return c, "", fmt.Errorf("make self-signed certificate: %w", err)
	}
	// Key first: a certificate without its key would be a mistake on the next start.
	for _, f := range []struct {
		name string
		body []byte
	}{{keyFile, key}, {certFile, cert}} {
		if err := replaceFile(f.name, f.body); err != nil {
			return c, "", fmt.Errorf("keep self-signed certificate: %w", err)
		}
	}
	c, err = tls.X509KeyPair(cert, key)
	return c, Fingerprint(c), err
}

// replaceFile writes a file of mode 0600 as a whole or not at all.
func replaceFile(name string, body []byte) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, body, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// Fingerprint is the SHA-256 of a certificate in hex with colons.
func Fingerprint(c tls.Certificate) string {
	if len(c.Certificate) == 0 {
		return ""
	}
	sum := sha256.Sum256(c.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func makeSelfSigned(hosts []string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Headcount", Organization: []string{"self-signed"}},
		NotBefore: time.Unix(0, 0), NotAfter: now.Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	addNames(template, hosts)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// addNames puts in what this machine is known by.
func addNames(c *x509.Certificate, hosts []string) {
	names := append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	if name, err := os.Hostname(); err == nil {
		names = append(names, name, name+".local")
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if ipnet, ok := a.(*net.IPNet); ok && !ipnet.IP.IsLoopback() {
				names = append(names, ipnet.IP.String())
			}
		}
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if name != "" {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
}
