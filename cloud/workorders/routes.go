package workorders

import (
	"errors"
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/sync/token"
)

// Routes is the module's part of the API. ofSite is the policy of paths with {site}, which
// leaves the store.Site in Request.Found.
func (m *Module) Routes(ofSite func(*route.Request) ([]string, error)) []route.Route {
	routes := []route.Route{
		{Method: http.MethodGet, Path: "/v1/work-orders", Summary: "The work orders that the caller may see", Need: route.Need{SignedIn: true}, Handle: m.list},
		{Method: http.MethodPost, Path: "/v1/work-orders", Summary: "Open a work order by hand, or draft one", Need: route.Need{SignedIn: true}, Handle: m.create, In: Wanted{}, Out: View{}},
		{Method: http.MethodGet, Path: "/v1/work-orders/board", Summary: "Work orders by state", Need: route.Need{SignedIn: true}, Handle: m.board},
		{Method: http.MethodGet, Path: "/v1/work-orders/summary", Summary: "How many work orders there are", Need: route.Need{SignedIn: true}, Handle: m.summary, Out: Summary{}},
		{Method: http.MethodPost, Path: "/v1/sites/{site}/alerts/{id}/work-order", Summary: "Open the work order of an alert", Need: route.Need{Of: ofSite, Role: token.Operator}, Handle: m.fromAlert},
		{Method: http.MethodGet, Path: "/v1/approvals/{link}", Summary: "What a link asks its holder to approve", Need: route.Need{Public: true}, Handle: m.showLink},
		{Method: http.MethodPost, Path: "/v1/approvals/{link}", Summary: "Approve or reject by link, once", Need: route.Need{Public: true}, Handle: m.useLink, In: deciding{}},
		{Method: http.MethodGet, Path: "/ws/chat/{id}", Summary: "Notes of a work order, live (WebSocket)", Need: route.Need{Public: true}, Serve: http.HandlerFunc(m.chat)},
		{Method: http.MethodGet, Path: "/ws/chat/{id}/{$}", Summary: "Notes of a work order, live (WebSocket)", Need: route.Need{Public: true}, Serve: http.HandlerFunc(m.chat)},
	}
	routes = append(routes, m.orderRoutes()...)
	routes = append(routes, m.settingRoutes()...)
	for i := range routes {
		routes[i].Tag = "work orders"
	}
	return routes
}

