package journal

import (
	"errors"
	"fmt"
	"runtime/debug"

	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors a caller branches on.
var (
	// ErrFatal: a commit failed. What it held is not stored, the handle takes no more, and the
	// process is to end: after a failed sync only a fresh start knows what the disk holds.
	ErrFatal = errors.New("the journal cannot go on; the process must start again")
	// ErrConflict: the cloud's mark does not lie on this journal's chain.
	ErrConflict = errors.New("mark does not lie on the journal's chain")
	// ErrLocked: another process has the journal open.
	ErrLocked = errors.New("another headcount runs on this store")
	// ErrDamaged: bytes on disk are not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrGone: what was asked for is no longer kept.
	ErrGone = errors.New("no longer kept")
	// ErrClosed: the journal is closed.
	ErrClosed = errors.New("journal is closed")
	// ErrReadOnly: the journal was opened to look at it.
	ErrReadOnly = errors.New("journal is open for reading only")
)

// errMoved says that a segment was removed or replaced after a reader looked it up; the reader
// looks again.
var errMoved = errors.New("segment was replaced")

// errSuspect is why a segment is set aside that was found damaged while it was written.
var errSuspect = errors.New("readers met damage in it")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// guard runs fn on a bbolt file. bbolt has no page checksums: on a damaged file it panics or
// reads past the mapping. Both become an error that wraps ErrDamaged.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = damaged("%v", r)
		}
	}()
	err = fn()
	for _, e := range []error{bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, e) {
			return damaged("%v", err)
		}
	}
	return err
}
