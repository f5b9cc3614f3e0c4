package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// The bounds of chats.
const (
	chatWrite   = 10 * time.Second // one message to a client
	chatCheck   = 30 * time.Second // how often it is looked whether a client may still listen
	chatHistory = 200              // notes that a new client is sent
	chatBatch   = 100
)

// talker is who has joined a chat.
type talker struct {
	by    actor
	since time.Time // of whose notes it may see
	write bool
}

// Frame is a message of a chat. Clients send {"type":"note","text":…,"ref":…}; they receive
// history, note, note_edited, note_deleted, and accepted or error with their own ref.
type Frame struct {
	Type  string `json:"type"`
	Ref   string `json:"ref,omitempty"` // the client's own name of its message
	Text  string `json:"text,omitempty"`
	Note  *Note  `json:"note,omitempty"`
	Notes []Note `json:"notes,omitempty"` // of history, the oldest first
	Error string `json:"error,omitempty"`
}

// chat serves /ws/chat/{id}: what a client writes is a note like any other, and all clients see
// the notes of all. The token comes as Authorization, or as ?token= from browsers.
func (m *Module) chat(w http.ResponseWriter, r *http.Request) {
	id, raw := r.PathValue("id"), r.URL.Query().Get("token")
	if scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); raw == "" && strings.EqualFold(scheme, "Bearer") {
		raw = strings.TrimSpace(bearer)
	}
	t, err := m.talker(r.Context(), id, raw)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	m.chats.Add(1)
	defer m.chats.Done()
	c := &conversation{m: m, conn: conn, order: id, raw: raw, as: t, caller: token.From(r.Context())}
	c.mayWrite.Store(t.write)
	c.serve(context.WithoutCancel(r.Context()))
}

// fail answers a request that is served without the router's help.
func (m *Module) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *gateway.Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, route.ErrNotFound):
		p = gateway.NewProblem(http.StatusNotFound, "there is nothing here that you may see")
	case errors.Is(err, errBroken):
		p = gateway.NewProblem(http.StatusBadRequest, "%v", err)
	default:
		m.o.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		p = gateway.NewProblem(http.StatusInternalServerError, "the cloud could not do this; its log says why")
	}
	gateway.WriteProblem(w, p)
}

// talker finds out who asks, and what it may do.
func (m *Module) talker(ctx context.Context, order, raw string) (talker, error) {
	if strings.HasPrefix(raw, guestPrefix) {
		g, err := m.join(ctx, order, raw)
		return talker{by: actor{id: "guest:" + g.ID, name: g.Name + " (guest)"}, since: g.JoinedAt, write: true}, err
	}
	who := token.From(ctx)
	if who == nil && raw != "" && m.o.Authenticate != nil {
		var err error
		if who, err = m.o.Authenticate(ctx, raw); err != nil {
			return talker{}, route.Unauthorized()
		}
	}
	if who == nil || who.Kind == token.Device || m.o.Revoked != nil && m.o.Revoked(who) || !who.Expires.IsZero() && !m.now().Before(who.Expires) {
		return talker{}, route.Unauthorized()
	}
	o, err := m.order(ctx, order)
	if err != nil {
		return talker{}, err
	}
	role := who.Role(o.Domain)
	if role < token.Viewer || !who.Allows("read") || o.State == Draft && o.CreatedBy != who.Subject {
		return talker{}, route.ErrNotFound
	}
	return talker{by: actor{id: who.Subject, name: who.Who(), role: role}, write: role >= token.Operator && who.Allows("write")}, nil
}

// conversation is one client of a chat.
type conversation struct {
	m      *Module
	conn   *websocket.Conn
	order  string
	raw    string
	as     talker
	caller *token.Identity
	cursor int64

	mayWrite atomic.Bool
}

// serve ends when the client goes, may no longer listen, or the module closes.
func (c *conversation) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.m.ctx, cancel)
	defer stop()
	c.conn.SetReadLimit(maxNote + 1024)
	var reader sync.WaitGroup
	reader.Go(func() { defer cancel(); c.read(ctx) })
	status, reason := c.send(ctx)
	_ = c.conn.Close(status, reason) // whether or not the client hears it
	cancel()
	reader.Wait()
}

// read takes the client's notes.
func (c *conversation) read(ctx context.Context) {
	for {
		kind, b, err := c.conn.Read(context.WithoutCancel(ctx))
		if err != nil {
			return
		}
		answer := c.take(ctx, kind, b)
		if err := c.write(ctx, answer); err != nil {
			return
		}
	}
}

