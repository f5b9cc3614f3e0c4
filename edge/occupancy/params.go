package occupancy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// params are the error rates of one sensor. Each has a name under which a sensor's Params may
// override the default of its class.
type params struct {
	missIn, missOut float64 // share of passages in / out that the line does not count, for one person at a time
	falseRate       float64 // share of counted passages that nobody made
	group           float64 // relative growth of the miss rate per further person in a group
	rate            float64 // passages per second above which a jump is not believed
	width           float64 // bits of the running total; 0 = recognise the roll-over
	kappa           float64 // motion detections per minute with one person in view
	phi             float64 // false motion detections per 30 s in an empty space
	hold            float64 // seconds a motion sensor stays on after a detection; 0 = learn it
	stuck           float64 // seconds of unbroken motion after which it is not believed
	sensitivity     float64 // P(on | one person) of a presence sensor
	falseOn         float64 // P(on | nobody)
	sd, sdPer       float64 // spread of an absolute count: sd + sdPer * persons
	cap             float64 // largest absolute count the sensor can tell, "3 or more" = 3; 0 = none
	horizon         time.Duration
}

// The error rates of estimation.md, "Defaults". PIR rates are those measured per 30 s on UCI
// Room Occupancy Estimation: .35, .61, .77 for one, two, three or more people.
var generic = params{
	missIn: .05, missOut: .06, falseRate: .01, group: .15, rate: 3,
	kappa: .86, phi: .004, stuck: 4 * 3600,
	sensitivity: .95, falseOn: .03, sd: .6, sdPer: .08,
	horizon: 24 * time.Hour,
}

// eventHorizon is the default longest normal silence of sensors that only speak when something
// happens: one that is quiet over a long weekend is not broken.
const eventHorizon = 96 * time.Hour

// cameraHorizon is the default longest normal silence of cameras: one that says nothing for so long
// is offline, as they report often or send a heartbeat.
const cameraHorizon = 5 * time.Minute

func line(missIn, missOut, falseRate float64) params {
	p := generic
	p.missIn, p.missOut, p.falseRate, p.horizon = missIn, missOut, falseRate, eventHorizon
	return p
}

func state(sensitivity, falseOn float64, horizon time.Duration) params {
	p := generic
	p.sensitivity, p.falseOn, p.horizon = sensitivity, falseOn, horizon
	return p
}

// defaults gives the parameters of a class; an unknown class has the generic ones.
func defaults(c edge.Class) params {
	switch c {
	case edge.LineToF, edge.LineStereo:
		return line(.02, .03, .005)
	case edge.LineThermopile:
		return line(.05, .06, .01)
	case edge.LineBeam:
		return line(.10, .12, .02)
	case edge.Badge:
		p := line(.05, .05, .005) // as many follow somebody in as out, so that ins less outs is the best guess
		p.group = 0               // each shows a badge, in a crowd too
		return p
	case edge.MMWave:
		p := state(.97, .03, 12*time.Hour)
		p.kappa, p.cap = 2, 3
		return p
	case edge.PIR:
		p := generic
		p.horizon = eventHorizon
		return p
	case edge.Desk:
		return state(.97, .01, 24*time.Hour)
	case edge.ZoneCount:
		return state(.97, .01, 6*time.Hour)
	case edge.Camera:
		return state(.97, .01, cameraHorizon)
	}
	return generic
}

// evidence tells whether sensors of class c can say anything about head counts in this version.
func evidence(c edge.Class) bool {
	switch c {
	case edge.CO2, edge.Contact, edge.WiFi, edge.Environment:
		return false
	}
	return true
}

// isLine tells whether sensors of class c count passages.
func isLine(c edge.Class) bool {
	switch c {
	case edge.LineToF, edge.LineStereo, edge.LineThermopile, edge.LineBeam, edge.Badge:
		return true
	}
	return false
}

// field is one overridable parameter with its range.
type field struct {
	name     string
	at       *float64
	min, max float64
}

func (p *params) fields() []field {
	return []field{
		{"miss_in", &p.missIn, 0, .5}, {"miss_out", &p.missOut, 0, .5}, {"false_rate", &p.falseRate, 0, .5},
		{"group_miss", &p.group, 0, 10}, {"max_rate_per_s", &p.rate, .001, 1000}, {"width_bits", &p.width, 0, 53},
		{"motion_per_min", &p.kappa, .01, 60}, {"motion_false_per_30s", &p.phi, 0, .5}, {"hold_s", &p.hold, 0, 3600},
		{"stuck_s", &p.stuck, 60, 7 * 86400}, {"sensitivity", &p.sensitivity, .5, .9999}, {"false_on", &p.falseOn, .0001, .5},
		{"count_sd", &p.sd, .05, 100}, {"count_sd_per_person", &p.sdPer, 0, 2}, {"count_cap", &p.cap, 0, 10000},
	}
}

// Check says what is wrong with a sensor's parameters.
func Check(s edge.Sensor) error {
	_, err := paramsOf(s)
	return err
}

// paramsOf is the class's defaults with the sensor's own Params and Horizon laid over them.
func paramsOf(s edge.Sensor) (params, error) {
	p := defaults(s.Class)
	if s.Horizon > 0 {
		p.horizon = s.Horizon
	}
	fields := p.fields()
	for _, name := range sortedKeys(s.Params) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			return p, fmt.Errorf("sensor %s: unknown parameter %q; known: %s", s.ID, name, fieldNames(fields))
		}
		f, v := fields[i], s.Params[name]
		if math.IsNaN(v) || v < f.min || v > f.max {
			return p, fmt.Errorf("sensor %s: parameter %s is %v, want %v to %v", s.ID, name, v, f.min, f.max)
		}
		*f.at = v
	}
	return p, nil
}

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func fieldNames(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// missed is the expected number of uncounted passages when g were counted within groupWindow:
// the miss rate grows with the size of the group, which itself is larger than what was counted.
func missed(g, m, group float64) float64 {
	rate := func(size float64) float64 { return math.Min(.5, m*(1+group*math.Max(0, size-2))) }
	size := g / (1 - rate(g))
	r := rate(size)
	return g * r / (1 - r)
}
