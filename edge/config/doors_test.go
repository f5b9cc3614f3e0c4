package config

import (
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

func TestDoorsReadersAndCameras(t *testing.T) {
	const site = `
site: {id: hq}
spaces: [{id: lobby}]
doors: [{id: entrance, between: [outside, lobby], held_open_after: 45s, grant_within: 10s}]
sensors:
  - {id: reader-1, class: badge, door: entrance, direction: in}
  - {id: cam-1, class: camera, space: lobby, horizon: 60s}
`
	c, err := Parse("t.yaml", []byte(site), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Site.Doors[0]; d.HeldOpenAfter != 45*time.Second || d.GrantWithin != 10*time.Second {
		t.Errorf("door %+v", d)
	}
	if s := c.Site.Sensors; s[0].Direction != edge.In || s[1].Class != edge.Camera || s[1].Horizon != time.Minute {
		t.Errorf("sensors %+v", s)
	}
	for change, says := range map[string]string{
		"held_open_after: 45s|held_open_after: 10ms": "t.yaml:4:68: doors[0].held_open_after: must be at least 1s, not 10ms",
		"direction: in|direction: up":                `t.yaml:6:61: sensors[0].direction: must not be "up"`,
		"class: badge|class: line-tof":               "t.yaml:6:64: sensors[0].direction: is for sensors of the class badge only",
	} {
		from, to, _ := strings.Cut(change, "|")
		if _, err := Parse("t.yaml", []byte(strings.Replace(site, from, to, 1)), Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s:\ngot  %v\nwant %s", change, err, says)
		}
	}
	c, err = Parse("t.yaml", []byte(strings.Replace(site, "door: entrance, direction: in", "space: lobby", 1)), Options{})
	if err != nil || len(c.Warnings) == 0 || !strings.Contains(strings.Join(c.Warnings, "\n"), "will count as forced") {
		t.Errorf("a door without a reader: %v, warnings %v", err, c.Warnings)
	}
}
