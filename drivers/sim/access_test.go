package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// The badge reader tells of nearly everybody who goes through the entrance, the camera counts.
func TestABuildingWithAReaderAndACamera(t *testing.T) {
	start := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	b, err := NewBuilding(Options{Seed: 1, Start: start, Access: true, DayStart: 8 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	granted, seen, badges := 0, 0, map[string]bool{}
	for _, e := range b.Step(start.Add(2 * time.Hour)) {
		switch text := string(e.Payload()); {
		case e.Sensor == "cam-lobby" && strings.Contains(text, `"count_abs":`):
			seen++
		case e.Sensor == "reader-entrance" && strings.Contains(text, `"access":"granted","direction":"in","method":"card","badge":"P`):
			granted++
			badges[e.Values[3].Text] = true
		}
	}
	if granted < 50 || len(badges) < 50 || seen < 200 {
		t.Errorf("%d granted to %d badges, %d counts of the camera", granted, len(badges), seen)
	}
	yaml := string(b.ConfigYAML(Addresses{Broker: "127.0.0.1:1883"}))
	for _, want := range []string{"id: reader-entrance, horizon: 30m0s, class: badge, door: entrance}", "id: cam-lobby, horizon: 1m30s, class: camera, space: lobby}"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("the configuration has no %s:\n%s", want, yaml)
		}
	}
	for _, s := range b.Site().Sensors {
		if s.Class == edge.Badge && s.Door != "entrance" {
			t.Errorf("reader %+v", s)
		}
	}
}
