package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a folder with the given files, their mode before a colon.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		mode := os.FileMode(0o600)
		if strings.HasPrefix(name, "open-") {
			mode = 0o644
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadLooksAtTheFilesItNames(t *testing.T) {
	dir := folder(t, map[string]string{
		"good.yaml": "site: {id: s}\nhttp: {listen: \":80\", token_file: token, tls_cert_file: open-cert, tls_key_file: key}\n",
		"bad.yaml": `site: {id: s}
actions: {hook: {webhook: "https://example.org", secret_file: open-secret}}
uplink: {url: "nats://h", credentials_file: missing, ca_file: .}
http: {token_file: empty}
inputs: [{driver: broker, password_file: open-secret, profile_file: open-cert}]
`,
		"token": "t", "open-cert": "c", "key": "k", "open-secret": "s", "empty": "",
	})
	c, err := Load(filepath.Join(dir, "good.yaml"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != ":80" || c.HTTP.TokenFile != filepath.Join(dir, "token") || c.Path != filepath.Join(dir, "good.yaml") {
		t.Errorf("http %+v, path %s", c.HTTP, c.Path)
	}
	_, err = Load(filepath.Join(dir, "bad.yaml"), Options{})
	if err == nil {
		t.Fatal("bad.yaml is accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		"bad.yaml:2:63: actions.hook.secret_file: DIR/open-secret holds a secret, but its mode 0644 lets others at it (chmod 600 DIR/open-secret)",
		"bad.yaml:3:45: uplink.credentials_file: there is no file DIR/missing (create it or delete the key)",
		"bad.yaml:3:63: uplink.ca_file: DIR is not a file",
		"bad.yaml:4:20: http.token_file: DIR/empty is empty",
		"bad.yaml:5:42: inputs[0].password_file: DIR/open-secret holds a secret",
	} {
		want = strings.ReplaceAll(want, "DIR", dir)
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d of\n%s\nwant %s", i+1, err, want)
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d mistakes, want 5:\n%s", len(lines), err)
	}
}

func TestLoadOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none"), Options{}); err == nil || !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("no file: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, Options{}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a huge file: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}

func TestReadSecret(t *testing.T) {
	dir := folder(t, map[string]string{"a": " s3cret\n", "open-b": "x", "blank": " \n", "large": strings.Repeat("x", maxSecret+1)})
	if got, err := ReadSecret(filepath.Join(dir, "a")); err != nil || string(got) != "s3cret" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]string{"open-b": "chmod 600", "blank": "is empty", "large": "at most", "none": "no file"} {
		if _, err := ReadSecret(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", name, err, want)
		}
	}
}
