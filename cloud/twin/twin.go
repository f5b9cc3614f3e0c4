// Package twin is what the cloud knows of each site now: spaces, sensors, alerts, marks, and
// whether the hub is heard at all. It projects records, snapshots and heartbeats into the
// database (within ingest's transactions) and serves the result over HTTP in the hub's own
// shapes.
//
// It guarantees that what is shown never goes back behind what was shown before, however late
// history arrives, and that a site without heartbeat for 45 s is marked stale: never an old
// number as new. It refuses to decide about a condition that the hub owns; only "hub offline"
// is its own.
package twin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// StaleAfter is how long after its last heartbeat a site is believed: three beats.
const StaleAfter = 45 * time.Second

// StateEvent is the type of the cloud's own event that says: the state of this site has changed
// as a whole (a snapshot came, the hub went or came back); look at it.
const StateEvent edge.EventType = "site.state"

// Twin reads and projects. Its methods may be called from many goroutines.
type Twin struct {
	db      *store.DB
	log     *slog.Logger
	now     func() time.Time
	started time.Time
	hooks   Hooks
}

// New makes a Twin over a database.
func New(db *store.DB, log *slog.Logger) *Twin {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Twin{db: db, log: log, now: time.Now, started: time.Now()}
}

// Stale tells whether a site whose last heartbeat came at last is not to be believed at now.
func Stale(last, now time.Time) bool { return last.IsZero() || now.Sub(last) > StaleAfter }

// Watch raises "hub offline" for sites that fall silent, until ctx ends. For StaleAfter after
// its own start it raises nothing: while the cloud was away no heartbeat could come.
func (t *Twin) Watch(ctx context.Context) {
	tick := time.NewTicker(StaleAfter / 9)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := t.check(ctx, t.now()); err != nil && ctx.Err() == nil {
			t.log.Error("silent hubs not checked; tried again soon", "err", err)
		}
	}
}

// check looks once at all sites.
func (t *Twin) check(ctx context.Context, now time.Time) error {
	if now.Sub(t.started) <= StaleAfter {
		return nil
	}
	sites, err := t.db.Sites(ctx)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if s.LastHeartbeat.IsZero() || !Stale(s.LastHeartbeat, now) {
			continue
		}
		if err := t.offline(ctx, s, now); err != nil {
			return err
		}
	}
	return nil
}

// offline raises the alert unless it is open or a heartbeat came meanwhile.
func (t *Twin) offline(ctx context.Context, s store.Site, now time.Time) error {
	open, err := t.db.Alerts(ctx, s.ID, 0)
	if err != nil || slices.ContainsFunc(open, func(a store.Alert) bool { return a.Cloud && a.Alert.Rule == store.RuleHubOffline }) {
		return err
	}
	return t.db.Update(ctx, func(tx *store.Tx) error {
		site, err := tx.Site(s.Org, s.Site, now)
		if err != nil || !Stale(site.LastHeartbeat, now) {
			return err
		}
		message := fmt.Sprintf("no heartbeat from the hub since %s; it keeps counting and buffers what it sends later", site.LastHeartbeat.Format(time.RFC3339))
		raised, err := tx.RaiseCloudAlert(site, store.RuleHubOffline, edge.Warning, message, site.LastHeartbeat, now)
		if err != nil || !raised {
			return err
		}
		t.log.Warn("hub offline", "org", site.Org, "site", site.Site, "last_heartbeat", site.LastHeartbeat)
		return tellState(tx, site, now)
	})
}

func tellState(tx *store.Tx, site store.Site, now time.Time) error {
	_, err := tx.AddCloudEvent(site, edge.Event{Type: StateEvent, Subject: site.Site, At: edge.Millis(now)})
	return err
}

// View is the present state of one site.
type View struct {
	store.Site
	Model     edge.Site
	Stale     bool
	AsOf      time.Time // newest time that any of it holds for
	Heartbeat *wire.Heartbeat
	Spaces    []edge.SpaceView
	Alerts    []edge.Alert
	Sensors   []edge.SensorStatus
}

// clearedAlerts is how many cleared alerts a view has besides the open ones.
const clearedAlerts = 50

