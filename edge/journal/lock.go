package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lockDir takes the directory for this process. It waits lockTimeout for another one to end.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w: the user headcount runs as must be able to write to %s", err, dir)
	}
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockRetryEvery) {
		err := tryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, errHeld) || !time.Now().Before(deadline) {
			_ = f.Close()
			return nil, lockError(path, err)
		}
	}
	if err := f.Truncate(0); err == nil { // who holds it is for the reader of an error only
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func lockError(path string, err error) error {
	if !errors.Is(err, errHeld) {
		return fmt.Errorf("open journal: lock %s: %w", path, err)
	}
	who := ""
	if f, err := os.Open(path); err == nil {
		b, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		if pid := strings.TrimSpace(string(b)); pid != "" {
			who = " (process " + pid + ")"
		}
	}
	return fmt.Errorf("open journal %s: %w%s: stop it, or give this one another storage.dir", filepath.Dir(path), ErrLocked, who)
}

// errHeld: somebody else has the lock.
var errHeld = errors.New("lock is held")
