package analytics

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Events is the answer of GET /v1/sites/{site}/analytics/events: how often what happened. It
// counts by whole hours: those in which from and to lie are in it.
type Events struct {
	Site       string         `json:"site"`
	Org        string         `json:"org"`
	From       time.Time      `json:"from"`
	To         time.Time      `json:"to"`
	Kinds      []EventCount   `json:"kinds"`
	Alerts     AlertFigures   `json:"alerts"`
	AtHub      HubDeliveries  `json:"hub_deliveries"`   // that the hub made itself
	Deliveries map[string]int `json:"cloud_deliveries"` // by state; null = the cloud does not count them
}

// EventCount is a number of events of a type about a subject.
type EventCount struct {
	Type    string `json:"type"`
	Subject string `json:"subject,omitempty"` // rule, action, door or space, where that is counted apart
	Count   int64  `json:"count"`
}

// AlertFigures are the alerts of a time.
type AlertFigures struct {
	Raised             int64    `json:"raised"`
	Acknowledged       int64    `json:"acknowledged"`
	Cleared            int64    `json:"cleared"`
	AcknowledgeMinutes *float64 `json:"mean_minutes_to_acknowledge"`
	ClearMinutes       *float64 `json:"mean_minutes_to_clear"`
}

// HubDeliveries are what a hub told people and systems itself.
type HubDeliveries struct {
	Sent        int64    `json:"sent"`
	Failed      int64    `json:"failed"`
	FailureRate *float64 `json:"failure_rate"`
}

// countedRow is a row of analytics_counts, summed up.
type countedRow struct {
	kind, subject string
	count
}

// counted sums the counts of the whole hours of a time, by kind and subject.
func (m *Module) counted(ctx context.Context, q *question) ([]countedRow, error) {
	const query = `SELECT kind, subject, sum(n), sum(total) FROM analytics_counts WHERE site = ? AND hour >= ? AND hour < ? GROUP BY kind, subject ORDER BY kind, subject`
	rows, err := m.db.Query(ctx, query, q.Site.ID, usage.Hour(q.span().from, q.Loc), q.span().to)
	return store.Collect(rows, err, func(r *sql.Rows) (c countedRow, err error) {
		var n, total float64 // PostgreSQL sums up BIGINT to NUMERIC
		err = r.Scan(&c.kind, &c.subject, &n, &total)
		c.n, c.total = int64(n), int64(total)
		return c, err
	})
}

func (m *Module) events(r *route.Request) (any, error) {
	q, err := m.ask(r, 7)
	if err != nil {
		return nil, err
	}
	return m.eventsOf(r.Context(), q)
}

