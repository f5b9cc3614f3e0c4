package occupancy_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/occupancy"
)

// TestDays runs the scripts testdata/*.day. A script is a site and what its sensors said, in
// order of arrival, with what must be known in between:
//
//	timezone Europe/Oslo
//	space meeting-1 [room|floor|building|zone] [in floor-1] [capacity 8] [hours Mon-Fri_07:00-19:00]
//	door d1 outside meeting-1
//	sensor line-1 line-tof at d1 [reversed] [horizon 2h] [miss_in=.1]
//	sensor pir-1 pir in meeting-1
//	day 2026-09-07
//	09:00:10 line-1 count_in=12 count_out=3          (running totals)
//	09:00:10 line-1 in+1 out+2                       (since the last report)
//	09:01 pir-1 motion=on [at 08:59] [seq 7] [retained]
//	correct 09:02 meeting-1 4
//	expect 09:15 meeting-1 vacant
//	expect 09:15 meeting-1 occupied count 3..4 good
//	expect 09:15 fault line-1 implausible jump       (since the last "expect … fault")
//	expect 09:15 sensor pir-1 silent
func TestDays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.day")
	if err != nil || len(files) == 0 {
		t.Fatalf("no days: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".day"), func(t *testing.T) { runDay(t, f) })
	}
}

type day struct {
	t      *testing.T
	site   edge.Site
	model  *occupancy.Model
	date   time.Time
	where  string
	faults []occupancy.Fault
}

func runDay(t *testing.T, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := &day{t: t, site: edge.Site{ID: "test"}}
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		text, _, _ := strings.Cut(in.Text(), "#")
		if w := strings.Fields(text); len(w) > 0 {
			d.where = fmt.Sprintf("%s:%d", file, n)
			d.line(w)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

func (d *day) line(w []string) {
	switch w[0] {
	case "timezone":
		d.site.Timezone = w[1]
	case "space":
		d.space(w[1], w[2:])
	case "door":
		d.site.Doors = append(d.site.Doors, edge.Door{ID: w[1], Between: [2]string{w[2], w[3]}})
	case "sensor":
		d.sensor(w[1:])
	case "day":
		d.begin(w[1])
	case "expect":
		d.expect(d.clock(w[1]), w[2:])
	case "correct":
		d.correct(w[1:])
	default:
		d.reading(w)
	}
}

func (d *day) space(id string, w []string) {
	s := edge.Space{ID: id, Kind: edge.Room}
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "in":
			i++
			s.Parent = w[i]
		case "capacity":
			i++
			s.Capacity = d.number(w[i])
		case "hours":
			i++
			s.Hours = strings.ReplaceAll(w[i], "_", " ")
		default:
			s.Kind = edge.SpaceKind(w[i])
		}
	}
	d.site.Spaces = append(d.site.Spaces, s)
}

func (d *day) sensor(w []string) {
	s := edge.Sensor{ID: w[0], Class: edge.Class(w[1])}
	if w[2] == "at" {
		s.Door = w[3]
	} else {
		s.Space = w[3]
	}
	for i := 4; i < len(w); i++ {
		name, value, isParam := strings.Cut(w[i], "=")
		switch {
		case isParam:
			x, err := strconv.ParseFloat(value, 64)
			d.check(err)
			if s.Params == nil {
				s.Params = map[string]float64{}
			}
			s.Params[name] = x
		case w[i] == "reversed":
			s.Reversed = true
		case w[i] == "horizon":
			i++
			h, err := time.ParseDuration(w[i])
			d.check(err)
			s.Horizon = h
		default:
			d.t.Fatalf("%s: what is %q?", d.where, w[i])
		}
	}
	d.site.Sensors = append(d.site.Sensors, s)
}

func (d *day) begin(date string) {
	t, err := time.ParseInLocation("2006-01-02", date, d.site.Location())
	d.check(err)
	d.date = t
	if d.model == nil {
		d.model, err = occupancy.New(&d.site, t)
		d.check(err)
	}
}

// clock reads a wall-clock time of the day.
func (d *day) clock(s string) time.Time {
	layout := "15:04"
	if strings.Count(s, ":") == 2 {
		layout = "15:04:05"
	}
	c, err := time.Parse(layout, s)
	d.check(err)
	y, m, dd := d.date.Date()
	return time.Date(y, m, dd, c.Hour(), c.Minute(), c.Second(), 0, d.date.Location())
}

