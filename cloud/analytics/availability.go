package analytics

import (
	"context"
	"database/sql"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/usage"
)

// Availability is the answer of GET /v1/sites/{site}/analytics/availability.
type Availability struct {
	Site    string      `json:"site"`
	Org     string      `json:"org"`
	From    time.Time   `json:"from"`
	To      time.Time   `json:"to"`
	Hub     Available   `json:"hub"`  // it ran, by its own journal
	Link    Available   `json:"link"` // the cloud heard it
	Sensors []Available `json:"sensors"`
}

// Available is how long something worked. Minutes in which it is not known are in neither.
type Available struct {
	ID           string   `json:"id"`
	Name         string   `json:"name,omitempty"`
	State        string   `json:"state"` // the newest within the time; "unknown" when there is none
	UpMinutes    float64  `json:"up_minutes"`
	DownMinutes  float64  `json:"down_minutes"`
	Availability *float64 `json:"availability"` // up of up and down, 0..1
	Outages      int      `json:"outages"`      // that began
}

const stateUnknown = "unknown"

// change is a row of analytics_states.
type change struct {
	at    int64
	state string
}

func (m *Module) availability(r *route.Request) (any, error) {
	q, err := m.ask(r, 7)
	if err != nil {
		return nil, err
	}
	return m.availabilityOf(r.Context(), q)
}

func (m *Module) availabilityOf(ctx context.Context, q *question) (*Availability, error) {
	states, err := m.states(ctx, q.Site.ID, q.span().to)
	if err != nil {
		return nil, err
	}
	at := span{q.span().from, min(q.span().to, m.now().UnixMilli())}
	out := &Availability{Site: q.Site.Site, Org: q.Site.Org, From: q.From, To: q.To, Sensors: []Available{}}
	out.Hub = available(subjectHub, "", states[subjectHub], nil, at)
	link := states[subjectLink]
	if first := q.Site.FirstSeen.UnixMilli(); len(link) == 0 || first < link[0].at { // it was heard then
		link = append([]change{{first, stateUp}}, link...)
	}
	out.Link = available(subjectLink, "", link, nil, at)
	for _, s := range q.Model.Sensors {
		out.Sensors = append(out.Sensors, available(s.ID, s.Name, states[subjectSensor+s.ID], states[subjectHub], at))
		delete(states, subjectSensor+s.ID)
	}
	return out, nil
}

// states reads all changes before an instant, by subject, oldest first.
func (m *Module) states(ctx context.Context, site int64, before int64) (map[string][]change, error) {
	out := map[string][]change{}
	rows, err := m.db.Query(ctx, `SELECT subject, at, state FROM analytics_states WHERE site = ? AND at < ? ORDER BY at`, site, before)
	_, err = store.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var subject string
		var c change
		if err := r.Scan(&subject, &c.at, &c.state); err != nil {
			return struct{}{}, err
		}
		out[subject] = append(out[subject], c)
		return struct{}{}, nil
	})
	return out, err
}

// verdict says whether a state is one of working, of failing, or neither.
func verdict(state string) (up, down bool) {
	switch state {
	case stateUp, "ok":
		return true, false
	case stateDown, "silent", "offline":
		return false, true
	}
	return false, false // "waiting": it was never heard
}

// available adds up states over a time; while the hub is down nothing is known of its sensors.
func available(id, name string, states, hub []change, at span) Available {
	out := Available{ID: id, Name: name, State: stateUnknown}
	var up, down int64
	wasDown := false
	for i, c := range states {
		end := at.to
		if i+1 < len(states) {
			end = min(end, states[i+1].at)
		}
		works, fails := verdict(c.state)
		if c.at < at.to {
			out.State = c.state
		}
		if fails && !wasDown && c.at >= at.from && c.at < at.to {
			out.Outages++
		}
		wasDown = fails
		length := max(0, end-max(c.at, at.from)) - downWithin(hub, span{max(c.at, at.from), end})
		switch {
		case works:
			up += length
		case fails:
			down += length
		}
	}
	out.UpMinutes, out.DownMinutes, out.Availability = usage.Minutes(up), usage.Minutes(down), usage.Share(up, up+down)
	return out
}

// downWithin is how long the hub was down within a time.
func downWithin(hub []change, at span) (sum int64) {
	for i, c := range hub {
		if c.state != stateDown {
			continue
		}
		end := at.to
		if i+1 < len(hub) {
			end = min(end, hub[i+1].at)
		}
		sum += max(0, end-max(c.at, at.from))
	}
	return sum
}
