// Package systemd holds the units that the field installs.
package systemd

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed headcount.service
var unit string

// Where the packaged unit finds things; Unit replaces them.
const (
	Program = "/usr/bin/headcount"
	Config  = "/etc/headcount/headcount.yaml"
	State   = "/var/lib/headcount"
)

// plain are the paths that mean themselves in a unit and in the template that it passes through.
var plain = regexp.MustCompile(`^/[A-Za-z0-9/._+@,=:-]*$`)

// hidden are the folders that the unit's sandbox hides from the hub or empties.
var hidden = []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"}

// Unit returns the hub's unit for a program, a configuration and a state directory that lie
// elsewhere than in the package. Paths are absolute; it refuses those that the service could not
// reach.
func Unit(program, config, state string) (string, error) {
	for _, path := range []string{program, config, state} {
		if !plain.MatchString(path) {
			return "", fmt.Errorf("%s: a service needs an absolute path of letters, digits and /._+@,=:- only", path)
		}
		for _, dir := range hidden {
			if strings.HasPrefix(path+"/", dir) {
				return "", fmt.Errorf("%s: the service cannot see what is under %s; use /usr/local/bin for the program, /etc/headcount for the configuration, %s for the store", path, dir, State)
			}
		}
	}
	u := strings.Replace(unit, "ExecStart="+Program+" run --config "+Config+"\n", "ExecStart="+program+" run --config "+config+"\n", 1)
	if state != State {
		u = strings.Replace(u, "StateDirectoryMode=0700\n", "StateDirectoryMode=0700\nReadWritePaths="+state+"\n", 1)
	}
	return u, nil
}
