package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// diskFree is how many bytes a user may still write under a directory.
func diskFree(dir string) (free, total int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), true
}

// mountOf is the file system of a directory.
func mountOf(dir string) (kind string, readOnly, ok bool) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", false, false
	}
	longest := -1
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/")
		if (dir == f[1] || strings.HasPrefix(dir, at+"/")) && len(at) >= longest {
			longest, kind, readOnly, ok = len(at), f[2], strings.HasPrefix(f[3]+",", "ro,"), true
		}
	}
	return kind, readOnly, ok
}

// clockSynced asks the kernel whether somebody keeps its clock.
func clockSynced() (synced, known bool) {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	const timeError = 5
	return state != timeError, err == nil
}

// accessible tells why this user may not read and write a file, without opening it.
func accessible(path string) error {
	if err := syscall.Access(path, 6); err == nil {
		return nil
	}
	group := "its group"
	if info, err := os.Stat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			group = strconv.Itoa(int(st.Gid))
			if g, err := user.LookupGroupId(group); err == nil {
				group = g.Name
			}
		}
	}
	return fmt.Errorf("user %d may not use it; group %s may", os.Getuid(), group)
}
