package assist

import (
	"context"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// alertRow is an alert in an answer.
type alertRow struct {
	Site    string    `json:"site"`
	Org     string    `json:"org,omitempty"`
	Alert   string    `json:"alert"`
	Rule    string    `json:"rule"`
	Subject string    `json:"subject"`
	State   string    `json:"state"`
	Level   string    `json:"severity"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Ack     string    `json:"acknowledged_by,omitempty"`
	Cleared time.Time `json:"cleared_at,omitzero"`
	Link    string    `json:"link"`
}

// maxAlertSites bounds the sites that are asked for one answer.
const maxAlertSites = 50

// alerts answers those of a site, or of all sites with open ones.
func alerts(ctx context.Context, api API, a Arguments, now time.Time) (Answer, error) {
	list, link, err := alertSites(ctx, api, a)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{AsOf: now.UTC().Truncate(time.Second), Links: []string{link}}
	var rows []alertRow
	asked, stale := 0, 0
	for _, s := range list {
		if a.Site == "" && s.OpenAlerts == 0 && (a.State == "" || a.State != string(edge.StateCleared)) {
			continue
		}
		if asked++; asked > maxAlertSites {
			out.Note = "more than " + strconv.Itoa(maxAlertSites) + " sites have alerts; ask for one site at a time"
			break
		}
		if s.Stale {
			stale++
		}
		found, from, err := siteAlerts(ctx, api, s, a.State)
		if err != nil {
			return Answer{}, err
		}
		rows, out.Links = append(rows, found...), append(out.Links, from)
	}
	page, next, err := window(rows, a)
	if err != nil {
		return Answer{}, err
	}
	for _, r := range page {
		out.Rows = append(out.Rows, r)
	}
	out.Next, out.Known = next, len(out.Rows) > 0
	switch {
	case !out.Known && len(list) > 0 && out.Note == "":
		out.Note = "no alert is known there in that state"
	case stale > 0 && out.Note == "":
		out.Note = "some hubs are not heard: newer alerts may be missing"
	}
	return out, nil
}

// alertSites lists the sites that are asked.
func alertSites(ctx context.Context, api API, a Arguments) (list []site, link string, err error) {
	if a.Site == "" {
		return readSites(ctx, api, a.Org, "")
	}
	var one site
	link = a.sitePath()
	err = read(ctx, api, link, &one)
	return []site{one}, link, err
}

func siteAlerts(ctx context.Context, api API, s site, state string) (rows []alertRow, link string, err error) {
	link = path([]string{"v1", "sites", s.ID, "alerts"}, "org", s.Org)
	var got struct{ Alerts []edge.Alert }
	if err := read(ctx, api, link, &got); err != nil {
		return nil, link, err
	}
	for _, al := range got.Alerts {
		if state == "" || string(al.State) == state {
			rows = append(rows, alertRow{s.ID, s.Org, al.ID, al.Rule, al.Subject, string(al.State), string(al.Severity), al.Message, al.Since, al.AcknowledgedBy, al.ClearedAt, link})
		}
	}
	return rows, link, nil
}

// orderRow is a work order in an answer.
type orderRow struct {
	Number   string    `json:"number,omitempty"`
	Org      string    `json:"org"`
	Site     string    `json:"site,omitempty"`
	Space    string    `json:"space,omitempty"`
	Title    string    `json:"title"`
	State    string    `json:"state"`
	Priority string    `json:"priority"`
	Overdue  bool      `json:"overdue"`
	Created  time.Time `json:"created_at"`
	Updated  time.Time `json:"updated_at"`
	Link     string    `json:"link"`
}

// workOrders answers the API's own list.
func workOrders(ctx context.Context, api API, a Arguments, _ time.Time) (Answer, error) {
	link := path([]string{"v1", "work-orders"}, "org", a.Org, "site", a.Site, "state", a.State, "q", a.Query, "cursor", a.Cursor, "limit", strconv.Itoa(a.Limit))
	var got struct {
		Orders []struct {
			ID string `json:"id"`
			orderRow
		} `json:"work_orders"`
		Next string `json:"next"`
	}
	if err := read(ctx, api, link, &got); err != nil {
		return Answer{}, err
	}
	out := Answer{Known: len(got.Orders) > 0, Next: got.Next, Links: []string{link}}
	for _, o := range got.Orders {
		o.Link = path([]string{"v1", "work-orders", o.ID})
		out.AsOf = later(out.AsOf, o.Updated)
		out.Rows = append(out.Rows, o.orderRow)
	}
	if !out.Known {
		out.Note = "no such work order is known"
	}
	return out, nil
}
