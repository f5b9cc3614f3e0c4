package api

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// Token lets its holder use the API. Name stands for the holder in commands and in the audit.
type Token struct {
	Name   string
	Secret string
}

// minSecret is the shortest secret in characters: 16 random ones cannot be tried out.
const minSecret = 16

// LoadTokens reads a token file: one per line, "secret" or "name:secret"; empty lines and
// lines that begin with # are skipped. The file must not be readable by others.
func LoadTokens(path string) ([]Token, error) {
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
	var tokens []Token
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		t, err := parseToken(in.Text(), n)
		if err != nil {
			return nil, fmt.Errorf("token file %s: line %d: %w", path, n, err)
		}
		if t.Secret != "" {
			tokens = append(tokens, t)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("token file %s: %w", path, err)
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("token file %s has no token; write one line: name:secret", path)
	}
	return tokens, nil
}

// parseToken reads one line; a zero token is a line without one. Errors never show the line.
func parseToken(line string, n int) (Token, error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return Token{}, nil
	}
	name, secret, ok := strings.Cut(line, ":")
	if !ok {
		name, secret = "token-"+strconv.Itoa(n), line
	}
	name, secret = strings.TrimSpace(name), strings.TrimSpace(secret)
	switch {
	case name == "" || len(name) > 64:
		return Token{}, errors.New("the name before the colon must have 1 to 64 characters")
	case len(secret) < minSecret:
		return Token{}, fmt.Errorf("the secret is shorter than %d characters; make one with: openssl rand -hex 24", minSecret)
	case strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' }):
		return Token{}, errors.New("the secret may only have printable ASCII without spaces")
	}
	return Token{Name: name, Secret: secret}, nil
}

// auth knows the tokens, by their hashes so that comparing takes the same time for all.
type auth struct {
	names  []string
	hashes [][sha256.Size]byte
}

func newAuth(tokens []Token) *auth {
	a := &auth{}
	for _, t := range tokens {
		a.names = append(a.names, t.Name)
		a.hashes = append(a.hashes, sha256.Sum256([]byte(t.Secret)))
	}
	return a
}

// who returns the name that a secret belongs to.
func (a *auth) who(secret string) (name string, ok bool) {
	h := sha256.Sum256([]byte(secret))
	for i := range a.hashes { // all of them, so that time does not tell which
		if subtle.ConstantTimeCompare(h[:], a.hashes[i][:]) == 1 {
			name, ok = a.names[i], true
		}
	}
	return name, ok
}

// identify finds out whose token a request has; without tokens nobody needs one.
func (a *auth) identify(r *http.Request) (*token.Identity, error) {
	secret, given := bearer(r)
	if !given || len(a.hashes) == 0 {
		return nil, nil
	}
	name, ok := a.who(secret)
	if !ok {
		return nil, gateway.ErrGuess
	}
	return &token.Identity{Kind: token.Local, Subject: name, Name: name, Everywhere: token.Admin}, nil
}

// admit lets a request through when its route is open, no tokens are configured or it came with
// a good one; otherwise it answers.
func (a *API) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := a.mux.Handler(r)
		if len(a.opts.Tokens) == 0 || gateway.CallOf(r.Context()).Who != nil || slices.Contains(a.open, pattern) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="headcount"`)
		problem(w, http.StatusUnauthorized, "send a token of the hub's token file: Authorization: Bearer TOKEN")
	})
}

func bearer(r *http.Request) (secret string, ok bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), ok && strings.EqualFold(scheme, "Bearer")
}
