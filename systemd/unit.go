// Package systemd holds the units that the field installs.
package systemd

import (
	_ "embed"
	"strings"
)

//go:embed headcount.service
var unit string

// Where the packaged unit finds things; Unit replaces them.
const (
	Program = "/usr/bin/headcount"
	Config  = "/etc/headcount/headcount.yaml"
)

// Unit returns the hub's unit for a program and a configuration that lie elsewhere than in the
// package.
func Unit(program, config string) string {
	return strings.Replace(unit, "ExecStart="+Program+" run --config "+Config, "ExecStart="+program+" run --config "+config, 1)
}
