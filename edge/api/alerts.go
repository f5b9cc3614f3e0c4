package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/headcount-hub/headcount/edge"
)

// AlertList is the answer of GET /v1/alerts.
type AlertList struct {
	Alerts []edge.Alert `json:"alerts" nullable:"false"`
}

func (a *API) alertRoutes(h huma.API) {
	const tag = "alerts"
	huma.Register(h, operation(http.MethodGet, "/v1/alerts", "list-alerts", tag, "Open alerts and those cleared last"),
		func(_ context.Context, in *struct {
			State   string `query:"state" enum:"pending,firing,acknowledged,cleared"`
			Subject string `query:"subject" doc:"id of a space or sensor, or hub"`
		}) (*body[AlertList], error) {
			out := AlertList{Alerts: []edge.Alert{}}
			for _, al := range a.opts.Site.Snapshot().Alerts {
				if (in.State == "" || string(al.State) == in.State) && (in.Subject == "" || al.Subject == in.Subject) {
					out.Alerts = append(out.Alerts, al)
				}
			}
			return answer(out), nil
		})
	huma.Register(h, operation(http.MethodPost, "/v1/alerts/{id}/acknowledge", "acknowledge-alert", tag,
		"Say that somebody takes care of it", 404, 409),
		func(ctx context.Context, in *struct {
			ID   string `path:"id"`
			Body *struct {
				Note string `json:"note,omitempty" maxLength:"500"`
			}
			Idempotent
		}) (*body[edge.CommandResult], error) {
			var note string
			if in.Body != nil {
				note = in.Body.Note
			}
			return a.do(ctx, edge.AcknowledgeAlert, in.ID, in.Key, map[string]string{"note": note})
		})
}
