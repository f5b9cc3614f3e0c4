package serialport

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUSBIdentityFollowsThePort builds a sysfs tree as the kernel does and moves the adapter.
func TestUSBIdentityFollowsThePort(t *testing.T) {
	root := t.TempDir()
	sys := filepath.Join(root, "class")
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	adapter := func(bus, tty, serial string) {
		t.Helper()
		dev := filepath.Join(root, "devices", bus)
		write(filepath.Join(dev, "idVendor"), "0403")
		write(filepath.Join(dev, "idProduct"), "6001")
		write(filepath.Join(dev, "serial"), serial)
		write(filepath.Join(dev, "product"), "FT232R")
		write(filepath.Join(dev, bus+":1.0", tty, "marker"), "")
		write(filepath.Join(sys, tty, "dev"), "188:0")
		if err := os.Symlink(filepath.Join(dev, bus+":1.0", tty), filepath.Join(sys, tty, "device")); err != nil {
			t.Fatal(err)
		}
	}
	adapter("1-1", "ttyUSB0", "AAAA")
	adapter("1-2", "ttyUSB1", "BBBB")
	write(filepath.Join(sys, "tty0", "dev"), "4:0") // a console has no device

	infos, err := listFrom(sys, "/dev")
	if err != nil || len(infos) != 2 {
		t.Fatalf("list: %v, %v; want the two adapters", infos, err)
	}
	if got, err := (Identity{VID: "0403", PID: "6001", Serial: "BBBB"}).among(infos); got != "/dev/ttyUSB1" || err != nil {
		t.Errorf("serial BBBB: %q, %v; want /dev/ttyUSB1", got, err)
	}
	if _, err := (Identity{VID: "0403"}).among(infos); err == nil || !strings.Contains(err.Error(), "ttyUSB0 and /dev/ttyUSB1") {
		t.Errorf("two adapters fit: %v, want both named", err)
	}
}
