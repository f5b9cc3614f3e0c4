package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// SensorList is the answer of GET /v1/sensors.
type SensorList struct {
	Sensors []edge.SensorStatus `json:"sensors" nullable:"false"`
	AsOf    time.Time           `json:"as_of"`
}

// SensorReadings is the answer of GET /v1/sensors/{id}/readings.
type SensorReadings struct {
	Sensor   string        `json:"sensor"`
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"`
	Readings []ReadingView `json:"readings" nullable:"false" doc:"oldest first"`
	Next     *time.Time    `json:"next,omitempty" doc:"there is more: ask again with this as from"`
}

// ReadingView is a reading as people see it; on the wire to the cloud it is more compact.
type ReadingView struct {
	At       time.Time   `json:"at" doc:"event time"`
	Received time.Time   `json:"received"`
	From     time.Time   `json:"from,omitzero" doc:"start of the interval that ends at at"`
	Device   string      `json:"device"`
	Seq      string      `json:"seq,omitempty"`
	Backfill bool        `json:"backfill,omitempty"`
	Quality  string      `json:"quality,omitempty" doc:"empty is good"`
	Values   []ValueView `json:"values" nullable:"false"`
}

// ValueView is one measured value.
type ValueView struct {
	Kind      edge.Kind      `json:"kind"`
	Semantics edge.Semantics `json:"semantics"`
	Value     any            `json:"value" doc:"number, boolean or text by kind"`
}

func (a *API) sensorRoutes(h huma.API) {
	const tag = "sensors"
	huma.Register(h, operation(http.MethodGet, "/v1/sensors", "list-sensors", tag, "All sensors and how they are doing"),
		func(_ context.Context, in *struct {
			Space string `query:"space" doc:"only sensors that observe this space, or a door of it"`
		}) (*body[SensorList], error) {
			return a.sensorList(in.Space), nil
		})
	huma.Register(h, operation(http.MethodGet, "/v1/sensors/{id}", "get-sensor", tag, "One sensor", 404),
		func(_ context.Context, in *struct {
			ID string `path:"id"`
		}) (*body[edge.SensorStatus], error) {
			s, err := a.sensor(in.ID)
			if err != nil {
				return nil, err
			}
			return answer(s), nil
		})
	huma.Register(h, operation(http.MethodGet, "/v1/sensors/{id}/readings", "get-sensor-readings", tag, "What a sensor said", 404),
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
			Span
			Limit int `query:"limit" minimum:"1" maximum:"5000" default:"1000"`
		}) (*body[SensorReadings], error) {
			return a.sensorReadings(ctx, in.ID, in.Span, in.Limit)
		})
}

func (a *API) sensorList(space string) *body[SensorList] {
	s := a.opts.Site.Snapshot()
	out := SensorList{Sensors: make([]edge.SensorStatus, 0, len(s.Sensors)), AsOf: s.At}
	for _, sensor := range s.Sensors {
		if space == "" || observes(s.Site, sensor.Sensor, space) {
			out.Sensors = append(out.Sensors, sensor)
		}
	}
	return answer(out)
}

func observes(site *edge.Site, s edge.Sensor, space string) bool {
	if s.Space != "" {
		return s.Space == space
	}
	d, ok := site.Door(s.Door)
	return ok && slices.Contains(d.Between[:], space)
}

// sensor returns a sensor's status or a 404 problem.
func (a *API) sensor(id string) (edge.SensorStatus, error) {
	for _, s := range a.opts.Site.Snapshot().Sensors {
		if s.ID == id {
			return s, nil
		}
	}
	return edge.SensorStatus{}, huma.Error404NotFound(fmt.Sprintf("sensor %q is not on this site; GET /v1/sensors lists what is", id))
}

func (a *API) sensorReadings(ctx context.Context, id string, sp Span, limit int) (*body[SensorReadings], error) {
	if _, err := a.sensor(id); err != nil {
		return nil, err
	}
	from, to, err := sp.resolve(time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	rs, next, err := a.readingsPage(ctx, id, from, to, limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := SensorReadings{Sensor: id, From: from, To: to, Readings: make([]ReadingView, 0, len(rs)), Next: next}
	for i := range rs {
		out.Readings = append(out.Readings, viewReading(&rs[i]))
	}
	return answer(out), nil
}

// readingsPage reads about limit readings. A page ends between two times, so that the next one,
// which begins with a time, repeats none; when more than limit are of one time, it is longer.
func (a *API) readingsPage(ctx context.Context, id string, from, to time.Time, limit int) ([]edge.Reading, *time.Time, error) {
	for {
		rs, err := a.opts.History.Readings(ctx, id, from, to, limit+1)
		if err != nil || len(rs) <= limit {
			return rs, nil, err
		}
		next := rs[limit].At
		end := slices.IndexFunc(rs, func(r edge.Reading) bool { return r.At.Equal(next) })
		if end > 0 {
			return rs[:end], &next, nil
		}
		limit *= 2
	}
}

func viewReading(r *edge.Reading) ReadingView {
	v := ReadingView{
		At: r.At, Received: r.Received, From: r.From, Device: r.Device, Seq: r.Seq,
		Backfill: r.Backfill, Quality: string(r.Quality), Values: make([]ValueView, len(r.Values)),
	}
	for i, x := range r.Values {
		v.Values[i] = ValueView{Kind: x.Kind, Semantics: x.Semantics}
		switch x.Type {
		case edge.Bool:
			v.Values[i].Value = x.True()
		case edge.Text:
			v.Values[i].Value = x.Text
		default:
			v.Values[i].Value = x.Num
		}
	}
	return v
}
