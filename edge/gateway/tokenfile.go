package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/headcount-hub/headcount/sync/token"
)

// Token lets its holder use the API. Name stands for the holder in commands and in the audit.
type Token struct {
	Name   string
	Secret string
	Role   token.Role // None = Admin
	Device string     // not empty: a device's token, which may send this device's readings and nothing else
}

// Identity is the caller that holds the token.
func (t Token) Identity() *token.Identity {
	if t.Device != "" {
		return &token.Identity{Kind: token.Device, Subject: t.Device, Name: t.Name}
	}
	role := t.Role
	if role == token.None {
		role = token.Admin
	}
	return &token.Identity{Kind: token.Local, Subject: t.Name, Name: t.Name, Everywhere: role}
}

// The bounds of a token file's entries.
const (
	minSecret = 16  // characters: 16 random ones cannot be tried out
	maxName   = 64  // bytes
	maxDevice = 200 // bytes of a device's address
)

// LoadTokens reads a token file: one per line; empty lines and lines that begin with # are
// skipped. The file must not be readable by others.
//
//	secret                  an administrator
//	name:secret             an administrator
//	name:role:secret        viewer, operator, manager or admin
//	device:ADDRESS:secret   sends the readings of one device
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
		t, err := ParseToken(in.Text(), n)
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

// ParseToken reads line n of a token file; a zero token is a line without one. Errors never
// show the line: any word of it may be a secret.
func ParseToken(line string, n int) (t Token, err error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return Token{}, nil
	}
	before, secret, named := cutLast(line, ":")
	t.Secret = strings.TrimSpace(secret)
	switch address, ofDevice := strings.CutPrefix(before, "device:"); {
	case !named:
		t.Name = "token-" + strconv.Itoa(n)
	case before == "device":
		return Token{}, errors.New("want device:ADDRESS:secret; a caller cannot be called device")
	case ofDevice:
		t.Device = strings.TrimSpace(address)
		t.Name = "device " + t.Device
	default:
		if t.Name, t.Role, err = parseName(before); err != nil {
			return Token{}, err
		}
	}
	if err := t.check(); err != nil {
		return Token{}, err
	}
	return t, nil
}

// parseName reads name or name:role.
func parseName(s string) (name string, role token.Role, err error) {
	name, word, hasRole := strings.Cut(s, ":")
	if !hasRole {
		return strings.TrimSpace(s), token.Admin, nil
	}
	role, ok := token.ParseRole(strings.TrimSpace(word))
	if !ok {
		return "", role, errors.New("the word between the colons is not a role: want name:role:secret with viewer, operator, manager or admin; a secret has no colon")
	}
	return strings.TrimSpace(name), role, nil
}

func (t Token) check() error {
	switch {
	case t.Device == "" && (t.Name == "" || len(t.Name) > maxName):
		return fmt.Errorf("the name before the colon must have 1 to %d characters", maxName)
	case strings.HasPrefix(t.Name, "device ") && (t.Device == "" || len(t.Device) > maxDevice):
		return fmt.Errorf("the address of a device must have 1 to %d characters", maxDevice)
	case len(t.Secret) < minSecret:
		return fmt.Errorf("the secret is shorter than %d characters; make one with: headcount token new", minSecret)
	case strings.ContainsFunc(t.Secret, func(c rune) bool { return c <= ' ' || c > '~' }):
		return errors.New("the secret may only have printable ASCII without spaces")
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
