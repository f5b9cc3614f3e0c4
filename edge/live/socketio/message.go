package socketio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// The messages of Socket.IO by their first byte.
const (
	connectMessage    = '0'
	disconnectMessage = '1'
	eventMessage      = '2'
	ackMessage        = '3'
	refusedMessage    = '4'
	binaryEvent       = '5'
	binaryAck         = '6'
)

// Bounds of the parts of a message that come before its JSON.
const (
	maxNamespace = 128
	maxIDDigits  = 15 // exact in JavaScript
)

// mainNamespace is the one that a message means which names none.
const mainNamespace = "/"

// message is one of Socket.IO; a binary one is completed by its attachments.
type message struct {
	kind        byte
	namespace   string
	id          int64 // of an acknowledgement; -1 = none
	json        []byte
	attachments int
}

// reserved are names of events that only the library itself may use.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// parseMessage reads a text message; its JSON is a part of b.
func parseMessage(b []byte, maxAttachments int) (m message, err error) {
	if len(b) == 0 || b[0] < connectMessage || b[0] > binaryAck || b[0] == refusedMessage {
		return m, fmt.Errorf("%w: type", errMalformed)
	}
	m = message{kind: b[0], namespace: mainNamespace, id: -1}
	b = b[1:]
	if m.kind == binaryEvent || m.kind == binaryAck {
		digits, rest, ok := bytes.Cut(b, []byte{'-'})
		n, err := strconv.ParseUint(string(digits), 10, 16)
		if !ok || err != nil || n > uint64(maxAttachments) {
			return m, fmt.Errorf("%w: attachments", errMalformed)
		}
		m.attachments, b = int(n), rest
	}
	if len(b) > 0 && b[0] == '/' {
		name, rest, _ := bytes.Cut(b, []byte{','})
		if len(name) > maxNamespace {
			return m, fmt.Errorf("%w: namespace", errMalformed)
		}
		name, _, _ = bytes.Cut(name, []byte{'?'})
		m.namespace, b = string(name), rest
	}
	digits := 0
	for digits < len(b) && b[digits]-'0' <= 9 {
		digits++
	}
	if digits > maxIDDigits {
		return m, fmt.Errorf("%w: id", errMalformed)
	}
	if digits > 0 {
		m.id, _ = strconv.ParseInt(string(b[:digits]), 10, 64) // digits only
	}
	m.json = b[digits:]
	return m, m.check()
}

// check tells whether the JSON is of the form that the kind of message has.
func (m *message) check() error {
	var ok bool
	switch m.kind {
	case connectMessage:
		ok = len(m.json) == 0 || m.json[0] == '{' && json.Valid(m.json)
	case disconnectMessage:
		ok = len(m.json) == 0
	case ackMessage, binaryAck:
		ok = m.id >= 0 && len(m.json) > 0 && m.json[0] == '[' && json.Valid(m.json)
	default:
		ok = len(m.json) > 0 && m.json[0] == '[' && json.Valid(m.json)
	}
	if !ok {
		return fmt.Errorf("%w: payload", errMalformed)
	}
	return nil
}

// header writes what comes before the JSON.
func (m *message) header() []byte {
	b := []byte{m.kind}
	if m.kind == binaryEvent || m.kind == binaryAck {
		b = append(strconv.AppendInt(b, int64(m.attachments), 10), '-')
	}
	if m.namespace != mainNamespace {
		b = append(append(b, m.namespace...), ',')
	}
	if m.id >= 0 {
		b = strconv.AppendInt(b, m.id, 10)
	}
	return b
}

// packets writes a message and its attachments for the session.
func (m *message) packets(attachments [][]byte) []packet {
	ps := make([]packet, 0, 1+len(attachments))
	ps = append(ps, packet{kind: messagePacket, data: append(m.header(), m.json...)})
	for _, a := range attachments {
		ps = append(ps, packet{kind: messagePacket, binary: true, data: a})
	}
	return ps
}

// Args are the arguments of an event or acknowledgement. In place of binary data the JSON has
// {"_placeholder":true,"num":N}, which stands for Attachments[N].
type Args struct {
	JSON        []json.RawMessage
	Attachments [][]byte
}

// Decode reads argument i into v; one that is not there leaves v as it is.
func (a Args) Decode(i int, v any) error {
	if i >= len(a.JSON) {
		return nil
	}
	return json.Unmarshal(a.JSON[i], v)
}

// Binary returns argument i when it is binary.
func (a Args) Binary(i int) ([]byte, bool) {
	var p placeholder
	if i >= len(a.JSON) || json.Unmarshal(a.JSON[i], &p) != nil || !p.Placeholder || p.Num < 0 || p.Num >= len(a.Attachments) {
		return nil, false
	}
	return a.Attachments[p.Num], true
}

type placeholder struct {
	Placeholder bool `json:"_placeholder"`
	Num         int  `json:"num"`
}

// encode makes the JSON array and the attachments of a message: each value is encoded as JSON,
// a []byte, also one within []any or map[string]any, becomes an attachment, and Args are taken
// as they are when they stand alone.
func encode(first []any, args []any) ([]byte, [][]byte, error) {
	var attachments [][]byte
	list := append([]any{}, first...)
	if len(args) == 1 {
		if whole, ok := args[0].(Args); ok {
			for _, raw := range whole.JSON {
				list = append(list, raw)
			}
			b, err := json.Marshal(list)
			return b, whole.Attachments, err
		}
	}
	for _, v := range args {
		list = append(list, detach(v, &attachments))
	}
	b, err := json.Marshal(list)
	return b, attachments, err
}

func detach(v any, out *[][]byte) any {
	switch v := v.(type) {
	case []byte:
		*out = append(*out, v)
		return placeholder{true, len(*out) - 1}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = detach(v[i], out)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for k := range v {
			object[k] = detach(v[k], out)
		}
		return object
	}
	return v
}

// decodeArgs reads the arguments of a complete message; those of an event begin with its name.
func decodeArgs(raw []byte, attachments [][]byte, event bool) (name string, args Args, err error) {
	args.Attachments = attachments
	if err := json.Unmarshal(raw, &args.JSON); err != nil {
		return "", args, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if len(attachments) > 0 {
		if err := checkPlaceholders(raw, len(attachments)); err != nil {
			return "", args, err
		}
	}
	if !event {
		return "", args, nil
	}
	if len(args.JSON) == 0 || json.Unmarshal(args.JSON[0], &name) != nil || slices.Contains(reserved, name) {
		return "", args, fmt.Errorf("%w: event name", errMalformed)
	}
	args.JSON = args.JSON[1:]
	return name, args, nil
}

// checkPlaceholders refuses placeholders of attachments that are not there.
func checkPlaceholders(raw []byte, n int) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if !placeholdersWithin(v, n) {
		return fmt.Errorf("%w: placeholder", errMalformed)
	}
	return nil
}

func placeholdersWithin(v any, n int) bool {
	ok := true
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			ok = ok && placeholdersWithin(e, n)
		}
	case map[string]any:
		if v["_placeholder"] == true {
			num, isNumber := v["num"].(float64)
			return isNumber && num >= 0 && num < float64(n) && num == float64(int(num))
		}
		for _, e := range v {
			ok = ok && placeholdersWithin(e, n)
		}
	}
	return ok
}