// View reads the present state of a site.
func (t *Twin) View(ctx context.Context, s store.Site) (View, error) {
	v := View{Site: s, Stale: Stale(s.LastHeartbeat, t.now()), AsOf: s.SnapshotAt}
	if err := v.decode(); err != nil {
		return v, err
	}
	rows, err := t.db.Spaces(ctx, s.ID)
	if err != nil {
		return v, fmt.Errorf("read spaces: %w", err)
	}
	if err := v.addSpaces(rows); err != nil {
		return v, err
	}
	alerts, err := t.db.Alerts(ctx, s.ID, clearedAlerts)
	if err != nil {
		return v, err
	}
	v.Alerts = make([]edge.Alert, len(alerts))
	for i, a := range alerts {
		v.Alerts[i] = merged(a)
	}
	sensors, err := t.db.Sensors(ctx, s.ID)
	if err != nil {
		return v, fmt.Errorf("read sensors: %w", err)
	}
	v.Sensors = make([]edge.SensorStatus, len(sensors))
	for i, row := range sensors {
		if err := json.Unmarshal(row.Status, &v.Sensors[i]); err != nil {
			return v, fmt.Errorf("sensor %s: %w", row.Sensor, err)
		}
	}
	return v, nil
}

// decode reads the documents of the site's row.
func (v *View) decode() error {
	if len(v.Site.Model) > 0 {
		if err := json.Unmarshal(v.Site.Model, &v.Model); err != nil {
			return fmt.Errorf("model of site %s: %w", v.Site.Site, err)
		}
	}
	if len(v.Site.Heartbeat) > 0 {
		v.Heartbeat = &wire.Heartbeat{}
		if err := json.Unmarshal(v.Site.Heartbeat, v.Heartbeat); err != nil {
			return fmt.Errorf("heartbeat of site %s: %w", v.Site.Site, err)
		}
	}
	return nil
}

// addSpaces joins the model with what is known: every space of the model in its order, unknown
// where nothing was heard, then those that the model does not have (yet).
func (v *View) addSpaces(rows []store.Space) error {
	known := map[string]edge.Occupancy{}
	for _, row := range rows {
		var o edge.Occupancy
		if err := json.Unmarshal(row.Occupancy, &o); err != nil {
			return fmt.Errorf("occupancy of %s: %w", row.Space, err)
		}
		if v.Stale && o.Quality != edge.QualityNone {
			o.Quality = edge.QualityStale
		}
		if o.AsOf.After(v.AsOf) {
			v.AsOf = o.AsOf
		}
		known[row.Space] = o
	}
	v.Spaces = make([]edge.SpaceView, 0, len(v.Model.Spaces))
	for _, s := range v.Model.Spaces {
		o, ok := known[s.ID]
		if !ok {
			o = edge.Occupancy{Space: s.ID, State: edge.Unknown, Quality: edge.QualityNone, Capacity: s.Capacity}
		}
		delete(known, s.ID)
		v.Spaces = append(v.Spaces, edge.SpaceView{Space: s, Occupancy: o})
	}
	for _, row := range rows {
		if o, left := known[row.Space]; left {
			v.Spaces = append(v.Spaces, edge.SpaceView{Space: edge.Space{ID: row.Space, Capacity: o.Capacity}, Occupancy: o})
		}
	}
	return nil
}

// People is the number of people on the site: the sum over its top-level spaces; nil when none
// of them is known.
func (v *View) People() *int {
	var sum *int
	for _, s := range v.Spaces {
		if s.Parent != "" || s.Kind == "" || s.Occupancy.Count == nil {
			continue
		}
		if sum == nil {
			sum = new(int)
		}
		*sum += *s.Occupancy.Count
	}
	return sum
}

// merged joins an alert with the acknowledgement given in the cloud: both sides keep theirs,
// the first one is shown.
func merged(a store.Alert) edge.Alert {
	out := a.Alert
	if a.AckAt.IsZero() || !out.AcknowledgedAt.IsZero() && !a.AckAt.Before(out.AcknowledgedAt) {
		return out
	}
	out.AcknowledgedAt, out.AcknowledgedBy = a.AckAt, a.AckBy
	if out.State == edge.StateFiring {
		out.State = edge.StateAcknowledged
	}
	return out
}
