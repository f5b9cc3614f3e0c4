package serialport

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// List tells which serial ports are there, sorted by path. It reads sysfs only: the library's
// own enumeration opens every UART it meets and resets its settings, also of one in use.
func List() ([]Info, error) { return listFrom("/sys/class/tty", "/dev") }

func listFrom(sys, dev string) ([]Info, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, err
	}
	var out []Info
	for _, e := range entries {
		device, err := filepath.EvalSymlinks(filepath.Join(sys, e.Name(), "device"))
		if err != nil || emptyUART(filepath.Join(sys, e.Name())) {
			continue // consoles, ptys; UARTs that the board does not have
		}
		in := Info{Path: filepath.Join(dev, e.Name())}
		usb(device, &in)
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// emptyUART tells whether a tty is a reserved number without a chip: its type is 0 then.
func emptyUART(dir string) bool { return line(dir, "type") == "0" }

// usb walks up from the tty's device to the USB device that carries it.
func usb(dir string, in *Info) {
	for range 4 {
		if vid := line(dir, "idVendor"); vid != "" {
			in.VID, in.PID = strings.ToUpper(vid), strings.ToUpper(line(dir, "idProduct"))
			in.Serial, in.Product = line(dir, "serial"), line(dir, "product")
			return
		}
		dir = filepath.Dir(dir)
	}
}

// line is the content of a one-line file, empty when there is none.
func line(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
