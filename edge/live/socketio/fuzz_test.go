package socketio

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What was read is written again as it was, and nothing that is refused makes the parser fail.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{`0{"token":"x"}`, `0/admin,{}`, `1`, `2["x",1]`, `2/a,12["x"]`, `312[1]`, `51-["x",{"_placeholder":true,"num":0}]`, `62-/a,3[]`, `2{}`, `9`} {
		f.Add([]byte(s), []byte("attachment"))
	}
	f.Fuzz(func(t *testing.T, b, attachment []byte) {
		m, err := parseMessage(b, 2)
		if err != nil {
			return
		}
		if m.attachments > 2 || len(m.namespace) > maxNamespace {
			t.Fatalf("%q: beyond the bounds: %+v", b, m)
		}
		again, err := parseMessage(append(m.header(), m.json...), 2)
		if err != nil || again.kind != m.kind || again.id != m.id || again.namespace != m.namespace || !bytes.Equal(again.json, m.json) {
			t.Fatalf("%q became %+v, read again %+v, %v", b, m, again, err)
		}
		if m.kind == connectMessage || m.kind == disconnectMessage {
			return
		}
		_, args, err := decodeArgs(m.json, [][]byte{attachment}, m.kind == eventMessage || m.kind == binaryEvent)
		if err != nil {
			return
		}
		out, _, err := encode(nil, []any{args})
		if err != nil || !json.Valid(out) {
			t.Fatalf("%q: encode: %v", b, err)
		}
		for i := range args.JSON {
			args.Binary(i)
		}
	})
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{"3", "42[\"x\"]\x1e3", "bAQID", "", "\x1e", "b", "4\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := parsePayload(b)
		if err != nil {
			return
		}
		again, err := parsePayload(appendPayload(nil, ps))
		if err != nil || len(again) != len(ps) {
			t.Fatalf("%q: %d packets, read again %d, %v", b, len(ps), len(again), err)
		}
		for i := range ps {
			if ps[i].kind != again[i].kind || ps[i].binary != again[i].binary || !bytes.Equal(ps[i].data, again[i].data) {
				t.Fatalf("%q: packet %d is %+v, read again %+v", b, i, ps[i], again[i])
			}
		}
	})
}
