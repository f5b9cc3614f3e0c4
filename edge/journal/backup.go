package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Backup gives add a copy of the journal file by file, each with its size and content: what was
// committed before the call is in it, what is committed meanwhile may be. Commits go on. It needs
// room for the copy of one segment beside the segments; add may be slow.
func (j *Journal) Backup(add func(name string, size int64, content io.Reader) error) error {
	// The epoch file first: that it is older than the segments contradicts nothing.
	b, err := os.ReadFile(filepath.Join(j.opts.Dir, epochFile))
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	segs, _ := j.snapshot()
	for _, s := range segs {
		if err := j.backUp(s.Number, add); err != nil {
			return fmt.Errorf("back up segment %d: %w", s.Number, err)
		}
	}
	return add(epochFile, int64(len(b)), bytes.NewReader(b))
}

// backUp copies the segment that has the number now: none when it was trimmed, another one when
// it was rewritten.
func (j *Journal) backUp(number uint64, add func(string, int64, io.Reader) error) error {
	for {
		segs, _ := j.snapshot()
		var s *segment
		for _, at := range segs {
			if at.Number == number {
				s = at
			}
		}
		if s == nil {
			return nil
		}
		err := j.backUpOne(s, add)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
}

// backUpOne copies a segment to a file without a name first, as whoever takes it may be slow and
// the journal would have to wait.
func (j *Journal) backUpOne(s *segment, add func(string, int64, io.Reader) error) error {
	f, err := os.CreateTemp(j.opts.Dir, "backup-*"+tempSuffix)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	var size int64
	err = j.view(s, func(tx *bbolt.Tx) (err error) {
		size, err = tx.WriteTo(f)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return add(segmentName(s.Number), size, f)
}

// MarkRestored notes in a directory into which a backup was put, and which no journal has open,
// that it is the store as it was at a time. The next Open begins a new epoch: what was written
// after the backup cannot be told from what will be.
func MarkRestored(dir string, made time.Time) error {
	a, err := readAnchor(dir)
	if err != nil {
		return err
	}
	if a == nil {
		return fmt.Errorf("%s holds no journal: its file %q is missing", dir, epochFile)
	}
	a.Restored = made.UTC()
	b, err := seal(a)
	if err == nil {
		err = writeFile(filepath.Join(dir, epochFile), b)
	}
	if err != nil {
		return fmt.Errorf("write epoch file: %w", err)
	}
	return nil
}

// Locked says who has the journal in dir open; nil when nobody has, or when there is none.
func Locked(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	return lock.Close()
}
