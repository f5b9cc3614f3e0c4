package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// onCard tells whether a directory, or the nearest one above it that exists, lies on an SD or
// eMMC card.
func onCard(dir string) bool {
	var st syscall.Stat_t
	for syscall.Stat(dir, &st) != nil {
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
	major, minor := uint64(st.Dev)>>8&0xfff, uint64(st.Dev)&0xff|uint64(st.Dev)>>12&0xfff00
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	return err == nil && strings.Contains(link, "/mmcblk")
}