func (m *Module) eventsOf(ctx context.Context, q *question) (*Events, error) {
	rows, err := m.counted(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &Events{Site: q.Site.Site, Org: q.Site.Org, From: q.From, To: q.To, Kinds: []EventCount{}}
	sums := map[string]count{}
	for _, c := range rows {
		sums[c.kind] = count{sums[c.kind].n + c.n, sums[c.kind].total + c.total}
		if !strings.HasPrefix(c.kind, counted) && !strings.HasPrefix(c.kind, granted) {
			out.Kinds = append(out.Kinds, EventCount{c.kind, c.subject, c.n})
		}
	}
	slices.SortStableFunc(out.Kinds, func(a, b EventCount) int { return cmp.Compare(b.Count, a.Count) })
	of := func(t edge.EventType) count { return sums[string(t)] }
	ack, clear := of(edge.AlertAcknowledged), of(edge.AlertCleared)
	out.Alerts = AlertFigures{of(edge.AlertRaised).n, ack.n, clear.n, usage.Share(ack.total, ack.n*60_000), usage.Share(clear.total, clear.n*60_000)}
	sent, failed := of(edge.ActionDelivered).n, of(edge.ActionFailed).n
	out.AtHub = HubDeliveries{sent, failed, usage.Share(failed, sent+failed)}
	if m.o.Deliveries != nil {
		out.Deliveries, err = m.o.Deliveries(ctx, q.Site, q.From, q.To)
	}
	return out, err
}

// Access is the answer of GET /v1/sites/{site}/analytics/access.
type Access struct {
	Site  string       `json:"site"`
	Org   string       `json:"org"`
	From  time.Time    `json:"from"`
	To    time.Time    `json:"to"`
	Doors []DoorAccess `json:"doors"`
}

// DoorAccess is how often a door let people through.
type DoorAccess struct {
	Door        string       `json:"door"`
	Granted     int64        `json:"granted"`
	Denied      int64        `json:"denied"`
	SuccessRate *float64     `json:"success_rate"` // null when nobody tried
	DenialRate  *float64     `json:"denial_rate"`
	Forced      int64        `json:"forced"`
	HeldOpen    int64        `json:"held_open"`
	Hours       []AccessHour `json:"hours"` // those in which anybody tried
}

// AccessHour is an hour of the wall clock.
type AccessHour struct {
	From       time.Time `json:"from"`
	Granted    int64     `json:"granted"`
	Denied     int64     `json:"denied"`
	DenialRate *float64  `json:"denial_rate"`
}

func (m *Module) access(r *route.Request) (any, error) {
	q, err := m.ask(r, 7)
	if err != nil {
		return nil, err
	}
	return m.accessOf(r.Context(), q)
}

func (m *Module) accessOf(ctx context.Context, q *question) (*Access, error) {
	const query = `SELECT subject, hour, kind, n FROM analytics_counts WHERE site = ? AND hour >= ? AND hour < ?
		AND kind IN ('access.granted', 'access.denied', 'door.forced', 'door.held_open') ORDER BY subject, hour`
	rows, err := m.db.Query(ctx, query, q.Site.ID, usage.Hour(q.span().from, q.Loc), q.span().to)
	out := &Access{Site: q.Site.Site, Org: q.Site.Org, From: q.From, To: q.To, Doors: []DoorAccess{}}
	for _, d := range q.Model.Doors {
		if slices.ContainsFunc(q.Model.Sensors, func(s edge.Sensor) bool { return s.Door == d.ID && s.Class == edge.Badge }) {
			out.door(d.ID)
		}
	}
	_, err = store.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var door, kind string
		var hour, n int64
		if err := r.Scan(&door, &hour, &kind, &n); err != nil {
			return struct{}{}, err
		}
		out.door(door).add(edge.EventType(kind), hour, n)
		return struct{}{}, nil
	})
	for i := range out.Doors {
		d := &out.Doors[i]
		d.SuccessRate, d.DenialRate = usage.Share(d.Granted, d.Granted+d.Denied), usage.Share(d.Denied, d.Granted+d.Denied)
		for j := range d.Hours {
			d.Hours[j].DenialRate = usage.Share(d.Hours[j].Denied, d.Hours[j].Granted+d.Hours[j].Denied)
		}
	}
	return out, err
}

func (a *Access) door(id string) *DoorAccess {
	for i := range a.Doors {
		if a.Doors[i].Door == id {
			return &a.Doors[i]
		}
	}
	a.Doors = append(a.Doors, DoorAccess{Door: id, Hours: []AccessHour{}})
	return &a.Doors[len(a.Doors)-1]
}

func (d *DoorAccess) add(kind edge.EventType, hour, n int64) {
	switch kind {
	case edge.DoorForced:
		d.Forced += n
		return
	case edge.DoorHeldOpen:
		d.HeldOpen += n
		return
	}
	at := time.UnixMilli(hour).UTC()
	if k := len(d.Hours); k == 0 || !d.Hours[k-1].From.Equal(at) {
		d.Hours = append(d.Hours, AccessHour{From: at})
	}
	h := &d.Hours[len(d.Hours)-1]
	if kind == edge.AccessGranted {
		d.Granted, h.Granted = d.Granted+n, h.Granted+n
	} else {
		d.Denied, h.Denied = d.Denied+n, h.Denied+n
	}
}
