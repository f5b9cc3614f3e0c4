package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
)

// recent keeps the newest lines of the log, as JSON, for whoever asks the hub instead of its machine:
// at most keptLines, each at most keptLength bytes.
type recent struct {
	mu    sync.Mutex
	lines [][]byte
	next  int
}

const (
	keptLines  = 500
	keptLength = 1024
)

// Write keeps a line. The handler calls it once for each.
func (r *recent) Write(b []byte) (int, error) {
	line := []byte(`{"msg":"a line too long to be kept"}` + "\n")
	if len(b) <= keptLength {
		line = append([]byte(nil), b...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < keptLines {
		r.lines = append(r.lines, line)
	} else {
		r.lines[r.next] = line
	}
	r.next = (r.next + 1) % keptLines
	return len(b), nil
}

// ServeHTTP answers with the lines, oldest first.
func (r *recent) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	var all []byte
	for i := range r.lines {
		all = append(all, r.lines[(r.next+i)%len(r.lines)]...)
	}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = w.Write(all) // the client is gone, then
}

// beside is a logger that writes as the other one does and keeps what it writes at level info and
// above.
func (r *recent) beside(log *slog.Logger) *slog.Logger {
	return slog.New(both{log.Handler(), slog.NewJSONHandler(r, nil)})
}

// both writes to two handlers, each by its own level.
type both [2]slog.Handler

func (b both) Enabled(ctx context.Context, l slog.Level) bool {
	return b[0].Enabled(ctx, l) || b[1].Enabled(ctx, l)
}

func (b both) Handle(ctx context.Context, r slog.Record) error {
	var errs [2]error
	for i, h := range b {
		if h.Enabled(ctx, r.Level) {
			errs[i] = h.Handle(ctx, r.Clone())
		}
	}
	return errors.Join(errs[:]...)
}

func (b both) WithAttrs(as []slog.Attr) slog.Handler {
	return both{b[0].WithAttrs(as), b[1].WithAttrs(as)}
}

func (b both) WithGroup(name string) slog.Handler {
	return both{b[0].WithGroup(name), b[1].WithGroup(name)}
}
