package tier

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/headcount-hub/headcount/cloud/accounts"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// minSecret is the shortest token in characters.
const minSecret = 16

// fileToken is a line of the token file, as on the hub; of its secret only the hash is kept.
type fileToken struct {
	id   *token.Identity
	hash [sha256.Size]byte
}

// loadTokens reads the token file. Devices have nothing to do here: they send to their hub.
func loadTokens(path string) ([]fileToken, error) {
	lines, err := gateway.LoadTokens(path)
	if err != nil {
		return nil, err
	}
	tokens := make([]fileToken, len(lines))
	for i, l := range lines {
		if l.Device != "" {
			return nil, fmt.Errorf("token file %s: device %s: tokens of devices are for the hub; make one for the cloud with POST /v1/sites/SITE/device-tokens", path, l.Device)
		}
		tokens[i] = fileToken{l.Identity(), sha256.Sum256([]byte(l.Secret))}
	}
	return tokens, nil
}

// ownToken reads or makes the token by which this machine's administrator commands a running
// tier.
func ownToken(path string) (string, error) {
	if b, err := os.ReadFile(path); err == nil && len(strings.TrimSpace(string(b))) >= minSecret {
		return strings.TrimSpace(string(b)), nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("admin token: %w", err)
	}
	var secret [24]byte
	rand.Read(secret[:])
	s := hex.EncodeToString(secret[:])
	if err := os.WriteFile(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	return s, nil
}

// doorkeeper finds out who callers are; what they may do is for the routes to decide.
type doorkeeper struct {
	tokens   []fileToken
	accounts *accounts.Accounts
}

// localUser is the caller on a server that needs no proof: whoever can reach loopback.
var localUser = &token.Identity{Kind: token.Local, Subject: "local", Name: "local", Everywhere: token.Admin}

// open tells whether callers need no proof: as long as there are neither tokens nor accounts.
func (d *doorkeeper) open() bool { return len(d.tokens) == 0 && !d.accounts.Exist() }

// identify returns whose token the request has, in its header or as cookie (see rawToken); nobody when it has
// none.
func (d *doorkeeper) identify(r *http.Request) (id *token.Identity, err error) {
	if d.open() {
		return localUser, nil
	}
	raw := rawToken(r)
	switch {
	case raw == "":
		return nil, nil
	case accounts.SignedToken(raw):
		return d.accounts.Authenticate(r.Context(), raw)
	}
	h := sha256.Sum256([]byte(raw))
	for _, t := range d.tokens { // all of them, so that time does not tell which
		if subtle.ConstantTimeCompare(h[:], t.hash[:]) == 1 {
			id = t.id
		}
	}
	if id == nil {
		return nil, gateway.ErrGuess
	}
	return id, nil
}
