package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	fileMode       = 0o600
	dirMode        = 0o700
	epochFile      = "epoch"
	lockFile       = "lock"
	quarantineDir  = "quarantine"
	segmentSuffix  = ".segment"
	tempSuffix     = ".tmp"
	lockTimeout    = 2 * time.Second
	lockRetryEvery = 50 * time.Millisecond
)

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, segmentSuffix) }

// segmentNumber is the number of a segment's file name.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	var n uint64
	if !ok || len(digits) != 10 {
		return 0, false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + uint64(d-'0')
	}
	return n, n > 0
}

// prepareDir makes the journal's directory and says what to do when that is not possible.
func prepareDir(dir string, readOnly bool) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("open journal: %s is a file, not a directory: name another storage.dir or move the file away", dir)
	}
	if readOnly {
		if err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("open journal: %w: make the directory and give it to the user headcount runs as, or name another storage.dir", err)
	}
	return nil
}

// writeFile replaces a file atomically: it has its old bytes or the new ones, whatever happens.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path+tempSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+tempSuffix, path)
	}
	if err != nil {
		_ = os.Remove(path + tempSuffix)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames and removals in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, fs.ErrInvalid) { // some file systems cannot sync a directory
		return nil
	}
	return err
}

// removeTemps deletes what an interrupted start, roll or trim left unfinished.
func removeTemps(dir string) error {
	temps, err := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
	if err != nil {
		return err
	}
	for _, t := range temps {
		name := strings.TrimSuffix(filepath.Base(t), tempSuffix)
		if _, ours := segmentNumber(name); !ours && name != epochFile {
			continue
		}
		if err := os.Remove(t); err != nil {
			return fmt.Errorf("remove unfinished file: %w", err)
		}
	}
	return nil
}

// quarantine moves a file out of the way and returns its new path. The file is evidence: it is
// never changed or deleted.
func quarantine(dir, name string) (string, error) {
	q := filepath.Join(dir, quarantineDir)
	if err := os.MkdirAll(q, dirMode); err != nil {
		return "", fmt.Errorf("quarantine %s: %w", name, err)
	}
	to := filepath.Join(q, name)
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = filepath.Join(q, fmt.Sprintf("%s.%d", name, i))
	}
	if err := os.Rename(filepath.Join(dir, name), to); err != nil {
		return "", fmt.Errorf("quarantine %s: %w", name, err)
	}
	return to, errors.Join(syncDir(q), syncDir(dir))
}
