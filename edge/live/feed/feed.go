// Package feed serves a live.Source to Socket.IO clients: wallboards and apps that subscribe to
// buildings and domains, and sensors that send readings.
//
// It guarantees that a client sees every event of what it is subscribed to once and in order, and
// again from where it was when it comes back, to whichever process and after whatever restart: the
// last argument of every event is the cursor and the client's subscriptions, which the stock client
// returns by itself. Where that is too old or unknown, the client gets a snapshot, never silence.
// It keeps nothing beyond the connection.
//
// A client gets what its token allows, no more: a building that it may not see is answered as one
// that does not exist, and its connection ends when its token is no longer good.
package feed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/sync/token"
)

// Building is what a client can subscribe to: a site, or a space of kind building in it.
type Building struct {
	Org, Site string // Org is empty on a hub
	Space     string // empty = the whole site
}

// Options of New. Source, Who and Buildings are required.
type Options struct {
	Source live.Source

	// Who says who a client is by the token that it sent when it connected, empty for none, and by
	// the request of its handshake. An error is the connect error; a *token.Refused is told by its
	// code. The returned credential is handed to Good.
	Who func(r *http.Request, raw string) (who *token.Identity, credential string, err error)

	// Good tells whether the caller is still who it was. It is asked every Heartbeat, and whenever
	// the channel of Changed is closed. Nil = always; Changed may be nil.
	Good    func(who *token.Identity, credential string) bool
	Changed func() <-chan struct{}

	// Buildings finds the buildings of an id that the caller may see; none is no error.
	Buildings func(ctx context.Context, who *token.Identity, id string) ([]Building, error)

	// Sees tells whether the caller may see events; others may send only. Nil = all may.
	Sees func(who *token.Identity) bool

	// Messages takes what sensors send; see Messages. Nil = this server takes nothing.
	Messages Messages

	Heartbeat time.Duration // 0 = live.DefaultHeartbeat
	Log       *slog.Logger  // nil = silent
}

// Messages takes events that sensors send, in order, and answers each with what its
// acknowledgement says. It returns after the commit. names lists the events that are its own;
// an error of Admit is the answer to a client that may not send.
type Messages interface {
	Names() []string
	Admit(who *token.Identity) error
	Take(ctx context.Context, who *token.Identity, names []string, payloads []json.RawMessage) []any
}

// New makes the namespace that serves the source.
func New(o Options) socketio.Namespace {
	if o.Heartbeat <= 0 {
		o.Heartbeat = live.DefaultHeartbeat
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &feed{o}
	return socketio.Namespace{Connect: f.connect, Run: f.run, Events: f.events}
}

type feed struct{ Options }

// auth is what a client sends when it connects.
type auth struct {
	Token  string `json:"token"`
	PID    string `json:"pid"`    // the stock client returns what it was given
	Offset string `json:"offset"` // and the last argument of the last event
}

const maxPID = 64

// connect admits a client and finds out where it goes on.
func (f *feed) connect(ctx context.Context, k *socketio.Socket) (pid string, err error) {
	var a auth
	if err := json.Unmarshal(k.Auth, &a); err != nil {
		return "", &socketio.Refused{Message: "malformed", Data: detail("auth: want an object such as {\"token\":\"…\"}")}
	}
	who, credential, err := f.Who(k.Request, a.Token)
	if err != nil {
		return "", refusal(err)
	}
	c := &conn{feed: f, socket: k, who: who, credential: credential, deaf: f.Sees != nil && !f.Sees(who), commands: make(chan func(context.Context))}
	k.Value = c
	if a.PID == "" || len(a.PID) > maxPID || !f.resume(ctx, c, a.Offset) {
		return rand.Text(), nil
	}
	c.recovered = true
	return a.PID, nil
}

func detail(text string) map[string]string { return map[string]string{"detail": text} }

// refusal is the connect error of a client that was not let in.
func refusal(err error) error {
	var r *token.Refused
	var own *socketio.Refused
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &r) && r.Code == token.CodeExpired:
		return &socketio.Refused{Message: "token_expired", Data: map[string]string{"code": r.Code, "detail": r.Detail}}
	case errors.As(err, &r):
		return &socketio.Refused{Message: "unauthorized", Data: map[string]string{"code": r.Code, "detail": r.Detail}}
	}
	return &socketio.Refused{Message: "unauthorized", Data: detail(err.Error())}
}

// resume takes the client's cursor and subscriptions, as far as it may still see what they name;
// false when events may have been missed.
func (f *feed) resume(ctx context.Context, c *conn, offset string) bool {
	at, rooms, ok := parseOffset(offset)
	if !ok {
		return false
	}
	for _, b := range rooms.buildings {
		found, err := f.Buildings(ctx, c.who, b.Site)
		if err != nil {
			return false
		}
		for _, have := range found {
			if have.Org == b.Org {
				c.rooms.buildings = append(c.rooms.buildings, b)
				break
			}
		}
	}
	for _, d := range rooms.domains {
		if c.who.Role(d) >= token.Viewer {
			c.rooms.domains = append(c.rooms.domains, d)
		}
	}
	page, err := f.Source.After(ctx, at.cursor, live.Filter{Scope: c.who}, 1)
	c.cursor, c.skip = at.cursor, at.sent
	return err == nil && !page.Reset
}

func (f *feed) run(ctx context.Context, k *socketio.Socket) {
	c := k.Value.(*conn)
	err := c.run(ctx)
	switch {
	case ctx.Err() != nil || errors.Is(err, socketio.ErrClosed):
	case errors.Is(err, errExpired):
		_ = k.Emit(ctx, "token_expired", detail("the token is no longer good; connect again with a fresh one"))
		k.Disconnect("token no longer good")
	default:
		f.Log.Error("live client dropped", "remote", k.Request.RemoteAddr, "err", err)
		k.Disconnect("source failed")
	}
}
