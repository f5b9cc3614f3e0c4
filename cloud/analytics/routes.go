package analytics

import (
	"net/http"

	"github.com/headcount-hub/headcount/cloud/ical"
	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/sync/token"
)

// Routes is the module's part of the API.
func (m *Module) Routes() []route.Route {
	var routes []route.Route
	add := func(method, path, summary string, need route.Need, in, out any, h func(*route.Request) (any, error)) {
		routes = append(routes, route.Route{Method: method, Path: path, Tag: "analytics", Summary: summary, Need: need, In: in, Out: out, Handle: h})
	}
	see := route.Need{Of: m.o.OfSite, Role: token.Viewer}
	manage := route.Need{Of: m.o.OfSite, Role: token.Manager}
	plain := route.Need{Of: m.ofQuerySite, Role: token.Viewer}
	const site = "/v1/sites/{site}"
	for _, x := range []struct {
		path string
		need route.Need
	}{{site + "/analytics", see}, {"/analytics", plain}} {
		add(http.MethodGet, x.path+"/summary", "How the spaces of a site were used; ?group=space|floor|kind", x.need, nil, Summary{}, m.summary)
		add(http.MethodGet, x.path+"/trends", "How a space was used over time, ?every=1h|1d|1w, and by hour of the week", x.need, nil, Trends{}, m.trends)
	}
	add(http.MethodGet, site+"/analytics/forecast", "The typical week, with its error", see, nil, Forecast{}, m.forecast)
	add(http.MethodGet, site+"/analytics/availability", "How long hub, link and sensors worked", see, nil, Availability{}, m.availability)
	add(http.MethodGet, site+"/analytics/access", "Who was let through doors how often, and was not", see, nil, Access{}, m.access)
	add(http.MethodGet, site+"/analytics/events", "How often what happened; alerts and deliveries", see, nil, Events{}, m.events)
	add(http.MethodGet, site+"/analytics/settings", "Holidays and opening hours", see, nil, Settings{}, m.getSettings)
	add(http.MethodPut, site+"/analytics/settings", "Set holidays and opening hours", manage, Settings{}, Settings{}, m.putSettings)
	m.reportRoutes(add, see, manage)
	add(http.MethodGet, site+"/plans", "What is planned", see, nil, nil, m.listPlans)
	add(http.MethodDelete, site+"/plans", "Delete the plans of a time", manage, nil, nil, m.deletePlans)
	add(http.MethodDelete, site+"/plans/{id}", "Delete a plan", manage, nil, nil, m.deletePlan)
	add(http.MethodGet, site+"/spaces/{id}/plan", "What is planned in a space, next to what was measured", see, nil, SpacePlan{}, m.spacePlan)
	return append(routes, route.Route{
		Method: http.MethodPost, Path: site + "/plans/import", Tag: "analytics", Summary: "Import a calendar (iCalendar) as planned occupancy",
		Need: manage, MaxBody: ical.MaxSize + 1, Handle: m.importPlans, Out: Imported{},
	})
}

func (m *Module) reportRoutes(add func(method, path, summary string, need route.Need, in, out any, h func(*route.Request) (any, error)), see, manage route.Need) {
	const site = "/v1/sites/{site}"
	own := func(role token.Role) route.Need { return route.Need{Of: m.ofReport, Role: role} }
	add(http.MethodPost, site+"/reports", "Have a report made: csv, xlsx or html", see, ReportAsk{}, Report{}, m.postReport)
	add(http.MethodGet, site+"/reports", "The reports of a site", see, nil, nil, m.listReports)
	add(http.MethodGet, "/analytics/reports/{id}", "What became of a report", own(token.Viewer), nil, Report{}, m.getReport)
	add(http.MethodGet, "/analytics/reports/{id}/download", "The file of a report", own(token.Viewer), nil, nil, m.download)
	add(http.MethodDelete, "/analytics/reports/{id}", "Delete a report", own(token.Manager), nil, nil, m.deleteReport)
	add(http.MethodPost, site+"/report-schedules", "Have a report made every week or month, and mailed", manage, Schedule{}, Schedule{}, m.postSchedule)
	add(http.MethodGet, site+"/report-schedules", "The report schedules of a site", manage, nil, nil, m.listSchedules)
	add(http.MethodDelete, site+"/report-schedules/{id}", "Delete a report schedule", manage, nil, nil, m.deleteSchedule)
}
