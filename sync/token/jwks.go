package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxKeys bounds a key set; maxJWKS its size in bytes.
const (
	maxKeys = 64
	maxJWKS = 64 << 10
)

// jwk is one public key (RFC 8037).
type jwk struct {
	Type    string `json:"kty"`
	Curve   string `json:"crv"`
	ID      string `json:"kid"`
	Use     string `json:"use,omitempty"`
	Alg     string `json:"alg,omitempty"`
	X       string `json:"x"`
	Private string `json:"d,omitempty"` // never written; a set that has it was leaked
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

func publish(keys []Key) ([]byte, error) {
	set := jwkSet{Keys: []jwk{}}
	seen := map[string]bool{}
	for _, k := range keys {
		if !goodKeyID(k.ID) || seen[k.ID] || len(k.Private) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("key %.64q: want a unique id of letters, digits, -, _ and ., and an Ed25519 key", k.ID)
		}
		seen[k.ID] = true
		public := k.Private.Public().(ed25519.PublicKey)
		set.Keys = append(set.Keys, jwk{Type: "OKP", Curve: "Ed25519", ID: k.ID, Use: "sig", Alg: "EdDSA", X: base64.RawURLEncoding.EncodeToString(public)})
	}
	return json.Marshal(set)
}

// ParseJWKS reads the Ed25519 signing keys of a key set by their ids. Keys of other types are
// skipped; a set without one of ours, a repeated id and a private key are errors.
func ParseJWKS(data []byte) (map[string]ed25519.PublicKey, error) {
	if len(data) > maxJWKS {
		return nil, fmt.Errorf("read key set: it has %d bytes, at most %d are read", len(data), maxJWKS)
	}
	if _, err := object(data, "key set"); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	var set jwkSet
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("read key set: it has %d keys, at most %d are read", len(set.Keys), maxKeys)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		if k.Type != "OKP" || k.Curve != "Ed25519" || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != "EdDSA" {
			continue
		}
		public, err := k.public()
		if err == nil && keys[k.ID] != nil {
			err = errors.New("the id stands twice")
		}
		if err != nil {
			return nil, fmt.Errorf("read key set: key %.64q: %w", k.ID, err)
		}
		keys[k.ID] = public
	}
	if len(keys) == 0 {
		return nil, errors.New("read key set: it has no Ed25519 signing key")
	}
	return keys, nil
}

func (k jwk) public() (ed25519.PublicKey, error) {
	if k.Private != "" {
		return nil, errors.New("this is a private key; make a new one and publish its public half only")
	}
	if !goodKeyID(k.ID) {
		return nil, errors.New("want an id of 1 to 64 letters, digits, dots, - and _")
	}
	x, err := segment(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("x is not a public key of 32 bytes in base64url")
	}
	return x, nil
}

func goodKeyID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, notInDomain)
}
