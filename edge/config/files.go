package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// secretKeys are the keys that name files with secrets.
var secretKeys = map[string]bool{"secret_file": true, "token_file": true, "password_file": true, "credentials_file": true, "key_file": true, "pin_file": true, "tls_key_file": true}

// checkFiles looks at every file that a key ending in _file names, in drivers' options too.
func (b *builder) checkFiles(n *node, path string) {
	for i, item := range n.items {
		b.checkFiles(item, fmt.Sprintf("%s[%d]", path, i))
	}
	for _, m := range n.members {
		where := join(path, m.key)
		b.checkFiles(m.value, where)
		if !strings.HasSuffix(m.key, "_file") || m.value.kind != textNode || m.value.text == "" {
			continue
		}
		msg, hint := checkFile(b.file(m.value.text), secretKeys[m.key])
		if msg != "" {
			b.ps.add(m.value, where, hint, "%s", msg)
		}
	}
}

// checkFile says what is wrong with a file; an empty msg is fine.
func checkFile(name string, secret bool) (msg, hint string) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no file " + name, "create it or delete the key"
	case err != nil:
		return "cannot be looked at: " + err.Error(), ""
	case !info.Mode().IsRegular():
		return name + " is not a file", ""
	case secret && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fmt.Sprintf("%s holds a secret, but its mode %04o lets others at it", name, info.Mode().Perm()), "chmod 600 " + name
	case info.Size() == 0:
		return name + " is empty", ""
	}
	return "", ""
}

// maxSecret bounds the size of a file with a secret in bytes.
const maxSecret = 64 << 10

// ReadSecret returns the content of a file that holds a secret, without white space around
// it. A file that is empty, large or open to others is refused.
func ReadSecret(name string) ([]byte, error) {
	if msg, hint := checkFile(name, true); msg != "" {
		if hint != "" {
			msg += " (" + hint + ")"
		}
		return nil, fmt.Errorf("read secret: %s", msg)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("read secret: %s is %d bytes long, at most %d are allowed", name, len(data), maxSecret)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, fmt.Errorf("read secret: %s is empty", name)
	}
	return data, nil
}
