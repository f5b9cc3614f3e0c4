// Package payload holds the codecs that transports share: bytes of a message in, observations
// out. MQTT, HTTP and serial drivers, and the decode command, run the same ones.
//
// A codec is pure: no clock, no I/O, no memory of earlier messages unless it says so. It never
// guesses: what is missing or null is unknown, never vacant and never zero; what cannot be
// understood is an error with a cause, never a value. Input is foreign and bounded: JSON is
// checked for size, depth, number of values, duplicate keys, UTF-8 and trailing data before
// anything is made of it.
package payload

import (
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Kinds that payloads report and that have no name in edge.
const batteryPct edge.Kind = "battery_pct"

// Input is one message as it arrived.
type Input struct {
	Topic    string // MQTT topic; empty elsewhere
	Path     string // HTTP path; empty elsewhere
	Body     []byte // the payload; a codec neither keeps nor changes it
	Retained bool   // a broker's memory of an earlier message
	Received time.Time
}

// source names where the message came from: topic or path.
func (in Input) source() string {
	if in.Topic != "" {
		return in.Topic
	}
	return in.Path
}

// Observation is one value that a message reports about one sensor.
type Observation struct {
	Sensor   string // id within the message: the device's name, its channel appended by a slash
	Value    edge.Value
	TS       time.Time      // the device's own time; zero when it gave none
	From     time.Time      // start of the interval that ends at TS; zero when there is none
	Seq      string         // the device's sequence or de-duplication key; empty when it has none
	Backfill bool           // a stored record from the past
	Extra    map[string]any // further facts for people: link quality, labels; usually nil
}

// Codec turns a message into observations. It may be used from any goroutine.
//
// An error is an *[Error]. Observations may come with an error: they stand for the part that
// was understood and are good to use; the rest is to be rejected with the error's cause. A
// message that says nothing about a space (a lamp's state, a setting) has neither.
type Codec interface {
	Decode(in Input) ([]Observation, error)
}

// Prefixer is implemented by codecs whose sensor ids are not device addresses by themselves.
// Prefix gives what stands before them for this message, as in "zigbee2mqtt/".
type Prefixer interface {
	Prefix(in Input) string
}

// Prefix returns what stands before the sensor ids of c to make device addresses: c's own
// prefix if it has one, else def.
func Prefix(c Codec, in Input, def string) string {
	if p, ok := c.(Prefixer); ok {
		return p.Prefix(in)
	}
	return def
}

// The causes of an Error, short and constant; they name lines of the loss ledger.
const (
	Malformed     = "malformed"      // not what its format requires
	TooLarge      = "too large"      // beyond a limit of size, depth or number
	UnknownFormat = "unknown format" // well-formed, but nothing in it is known
	BadValue      = "bad value"      // a known field with a value that it cannot have
)

// Error says why a message, or a part of it, could not be understood.
type Error struct {
	Cause  string // one of the constants
	Detail string // for people: what is wrong and where
}

func (e *Error) Error() string { return e.Cause + ": " + e.Detail }

func errorf(cause, format string, args ...any) *Error {
	return &Error{Cause: cause, Detail: fmt.Sprintf(format, args...)}
}

// Rejection makes the ledger entry for a message that err, from a codec, is about.
func Rejection(driver, device string, err error, in Input) edge.Rejection {
	r := edge.Rejection{Driver: driver, Device: device, Cause: Malformed, Detail: err.Error(), At: in.Received}
	var e *Error
	if errors.As(err, &e) {
		r.Cause, r.Detail = e.Cause, e.Detail
	}
	r.Detail = Clip(r.Detail, 200)
	r.Hash = hash(in.Body)
	return r
}

// Group makes readings of a message's observations: those of one sensor, time, interval and
// sequence are one atomic group, so that in and out step together. A repeated kind begins a
// new group. The device's address is prefix and the sensor's id. Order is that of the first
// observation of each group.
func Group(prefix string, obs []Observation, received time.Time) []edge.Reading {
	if len(obs) == 0 {
		return nil
	}
	values := make([]edge.Value, 0, len(obs)+1)
	readings := make([]edge.Reading, 0, 1)
	taken := 0
	var done []bool // which observations stand in a group already; nil while groups are contiguous
	for first := range obs {
		if done != nil && done[first] {
			continue
		}
		if done == nil && first < taken {
			continue
		}
		start := len(values)
		for i := first; i < len(obs); i++ {
			if done != nil && done[i] || !sameGroup(&obs[first], &obs[i]) {
				continue
			}
			if hasKind(values[start:], obs[i].Value) {
				break
			}
			values = append(values, obs[i].Value)
			switch {
			case done != nil:
				done[i] = true
			case i == taken:
				taken++
			default:
				done = make([]bool, len(obs))
				for j := range taken {
					done[j] = true
				}
				done[i] = true
			}
		}
		o := &obs[first]
		readings = append(readings, edge.Reading{
			Device: prefix + o.Sensor, At: o.TS, From: o.From, Received: received,
			Seq: o.Seq, Backfill: o.Backfill, Values: values[start:len(values):len(values)],
		})
	}
	return readings
}

func sameGroup(a, b *Observation) bool {
	return a == b || a.Sensor == b.Sensor && a.TS.Equal(b.TS) && a.From.Equal(b.From) && a.Seq == b.Seq && a.Backfill == b.Backfill
}

func hasKind(vs []edge.Value, v edge.Value) bool {
	for i := range vs {
		if vs[i].Kind == v.Kind && vs[i].Semantics == v.Semantics {
			return true
		}
	}
	return false
}
