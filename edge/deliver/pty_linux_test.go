package deliver_test

import (
	"os"

	"golang.org/x/sys/unix"
)

// rawMode keeps the terminal from changing what passes.
func rawMode(f *os.File) error {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return err
	}
	return unix.SetNonblock(int(f.Fd()), true)
}
