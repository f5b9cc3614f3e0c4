package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/live"
)

// Telemetry is the data of telemetry: what is new of a space.
type Telemetry struct {
	Type       string    `json:"type"` // "occupancy"
	BuildingID string    `json:"buildingId"`
	RoomID     string    `json:"roomId"`
	Timestamp  time.Time `json:"timestamp"`
	Value      *int      `json:"value"` // persons; null = not known
}

// Notification is the data of notification: something that people should know.
type Notification struct {
	ID         string    `json:"id"`
	Message    string    `json:"message"`
	Type       string    `json:"type"` // info, alert or danger
	Timestamp  time.Time `json:"timestamp"`
	DomainName string    `json:"domainName,omitempty"`
	BuildingID string    `json:"buildingId,omitempty"`
	RoomID     string    `json:"roomId,omitempty"`
}

// levels are the types of notification.
var levels = map[edge.Severity]string{edge.Info: "info", edge.Warning: "alert", edge.Critical: "danger"}

// inboxAdded is the event of something new in the caller's inbox.
const inboxAdded = "inbox.added"

// tell sends what follows from an event: the event itself under its own type to those who are
// subscribed or addressed, and what others call it.
func (c *conn) tell(ctx context.Context, e live.Event) error {
	if c.deaf {
		return nil
	}
	buildings := c.subscribed(e)
	switch {
	case e.Type == live.SnapshotType:
		return c.whole(ctx, e, buildings)
	case e.Type == string(edge.AlertRaised):
		if err := c.notifyAlert(ctx, e); err != nil {
			return err
		}
	case e.Type == inboxAdded && e.Addressed:
		if err := c.notifyInbox(ctx, e); err != nil {
			return err
		}
	}
	own := e.Addressed
	for _, b := range buildings {
		at, err := c.board(ctx, b)
		if err != nil {
			return err
		}
		if concerns(at, b, e) {
			own = true
			if e.Type == string(edge.OccupancyChanged) {
				if err := c.occupancy(ctx, at, e); err != nil {
					return err
				}
			}
		}
	}
	if !own {
		return nil
	}
	return c.follow(ctx, e.Type, json.RawMessage(e.Data))
}

// concerns leaves out what happens in other buildings of the same site.
func concerns(at *board, b Building, e live.Event) bool {
	return b.Space == "" || at.spaces[e.Entry.Subject] || !isOccupancy(e.Type)
}

func isOccupancy(t string) bool { return len(t) > 10 && t[:10] == "occupancy." }

func (c *conn) occupancy(ctx context.Context, at *board, e live.Event) error {
	var o edge.Occupancy
	if err := json.Unmarshal(e.Entry.Data, &o); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	t := Telemetry{Type: "occupancy", BuildingID: at.building.id(), RoomID: o.Space, Timestamp: o.AsOf, Value: o.Count}
	if err := c.follow(ctx, "telemetry", t); err != nil || !at.take(o) {
		return err
	}
	return c.follow(ctx, "occupancy:update", at.update())
}

// whole sends a site's state that has changed as a whole.
func (c *conn) whole(ctx context.Context, e live.Event, buildings []Building) error {
	for _, b := range buildings {
		at, err := newBoard(b, e.Data)
		if err != nil {
			return err
		}
		c.boards[b] = at
	}
	if len(buildings) == 0 {
		return nil
	}
	if err := c.follow(ctx, live.SnapshotType, json.RawMessage(e.Data)); err != nil {
		return err
	}
	for _, b := range buildings {
		if err := c.follow(ctx, "occupancy:update", c.boards[b].update()); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) notifyAlert(ctx context.Context, e live.Event) error {
	var a edge.Alert
	if err := json.Unmarshal(e.Entry.Data, &a); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	n := Notification{ID: a.ID, Message: a.Message, Type: levels[a.Severity], Timestamp: e.Entry.At, BuildingID: e.Entry.Site}
	if len(e.Domains) > 0 {
		n.DomainName = e.Domains[0]
	}
	if a.SubjectKind == string(edge.Room) || a.SubjectKind == string(edge.Zone) {
		n.RoomID = a.Subject
	}
	return c.follow(ctx, "notification", n)
}

func (c *conn) notifyInbox(ctx context.Context, e live.Event) error {
	var item struct {
		ID, Org, Kind, Title, Text string
		Severity                   edge.Severity
		At                         time.Time
	}
	if err := json.Unmarshal(e.Entry.Data, &item); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	if item.Kind == "alert" {
		return nil // told as an alert already
	}
	message := item.Title
	if item.Text != "" {
		message += ": " + item.Text
	}
	return c.follow(ctx, "notification", Notification{ID: item.ID, Message: message, Type: levels[item.Severity], Timestamp: item.At, DomainName: item.Org})
}
