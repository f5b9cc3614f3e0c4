package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// Room is a room in the flat shape of GET /rooms. Counts of an unknown room are null.
type Room struct {
	ID          string                `json:"id"`
	Name        string                `json:"name,omitempty"`
	Floor       string                `json:"floor,omitempty" doc:"id of the space that encloses it"`
	Capacity    int                   `json:"capacity,omitempty"`
	State       edge.OccupancyState   `json:"state"`
	Count       *int                  `json:"count"`
	Low         *int                  `json:"low"`
	High        *int                  `json:"high"`
	POccupied   *float64              `json:"p_occupied"`
	Utilisation *float64              `json:"utilisation"`
	Quality     edge.OccupancyQuality `json:"quality"`
	AsOf        time.Time             `json:"as_of"`
	Sources     []string              `json:"sources" nullable:"false"`
}

// RoomList is the answer of GET /rooms.
type RoomList struct {
	Rooms []Room    `json:"rooms" nullable:"false"`
	AsOf  time.Time `json:"as_of"`
}

// plainRoutes are views of the same data under the names that other systems use. Query
// parameters they do not know are left alone.
func (a *API) plainRoutes(h huma.API) {
	plain := func(path, id, summary string, errs ...int) huma.Operation {
		op := operation(http.MethodGet, path, id, "plain names", summary, errs...)
		op.RejectUnknownQueryParameters = false
		return op
	}
	huma.Register(h, plain("/sensors", "plain-sensors", "As /v1/sensors"),
		func(context.Context, *struct{}) (*body[SensorList], error) { return a.sensorList(""), nil })
	huma.Register(h, plain("/sensors/{id}/data", "plain-sensor-data", "As /v1/sensors/{id}/readings", 404),
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
			Span
			Limit int `query:"limit" minimum:"1" maximum:"5000" default:"1000"`
		}) (*body[SensorReadings], error) {
			return a.sensorReadings(ctx, in.ID, in.Span, in.Limit)
		})
	huma.Register(h, plain("/rooms", "plain-rooms", "All rooms with their present occupancy, flat"),
		func(context.Context, *struct{}) (*body[RoomList], error) {
			s := a.opts.Site.Snapshot()
			out := RoomList{Rooms: []Room{}, AsOf: s.At}
			for _, v := range s.Views() {
				if isRoom(v) {
					out.Rooms = append(out.Rooms, flatten(v))
				}
			}
			return answer(out), nil
		})
	huma.Register(h, plain("/rooms/{id}/metrics", "plain-room-metrics", "One room's present occupancy, flat", 404),
		func(_ context.Context, in *struct {
			ID string `path:"id"`
		}) (*body[Room], error) {
			v, err := a.room(in.ID)
			if err != nil {
				return nil, err
			}
			return answer(flatten(v)), nil
		})
	huma.Register(h, plain("/rooms/{id}/history", "plain-room-history", "As /v1/spaces/{id}/history", 404),
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
			Span
			Interval string `query:"interval" doc:"distance of the points, such as 5m"`
		}) (*body[SpaceHistory], error) {
			if _, err := a.room(in.ID); err != nil {
				return nil, err
			}
			return a.spaceHistory(ctx, in.ID, in.Span, in.Interval)
		})
}

func isRoom(v edge.SpaceView) bool { return v.Kind == edge.Room || v.Kind == edge.Zone }

func (a *API) room(id string) (edge.SpaceView, error) {
	v, err := a.space(id)
	if err == nil && !isRoom(v) {
		err = huma.Error404NotFound(fmt.Sprintf("%q is a %s, not a room; /v1/spaces/%s has it", id, v.Kind, id))
	}
	return v, err
}

func flatten(v edge.SpaceView) Room {
	o := v.Occupancy
	return Room{
		ID: v.ID, Name: v.Name, Floor: v.Parent, Capacity: v.Capacity, State: o.State, Count: o.Count, Low: o.Low, High: o.High,
		POccupied: o.POccupied, Utilisation: o.Utilisation, Quality: o.Quality, AsOf: o.AsOf, Sources: some(o.Sources),
	}
}
