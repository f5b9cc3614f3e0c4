package httppush

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// MessagesName is the name in the catalog of the driver that NewMessages makes.
const MessagesName = "socketio"

// roomAddress is what comes before a room's id in the address of a device that names only that.
const roomAddress = "socketio/"

// Messages takes readings that clients send over the hub's own Socket.IO endpoint, where one
// connection may serve any number of sensors. It is answered as POST /v1/readings is.
type Messages struct{ driver *Driver }

var (
	_ drivers.Messenger = (*Messages)(nil)
	_ drivers.Factory   = NewMessages
)

// NewMessages makes the driver. It has no options.
func NewMessages(cfg drivers.Config, log *slog.Logger) (drivers.Driver, error) {
	var o struct{}
	if err := drivers.DecodeOptions(cfg.Options, &o); err != nil {
		return nil, err
	}
	return &Messages{&Driver{log: log, names: newNames(cfg.Sensors)}}, nil
}

// Run takes events until ctx ends.
func (m *Messages) Run(ctx context.Context, out drivers.Sink) error {
	return m.driver.serve(ctx, out, "takes "+strings.Join(m.Names(), ", ")+" on /socket.io/")
}

// Names lists the events that it takes.
func (m *Messages) Names() []string { return []string{"reading", "peopleCount", "temperature"} }

// Taken is the answer to one event: what became of its readings, which are on the disk. With an
// Error nothing of it is known to be stored; with Retry it goes away by itself.
type Taken struct {
	Accepted  int       `json:"accepted"`
	Duplicate int       `json:"duplicate"`
	Pending   int       `json:"pending"`
	Rejected  []refusal `json:"rejected"`
	Error     string    `json:"error,omitempty"`
	Retry     bool      `json:"retry,omitempty"`
}

// Take stores the readings of events, all in one commit, and returns a Taken for each.
func (m *Messages) Take(ctx context.Context, who *token.Identity, names []string, payloads []json.RawMessage) []any {
	received := time.Now()
	ctx = token.Into(ctx, who)
	all := make([]parsed, len(names))
	for i := range names {
		all[i] = m.parse(ctx, names[i], payloads[i], received)
	}
	outcomes, err := m.store(ctx, all, received)
	answers := make([]any, len(all))
	for i := range all {
		answers[i] = all[i].answer(&outcomes, err)
	}
	return answers
}

// parsed is what an event became before the hub saw it.
type parsed struct {
	name  string
	items *batch   // nil when the event as a whole is not taken
	why   *problem // of that
}

func (m *Messages) parse(ctx context.Context, name string, payload []byte, received time.Time) parsed {
	out := parsed{name: name}
	if name != "reading" {
		payload, out.why = native(name, payload)
	}
	if out.why == nil {
		out.items, out.why = parseBody(payload, anyJSON, m.driver.names, received)
	}
	if out.why == nil {
		out.why = m.driver.foreign(ctx, out.items.readings)
	}
	switch {
	case out.why != nil:
		out.items, out.why.hash = nil, hash(payload)
	case len(out.items.refused) > 0:
		out.items.hash = hash(payload)
	}
	return out
}

// store counts what is refused and stores the rest. Outcomes are in the order of the readings.
func (m *Messages) store(ctx context.Context, all []parsed, received time.Time) (outcomes []edge.Outcome, err error) {
	var readings []edge.Reading
	var rejected []edge.Rejection
	for _, p := range all {
		r := edge.Rejection{Driver: MessagesName, Device: p.name, At: received}
		switch {
		case p.why != nil:
			r.Cause, r.Detail, r.Hash = p.why.cause, clipDetail(p.why.Detail), p.why.hash
			if r.Cause == "" {
				r.Cause = "malformed"
			}
			rejected = append(rejected, r)
			continue
		case len(p.items.refused) > 0:
			n := len(p.items.refused)
			r.Cause, r.Detail, r.Hash, r.Count = "invalid reading", clipDetail(p.items.refused[n-1].Reason), p.items.hash, n
			rejected = append(rejected, r)
		}
		readings = append(readings, p.items.readings...)
	}
	err = m.driver.with(ctx, func(ctx context.Context, out drivers.Sink) (err error) {
		if err := drivers.Deliver(ctx, out, nil, rejected); err != nil || len(readings) == 0 {
			return err
		}
		outcomes, err = out.Put(ctx, readings...)
		return err
	})
	return outcomes, err
}

// answer takes the event's outcomes from the front of the list.
func (p *parsed) answer(outcomes *[]edge.Outcome, err error) Taken {
	t := Taken{Rejected: []refusal{}}
	switch {
	case err != nil:
		t.Error, t.Retry = "the hub did not store it; send it again", true
		return t
	case p.why != nil:
		t.Error = p.why.Detail
		return t
	}
	res := &result{rejected: slices.Clone(p.items.refused)}
	for i := range p.items.readings {
		res.add(p.items.item(i), (*outcomes)[i])
	}
	*outcomes = (*outcomes)[len(p.items.readings):]
	t.Accepted, t.Duplicate, t.Pending = res.accepted, res.duplicate, res.pending
	t.Rejected = append(t.Rejected, res.rejected...)
	return t
}

// room is a message about a room in the words that such systems use.
type room struct {
	RoomID   string          `json:"roomId"`
	Room     string          `json:"room"`
	SensorID string          `json:"sensorId"`
	Sensor   string          `json:"sensor"`
	Count    json.RawMessage `json:"peopleCount"`
	Short    json.RawMessage `json:"count"`
	Degrees  json.RawMessage `json:"temperature"`
	Value    json.RawMessage `json:"value"`

	Timestamp json.RawMessage `json:"timestamp"`
	TS        json.RawMessage `json:"ts"`
	Seq       json.RawMessage `json:"seq"`
}

// native turns peopleCount and temperature into a reading of our own vocabulary. The device is the
// sensor that is named, else the room.
func native(name string, payload []byte) ([]byte, *problem) {
	var r room
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, problemf(400, "malformed", "%s: want an object such as {\"roomId\":\"room-1\",\"value\":3}: %v", name, err)
	}
	out := map[string]json.RawMessage{}
	put := func(key string, values ...json.RawMessage) bool {
		for _, v := range values {
			if len(v) > 0 && !bytes.Equal(v, []byte("null")) {
				out[key] = v
				return true
			}
		}
		return false
	}
	switch sensor, where := r.Sensor+r.SensorID, r.Room+r.RoomID; {
	case sensor != "":
		out["sensor"], _ = json.Marshal(sensor)
	case where != "":
		out["device"], _ = json.Marshal(roomAddress + where)
	default:
		return nil, problemf(400, "malformed", "%s: no roomId: say which room it is about", name)
	}
	found := name == "peopleCount" && put(string(edge.CountAbs), r.Count, r.Short, r.Value) ||
		name == "temperature" && put(string(edge.TemperatureC), r.Degrees, r.Value)
	if !found {
		return nil, problemf(400, "malformed", "%s: no value", name)
	}
	put("ts", r.Timestamp, r.TS)
	put("seq", r.Seq)
	b, err := json.Marshal(out)
	if err != nil {
		return nil, problemf(400, "malformed", "%s: %v", name, err)
	}
	return b, nil
}
