package broker

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/headcount-hub/headcount/drivers/profiles"
)

// users are who may connect and what they may do. A nil *users lets everybody do everything
// but write $SYS; it is for loopback only.
type users struct {
	hashes map[string]string
	rules  []rule // nil: no ACL file
	acl    bool

	mu    sync.Mutex          // also: one hash at a time, so that guessing cannot take the processor
	known map[string][32]byte // user -> SHA-256 of the password that was verified
}

type rule struct {
	user        string // "*": everybody
	read, write bool
	filter      string // %u and %c stand for user and client id
}

// loadUsers reads the password file and the ACL file; without the former it returns nil.
func loadUsers(passwords, acl string) (*users, error) {
	if passwords == "" {
		return nil, nil
	}
	u := &users{hashes: map[string]string{}, known: map[string][32]byte{}}
	err := eachLine(passwords, func(line string) error {
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return fmt.Errorf("want user:hash")
		}
		if _, twice := u.hashes[name]; twice {
			return fmt.Errorf("user %q stands twice", name)
		}
		if _, err := verify(hash, nil, true); err != nil {
			return fmt.Errorf("user %q: %w", name, err)
		}
		u.hashes[name] = hash
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("password_file %w", err)
	}
	if acl == "" {
		return u, nil
	}
	u.acl = true
	if err := eachLine(acl, u.addRule); err != nil {
		return nil, fmt.Errorf("acl_file %w", err)
	}
	return u, nil
}

// eachLine calls f with every line that is neither empty nor a comment. Others than the owner
// and its group must not be able to read the file.
func eachLine(name string, f func(line string) error) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s can be read by everybody on this machine: chmod 600 it", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("%s line %d: %w", name, i+1, err)
		}
	}
	return nil
}

func (u *users) addRule(line string) error {
	f := strings.Fields(line)
	if len(f) != 3 {
		return fmt.Errorf("want: user read|write|readwrite filter")
	}
	r := rule{user: f[0], filter: f[2]}
	switch f[1] {
	case "read":
		r.read = true
	case "write":
		r.write = true
	case "readwrite":
		r.read, r.write = true, true
	default:
		return fmt.Errorf("%q: want read, write or readwrite", f[1])
	}
	if err := profiles.CheckFilter(r.filter); err != nil {
		return err
	}
	u.rules = append(u.rules, r)
	return nil
}

// authenticate checks a password. A wrong one and an unknown user take the same time or so.
func (u *users) authenticate(name string, password []byte) bool {
	if u == nil {
		return true
	}
	sum := sha256.Sum256(password)
	u.mu.Lock()
	defer u.mu.Unlock()
	if known, ok := u.known[name]; ok && subtle.ConstantTimeCompare(known[:], sum[:]) == 1 {
		return true
	}
	hash, exists := u.hashes[name]
	if !exists {
		for _, hash = range u.hashes { // any one, for its cost
			break
		}
	}
	ok, err := verify(hash, password, false)
	if !exists || !ok || err != nil {
		return false
	}
	u.known[name] = sum
	return true
}

// verify checks a password against a hash: bcrypt, argon2id, the PBKDF2 of mosquitto_passwd
// ($7$), or plain:secret. With formOnly it checks the hash's form only.
func verify(hash string, password []byte, formOnly bool) (bool, error) {
	switch {
	case strings.HasPrefix(hash, "$2a$") || strings.HasPrefix(hash, "$2b$") || strings.HasPrefix(hash, "$2y$"):
		if _, err := bcrypt.Cost([]byte(hash)); err != nil || formOnly {
			return false, err
		}
		return bcrypt.CompareHashAndPassword([]byte(hash), password) == nil, nil
	case strings.HasPrefix(hash, "$argon2id$"):
		return verifyArgon2(hash, password, formOnly)
	case strings.HasPrefix(hash, "$7$"):
		return verifyPBKDF2(hash, password, formOnly)
	case strings.HasPrefix(hash, "plain:") && len(hash) > len("plain:"):
		return subtle.ConstantTimeCompare([]byte(hash[len("plain:"):]), password) == 1, nil
	}
	return false, fmt.Errorf("unknown form of hash: want bcrypt ($2y$…), argon2id ($argon2id$…), mosquitto_passwd ($7$…) or plain:secret")
}

// verifyArgon2 reads $argon2id$v=19$m=65536,t=3,p=4$salt$hash. The parameters are bounded:
// they say how much memory and time each attempt takes.
func verifyArgon2(hash string, password []byte, formOnly bool) (bool, error) {
	parts := strings.Split(hash, "$")
	var memory, rounds uint32
	var lanes uint8
	if len(parts) != 6 || parts[2] != "v=19" {
		return false, fmt.Errorf("argon2id hash is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &rounds, &lanes); err != nil || memory > 128<<10 || rounds == 0 || rounds > 16 || lanes == 0 {
		return false, fmt.Errorf("argon2id parameters %q: want m up to 131072 (KiB), t 1 to 16 and p from 1", parts[3])
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) < 16 {
		return false, fmt.Errorf("argon2id salt or hash is not base64")
	}
	if formOnly {
		return false, nil
	}
	got := argon2.IDKey(password, salt, rounds, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// verifyPBKDF2 reads $7$iterations$salt$hash, as mosquitto_passwd writes it.
func verifyPBKDF2(hash string, password []byte, formOnly bool) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 5 {
		return false, fmt.Errorf("hash is not of the form $7$iterations$salt$hash")
	}
	rounds, err := strconv.Atoi(parts[2])
	salt, err1 := base64.StdEncoding.DecodeString(parts[3])
	want, err2 := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || err1 != nil || err2 != nil || rounds < 1 || rounds > 10_000_000 || len(want) < 16 {
		return false, fmt.Errorf("hash is not of the form $7$iterations$salt$hash")
	}
	if formOnly {
		return false, nil
	}
	got, err := pbkdf2.Key(sha512.New, string(password), salt, rounds, len(want))
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1, nil
}

// allows tells whether a client may write a topic, read it, or subscribe to a filter. A filter
// with wildcards may always be asked for: each message is checked when it is passed on.
func (u *users) allows(user, client, topic string, write bool) bool {
	if write && strings.HasPrefix(topic, "$") {
		return false
	}
	if u == nil || !u.acl {
		return true
	}
	if !write && strings.ContainsAny(topic, "#+") {
		return true
	}
	for _, r := range u.rules {
		if r.user != "*" && r.user != user || write && !r.write || !write && !r.read {
			continue
		}
		if filter, ok := expand(r.filter, user, client); ok && profiles.Match(filter, topic) {
			return true
		}
	}
	return false
}

// expand puts user and client id into a filter; names that would be wildcards are refused.
func expand(filter, user, client string) (string, bool) {
	if !strings.Contains(filter, "%") {
		return filter, true
	}
	if strings.ContainsAny(user+client, "#+/") {
		return "", false
	}
	return strings.NewReplacer("%u", user, "%c", client).Replace(filter), true
}
