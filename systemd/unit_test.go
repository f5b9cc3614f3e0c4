package systemd

import (
	"strings"
	"testing"
)

func TestUnitNamesProgramAndConfiguration(t *testing.T) {
	u := Unit("/opt/headcount/headcount", "/srv/site.yaml")
	if want := "ExecStart=/opt/headcount/headcount run --config /srv/site.yaml\n"; !strings.Contains(u, want) {
		t.Errorf("the unit lacks %q:\n%s", want, u)
	}
	if strings.Contains(u, Config) {
		t.Errorf("the unit still names %s", Config)
	}
	for _, line := range []string{"Type=notify", "Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict"} {
		if !strings.Contains(u, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
}
