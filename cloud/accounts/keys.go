package accounts

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/headcount-hub/headcount/sync/token"
)

// keysFile is where the keys are, in the data directory.
const keysFile = "keys.json"

// keyring is the cloud's secrets: the keys that sign tokens, the first of which is in use, and
// the secret behind refresh tokens and links.
type keyring struct {
	path string
	now  func() time.Time

	mu     sync.Mutex // guards what follows
	file   keyFile
	signed *token.Signer
}

type keyFile struct {
	Keys   []storedKey `json:"keys"`
	Secret []byte      `json:"secret"`
}

type storedKey struct {
	ID      string    `json:"id"`
	Seed    []byte    `json:"seed"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"` // a key that is not in use is published until then
}

// openKeys reads the keys of a data directory, or makes them.
func openKeys(dir string, now func() time.Time) (*keyring, error) {
	k := &keyring{path: filepath.Join(dir, keysFile), now: now}
	info, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		k.file = keyFile{Keys: []storedKey{newKey(now())}, Secret: random(32)}
		return k, k.save()
	}
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("open keys: %s can be read by others (%04o); run: chmod 600 %s", k.path, info.Mode().Perm(), k.path)
	}
	b, err := os.ReadFile(k.path)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	if err := json.Unmarshal(b, &k.file); err != nil {
		return nil, fmt.Errorf("open keys: %s: %w; restore it from a backup, or move it away: everybody has to log in again", k.path, err)
	}
	if len(k.file.Keys) == 0 || len(k.file.Secret) < 32 {
		return nil, fmt.Errorf("open keys: %s is not whole; restore it from a backup, or move it away: everybody has to log in again", k.path)
	}
	return k, k.use()
}

func newKey(now time.Time) storedKey {
	return storedKey{ID: hex.EncodeToString(random(8)), Seed: random(ed25519.SeedSize), Created: now.UTC().Truncate(time.Second)}
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// use makes the signer of the keys that are to be published now.
func (k *keyring) use() error {
	now := k.now()
	var keys []token.Key
	for i, s := range k.file.Keys {
		if len(s.Seed) != ed25519.SeedSize {
			return fmt.Errorf("key %s in %s is not whole", s.ID, k.path)
		}
		if i == 0 || now.Before(s.Until) {
			keys = append(keys, token.Key{ID: s.ID, Private: ed25519.NewKeyFromSeed(s.Seed)})
		}
	}
	signer, err := token.NewSigner(Issuer, keys, k.now)
	if err != nil {
		return fmt.Errorf("use keys: %w", err)
	}
	k.signed = signer
	return nil
}

// save writes the file so that it is whole at any time, and uses what it says.
func (k *keyring) save() error {
	b, err := json.MarshalIndent(k.file, "", "  ")
	if err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	if err := writeWhole(k.path, append(b, '\n')); err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	return k.use()
}

// writeWhole replaces a file that only its owner reads.
func writeWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (k *keyring) signer() *token.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signed
}

// rotate puts a new key to use; the old one is published until all that it has signed has
// expired.
func (k *keyring) rotate(until time.Time) (id string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.file
	now := k.now()
	keys := slices.Clone(old.Keys)
	keys[0].Until = until.UTC().Truncate(time.Second).Add(time.Second)
	keys = slices.DeleteFunc(keys, func(s storedKey) bool { return now.After(s.Until) })
	k.file.Keys = append([]storedKey{newKey(now)}, keys...)
	if err := k.save(); err != nil {
		k.file = old
		return "", err
	}
	return k.file.Keys[0].ID, nil
}

// mac proves that the cloud has made a text, for one purpose.
func (k *keyring) mac(purpose, text string) string {
	h := hmac.New(sha256.New, k.file.Secret) // the secret never changes
	h.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// proves tells whether a text and its proof belong together.
func (k *keyring) proves(purpose, text, proof string) bool {
	return hmac.Equal([]byte(k.mac(purpose, text)), []byte(proof))
}
