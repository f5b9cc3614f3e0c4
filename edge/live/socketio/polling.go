package socketio

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// get answers a poll with what waits in the queue, as soon as there is something.
func (s *session) get(w http.ResponseWriter, r *http.Request) {
	if !s.beginGet() {
		refuse(w, badRequest)
		return
	}
	defer func() {
		s.mu.Lock()
		s.getting = false
		s.mu.Unlock()
	}()
	ps, err := s.await(r)
	if err != nil {
		refuse(w, badRequest)
		return
	}
	body := appendPayload(nil, ps)
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(s.srv.opts.WriteTimeout)) // where there is none, the server's own holds
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, err = w.Write(body)
	if err == nil {
		err = rc.Flush()
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.close("poll not answered", true) // what was in it is lost
	}
	s.written(ps)
}

// beginGet notes the one poll that may be under way. A second one is of a client that has lost
// count; its session ends.
func (s *session) beginGet() bool {
	s.mu.Lock()
	overlap := s.getting
	ok := !overlap && !s.done && s.mode != socketed
	if ok {
		s.getting = true
	}
	s.mu.Unlock()
	if overlap {
		s.close("two polls at once", false)
	}
	return ok
}

// pollHold is for how long a poll that comes during an upgrade waits for its end. Then it is answered
// with nothing, as the client finishes its poll before it finishes the upgrade.
const pollHold = 100 * time.Millisecond

// await waits for something to send by poll. While a WebSocket takes over, it waits for that.
func (s *session) await(r *http.Request) ([]packet, error) {
	hold := time.NewTimer(pollHold)
	defer hold.Stop()
	for {
		changed := s.news.Changed()
		s.mu.Lock()
		mode, waiting, done, release := s.mode, len(s.out) > 0, s.done, s.release
		s.release = false
		s.mu.Unlock()
		switch {
		case release:
			return []packet{{kind: noopPacket}}, nil
		case mode == socketed:
			return nil, ErrClosed
		case mode == polling && waiting:
			return s.take(), nil
		case done:
			return nil, ErrClosed
		}
		held := hold.C
		if mode != upgrading {
			held = nil
		}
		select {
		case <-changed:
		case <-held:
			return []packet{{kind: noopPacket}}, nil
		case <-r.Context().Done():
			s.close("poll given up", true)
			return nil, r.Context().Err()
		}
	}
}

// post takes what a polling client sends.
func (s *session) post(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	overlap, gone := s.posting, s.done || s.mode == socketed
	if !overlap && !gone {
		s.posting = true
	}
	s.mu.Unlock()
	if overlap {
		s.close("two posts at once", false)
	}
	if overlap || gone {
		refuse(w, badRequest)
		return
	}
	defer func() {
		s.mu.Lock()
		s.posting = false
		s.mu.Unlock()
	}()
	ps, f := s.readPost(r)
	if f != nil {
		s.close(f.message, false)
		refuse(w, *f)
		return
	}
	for _, p := range ps {
		s.receive(p)
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, "ok") // a failing write: the client is gone, as the next poll will tell
}

func (s *session) readPost(r *http.Request) ([]packet, *refusal) {
	most := int64(s.srv.opts.MaxPayload)
	if r.ContentLength > most {
		return nil, &tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	switch {
	case int64(len(b)) > most:
		return nil, &tooLarge
	case err != nil:
		return nil, &badRequest
	}
	ps, err := parsePayload(b)
	if err != nil {
		return nil, &badRequest
	}
	return ps, nil
}
