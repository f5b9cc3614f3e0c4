//go:build unix

package hub

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// own gives everything in a directory to the directory's owner: root restores, the service's user
// reads.
func own(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	to, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(to.Uid), int(to.Gid))
	})
}
