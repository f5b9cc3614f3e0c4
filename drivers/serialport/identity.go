package serialport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Identity names a port: by the path of its device file or of a link to it
// (/dev/serial/by-id/…), or by what its USB adapter says of itself. Names like ttyUSB0 move when
// adapters are plugged in another order; links and USB identities do not.
type Identity struct {
	Path   string // device file or link; excludes the others
	VID    string // USB vendor id, four hex digits
	PID    string // USB product id, four hex digits; empty = any
	Serial string // USB serial number; empty = any
}

var hex4 = regexp.MustCompile(`^[0-9a-fA-F]{4}$`)

// UnmarshalJSON reads "/dev/ttyUSB0" or {"vid":"0403","pid":"6001","serial":"FT3X"}.
func (id *Identity) UnmarshalJSON(b []byte) error {
	*id = Identity{}
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &id.Path); err != nil {
			return err
		}
		return id.Check()
	}
	var w struct {
		VID    string `json:"vid"`
		PID    string `json:"pid"`
		Serial string `json:"serial"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return fmt.Errorf(`port: want a path or {vid: "0403", pid: "6001", serial: "…"} with quoted digits: %w`, err)
	}
	id.VID, id.PID, id.Serial = w.VID, w.PID, w.Serial
	return id.Check()
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (id Identity) MarshalJSON() ([]byte, error) {
	if id.Path != "" {
		return json.Marshal(id.Path)
	}
	return json.Marshal(struct {
		VID    string `json:"vid"`
		PID    string `json:"pid,omitempty"`
		Serial string `json:"serial,omitempty"`
	}{id.VID, id.PID, id.Serial})
}

// Check tells what is wrong with the identity, without looking at any port.
func (id Identity) Check() error {
	switch {
	case id.Path != "":
		return nil
	case id.VID == "":
		return errors.New(`port is missing: name the device file, best by /dev/serial/by-id/…, or {vid, pid, serial}`)
	case !hex4.MatchString(id.VID):
		return fmt.Errorf("port vid %q: want four hex digits", id.VID)
	case id.PID != "" && !hex4.MatchString(id.PID):
		return fmt.Errorf("port pid %q: want four hex digits", id.PID)
	}
	return nil
}

// String is the identity as people write it.
func (id Identity) String() string {
	if id.Path != "" {
		return id.Path
	}
	s := "usb " + id.VID + ":" + id.PID
	if id.PID == "" {
		s = "usb " + id.VID + ":*"
	}
	if id.Serial != "" {
		s += " serial " + id.Serial
	}
	return s
}

// Find looks for the port among those plugged now and returns its device file.
func (id Identity) Find() (string, error) {
	if err := id.Check(); err != nil {
		return "", err
	}
	if id.Path != "" {
		if real, err := filepath.EvalSymlinks(id.Path); err == nil {
			return real, nil
		}
		return id.Path, nil // opening it will tell what is wrong
	}
	infos, err := List()
	if err != nil {
		return "", err
	}
	return id.among(infos)
}

func (id Identity) among(infos []Info) (string, error) {
	var fit []string
	for _, in := range infos {
		if in.VID != "" && strings.EqualFold(in.VID, id.VID) && (id.PID == "" || strings.EqualFold(in.PID, id.PID)) &&
			(id.Serial == "" || in.Serial == id.Serial) {
			fit = append(fit, in.Path)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return "", fmt.Errorf("%w: no %s is plugged in; %s", ErrNotFound, id, present())
	}
	return "", fmt.Errorf("%s fits %s: add the serial number or use a path", id, strings.Join(fit, " and "))
}

// Info is a port that is there.
type Info struct {
	Path    string `json:"path"`
	VID     string `json:"vid,omitempty"` // USB vendor id, upper case; empty for other ports
	PID     string `json:"pid,omitempty"`
	Serial  string `json:"serial,omitempty"`
	Product string `json:"product,omitempty"`
}

// String is the port for people: path, USB ids, product.
func (in Info) String() string {
	if in.VID == "" {
		return in.Path
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%s:%s %s)", in.Path, in.VID, in.PID, strings.TrimSpace(in.Product+" "+in.Serial)))
}
