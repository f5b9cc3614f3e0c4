package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/edge/gateway"
)

// The cost of a hash: 19 MiB, two passes, one lane (the first choice of OWASP's password storage
// advice). At most parallelHashes are computed at once, so logins never need more than 76 MiB.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	hashSize   = 32
	saltSize   = 16
)

// parallelHashes is how many hashes are computed at once.
func parallelHashes() int { return max(1, min(4, runtime.GOMAXPROCS(0))) }

// hashWait is how long a login waits for its turn.
const hashWait = 10 * time.Second

// The bounds of a password, in characters and bytes.
const (
	minPassword = 10
	maxPassword = 256
)

// nobodysHash is what the password of an unknown user is held against, so that the answer takes
// the same time.
func (a *Accounts) nobodysHash() string {
	return encodeHash(a.memory, make([]byte, saltSize), make([]byte, hashSize))
}

// commonPasswords are those of ten characters and more that are tried first everywhere.
var commonPasswords = words(`1234567890 0123456789 0987654321 9876543210 1111111111 0000000000 1q2w3e4r5t 1qaz2wsx3edc qwertyuiop
qwerty12345 qwerty123456 qwertyuiop123 asdfghjkl1 zxcvbnm123 password12 password123 password1234 password12345 passw0rd123 p@ssword123
p@ssw0rd123 administrator admin12345 admin123456 adminadmin letmein123 letmein1234 welcome123 welcome1234 changeme123 changeme1234
iloveyou12 iloveyou123 sunshine123 princess123 football123 baseball123 superman123 trustno1trustno1 monkey12345 dragon12345
abc1234567 abcd123456 abcdefghij abcdef1234 a123456789 123456789a 12345678910 123123123123 1234512345 11223344556677889900
headcount1 headcount123 headcount1234 occupancy1 occupancy123 secret12345 secretsecret default123 company123 summer2025 summer2026 winter2025 winter2026
passwordpassword correcthorsebatterystaple`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// checkPassword says what is wrong with a new password.
func checkPassword(password, email string) error {
	lower := strings.ToLower(password)
	local, _, _ := strings.Cut(emailKey(email), "@")
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return route.Problem(http.StatusUnprocessableEntity, "the password is too short: use at least %d characters", minPassword)
	case len(password) > maxPassword || !utf8.ValidString(password):
		return route.Problem(http.StatusUnprocessableEntity, "the password is too long, or not text: use at most %d bytes", maxPassword)
	case strings.Contains(lower, emailKey(email)) || len(local) >= 4 && strings.Contains(lower, local):
		return route.Problem(http.StatusUnprocessableEntity, "the password contains the mail address; choose another")
	case commonPasswords[lower] || len(distinct(lower)) < 4:
		return route.Problem(http.StatusUnprocessableEntity, "the password is one of those that are guessed first; choose another")
	}
	return nil
}

func distinct(s string) map[rune]bool {
	m := map[rune]bool{}
	for _, r := range s {
		m[r] = true
	}
	return m
}

// turn waits for a place to hash in; call the result when done.
func (a *Accounts) turn(ctx context.Context) (func(), error) {
	late := time.NewTimer(hashWait)
	defer late.Stop()
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, tooMany("too many people log in at once", time.Second*5)
	}
}

// hashPassword makes the form of a password that is stored.
func (a *Accounts) hashPassword(ctx context.Context, password string) (string, error) {
	done, err := a.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := random(saltSize)
	return encodeHash(a.memory, salt, argon2.IDKey([]byte(password), salt, hashPasses, a.memory, hashLanes, hashSize)), nil
}

func encodeHash(memory uint32, salt, hash []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, hashPasses, hashLanes, enc.EncodeToString(salt), enc.EncodeToString(hash))
}

// passwordIs tells whether a password belongs to a stored hash. It takes as long for an empty
// hash, to which none belongs.
func (a *Accounts) passwordIs(ctx context.Context, password, stored string) (bool, error) {
	known := stored != ""
	if !known {
		stored = a.nobodysHash()
	}
	var version, memory, passes, lanes int
	head, tail, _ := strings.Cut(strings.TrimPrefix(stored, "$argon2id$"), ",p=")
	fields := strings.Split(tail, "$")
	if _, err := fmt.Sscanf(head, "v=%d$m=%d,t=%d", &version, &memory, &passes); err != nil || len(fields) != 3 || version != argon2.Version {
		return false, fmt.Errorf("read password hash: it has an unknown form")
	}
	_, err := fmt.Sscan(fields[0], &lanes)
	salt, err1 := base64.RawStdEncoding.DecodeString(fields[1])
	want, err2 := base64.RawStdEncoding.DecodeString(fields[2])
	if err != nil || err1 != nil || err2 != nil || len(want) < 16 || memory > 1<<20 || passes > 16 || lanes < 1 || lanes > 16 {
		return false, fmt.Errorf("read password hash: it has an unknown form")
	}
	done, err := a.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if len(password) > maxPassword {
		password = ""
	}
	got := argon2.IDKey([]byte(password), salt, uint32(passes), uint32(memory), uint8(lanes), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// tooMany is the answer to those who have to wait.
func tooMany(why string, wait time.Duration) error {
	seconds := int(wait.Round(time.Second) / time.Second)
	p := gateway.NewProblem(http.StatusTooManyRequests, "%s; try again in %d s", why, max(1, seconds))
	p.Header = http.Header{"Retry-After": {fmt.Sprint(max(1, seconds))}}
	return p
}