// ofOrder is the policy of paths with {id}: it leaves the Order in Request.Found. A draft is
// its author's alone.
func (m *Module) ofOrder(r *route.Request) ([]string, error) {
	o, err := m.order(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if o.State == Draft && o.CreatedBy != r.Who.Subject {
		return nil, route.ErrNotFound
	}
	r.Found = o
	return []string{o.Domain}, nil
}

// orderRoutes are those about one order.
func (m *Module) orderRoutes() []route.Route {
	var routes []route.Route
	add := func(method, path, summary string, least token.Role, h func(*route.Request, Order) (any, error)) *route.Route {
		routes = append(routes, route.Route{
			Method: method, Path: "/v1/work-orders/{id}" + path, Summary: summary, Need: route.Need{Of: m.ofOrder, Role: least},
			Handle: func(r *route.Request) (any, error) { return h(r, r.Found.(Order)) },
		})
		return &routes[len(routes)-1]
	}
	serve := func(method, path, summary string, least token.Role, most int64, h func(http.ResponseWriter, *http.Request, Order) error) {
		routes = append(routes, route.Route{
			Method: method, Path: "/v1/work-orders/{id}/attachments" + path, Summary: summary, Need: route.Need{Of: m.ofOrder, Role: least}, MaxBody: most,
			Serve: m.serving(h),
		})
	}
	add("GET", "", "One work order with tasks and approvals", token.Viewer, m.answer)
	add("PATCH", "", "Change a work order", token.Operator, m.edit).In = patch{}
	add("DELETE", "", "Delete a work order with all that belongs to it", token.Manager, m.erase)
	add("POST", "/move", "Change its state", token.Operator, m.transfer).In = moving{}
	add("GET", "/history", "Who did what, when and why", token.Viewer, func(r *route.Request, o Order) (any, error) {
		steps, err := m.history(r.Context(), o.ID)
		return map[string]any{"history": orEmpty(steps)}, err
	})
	add("POST", "/reminders", "Remind somebody of it, now or later", token.Operator, m.remindLater).In = reminding{}

	add("GET", "/tasks", "Its sub-tasks", token.Viewer, func(r *route.Request, o Order) (any, error) {
		tasks, err := m.tasks(r.Context(), o.ID)
		return map[string]any{"tasks": tasks}, err
	})
	add("POST", "/tasks", "Add a sub-task", token.Operator, m.addTask).In = taskPatch{}
	add("PATCH", "/tasks/{task}", "Change or tick off a sub-task", token.Operator, m.editTask).In = taskPatch{}
	add("DELETE", "/tasks/{task}", "Drop a sub-task", token.Operator, m.dropTask)

	add("GET", "/approvals", "Its requests for approval", token.Viewer, func(r *route.Request, o Order) (any, error) {
		list, err := m.approvals(r.Context(), o.ID)
		return map[string]any{"approvals": list}, err
	})
	add("POST", "/approvals/{approval}", "Approve or reject", token.Manager, m.answerApproval).In = deciding{}

	add("GET", "/notes", "Its notes", token.Viewer, m.listNotes)
	add("POST", "/notes", "Write a note", token.Operator, m.postNote).In = noting{}
	add("PATCH", "/notes/{note}", "Change one's own note within 15 minutes", token.Operator, m.editNote).In = noting{}
	add("DELETE", "/notes/{note}", "Delete one's own note within 15 minutes", token.Operator, m.deleteNote)
	add("GET", "/guests", "Who else may read and write its notes", token.Manager, m.listGuests)
	add("POST", "/guests", "Invite a guest to its chat", token.Manager, m.invite).In = inviting{}
	add("DELETE", "/guests/{guest}", "Take an invitation back", token.Manager, m.uninvite)

	add("GET", "/attachments", "Its attachments", token.Viewer, func(r *route.Request, o Order) (any, error) {
		list, err := m.attachments(r.Context(), o.ID)
		return map[string]any{"attachments": list, "scanner": m.files.clamd != ""}, err
	})
	add("DELETE", "/attachments/{attachment}", "Delete an attachment", token.Operator, m.deleteAttachment)
	add("POST", "/attachments/{attachment}/scan", "Scan an attachment again", token.Manager, m.rescan)
	most := m.files.maxSize + uploadSlack
	serve("POST", "", "Upload a file: raw, as multipart/form-data, or in pieces with Upload-Length", token.Operator, most, m.upload)
	serve("HEAD", "/{attachment}", "How much of an upload has arrived", token.Viewer, 0, m.uploadOffset)
	serve("PATCH", "/{attachment}", "Go on with an upload at Upload-Offset", token.Operator, most, m.resumeUpload)
	serve("GET", "/{attachment}/content", "Download; ?variant=thumbnail, webp or mp4", token.Viewer, 0, m.download)
	return routes
}

// View is one order with what belongs to it.
type View struct {
	Card
	Moves     []State    `json:"moves"` // where the caller may move it
	Tasks     []Task     `json:"tasks"`
	Approvals []Approval `json:"approvals"`
}

func (m *Module) view(r *route.Request, o Order) (View, error) {
	tasks, err1 := m.tasks(r.Context(), o.ID)
	approvals, err2 := m.approvals(r.Context(), o.ID)
	return View{Card: m.card(o), Moves: o.moves(r.Who.Role(o.Domain)), Tasks: tasks, Approvals: approvals}, errors.Join(err1, err2)
}

// answer answers with one order and its ETag.
func (m *Module) answer(r *route.Request, o Order) (any, error) {
	header := http.Header{"Etag": {o.etag()}}
	if r.URL.Query().Get("view") == "ticket" {
		return &route.Response{Header: header, Body: ticketOf(&o)}, nil
	}
	v, err := m.view(r, o)
	if err != nil {
		return nil, err
	}
	return &route.Response{Header: header, Body: v}, nil
}
