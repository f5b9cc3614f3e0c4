package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/edge/live"
)

// EventList is the answer of GET /v1/events.
type EventList struct {
	Events []live.Entry `json:"events" nullable:"false" doc:"oldest first"`
	Next   string       `json:"next" doc:"cursor: give it as after to go on; the same when there is nothing new"`
}

// maxScan bounds how many records one request looks at when few of them are of the wanted
// types; the cursor goes on from there.
const maxScan = 20_000

func (a *API) eventRoutes(h huma.API) {
	const tag = "events"
	huma.Register(h, operation(http.MethodGet, "/v1/events", "list-events", tag,
		"What happened, from the oldest event kept or after a cursor", 410),
		func(ctx context.Context, in *struct {
			After string   `query:"after" maxLength:"128" doc:"next of an earlier answer, or the id of an event; empty = from the oldest one kept"`
			Type  []string `query:"type" doc:"only these types; alert.* means all that begin so"`
			Limit int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		}) (*body[EventList], error) {
			return a.eventList(ctx, in.After, live.Filter{Types: in.Type}, in.Limit)
		})

	o := live.Options{Clients: a.opts.Clients, Log: a.log, Origins: gateway.OriginHosts(a.opts.Gateway.Origins)}
	a.mux.Handle("GET /v1/stream", live.Stream(a.source, o))
	a.mux.Handle("GET /v1/stream/ws", live.WebSocket(a.source, o))
	notifications := o
	notifications.Filter = func(*http.Request) (live.Filter, error) {
		return live.Filter{Types: []string{live.SnapshotType, "alert.*"}}, nil
	}
	a.mux.Handle("GET /ws/notifications", live.WebSocket(a.source, notifications))
	io := a.socketIO()
	a.mux.Handle("GET /socket.io/", io)
	a.mux.Handle("POST /socket.io/", io)
	a.describeStreams(h)
}

func (a *API) eventList(ctx context.Context, after string, f live.Filter, limit int) (*body[EventList], error) {
	snap := a.opts.Site.Snapshot()
	var seq uint64
	if after != "" {
		var ok bool
		if seq, ok = parseCursor(after, snap.Epoch); !ok || seq > snap.Seq {
			return nil, huma.Error410Gone("after is of an earlier journal or of another hub; begin without it")
		}
	}
	out := EventList{Events: []live.Entry{}, Next: cursor(snap.Epoch, seq)}
	for scanned := 0; scanned < maxScan && seq < snap.Seq; {
		records, err := a.opts.History.Events(ctx, seq, pageRecords)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		if len(records) == 0 {
			break
		}
		scanned += len(records)
		for i := range records {
			r := &records[i]
			if len(out.Events) == limit || r.Seq > snap.Seq {
				return answer(out), nil
			}
			seq = r.Seq
			out.Next = r.ID()
			if !r.Input && f.WantsType(r.Type) {
				out.Events = append(out.Events, live.EntryOf(r))
			}
		}
	}
	return answer(out), nil
}

// describeStreams puts the live streams, which are no typed routes, into the OpenAPI document.
func (a *API) describeStreams(h huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	params := []*huma.Param{
		{Name: "type", In: "query", Schema: text, Description: "only these event types, with commas; alert.* means all that begin so"},
		{Name: "space", In: "query", Schema: text, Description: "occupancy of these spaces only, with commas"},
		{Name: "last_event_id", In: "query", Schema: text, Description: "resume after this event; as the header Last-Event-ID it does the same"},
	}
	stream := func(path, id, summary, contentType string, params []*huma.Param) {
		op := operation(http.MethodGet, path, id, "events", summary)
		op.Parameters = params
		status := "200"
		if contentType == "" {
			status = "101"
		}
		op.Responses = map[string]*huma.Response{status: {Description: "a stream of events"}, "503": {Description: "too many live clients"}}
		if contentType != "" {
			op.Responses[status].Content = map[string]*huma.MediaType{contentType: {Schema: text}}
		}
		h.OpenAPI().AddOperation(&op)
	}
	stream("/v1/stream", "stream-events", "Server-Sent Events: the present state as event snapshot, then every event", "text/event-stream", params)
	stream("/v1/stream/ws", "stream-events-websocket", `The same over WebSocket, as frames {"id","type","data"}`, "", params)
	stream("/ws/notifications", "stream-notifications", "Alerts only, over WebSocket", "", params[2:])
}
