package alerts

import (
	"reflect"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Source gives the facts of the present. What it returns may change only for subjects that
// were touched since the last Evaluate.
type Source interface {
	Occupancy(space string) (edge.Occupancy, bool)
	Sensor(id string) (edge.SensorStatus, bool)
	Door(id string) (edge.DoorStatus, bool)
	Hub() Hub
}

// Hub is what rules can know of the hub itself.
type Hub struct {
	UplinkConfigured bool
	Connected        bool
	UnsyncedSince    time.Time // since when the cloud lacks records; zero = in sync
	Backlog          uint64    // records the cloud has not applied
	Clock            string    // "unsynced", "holdover", "synced"
}

// HubSubject is the subject id of alerts about the hub itself.
const HubSubject = "hub"

// Variable is one fact a condition or message can name.
type Variable struct {
	Name string
	Type string // "text", "number", "yes/no"
	Doc  string
}

// The fact structures are what expressions run over. They are comparable: a touched subject
// whose facts are the same is not evaluated. A field tagged nullable has a hidden companion
// that says whether it is known. Fields tagged growing change by the mere passing of time:
// they are filled at evaluation, on a grid of 30 s, from the unexported times beside them.

type spaceFacts struct {
	ID          string  `expr:"id" doc:"the space's id"`
	Name        string  `expr:"name" doc:"its name, or its id"`
	Kind        string  `expr:"kind" doc:"building, floor, room or zone"`
	State       string  `expr:"state" doc:"unknown, vacant or occupied"`
	Quality     string  `expr:"quality" doc:"good, degraded, stale or none"`
	Known       bool    `expr:"known" doc:"whether the state is known"`
	OpenHours   bool    `expr:"open_hours" doc:"whether it is within the space's opening hours; always so without hours"`
	Count       float64 `expr:"count" nullable:"HasCount" doc:"best estimate of the number of people"`
	CountLow    float64 `expr:"count_low" nullable:"HasLow" doc:"lower end of the 90 % interval"`
	CountHigh   float64 `expr:"count_high" nullable:"HasHigh" doc:"upper end of the 90 % interval"`
	Mean        float64 `expr:"mean" nullable:"HasMean" doc:"expected number of people"`
	POccupied   float64 `expr:"p_occupied" nullable:"HasP" doc:"probability that anybody is there, 0 to 1"`
	Capacity    float64 `expr:"capacity" nullable:"HasCapacity" doc:"configured capacity; unknown when there is none"`
	Utilisation float64 `expr:"utilisation" nullable:"HasUtil" doc:"count / capacity"`
	StateFor    float64 `expr:"state_for" nullable:"HasSince" growing:"true" doc:"seconds since the state holds"`

	HasCount    bool `expr:"__count"`
	HasLow      bool `expr:"__count_low"`
	HasHigh     bool `expr:"__count_high"`
	HasMean     bool `expr:"__mean"`
	HasP        bool `expr:"__p_occupied"`
	HasCapacity bool `expr:"__capacity"`
	HasUtil     bool `expr:"__utilisation"`
	HasSince    bool `expr:"__state_for"`

	since int64 // Unix milliseconds; 0 unless a rule uses state_for
}

type sensorFacts struct {
	ID        string  `expr:"id" doc:"the sensor's id"`
	Name      string  `expr:"name" doc:"its name, or its id"`
	Class     string  `expr:"class" doc:"line-tof, pir, co2, …"`
	Space     string  `expr:"space" doc:"the space it observes; empty for a door's"`
	Door      string  `expr:"door" doc:"the door it observes; empty for a space's"`
	Status    string  `expr:"status" doc:"waiting (never heard), ok, silent or offline"`
	Reason    string  `expr:"reason" doc:"why it is not ok"`
	Silent    bool    `expr:"silent" doc:"whether it is silent beyond its horizon or offline"`
	Horizon   float64 `expr:"horizon" nullable:"HasHorizon" doc:"longest normal silence in seconds, if configured"`
	SilentFor float64 `expr:"silent_for" nullable:"HasSeen" growing:"true" doc:"seconds since it was last heard; unknown when never"`

	HasHorizon bool `expr:"__horizon"`
	HasSeen    bool `expr:"__silent_for"`

	since int64
}

type doorFacts struct {
	ID       string  `expr:"id" doc:"the door's id"`
	State    string  `expr:"state" doc:"unknown, open or closed"`
	Open     bool    `expr:"open" nullable:"HasOpen" doc:"whether it is open; unknown without a contact"`
	Forced   bool    `expr:"forced" doc:"whether it was opened by force and not closed since"`
	HeldOpen bool    `expr:"held_open" doc:"whether it is open for too long"`
	Denied   float64 `expr:"denied_count" doc:"accesses denied in the last 10 minutes"`
	OpenFor  float64 `expr:"open_for" nullable:"HasSince" growing:"true" doc:"seconds since it was opened; unknown unless it is open"`

	HasOpen  bool `expr:"__open"`
	HasSince bool `expr:"__open_for"`

	since int64
}

type hubFacts struct {
	Synced      bool    `expr:"synced" doc:"whether the cloud has applied all it was due"`
	Connected   bool    `expr:"connected" doc:"whether the link to the cloud is up"`
	Configured  bool    `expr:"uplink_configured" doc:"whether there is a cloud to send to"`
	Backlog     float64 `expr:"backlog" doc:"records the cloud has not applied"`
	Clock       string  `expr:"clock" doc:"unsynced, holdover or synced"`
	UnsyncedFor float64 `expr:"unsynced_for" growing:"true" doc:"seconds since the cloud lacks records; 0 when in sync"`

	since int64
}

// variable is a Variable with what the compiler needs of it.
type variable struct {
	Variable
	field    string
	nullable bool
	growing  bool
}

// kindOf maps a rule's for_each to "space", "door", "sensor" or "hub", whose facts it is about.
func kindOf(forEach string) string {
	switch forEach {
	case "door", "sensor", "hub":
		return forEach
	}
	return "space"
}

// zeroFacts returns the structure that the expressions of a kind are checked against.
func zeroFacts(kind string) any {
	switch kind {
	case "door":
		return &doorFacts{}
	case "sensor":
		return &sensorFacts{}
	case "hub":
		return &hubFacts{}
	}
	return &spaceFacts{}
}

func variablesOf(kind string) []variable {
	t := reflect.TypeOf(zeroFacts(kind)).Elem()
	var out []variable
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("expr")
		if name == "" || strings.HasPrefix(name, "__") {
			continue
		}
		v := variable{Variable: Variable{Name: name, Type: "text", Doc: f.Tag.Get("doc")}, field: f.Name}
		switch f.Type.Kind() {
		case reflect.Bool:
			v.Type = "yes/no"
		case reflect.Float64:
			v.Type = "number"
		}
		_, v.nullable = f.Tag.Lookup("nullable")
		_, v.growing = f.Tag.Lookup("growing")
		out = append(out, v)
	}
	return out
}

