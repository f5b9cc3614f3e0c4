package tier

import (
	"bufio"
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

// fileToken lets its holder use the API; only its hash is kept.
type fileToken struct {
	name string
	hash [sha256.Size]byte
}

// loadTokens reads a token file: "secret" or "name:secret" per line, as on the hub. Errors never
// show a line.
func loadTokens(path string) ([]fileToken, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("token file %s is open to every user of this machine (%04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	defer f.Close()
	var tokens []fileToken
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, secret, ok := strings.Cut(line, ":")
		if !ok {
			name, secret = fmt.Sprintf("token-%d", n), line
		}
		if secret = strings.TrimSpace(secret); len(secret) < minSecret {
			return nil, fmt.Errorf("token file %s: line %d: the secret is shorter than %d characters; make one with: openssl rand -hex 24", path, n, minSecret)
		}
		tokens = append(tokens, fileToken{strings.TrimSpace(name), sha256.Sum256([]byte(secret))})
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("token file %s: %w", path, err)
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("token file %s has no token; write one line: name:secret", path)
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
			id = &token.Identity{Kind: token.Local, Subject: t.name, Name: t.name, Everywhere: token.Admin}
		}
	}
	if id == nil {
		return nil, gateway.ErrGuess
	}
	return id, nil
}
