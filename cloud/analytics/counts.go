package analytics

import (
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/usage"
)

// countKey is what a number of events is of.
type countKey struct {
	kind, subject string
	hour          int64
}

// count is a number of events, and the sum of what each brings along.
type count struct{ n, total int64 }

// add counts an event in the hour it is of.
func (w *siteWork) add(kind, subject string, at time.Time, total int64) {
	w.addN(kind, subject, at, 1, total)
}

func (w *siteWork) addN(kind, subject string, at time.Time, n, total int64) {
	k := countKey{kind, subject, usage.Hour(at.UnixMilli(), w.loc)}
	c := w.counts[k]
	w.counts[k] = count{c.n + n, c.total + total}
}

// tally counts an event and notes what it says of states.
func (p *pass) tally(w *siteWork, e *store.Event) error {
	switch typ := edge.EventType(e.Type); typ {
	case edge.AlertRaised, edge.AlertAcknowledged, edge.AlertCleared:
		return p.alert(w, e, typ)
	case edge.ActionDelivered, edge.ActionFailed:
		var d struct {
			Action string `json:"action"`
		}
		dataOf(e, &d) // without a name it is counted all the same
		w.add(e.Type, d.Action, e.At, 0)
	case edge.AccessGranted, edge.AccessDenied:
		w.add(e.Type, e.Subject, e.At, 0)
		if typ == edge.AccessGranted {
			w.passage(e)
		}
	case edge.DoorForced, edge.DoorHeldOpen, edge.DoorOpened, edge.Correction, edge.CameraOffline:
		w.add(e.Type, e.Subject, e.At, 0)
	case edge.SensorStatusEvent:
		w.add(e.Type, "", e.At, 0)
		return p.sensor(w, e)
	case edge.HubStatus:
		w.add(e.Type, "", e.At, 0)
		return p.hub(w, e)
	default:
		w.add(e.Type, "", e.At, 0)
	}
	return nil
}

// passage counts who was let through a door, by direction.
func (w *siteWork) passage(e *store.Event) {
	var g edge.Passage
	if dataOf(e, &g) && (g.Direction == edge.In || g.Direction == edge.Out) {
		w.add(granted+g.Direction, e.Subject, e.At, 0)
	}
}

// alert counts each step of an alert once, with the time since it was raised.
func (p *pass) alert(w *siteWork, e *store.Event, typ edge.EventType) error {
	var a edge.Alert
	if !dataOf(e, &a) || a.ID == "" {
		return nil
	}
	if a.Rule == store.RuleHubOffline && a.Subject == "hub" {
		if err := p.link(w, a, typ); err != nil {
			return err
		}
	}
	column := map[edge.EventType]string{edge.AlertRaised: "raised", edge.AlertAcknowledged: "acked", edge.AlertCleared: "cleared"}[typ]
	if err := p.tx.Exec(`INSERT INTO analytics_alerts (site, alert, raised, acked, cleared) VALUES (?, ?, 0, 0, 0) ON CONFLICT (site, alert) DO NOTHING`, w.ID, a.ID); err != nil {
		return err
	}
	n, err := p.tx.ExecCount(`UPDATE analytics_alerts SET `+column+` = ? WHERE site = ? AND alert = ? AND `+column+` = 0`, max(1, store.Millis(e.At)), w.ID, a.ID)
	if err != nil || n == 0 {
		return err
	}
	var since int64
	if typ != edge.AlertRaised && !a.RaisedAt.IsZero() {
		since = max(0, e.At.Sub(a.RaisedAt).Milliseconds())
	}
	w.add(e.Type, a.Rule, e.At, since)
	return nil
}

// The states beside those of sensors.
const (
	subjectHub    = "hub"
	subjectLink   = "link"
	subjectSensor = "sensor:"

	stateUp   = "up"
	stateDown = "down"
)

// link notes since when the cloud does not hear the hub, and since when it does.
func (p *pass) link(w *siteWork, a edge.Alert, typ edge.EventType) error {
	switch {
	case typ == edge.AlertRaised:
		return p.state(w, subjectLink, a.Since, stateDown)
	case typ == edge.AlertCleared:
		return p.state(w, subjectLink, a.ClearedAt, stateUp)
	}
	return nil
}

// hub notes when the hub ran.
func (p *pass) hub(w *siteWork, e *store.Event) error {
	var h struct {
		Status string    `json:"status"`
		From   time.Time `json:"from"`
		To     time.Time `json:"to"`
	}
	switch {
	case !dataOf(e, &h):
		return nil
	case h.Status == "started":
		return p.state(w, subjectHub, e.At, stateUp)
	case h.Status == "paused" && h.To.After(h.From):
		if err := p.state(w, subjectHub, h.From, stateDown); err != nil {
			return err
		}
		return p.state(w, subjectHub, h.To, stateUp)
	}
	return nil
}

// sensor notes what a sensor was; a fault is an event and no state.
func (p *pass) sensor(w *siteWork, e *store.Event) error {
	var s struct {
		Status string `json:"status"`
	}
	if !dataOf(e, &s) || s.Status == "" || s.Status == "fault" {
		return nil
	}
	return p.state(w, subjectSensor+e.Subject, e.At, s.Status)
}

func (p *pass) state(w *siteWork, subject string, at time.Time, state string) error {
	if at.IsZero() {
		return nil
	}
	const upsert = `INSERT INTO analytics_states (site, subject, at, state) VALUES (?, ?, ?, ?) ON CONFLICT (site, subject, at) DO UPDATE SET state = excluded.state`
	return p.tx.Exec(upsert, w.ID, subject, store.Millis(at), state)
}

func (p *pass) writeCounts(w *siteWork) error {
	const upsert = `INSERT INTO analytics_counts (site, kind, subject, hour, n, total) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (site, kind, subject, hour) DO UPDATE SET n = analytics_counts.n + excluded.n, total = analytics_counts.total + excluded.total`
	for k, c := range w.counts {
		if err := p.tx.Exec(upsert, w.ID, k.kind, k.subject, k.hour, c.n, c.total); err != nil {
			return err
		}
	}
	return nil
}
