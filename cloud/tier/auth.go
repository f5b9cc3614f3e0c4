package tier

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

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

// guard lets requests through that may pass.
type guard struct {
	tokens []fileToken
	hosts  []string

	mu      sync.Mutex // guards guesses
	guesses map[string]*guessing
}

// guessing counts the wrong tokens of one address since a time.
type guessing struct {
	since time.Time
	count int
}

// The bounds of guessing: 5 wrong tokens per minute and address, 1024 addresses remembered.
const (
	maxGuesses   = 5
	guessWindow  = time.Minute
	maxAddresses = 1024
)

// wrap notes in the request's context who the caller is; what it may do is for the routes to
// decide. It refuses wrong tokens, and without any tokens what calls this server by a foreign
// name or comes from a foreign page.
func (g *guard) wrap(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := crossOrigin.Check(r); err != nil {
			gateway.WriteProblem(w, gateway.NewProblem(http.StatusForbidden, "requests that change something are taken from this server's own pages only"))
			return
		}
		if len(g.tokens) == 0 {
			if !g.rightHost(r) {
				gateway.WriteProblem(w, gateway.NewProblem(http.StatusMisdirectedRequest, "this server is not called %s; use its address, or add the name to http.hosts", r.Host))
				return
			}
			next.ServeHTTP(w, r.WithContext(token.Into(r.Context(), localUser)))
			return
		}
		id, given := g.check(r)
		switch {
		case id != nil:
			next.ServeHTTP(w, r.WithContext(token.Into(r.Context(), id)))
		case given && g.locked(remote(r)):
			p := gateway.NewProblem(http.StatusTooManyRequests, "too many wrong tokens from this address; wait a minute")
			p.Header = http.Header{"Retry-After": {"60"}}
			gateway.WriteProblem(w, p)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// localUser is the caller on a server that needs no tokens: whoever can reach loopback.
var localUser = &token.Identity{Kind: token.Local, Subject: "local", Name: "local", Everywhere: token.Admin}

// check returns whose token the request has, and whether it has one at all.
func (g *guard) check(r *http.Request) (id *token.Identity, given bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, false
	}
	if g.locked(remote(r)) {
		return nil, true
	}
	h := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	for _, t := range g.tokens { // all of them, so that time does not tell which
		if subtle.ConstantTimeCompare(h[:], t.hash[:]) == 1 {
			id = &token.Identity{Kind: token.Local, Subject: t.name, Name: t.name, Everywhere: token.Admin}
		}
	}
	if id == nil {
		g.failed(remote(r))
	}
	return id, true
}

func remote(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

func (g *guard) locked(addr string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := g.guesses[addr]
	return have != nil && have.count >= maxGuesses && time.Since(have.since) < guessWindow
}

func (g *guard) failed(addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := g.guesses[addr]
	if have == nil || time.Since(have.since) >= guessWindow {
		if g.guesses == nil || len(g.guesses) >= maxAddresses {
			g.guesses = map[string]*guessing{} // a flood of addresses; forgetting is better than growing
		}
		have = &guessing{since: time.Now()}
		g.guesses[addr] = have
	}
	have.count++
}

// rightHost refuses names that are not ours: a page on a foreign name that resolves to this
// machine could otherwise read everything (DNS rebinding).
func (g *guard) rightHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(g.hosts, host)
}