// Variables lists the facts that rules about the given subject (one of [ForEach]) can name.
func Variables(forEach string) []Variable {
	vars := variablesOf(kindOf(forEach))
	out := make([]Variable, len(vars))
	for i, v := range vars {
		out[i] = v.Variable
	}
	return out
}

func number(p *int) (float64, bool) {
	if p == nil {
		return 0, false
	}
	return float64(*p), true
}

func float(p *float64) (float64, bool) {
	if p == nil {
		return 0, false
	}
	return *p, true
}

// fill sets what follows from an occupancy; the rest of f comes from the site.
func (f *spaceFacts) fill(o edge.Occupancy, timed bool) {
	f.State, f.Quality = string(or(o.State, edge.Unknown)), string(or(o.Quality, edge.QualityNone))
	f.Known = f.State != string(edge.Unknown)
	f.Count, f.HasCount = number(o.Count)
	f.CountLow, f.HasLow = number(o.Low)
	f.CountHigh, f.HasHigh = number(o.High)
	f.Mean, f.HasMean = float(o.Mean)
	f.POccupied, f.HasP = float(o.POccupied)
	if f.HasUtil = f.HasCount && f.HasCapacity; f.HasUtil {
		f.Utilisation = f.Count / f.Capacity
	}
	if f.HasSince = timed && !o.Since.IsZero(); f.HasSince {
		f.since = o.Since.UnixMilli()
	}
}

func (f *sensorFacts) fill(s edge.SensorStatus, timed bool) {
	f.ID, f.Name, f.Class = s.ID, or(s.Name, s.ID), string(s.Class)
	f.Space, f.Door = s.Space, s.Door
	f.Status, f.Reason = or(s.Status, "waiting"), s.Reason
	f.Silent = s.Status == "silent" || s.Status == "offline"
	if f.HasHorizon = s.Horizon > 0; f.HasHorizon {
		f.Horizon = s.Horizon.Seconds()
	}
	if f.HasSeen = timed && !s.LastSeen.IsZero(); f.HasSeen {
		f.since = s.LastSeen.UnixMilli()
	}
}

func (f *doorFacts) fill(d edge.DoorStatus, timed bool) {
	f.State = or(d.State, edge.DoorUnknown)
	f.HasOpen, f.Open = f.State != edge.DoorUnknown, f.State == edge.DoorOpen
	f.Forced, f.HeldOpen, f.Denied = d.Forced, d.HeldOpen, float64(d.Denied)
	if f.HasSince = timed && f.Open; f.HasSince {
		f.since = d.Since.UnixMilli()
	}
}

func (f *hubFacts) fill(h Hub, timed bool) {
	f.Synced, f.Connected, f.Configured = h.UnsyncedSince.IsZero(), h.Connected, h.UplinkConfigured
	f.Backlog, f.Clock = float64(h.Backlog), h.Clock
	if timed && !f.Synced {
		f.since = h.UnsyncedSince.UnixMilli()
	}
}

// elapsed returns the seconds from a time in Unix milliseconds until now, at least 0.
func elapsed(since int64, now time.Time) float64 {
	return max(0, float64(now.UnixMilli()-since)/1000)
}

func (f *spaceFacts) grow(now time.Time) {
	if f.HasSince {
		f.StateFor = elapsed(f.since, now)
	}
}

func (f *sensorFacts) grow(now time.Time) {
	if f.HasSeen {
		f.SilentFor = elapsed(f.since, now)
	}
}

func (f *doorFacts) grow(now time.Time) {
	if f.HasSince {
		f.OpenFor = elapsed(f.since, now)
	}
}

func (f *hubFacts) grow(now time.Time) {
	if !f.Synced {
		f.UnsyncedFor = elapsed(f.since, now)
	}
}
