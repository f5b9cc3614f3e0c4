package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/sync/token"
)

// Answer is what the acknowledgement of a subscription says.
type Answer struct {
	OK    bool   `json:"ok"`
	Room  string `json:"room,omitempty"`
	Error string `json:"error,omitempty"`
}

// events takes what a client sends, in order. What sensors send one after the other goes to the
// hub together.
func (f *feed) events(ctx context.Context, k *socketio.Socket, evs []socketio.Event) {
	c := k.Value.(*conn)
	for len(evs) > 0 {
		n := 0
		for n < len(evs) && f.isMessage(evs[n].Name) {
			n++
		}
		if n > 0 {
			f.take(ctx, c, evs[:n])
			evs = evs[n:]
			continue
		}
		_ = evs[0].Ack(ctx, c.handle(ctx, evs[0])) // a failing one: the client is gone
		evs = evs[1:]
	}
}

func (f *feed) isMessage(name string) bool {
	return f.Messages != nil && slices.Contains(f.Messages.Names(), name)
}

// take hands messages of sensors on and acknowledges each.
func (f *feed) take(ctx context.Context, c *conn, evs []socketio.Event) {
	var names []string
	var payloads []json.RawMessage
	for _, e := range evs {
		names = append(names, e.Name)
		payload := json.RawMessage("null")
		if len(e.Args.JSON) > 0 {
			payload = e.Args.JSON[0]
		}
		payloads = append(payloads, payload)
	}
	if err := f.Messages.Admit(c.who); err != nil {
		for _, e := range evs {
			_ = e.Ack(ctx, Answer{Error: err.Error()})
		}
		return
	}
	for i, answer := range f.Messages.Take(ctx, c.who, names, payloads) {
		_ = evs[i].Ack(ctx, answer)
	}
}

// handle does what a client asks for. Both spellings of a name, with _ and with :, are in use.
func (c *conn) handle(ctx context.Context, e socketio.Event) Answer {
	what, room, _ := strings.Cut(strings.ReplaceAll(e.Name, ":", "_"), "_")
	if what != "subscribe" && what != "unsubscribe" || room != "building" && room != "domain" {
		return Answer{Error: fmt.Sprintf("unknown event %.60q", e.Name)}
	}
	id, err := roomID(e.Args, room)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	if c.deaf {
		return Answer{Error: fmt.Sprintf("there is no %s %q", room, id)}
	}
	answer := Answer{Error: "the connection ends"}
	c.do(ctx, func(ctx context.Context) {
		switch {
		case what == "unsubscribe":
			answer = c.unsubscribe(room, id)
		case room == "building":
			answer = c.subscribeBuilding(ctx, id)
		default:
			answer = c.subscribeDomain(id)
		}
	})
	return answer
}

// roomID is the argument of a subscription: the id, or an object with it.
func roomID(args socketio.Args, room string) (string, error) {
	var id string
	if args.Decode(0, &id) != nil {
		var o struct {
			ID         string `json:"id"`
			BuildingID string `json:"buildingId"`
			DomainName string `json:"domainName"`
		}
		if err := args.Decode(0, &o); err != nil {
			return "", fmt.Errorf("want the id of a %s", room)
		}
		id = o.ID + o.BuildingID + o.DomainName
	}
	if id = strings.TrimPrefix(id, room+":"); id == "" || len(id) > 200 {
		return "", fmt.Errorf("want the id of a %s", room)
	}
	return id, nil
}

var tooManyRooms = Answer{Error: fmt.Sprintf("at most %d subscriptions; subscribe to a domain instead", maxRooms)}

func (c *conn) subscribeBuilding(ctx context.Context, id string) Answer {
	found, err := c.feed.Buildings(ctx, c.who, id)
	switch {
	case err != nil:
		c.feed.Log.Error("building not looked up", "err", err)
		return Answer{Error: "the building could not be looked up; try again"}
	case len(found) == 0:
		return Answer{Error: fmt.Sprintf("there is no building %q", id)}
	}
	for _, b := range found {
		if slices.Contains(c.rooms.buildings, b) {
			continue
		}
		if c.rooms.len() >= maxRooms {
			return tooManyRooms
		}
		c.rooms.buildings = append(c.rooms.buildings, b)
		delete(c.boards, b)
		if err := c.update(ctx, b); err != nil {
			return Answer{Error: "the building's state could not be read; try again"}
		}
	}
	return Answer{OK: true, Room: "building:" + id}
}

func (c *conn) subscribeDomain(domain string) Answer {
	switch {
	case c.who.Role(domain) < token.Viewer:
		return Answer{Error: fmt.Sprintf("there is no domain %q", domain)}
	case slices.Contains(c.rooms.domains, domain):
	case c.rooms.len() >= maxRooms:
		return tooManyRooms
	default:
		c.rooms.domains = append(c.rooms.domains, domain)
	}
	return Answer{OK: true, Room: "domain:" + domain}
}

func (c *conn) unsubscribe(room, id string) Answer {
	if room == "domain" {
		c.rooms.domains = slices.DeleteFunc(c.rooms.domains, func(d string) bool { return d == id })
	} else {
		c.rooms.buildings = slices.DeleteFunc(c.rooms.buildings, func(b Building) bool {
			return b.id() == id || b.Org != "" && b.Org+"/"+b.id() == id
		})
	}
	return Answer{OK: true, Room: room + ":" + id}
}
