package scenario

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/edge/config"
)

const example = "../../../docs/examples/simulate.yaml"

func TestTheExampleRunsAndIsTheSameForTheSameSeed(t *testing.T) {
	day := func(seed uint64) (story string) {
		o, err := Load(example)
		if err != nil {
			t.Fatal(err)
		}
		o.Seed, o.Start, o.Speed = seed, time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), 1
		b, err := sim.NewBuilding(o)
		if err != nil {
			t.Fatal(err)
		}
		for m := range 10 * 60 {
			now := o.Start.Add(time.Duration(m) * time.Minute)
			for _, e := range b.Step(now) {
				story += string(e.Payload()) + "\n"
			}
			if truth := b.Truth(); now.Format("15:04") == "10:10" && truth["lobby"] < 30 {
				t.Errorf("at 10:10 there are %d in the lobby, want the crowd of 30", truth["lobby"])
			} else if now.Format("15:04") == "10:11" && b.Failed()["count-office-2"] != sim.Working {
				t.Error("a sensor has failed before its time")
			} else if now.Format("15:04") == "11:10" && b.Failed()["count-office-2"] != sim.Silent {
				t.Error("at 11:10 count-office-2 should be silent")
			} else if now.Format("15:04") == "11:40" && len(b.Failed()) > 0 {
				t.Error("at 11:40 all sensors should work again")
			} else if now.Format("15:04") == "14:20" && truth["meeting-1"] < 6 {
				t.Errorf("at 14:20 there are %d in meeting-1, want at least 6", truth["meeting-1"])
			}
		}
		if truth := b.Truth(); truth["building"] != truth["floor-1"] {
			t.Errorf("truth of the building %d, of its only floor %d", truth["building"], truth["floor-1"])
		}
		return story
	}
	first := day(7)
	if first != day(7) {
		t.Error("the same seed gives another day")
	}
	if first == day(8) {
		t.Error("another seed gives the same day")
	}
}

func TestEveryMistakeHasItsPlace(t *testing.T) {
	_, err := Parse("bad.yaml", []byte(`site: {id: x}
start: "25:00"
`))
	wantProblems(t, err, `bad.yaml:1:1: spaces`, `bad.yaml:1:1: doors`, `bad.yaml:2:8: start: "25:00"`)

	_, err = Parse("bad.yaml", []byte(`site: {id: x}
people: {count: 3}
spaces:
  - {id: hall, desks: 2}
  - {id: hall}
  - {id: attic, desks: 1, parent: attic}
  - {id: m, use: meeting}
doors:
  - {id: d, between: [outside, hall]}
  - {id: e, between: [outside, hall]}
  - {id: f, between: [nowhere, m]}
sensors:
  - {id: a, class: pir, door: d}
  - {id: b, class: line-tof, door: d, via: zigbee2mqtt}
  - {id: c, class: desk, space: hal}
  - {id: z, class: desk}
events:
  - {at: "10:00", crowd: hall}
  - {at: "10:00", fail: aa}
  - {at: "10:00"}
`))
	wantProblems(t, err,
		`bad.yaml:5:10: spaces[1].id: "hall" is the id of spaces[0] already`,
		`bad.yaml:6:35: spaces[2].parent: attic would lie within itself`, `people cannot get to attic`,
		`bad.yaml:10:`, `door d leads to hall already`, `bad.yaml:11:23: doors[2].between[0]: there is no space "nowhere"`,
		`bad.yaml:13:31: sensors[0].door: pir observes spaces`, `sensors[1].via: zigbee2mqtt is for class pir`,
		`sensors[2].space: there is no space "hal" (did you mean "hall"?`, `bad.yaml:16:10: sensors[3].id: must observe one of both`,
		`events[0].crowd: how many people?`, `events[1].fail: there is no sensor "aa"`, `bad.yaml:20:`, `has 0 things that happen`)
}

func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	var list *config.Errors
	if !errors.As(err, &list) {
		t.Fatalf("got %v, want a list of mistakes", err)
	}
	for _, w := range want {
		if !strings.Contains(list.Error(), w) {
			t.Errorf("no %q in\n%v", w, list)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("site: {id: x}\nspaces: [{id: a, parent: b}, {id: b, parent: a}]\ndoors: [{id: d, between: [outside, a]}, {id: e, between: [b, b]}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse("fuzz.yaml", b)
		if err != nil {
			return
		}
		o.Start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
		building, err := sim.NewBuilding(o)
		if err != nil {
			t.Fatalf("the scenario is good, but the building is not: %v\n%s", err, b)
		}
		building.Step(o.Start.Add(time.Minute))
		_ = fmt.Sprint(building.Truth())
	})
}
