//go:build integration

package systemd_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestIntegrationUnitsAreHardened holds both units to a score that leaves little to take.
func TestIntegrationUnitsAreHardened(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("there is no systemd-analyze on this machine; run .ci/tools, or: apt-get install systemd")
	}
	for _, unit := range []string{"headcount.service", "headcount-cloud.service"} {
		if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Errorf("%s: %v: %s", unit, err, lines[len(lines)-1])
		}
	}
}