func (c *conversation) take(ctx context.Context, kind websocket.MessageType, b []byte) Frame {
	var in struct {
		Type, Ref, Text string
		Mentions        []string
	}
	if kind != websocket.MessageText || gateway.DecodeStrict(b, &in) != nil || in.Type != "note" || len(in.Ref) > maxWord {
		return Frame{Type: "error", Error: `send {"type":"note","text":"…"}`}
	}
	if !c.mayWrite.Load() {
		return Frame{Type: "error", Ref: in.Ref, Error: "you may read only"}
	}
	o, err := c.m.order(ctx, c.order)
	var n Note
	if err == nil {
		n, err = c.m.write(ctx, &o, noting{Text: in.Text, Mentions: in.Mentions}, c.as.by)
	}
	var p *gateway.Problem
	switch {
	case err == nil:
		return Frame{Type: "accepted", Ref: in.Ref, Note: &n}
	case errors.As(err, &p):
		return Frame{Type: "error", Ref: in.Ref, Error: p.Detail}
	}
	c.m.o.Log.Error("note of a chat not stored", "order", c.order, "err", err)
	return Frame{Type: "error", Ref: in.Ref, Error: "the note was not stored; try again"}
}

func (c *conversation) write(ctx context.Context, f Frame) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, chatWrite)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageText, b)
}

// send sends what was said, then what is said.
func (c *conversation) send(ctx context.Context) (websocket.StatusCode, string) {
	check := time.NewTicker(chatCheck)
	defer check.Stop()
	if err := c.begin(ctx); err != nil {
		return c.ended(ctx, err)
	}
	for {
		changed := c.m.db.Changed()
		if err := c.news(ctx); err != nil {
			return c.ended(ctx, err)
		}
		select {
		case <-ctx.Done():
			return websocket.StatusGoingAway, ""
		case <-changed:
		case <-check.C:
			if err := c.check(ctx); err != nil {
				return websocket.StatusPolicyViolation, "you may no longer listen"
			}
			if err := c.conn.Ping(ctx); err != nil {
				return c.ended(ctx, err)
			}
		}
	}
}

// check looks again whether the client may listen and write: its token may have been revoked.
func (c *conversation) check(ctx context.Context) error {
	if c.raw == "" || c.m.o.Authenticate == nil {
		ctx = token.Into(ctx, c.caller)
	} else {
		ctx = token.Into(ctx, nil)
	}
	now, err := c.m.talker(ctx, c.order, c.raw)
	c.mayWrite.Store(err == nil && now.write)
	return err
}

func (c *conversation) ended(ctx context.Context, err error) (websocket.StatusCode, string) {
	if ctx.Err() == nil && websocket.CloseStatus(err) == -1 {
		c.m.o.Log.Info("chat client dropped", "order", c.order, "err", err)
	}
	return websocket.StatusGoingAway, ""
}

// begin sends the history; what is said meanwhile comes again as news, never too little.
func (c *conversation) begin(ctx context.Context) error {
	err := c.m.db.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM workorders_notelog WHERE workorder = ?`, c.order).Scan(&c.cursor)
	if err != nil {
		return err
	}
	const query = `SELECT ` + noteColumns + ` FROM (SELECT ` + noteColumns + ` FROM workorders_notes WHERE workorder = ? AND at >= ? ORDER BY id DESC LIMIT ?) AS newest ORDER BY id`
	rows, err := c.m.db.Query(ctx, query, c.order, store.Millis(c.as.since), chatHistory)
	notes, err := store.Collect(rows, err, func(r *sql.Rows) (Note, error) { return scanNote(r) })
	if err != nil {
		return err
	}
	return c.write(ctx, Frame{Type: "history", Notes: notes})
}

// news sends what was logged since.
func (c *conversation) news(ctx context.Context) error {
	for {
		n, err := c.batch(ctx)
		if err != nil || n < chatBatch {
			return err
		}
	}
}

func (c *conversation) batch(ctx context.Context) (int, error) {
	type entry struct {
		id   int64
		what string
		note string
	}
	rows, err := c.m.db.Query(ctx, `SELECT id, what, note FROM workorders_notelog WHERE workorder = ? AND id > ? ORDER BY id LIMIT ?`, c.order, c.cursor, chatBatch)
	log, err := store.Collect(rows, err, func(r *sql.Rows) (e entry, err error) { err = r.Scan(&e.id, &e.what, &e.note); return e, err })
	if err != nil {
		return 0, err
	}
	for _, e := range log {
		n, err := scanNote(c.m.db.QueryRow(ctx, `SELECT `+noteColumns+` FROM workorders_notes WHERE id = ?`, e.note))
		if err != nil {
			return 0, err
		}
		c.cursor = e.id
		if n.At.Before(c.as.since) {
			continue // said before this guest came
		}
		if err := c.write(ctx, Frame{Type: e.what, Note: &n}); err != nil {
			return 0, err
		}
	}
	return len(log), nil
}
