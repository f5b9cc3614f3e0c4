package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// transport carries events to one client. Its methods return an error when the client is gone
// or too slow; the session then ends.
type transport interface {
	send(ctx context.Context, evs []Event) error
	beat(ctx context.Context, id string) error // sign of life; id is the cursor, empty when the client knows it
}

// session serves one client from connect to end.
type session struct {
	src    Source
	opts   Options
	filter Filter
	out    transport

	cursor string // where to go on
	told   string // the cursor the client knows
}

// run serves until ctx ends, the client is gone or the source fails. It never returns nil.
func (s *session) run(ctx context.Context) error {
	if s.cursor == "" {
		if err := s.snapshot(ctx); err != nil {
			return err
		}
	}
	heartbeat := time.NewTicker(s.opts.Heartbeat)
	defer heartbeat.Stop()
	for {
		changed := s.src.Changed() // before After, or an event between the two would wait for the next one
		var rights <-chan struct{}
		if s.opts.Rights != nil {
			rights = s.opts.Rights()
		}
		if !s.good() {
			return ErrNotGood
		}
		more, err := s.pull(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-rights:
		case <-heartbeat.C:
			if err := s.beat(ctx); err != nil {
				return err
			}
		}
	}
}

// ErrNotGood is why a stream ends whose caller is no longer who it was.
var ErrNotGood = errors.New("the token is no longer good")

func (s *session) good() bool { return s.opts.Good == nil || s.opts.Good(s.filter) }

// pull sends one page of events and tells whether there may be more at once.
func (s *session) pull(ctx context.Context) (more bool, err error) {
	page, err := s.src.After(ctx, s.cursor, s.filter, s.opts.Batch)
	if err != nil {
		return false, fmt.Errorf("read events after %s: %w", s.cursor, err)
	}
	if page.Reset {
		return true, s.snapshot(ctx)
	}
	if len(page.Events) > 0 {
		if err := s.out.send(ctx, page.Events); err != nil {
			return false, err
		}
		s.told = page.Events[len(page.Events)-1].ID
		s.cursor = s.told
	}
	if page.Next != "" {
		s.cursor = page.Next
	}
	return page.More, ctx.Err()
}

func (s *session) snapshot(ctx context.Context) error {
	data, id, err := s.src.Snapshot(ctx, s.filter)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if err := s.out.send(ctx, []Event{{ID: id, Type: SnapshotType, Data: data}}); err != nil {
		return err
	}
	s.cursor, s.told = id, id
	return nil
}

func (s *session) beat(ctx context.Context) error {
	id := ""
	if s.told != s.cursor {
		id = s.cursor
	}
	if err := s.out.beat(ctx, id); err != nil {
		return err
	}
	s.told = s.cursor
	return nil
}

// admit checks method, filter and the number of clients; it answers the refusal itself.
func admit(w http.ResponseWriter, r *http.Request, o Options) (ctx context.Context, f Filter, leave func(), ok bool) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, "a live stream is opened with GET")
		return nil, Filter{}, nil, false
	}
	f, err := o.Filter(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return nil, Filter{}, nil, false
	}
	ctx, leave, ok = o.Clients.Enter(r.Context())
	if !ok {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many live clients; try again in some seconds")
	}
	return ctx, f, leave, ok
}

// refuse answers with an RFC 9457 problem.
func refuse(w http.ResponseWriter, status int, detail string) {
	body, _ := json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// resumeID is the event id a client wants to go on from: the Last-Event-ID header or
// ?last_event_id. What cannot be an id counts as a new client.
func resumeID(r *http.Request) string {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("last_event_id")
	}
	if len(id) > 128 {
		return ""
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return id
}

// quiet tells whether err is only a client that went away.
func quiet(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.Canceled)
}
