// Package scenario reads the scenario of a simulation: a building, the people who work in it, its
// sensors with their errors, and what happens on every day.
//
// A file is read strictly: every mistake is told in one go with line, column and what to write
// instead. What it accepts, [sim.NewBuilding] accepts. It refuses buildings in which a room has two
// doors on its way from outside, as the simulated people know one way only.
package scenario

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/config"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema of a scenario.
func Schema() []byte { return append([]byte(nil), schema...) }

// file is a scenario as it is written.
type file struct {
	Site struct {
		ID, Name, Timezone string
	}
	Start, Report string
	Nights        bool
	People        struct {
		Count        int
		Arrive, Stay string
	}
	Spaces []struct {
		ID, Name, Kind, Parent, Hours, Use string
		Capacity, Desks                    int
	}
	Doors []struct {
		ID      string
		Between [2]string
	}
	Sensors []struct {
		ID, Class, Door, Space, Via string
		Errors                      struct{ Missed, False, Spread *float64 }
	}
	Events []happening
}

type happening struct {
	At, Crowd, People, Fail, Mend, How, For string
	Count                                   *int
}

// Load reads the scenario file at path. The error is a *[config.Errors] with all mistakes, or says why
// the file cannot be read. Seed, Start and Speed of the options are the caller's.
func Load(path string) (sim.Options, error) {
	d, err := config.ReadDocument(path, schema)
	if err != nil {
		return sim.Options{}, err
	}
	return build(d)
}

// Parse is Load without the file system: name stands for the file in messages.
func Parse(name string, data []byte) (sim.Options, error) {
	d, err := config.ParseDocument(name, data, schema)
	if err != nil {
		return sim.Options{}, err
	}
	return build(d)
}

func build(d *config.Document) (sim.Options, error) {
	var f file
	if err := d.Decode(&f); err != nil {
		return sim.Options{}, fmt.Errorf("read scenario: %w", err)
	}
	check(d, &f)
	if err := d.Err(); err != nil {
		return sim.Options{}, err
	}
	o := sim.Options{DayStart: clock(f.Start), Nights: f.Nights, Report: length(f.Report), People: f.People.Count, Plan: f.plan()}
	if o.DayStart == 0 {
		o.DayStart = time.Nanosecond // midnight, as zero is the usual morning
	}
	return o, nil
}

func (f *file) plan() *sim.Plan {
	p := &sim.Plan{
		Site:    edge.Site{ID: f.Site.ID, Name: f.Site.Name, Timezone: f.Site.Timezone},
		Sensors: map[string]sim.Fitting{}, Desks: map[string]int{}, Arrive: clock(f.People.Arrive), Stay: length(f.People.Stay),
	}
	for _, s := range f.Spaces {
		p.Site.Spaces = append(p.Site.Spaces, edge.Space{ID: s.ID, Name: s.Name, Kind: edge.SpaceKind(s.Kind), Parent: s.Parent, Capacity: s.Capacity, Hours: s.Hours})
		p.Desks[s.ID] = s.Desks
		switch s.Use {
		case "meeting":
			p.Meeting = append(p.Meeting, s.ID)
		case "break":
			p.Breaks = append(p.Breaks, s.ID)
		case "canteen":
			p.Canteen = s.ID
		}
	}
	for _, door := range f.Doors {
		p.Site.Doors = append(p.Site.Doors, edge.Door{ID: door.ID, Between: door.Between})
	}
	for _, s := range f.Sensors {
		p.Site.Sensors = append(p.Site.Sensors, edge.Sensor{ID: s.ID, Class: edge.Class(s.Class), Door: s.Door, Space: s.Space})
		p.Sensors[s.ID] = sim.Fitting{Via: sim.Via(s.Via), Errors: sim.Errors(s.Errors)}
	}
	for _, e := range f.Events {
		h := sim.Happening{At: clock(e.At), Crowd: e.Crowd, People: e.People, Fail: e.Fail, Mend: e.Mend, How: sim.Failure(e.How), For: length(e.For)}
		if e.Count != nil {
			h.Count = *e.Count
		}
		p.Script = append(p.Script, h)
	}
	return p
}

// clock is a time of day, which has its shape by now.
func clock(text string) time.Duration {
	t, err := time.Parse("15:04:05", text)
	if err != nil {
		t, _ = time.Parse("15:04", text)
	}
	return t.Sub(t.Truncate(24 * time.Hour))
}

// length is a length of time, which has its shape by now; 0 when it is missing.
func length(text string) time.Duration {
	d, _ := config.ParseDuration(text)
	return d
}
