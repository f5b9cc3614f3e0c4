package hub

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// badgeKeyFile holds the site's key for badges, in the state directory.
const badgeKeyFile = "badge.key"

const badgeKeySize = 32 // bytes

// privateOnly tells whether this system has modes of files, and directories that can be synced.
const privateOnly = runtime.GOOS != "windows"

// badgeHider makes pseudonyms of badges with the site's own key, which is made at the first start.
// The same badge gives the same pseudonym as long as the key is kept; without the key nobody can
// find the badge by trying all numbers. Case and white space around it do not matter.
func badgeHider(dir string, log *slog.Logger) (func(badge string) string, error) {
	key, err := badgeKey(filepath.Join(dir, badgeKeyFile), log)
	if err != nil {
		return nil, err
	}
	return func(badge string) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(strings.ToLower(strings.TrimSpace(badge))))
		return hex.EncodeToString(h.Sum(nil)[:8])
	}, nil
}

func badgeKey(file string, log *slog.Logger) ([]byte, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeBadgeKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key for badges: %w", err)
	}
	if info, err := os.Stat(file); err == nil && privateOnly && info.Mode().Perm()&0o077 != 0 { // as a copy put back often is
		if err := os.Chmod(file, 0o600); err != nil {
			return nil, fmt.Errorf("the key for badges can be read by others: %w; chmod 600 it", err)
		}
		log.Warn("the key for badges could be read by others of this machine; it is closed to them now", "file", file)
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil || len(key) != badgeKeySize {
		return nil, fmt.Errorf("the key for badges, %s, is damaged: put its copy back, or delete it for a new one, with which all badges get new pseudonyms", file)
	}
	return key, nil
}

// makeBadgeKey writes a new key so that it is there whole or not at all.
func makeBadgeKey(file string) ([]byte, error) {
	key := make([]byte, badgeKeySize)
	_, _ = rand.Read(key) // never fails
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(hex.EncodeToString(key) + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return nil, fmt.Errorf("make the key for badges: %w", err)
	}
	return key, nil
}

// syncDir makes a renamed file's new name durable, where directories can be synced.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && privateOnly {
		return err
	}
	return nil
}
