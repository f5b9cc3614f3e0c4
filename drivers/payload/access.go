package payload

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/headcount-hub/headcount/edge"
)

// Messages of badge readers, door controllers and vision boxes name what happened in "event" (or
// whether somebody was let in, in "access"). In such a message some keys mean something else than
// in others: "door" is a place and no contact, "id" the event's own id where the reader has another
// name, and a name or card number is a badge. What cannot be understood in one is never quoted: it
// may be a badge in the wrong place.

// person stands for person.detected until it is known whether the message has a count.
const person edge.Kind = "person.detected"

// events is what each event says.
var events = map[string]edge.Value{
	"access.granted":  edge.TextValue(edge.Access, edge.PassageEvent, edge.Granted),
	"access.denied":   edge.TextValue(edge.Access, edge.PassageEvent, edge.Denied),
	"door.opened":     edge.TextValue(edge.ContactKind, edge.State, edge.DoorOpen),
	"door.closed":     edge.TextValue(edge.ContactKind, edge.State, edge.DoorShut),
	"door.forced":     edge.TextValue(edge.DoorAlarm, edge.AlarmSemantics, edge.Forced),
	"door.held_open":  edge.TextValue(edge.DoorAlarm, edge.AlarmSemantics, edge.HeldOpen),
	"camera.offline":  edge.TextValue(edge.Health, edge.State, "offline"),
	"camera.online":   edge.TextValue(edge.Health, edge.State, "online"),
	"person.detected": edge.BoolValue(person, edge.MotionState, true),
	"motion.detected": edge.BoolValue(edge.Presence, edge.MotionState, true),
}

// wordsOf is what devices call the words of a kind; what stands for no word is left out.
var wordsOf = map[edge.Kind]map[string]string{
	edge.Access: spelled(map[string]string{
		edge.Granted: "granted grant access.granted allowed allow accepted permitted valid ok success true 1",
		edge.Denied:  "denied deny access.denied refused rejected invalid failed false 0",
	}),
	edge.Direction: spelled(map[string]string{
		edge.In: "in entry enter entering entrance inbound", edge.Out: "out exit leave leaving outbound", "none": "none unknown",
	}),
	edge.Method: spelled(map[string]string{
		"card": "card rfid nfc badge fob", "pin": "pin code keypad", "mobile": "mobile phone ble app", "remote": "remote button rex intercom",
	}),
	edge.DoorAlarm: spelled(map[string]string{edge.Forced: "forced forced_open", edge.HeldOpen: "held_open held propped ajar"}),
}

func spelled(names map[string]string) map[string]string {
	out := map[string]string{}
	for word, list := range names {
		for _, n := range strings.Fields(list) {
			out[n] = word
		}
	}
	return out
}

// details are the fields that say more of an access. Outside such messages their names are too
// common to mean anything.
func details(add func(f field, names ...string)) {
	add(field{role: roleEvent, shape: eventShape}, "event")
	detail := func(k edge.Kind, sh shape) {
		i, _ := k.Info()
		add(field{role: roleDetail, kind: k, semantics: i.Semantics, shape: sh}, string(k))
	}
	detail(edge.Direction, wordShape)
	detail(edge.Method, wordShape)
	detail(edge.AccessReason, labelShape)
	detail(edge.BadgeID, labelShape)
	add(field{role: roleDetail, kind: edge.BadgeID, semantics: edge.PassageEvent, shape: wiegandShape}, "wiegand")
}

// accessFields is the vocabulary of such messages.
var accessFields = accessVocabulary()

func accessVocabulary() map[string]*field {
	m := map[string]*field{}
	for name, f := range fields {
		if f.role != roleID {
			m[name] = f
		}
	}
	for rank, name := range []string{"sensor", "device", "reader", "controller", "camera", "door", "door_id"} {
		m[name] = &field{role: roleID, rank: int8(rank)}
	}
	for _, name := range []string{"id", "event_id", "uuid"} {
		m[name] = &field{role: roleEventID}
	}
	m["zone"] = &field{role: roleZone}
	m["count"] = m["people"]
	other := *m[string(edge.BadgeID)] // the badge's own name wins over these
	for _, name := range strings.Fields("badge_id badge_number card card_id card_number card_uid uid credential credential_id tag holder cardholder user user_id person name") {
		m[name] = &other
	}
	return m
}

