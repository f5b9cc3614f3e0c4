package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge/live"
	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/sync/token"
)

// errExpired says that the caller is no longer who it was.
var errExpired = errors.New("the token is no longer good")

// batch is how many events one look at the source takes.
const batch = 64

// conn is one client. But for commands, all of it belongs to run.
type conn struct {
	feed       *feed
	socket     *socketio.Socket
	who        *token.Identity
	credential string
	recovered  bool
	deaf       bool                       // may send only
	commands   chan func(context.Context) // what the client asks for, done between two events

	cursor string // all up to it is done
	sent   int    // of what follows from the event behind the cursor
	skip   int    // of what follows from the event behind the cursor, the client has that already
	rooms  rooms
	boards map[Building]*board
}

// run sends events until ctx ends, the token is no longer good or the source fails. It never
// returns nil.
func (c *conn) run(ctx context.Context) error {
	c.boards = map[Building]*board{}
	if !c.recovered {
		if err := c.anew(ctx); err != nil {
			return err
		}
	}
	heartbeat := time.NewTicker(c.feed.Heartbeat)
	defer heartbeat.Stop()
	for {
		changed := c.feed.Source.Changed() // before After, or an event between the two would wait for the next one
		rights := c.rightsChanged()
		more, err := c.pull(ctx)
		if err != nil {
			return err
		}
		if more {
			select {
			case do := <-c.commands:
				do(ctx)
			default:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
			continue
		case do := <-c.commands:
			do(ctx)
			continue
		case <-rights:
		case <-heartbeat.C:
		}
		if !c.good() {
			return errExpired
		}
	}
}

func (c *conn) rightsChanged() <-chan struct{} {
	if c.feed.Changed == nil {
		return nil
	}
	return c.feed.Changed()
}

func (c *conn) good() bool {
	if !c.who.Expires.IsZero() && !time.Now().Before(c.who.Expires) {
		return false
	}
	return c.feed.Good == nil || c.feed.Good(c.who, c.credential)
}

// pull sends one page of events and tells whether there may be more at once.
func (c *conn) pull(ctx context.Context) (more bool, err error) {
	page, err := c.feed.Source.After(ctx, c.cursor, live.Filter{Scope: c.who}, batch)
	if err != nil {
		return false, fmt.Errorf("read events after %s: %w", c.cursor, err)
	}
	if page.Reset {
		return true, c.anew(ctx)
	}
	for _, e := range page.Events {
		if err := c.tell(ctx, e); err != nil {
			return false, err
		}
		c.done(e.ID)
	}
	if page.Next != "" {
		c.done(page.Next)
	}
	return page.More, ctx.Err()
}

// done moves the cursor.
func (c *conn) done(cursor string) { c.cursor, c.sent, c.skip = cursor, 0, 0 }

// follow sends one of the things that follow from the event behind the cursor, unless the client
// had it before it came back.
func (c *conn) follow(ctx context.Context, name string, data any) error {
	c.sent++
	if c.sent <= c.skip {
		return nil
	}
	return c.emit(ctx, name, data)
}

// emit sends an event with the offset behind its arguments.
func (c *conn) emit(ctx context.Context, name string, data any) error {
	return c.socket.Emit(ctx, name, data, offset(place{c.cursor, c.sent}, c.rooms))
}

// anew sends the present state of what the client is subscribed to, and goes on from there.
func (c *conn) anew(ctx context.Context) error {
	_, id, err := c.feed.Source.Snapshot(ctx, live.Filter{Scope: c.who, Sites: []string{nothing}})
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	c.done(id)
	clear(c.boards)
	sites := []json.RawMessage{}
	for _, b := range c.rooms.buildings {
		state, err := c.state(ctx, b)
		if err != nil {
			return err
		}
		sites = append(sites, state)
	}
	if err := c.emit(ctx, live.SnapshotType, map[string]any{"sites": sites}); err != nil {
		return err
	}
	for _, b := range c.rooms.buildings {
		if err := c.update(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// nothing is the id of no site: its snapshot is nothing but a cursor.
const nothing = "-"

// state reads the present state of a building's site.
func (c *conn) state(ctx context.Context, b Building) (json.RawMessage, error) {
	data, _, err := c.feed.Source.Snapshot(ctx, live.Filter{Scope: c.who, Sites: []string{b.Site}, Org: b.Org})
	if err != nil {
		return nil, fmt.Errorf("read state of %s: %w", b.Site, err)
	}
	return data, nil
}

// board is what is known of a building now, read when it is first needed.
func (c *conn) board(ctx context.Context, b Building) (*board, error) {
	if have, ok := c.boards[b]; ok {
		return have, nil
	}
	state, err := c.state(ctx, b)
	if err != nil {
		return nil, err
	}
	made, err := newBoard(b, state)
	if err == nil && len(c.boards) < maxBoards {
		c.boards[b] = made
	}
	return made, err
}

// maxBoards bounds what is remembered for a client that follows a domain of many sites.
const maxBoards = 1024

// update sends the occupancy of a building.
func (c *conn) update(ctx context.Context, b Building) error {
	at, err := c.board(ctx, b)
	if err != nil {
		return err
	}
	return c.emit(ctx, "occupancy:update", at.update())
}

// do has run do something and waits for it; false when the connection has ended.
func (c *conn) do(ctx context.Context, f func(context.Context)) bool {
	done := make(chan struct{})
	select {
	case c.commands <- func(ctx context.Context) { defer close(done); f(ctx) }:
	case <-ctx.Done():
		return false
	}
	<-done
	return true
}

// subscribed lists the buildings under which the client follows the site of an event.
func (c *conn) subscribed(e live.Event) []Building {
	var out []Building
	for _, b := range c.rooms.buildings {
		if b.Site == e.Entry.Site && b.Org == e.Entry.Org || b.Org == "" {
			out = append(out, b)
		}
	}
	if len(out) > 0 {
		return out
	}
	within := func(d string) bool {
		return slices.ContainsFunc(e.Domains, func(have string) bool { return token.Within(have, d) })
	}
	if slices.ContainsFunc(c.rooms.domains, within) && e.Entry.Site != "" {
		return []Building{{Org: e.Entry.Org, Site: e.Entry.Site}}
	}
	return nil
}
