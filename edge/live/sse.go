package live

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"
)

// retryMillis is what clients are told to wait before they reconnect.
const retryMillis = 2000

// SSE serves the source as Server-Sent Events. A client resumes with the Last-Event-ID header
// or ?last_event_id=. The connection's own read and write timeouts do not apply; every write
// has a deadline of its own.
func SSE(src Source, o Options) http.Handler {
	o = o.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, filter, leave, ok := admit(w, r, o)
		if !ok {
			return
		}
		defer leave()
		out := &sse{w: w, rc: http.NewResponseController(w), timeout: o.WriteTimeout}
		if err := out.open(); err != nil {
			refuse(w, http.StatusInternalServerError, "this connection cannot carry a live stream")
			o.Log.Error("live stream not possible", "err", err)
			return
		}
		s := session{src: src, opts: o, filter: filter, out: out, cursor: resumeID(r)}
		if err := s.run(ctx); !quiet(ctx, err) {
			o.Log.Info("live client dropped", "remote", r.RemoteAddr, "err", err)
		}
	})
}

// sse is the transport of one SSE client.
type sse struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	buf     bytes.Buffer
}

// open sends the header and lifts the server's timeouts for this connection.
func (t *sse) open() error {
	if err := t.rc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	h := t.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	fmt.Fprintf(&t.buf, "retry: %d\n\n", retryMillis)
	return t.flush()
}

func (t *sse) send(_ context.Context, evs []Event) error {
	for _, e := range evs {
		fmt.Fprintf(&t.buf, "id: %s\nevent: %s\n", e.ID, e.Type)
		for line := range bytes.FieldsFuncSeq(e.Data, func(r rune) bool { return r == '\n' || r == '\r' }) {
			fmt.Fprintf(&t.buf, "data: %s\n", line)
		}
		t.buf.WriteByte('\n')
	}
	return t.flush()
}

// beat sends a comment and, in an event without data that clients only take the id of, how far
// the filter has looked.
func (t *sse) beat(_ context.Context, id string) error {
	if id != "" {
		fmt.Fprintf(&t.buf, "id: %s\n", id)
	}
	t.buf.WriteString(":\n\n")
	return t.flush()
}

// flush writes the buffer within the timeout: who does not take it is dropped.
func (t *sse) flush() error {
	if err := t.rc.SetWriteDeadline(time.Now().Add(t.timeout)); err != nil {
		return err
	}
	_, err := t.w.Write(t.buf.Bytes())
	t.buf.Reset()
	if err != nil {
		return err
	}
	return t.rc.Flush()
}
