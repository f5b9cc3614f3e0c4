package hub

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/journal"
)

// A backup is a gzipped tar: manifest, the journal's files under journal/, and what else the hub keeps in its
// state directory, secrets included.
const (
	manifestName = "manifest.json"
	setAside     = "before-restore-" // where a restore puts what was there
)

// Manifest says what a backup is of.
type Manifest struct {
	Format  int       `json:"format"`
	Site    string    `json:"site"`
	Version string    `json:"version"` // of the hub that made it
	Made    time.Time `json:"made"`
}

const backupFormat = 1

// serveBackup sends a backup of the running hub.
func (h *Hub) serveBackup(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it lasts as long as it lasts
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+h.cfg.Site.ID+`.headcount-backup"`)
	err := writeBackup(w, h.cfg.Storage.Dir, h.journal, Manifest{Format: backupFormat, Site: h.cfg.Site.ID, Version: h.opts.Version, Made: time.Now().UTC()})
	if err != nil {
		h.log.Error("a backup ended early", "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for a whole one
	}
}

// Backup writes a backup of a hub that is stopped.
func (s *Store) Backup(w io.Writer, site, version string) error {
	return writeBackup(w, s.dir, s.j, Manifest{Format: backupFormat, Site: site, Version: version, Made: time.Now().UTC()})
}

func writeBackup(w io.Writer, dir string, j *journal.Journal, m Manifest) error {
	packed := gzip.NewWriter(w)
	out := tar.NewWriter(packed)
	add := func(name string, size int64, content io.Reader) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: m.Made}); err != nil {
			return err
		}
		_, err := io.Copy(out, content)
		return err
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = add(manifestName, int64(len(b)), bytes.NewReader(b))
	}
	if err == nil {
		err = addState(dir, add)
	}
	if err == nil {
		err = j.Backup(func(name string, size int64, content io.Reader) error { return add("journal/"+name, size, content) })
	}
	if err != nil {
		return err
	}
	return errors.Join(out.Close(), packed.Close())
}

// addState adds the small files beside the journal.
func addState(dir string, add func(string, int64, io.Reader) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == journalDir(dir) || strings.HasPrefix(d.Name(), setAside)) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, ".tmp") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(filepath.ToSlash(name), int64(len(b)), bytes.NewReader(b))
	})
}

// Restore puts a backup of a site into the state directory of its hub, which must be stopped, and sets
// aside what was there. The hub begins a new epoch when it starts. It refuses backups of other sites and
// damaged ones, which leave the directory as it was.
func Restore(r io.Reader, dir, site string) (m Manifest, aside string, err error) {
	if err := journal.Locked(journalDir(dir)); errors.Is(err, journal.ErrLocked) {
		return m, "", fmt.Errorf("a hub runs on the store under %s: stop it first", dir)
	} else if err != nil {
		return m, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, "", fmt.Errorf("restore: %w", err)
	}
	fresh, err := os.MkdirTemp(dir, "restore-*.tmp")
	if err != nil {
		return m, "", fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(fresh)
	if m, err = unpack(r, fresh); err != nil {
		return m, "", fmt.Errorf("restore: the backup is not whole or not ours: %w", err)
	}
	if m.Site != site {
		return m, "", fmt.Errorf("restore: the backup is of site %q, the configuration is of site %q", m.Site, site)
	}
	if err := journal.MarkRestored(journalDir(fresh), m.Made); err != nil {
		return m, "", fmt.Errorf("restore: %w", err)
	}
	aside, err = swap(fresh, dir)
	return m, aside, err
}

// unpack reads a backup into an empty directory and syncs its files.
func unpack(r io.Reader, dir string) (m Manifest, err error) {
	packed, err := gzip.NewReader(r)
	if err != nil {
		return m, err
	}
	in := tar.NewReader(packed)
	for first := true; ; first = false {
		h, err := in.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, packed) // the checksum at its end
			return m, err
		}
		if err != nil {
			return m, err
		}
		switch {
		case first && h.Name == manifestName:
			if err := json.NewDecoder(io.LimitReader(in, 1<<16)).Decode(&m); err != nil {
				return m, err
			}
			if m.Format != backupFormat {
				return m, fmt.Errorf("it has format %d, this headcount knows %d", m.Format, backupFormat)
			}
			continue
		case first:
			return m, errors.New("it does not begin with a manifest")
		case h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name):
			return m, fmt.Errorf("%q is not a file of a backup", h.Name)
		}
		if err := unpackFile(in, filepath.Join(dir, filepath.FromSlash(h.Name))); err != nil {
			return m, err
		}
	}
}

func unpackFile(r io.Reader, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// swap moves what lies in dir aside and what is in fresh, a directory in it, into its place. Interrupted,
// it leaves everything in one of both places.
func swap(fresh, dir string) (aside string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), setAside) || filepath.Join(dir, e.Name()) == fresh {
			continue
		}
		if aside == "" {
			aside = filepath.Join(dir, setAside+time.Now().UTC().Format("20060102T150405.000"))
			if err := os.Mkdir(aside, 0o700); err != nil {
				return "", fmt.Errorf("restore: %w", err)
			}
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(aside, e.Name())); err != nil {
			return aside, fmt.Errorf("restore: %w", err)
		}
	}
	if entries, err = os.ReadDir(fresh); err != nil {
		return aside, fmt.Errorf("restore: %w", err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(fresh, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return aside, fmt.Errorf("restore: %w; what was there is under %s", err, aside)
		}
	}
	return aside, own(dir)
}
