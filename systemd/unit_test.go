package systemd

import (
	"strings"
	"testing"
)

func TestUnitNamesWhatLiesElsewhere(t *testing.T) {
	u, err := Unit("/opt/headcount/headcount", "/srv/site.yaml", "/data/headcount")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(u, Config) {
		t.Errorf("the unit still names %s", Config)
	}
	for _, line := range []string{
		"ExecStart=/opt/headcount/headcount run --config /srv/site.yaml", "ReadWritePaths=/data/headcount",
		"Type=notify", "Restart=always", "WatchdogSec=30", "NoNewPrivileges=yes", "ProtectSystem=strict",
	} {
		if !strings.Contains(u, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
}

func TestUnitOfThePackageIsTheFile(t *testing.T) {
	u, err := Unit(Program, Config, State)
	if err != nil {
		t.Fatal(err)
	}
	if u != unit {
		t.Errorf("the unit differs from headcount.service:\n%s", u)
	}
}

func TestUnitRefusesWhatTheServiceCannotReach(t *testing.T) {
	for _, bad := range []string{"headcount", "/opt/my hub/headcount", "/opt/{{Path}}", "/opt/100%/x", "/opt/a\nUser=root", "/home/operator/headcount", "/root/x", "/tmp/x", "/home"} {
		if _, err := Unit(bad, Config, State); err == nil {
			t.Errorf("program %q is taken", bad)
		}
		if _, err := Unit(Program, bad, State); err == nil {
			t.Errorf("configuration %q is taken", bad)
		}
		if _, err := Unit(Program, Config, bad); err == nil {
			t.Errorf("state directory %q is taken", bad)
		}
	}
}