func (d *day) reading(w []string) {
	r := edge.Reading{Sensor: w[1], Received: d.clock(w[0])}
	for i := 2; i < len(w); i++ {
		switch {
		case w[i] == "at":
			i++
			r.At = d.clock(w[i])
		case w[i] == "seq":
			i++
			r.Seq = w[i]
		case w[i] == "retained":
			r.Quality = edge.RetainedStale
		default:
			r.Values = append(r.Values, d.value(w[i]))
		}
	}
	r.Fix()
	d.model.Advance(r.Received)
	d.model.Observe(r)
	d.faults = append(d.faults, d.model.Faults()...)
}

func (d *day) value(s string) edge.Value {
	if dir, n, ok := strings.Cut(s, "+"); ok {
		return edge.NumberValue(edge.Kind("count_"+dir), edge.Delta, float64(d.number(n)))
	}
	name, v, ok := strings.Cut(s, "=")
	if !ok {
		d.t.Fatalf("%s: what is %q?", d.where, s)
	}
	switch name {
	case "motion":
		return edge.BoolValue(edge.Presence, edge.MotionState, v == "on")
	case "presence":
		return edge.BoolValue(edge.Presence, edge.State, v == "on")
	case "health":
		return edge.TextValue(edge.Health, edge.State, v)
	case "people":
		return edge.NumberValue(edge.CountAbs, edge.Absolute, float64(d.number(v)))
	case "passage":
		return edge.NumberValue(edge.Kind("count_"+v), edge.PassageEvent, 1)
	case "today_in", "today_out":
		return edge.NumberValue(edge.Kind("count_"+name[6:]), edge.CumulativeToday, float64(d.number(v)))
	}
	return edge.NumberValue(edge.Kind(name), edge.Cumulative, float64(d.number(v)))
}

func (d *day) correct(w []string) {
	at := d.clock(w[0])
	d.model.Advance(at)
	_, err := d.model.Correct(w[1], d.number(w[2]), at)
	d.check(err)
}

func (d *day) expect(at time.Time, w []string) {
	d.model.Advance(at)
	switch w[0] {
	case "fault":
		d.expectFault(w[1], strings.Join(w[2:], " "))
		return
	case "sensor":
		for i, s := range d.site.Sensors {
			if got := d.model.SensorTrust(i); s.ID == w[1] && got.Status != w[2] {
				d.t.Errorf("%s: sensor %s is %s (%s), want %s", d.where, s.ID, got.Status, got.Reason, w[2])
			}
		}
		return
	}
	for i, o := range d.model.Occupancies() {
		if d.site.Spaces[i].ID == w[0] {
			d.expectSpace(o, w[1:])
			return
		}
	}
	d.t.Fatalf("%s: there is no space %s", d.where, w[0])
}

func (d *day) expectFault(sensor, cause string) {
	defer func() { d.faults = nil }()
	if cause == "none" {
		if len(d.faults) > 0 {
			d.t.Errorf("%s: got faults %v, want none", d.where, d.faults)
		}
		return
	}
	for _, f := range d.faults {
		if f.Sensor == sensor && f.Cause == cause {
			return
		}
	}
	d.t.Errorf("%s: got faults %v, want %q of %s", d.where, d.faults, cause, sensor)
}

func (d *day) expectSpace(o edge.Occupancy, w []string) {
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "unknown", "vacant", "occupied":
			if string(o.State) != w[i] {
				d.t.Errorf("%s: %s is %s, want %s", d.where, o.Space, describe(o), w[i])
			}
		case "good", "degraded", "stale", "none":
			if string(o.Quality) != w[i] {
				d.t.Errorf("%s: quality of %s is %s, want %s", d.where, o.Space, o.Quality, w[i])
			}
		case "count":
			i++
			low, high, found := strings.Cut(w[i], "..")
			if !found {
				high = low
			}
			if o.Count == nil || *o.Count < d.number(low) || *o.Count > d.number(high) {
				d.t.Errorf("%s: %s is %s, want %s people", d.where, o.Space, describe(o), w[i])
			}
		default:
			d.t.Fatalf("%s: what is %q?", d.where, w[i])
		}
	}
}

func describe(o edge.Occupancy) string {
	if o.Count == nil {
		return string(o.State)
	}
	return fmt.Sprintf("%s, %d people [%d, %d], P(occupied) %.3f", o.State, *o.Count, *o.Low, *o.High, *o.POccupied)
}

func (d *day) number(s string) int {
	n, err := strconv.Atoi(s)
	d.check(err)
	return n
}

func (d *day) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%s: %v", d.where, err)
	}
}
