package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The forger makes tokens by hand, without the code under test or its library.

// object is a JSON object in order, with its values as they are written.
type object [][2]string

func (o object) String() string {
	var parts []string
	for _, f := range o {
		parts = append(parts, strconv.Quote(f[0])+":"+f[1])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// with replaces a value, or puts it at the end.
func (o object) with(key, value string) object {
	out := o.without(key)
	return append(out, [2]string{key, value})
}

// also puts one more member at the end, whatever stands there already.
func (o object) also(key, value string) object {
	return append(append(object{}, o...), [2]string{key, value})
}

func (o object) without(key string) (out object) {
	for _, f := range o {
		if f[0] != key {
			out = append(out, f)
		}
	}
	return out
}

type signer func(text string) []byte

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func forge(header, payload string, sign signer) string {
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	return text + "." + b64(sign(text))
}

func ed(key ed25519.PrivateKey) signer {
	return func(text string) []byte { return ed25519.Sign(key, []byte(text)) }
}

func hs(secret []byte) signer {
	return func(text string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
}

func fixed(b []byte) signer { return func(string) []byte { return b } }

// publicForms are what an attacker may take for a shared secret: the public key in the forms in
// which it can be had.
func publicForms(key ed25519.PrivateKey) map[string][]byte {
	public := key.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err) // an Ed25519 key always has this form
	}
	return map[string][]byte{
		"raw": public, "DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "base64url": []byte(b64(public)),
		"base64": []byte(base64.StdEncoding.EncodeToString(public)), "hex": fmt.Appendf(nil, "%x", []byte(public)), "none": {},
	}
}

func unix(d time.Duration) string { return strconv.FormatInt(noon.Add(d).Unix(), 10) }
