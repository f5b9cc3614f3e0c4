package socketio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// The packets of Engine.IO by their first byte.
const (
	openPacket    = '0'
	closePacket   = '1'
	pingPacket    = '2'
	pongPacket    = '3'
	messagePacket = '4'
	upgradePacket = '5'
	noopPacket    = '6'
)

// separator stands between the packets of a polling request; it occurs in none of them.
const separator = 0x1e

// packet is one of Engine.IO. A binary one is a message.
type packet struct {
	kind   byte
	binary bool
	data   []byte
}

// size is what the packet takes of a queue.
func (p packet) size() int { return len(p.data) + 1 }

var errMalformed = errors.New("malformed packet")

// parsePacket reads a text packet; its data is a part of b.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 || b[0] < openPacket || b[0] > noopPacket || !utf8.Valid(b) {
		return packet{}, errMalformed
	}
	return packet{kind: b[0], data: b[1:]}, nil
}

// parsePayload reads the body of a polling request.
func parsePayload(b []byte) ([]packet, error) {
	var out []packet
	for part := range bytes.SplitSeq(b, []byte{separator}) {
		if len(part) > 0 && part[0] == 'b' {
			data, err := base64.StdEncoding.DecodeString(string(part[1:]))
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errMalformed, err)
			}
			out = append(out, packet{kind: messagePacket, binary: true, data: data})
			continue
		}
		p, err := parsePacket(part)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// appendPayload writes packets as the body of an answer to a poll.
func appendPayload(b []byte, ps []packet) []byte {
	for i, p := range ps {
		if i > 0 {
			b = append(b, separator)
		}
		if p.binary {
			b = base64.StdEncoding.AppendEncode(append(b, 'b'), p.data)
			continue
		}
		b = append(append(b, p.kind), p.data...)
	}
	return b
}

// refusal is why a request is not served, by the protocol's own code.
type refusal struct {
	status, code    int
	message, detail string
}

var (
	unknownTransport   = refusal{http.StatusBadRequest, 0, "Transport unknown", "transport is polling or websocket"}
	unknownSession     = refusal{http.StatusBadRequest, 1, "Session ID unknown", "this session has ended; connect again"}
	badMethod          = refusal{http.StatusBadRequest, 2, "Bad handshake method", "a session is opened with GET"}
	badRequest         = refusal{http.StatusBadRequest, 3, "Bad request", "this session does not take such a request now"}
	unsupportedVersion = refusal{http.StatusBadRequest, 5, "Unsupported protocol version", "this server speaks EIO=4: use socket.io-client 3 or 4"}
	tooLarge           = refusal{http.StatusRequestEntityTooLarge, 3, "Bad request", "the body is larger than maxPayload of the handshake"}
	tooMany            = refusal{http.StatusServiceUnavailable, 3, "Bad request", "too many live clients; try again in some seconds"}
)

// refuse answers with an RFC 9457 problem that has the protocol's code and message as well.
func refuse(w http.ResponseWriter, f refusal) {
	body, _ := json.Marshal(map[string]any{
		"title": http.StatusText(f.status), "status": f.status, "detail": f.detail, "code": f.code, "message": f.message,
	})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // a failing write: the client is gone
}