// isAccess tells whether a message is of this sort.
func isAccess(v Value) bool {
	if e := v.Get("event"); e.Type() == String {
		_, ok := events[strings.ToLower(e.Text())]
		return ok
	}
	a := v.Get(string(edge.Access))
	t, ok := scalarText(a)
	return ok && wordsOf[edge.Access][strings.ToLower(t)] != ""
}

// readAccess reads a value whose shape only such messages have.
func (f *field) readAccess(v Value) (out edge.Value, known, ok bool) {
	if v.Type() == None || v.Type() == Null {
		return out, false, true
	}
	t, ok := scalarText(v)
	if t = strings.TrimSpace(t); !ok || t == "" {
		return out, false, ok
	}
	switch f.shape {
	case eventShape:
		out, known = events[strings.ToLower(t)]
		return out, known, known
	case wordShape:
		w, known := wordsOf[f.kind][strings.ToLower(t)]
		return edge.TextValue(f.kind, f.semantics, w), known, known || f.kind == edge.Method
	case wiegandShape:
		t, ok = Wiegand(t)
	}
	return edge.TextValue(f.kind, f.semantics, Clip(t, maxText)), ok, ok
}

// secret tells whether what stands in the field must not be quoted.
func (f *field) secret() bool {
	return f.role == roleDetail || f.role == roleEvent || f.kind == edge.Access || f.kind == edge.DoorAlarm
}

func (s shape) ofAccess() bool {
	return s == eventShape || s == wordShape || s == labelShape || s == wiegandShape
}

// wrong says that c is not what the field wants.
func (f *field) wrong(c Value) *Error {
	if !f.secret() {
		return badValue(c, "want "+f.shape.want())
	}
	name := string(f.kind)
	if f.role == roleEvent {
		name = "event"
	}
	return errorf(BadValue, "%s: want %s", name, f.wanted())
}

func (f *field) wanted() string {
	switch f.shape {
	case eventShape:
		return "access.granted, access.denied, door.opened, door.closed, door.forced, door.held_open, camera.offline, camera.online, person.detected or motion.detected"
	case wiegandShape:
		return "a Wiegand frame with right parity, as in 26:2A3F1C7"
	case labelShape:
		return "a text"
	}
	return strings.Join(f.kind.Words(), " or ")
}

// identity finds the text in a badge that is an object.
func identity(c Value) Value {
	for _, k := range []string{"id", "number", "uid", "value", "name"} {
		if in := c.Get(k); in.Type() != None {
			return in
		}
	}
	return Value{}
}

// sighted puts in the place of person.detected what it stands for: the count, where the message
// has one, else motion.
func sighted(obs []Observation) []Observation {
	at, counted := -1, false
	for i := range obs {
		if obs[i].Value.Kind == person {
			at = i
		}
		counted = counted || obs[i].Value.Kind == edge.CountAbs
	}
	switch {
	case at < 0:
	case counted:
		return append(obs[:at], obs[at+1:]...)
	default:
		obs[at].Value = edge.BoolValue(edge.Presence, edge.MotionState, true)
	}
	return obs
}

// Access reads messages of badge readers, door controllers and vision boxes: a JSON object, an
// array, or one object per line. It implements [Codec].
type Access struct{ *Mapping }

func newAccess(raw json.RawMessage) (Codec, error) {
	var o MapOptions
	if err := options(raw, &o); err != nil {
		return nil, err
	}
	m, err := NewMapping(o)
	if err != nil {
		return nil, err
	}
	return Access{m}, nil
}

// Decode reads one message. The error is that of its first bad line; the others are read.
func (a Access) Decode(in Input) ([]Observation, error) {
	lines := bytes.Split(bytes.TrimSpace(in.Body), []byte("\n"))
	if len(lines) == 1 || CheckJSON(in.Body, Limits{}) == nil {
		return a.Mapping.Decode(in)
	}
	var all []Observation
	var first error
	for _, line := range lines {
		if in.Body = bytes.TrimSpace(line); len(in.Body) == 0 {
			continue
		}
		obs, err := a.Mapping.Decode(in)
		if err != nil && first == nil {
			first = err
		}
		all = append(all, obs...)
	}
	return all, first
}
