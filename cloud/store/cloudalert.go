package store

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// The rules of the cloud's own alerts. Their ids begin with "cloud:", which no hub's do.
const (
	RuleHubOffline  = "hub-offline"
	RuleHubConflict = "hub-conflict" // the journal's chain does not continue what was applied
	RuleHubCloned   = "hub-cloned"   // an epoch that had been left sends new records
	RuleUnreadable  = "unreadable"
)

// RaiseCloudAlert raises the cloud's own alert of a rule about a site's hub unless it is open
// already; raised tells whether it did.
func (tx *Tx) RaiseCloudAlert(site Site, rule string, severity edge.Severity, message string, since, now time.Time) (raised bool, err error) {
	var open int
	const query = `SELECT count(*) FROM alerts WHERE site = ? AND rule = ? AND subject = 'hub' AND cloud = 1 AND open = 1`
	if err := tx.tx.QueryRow(query, site.ID, rule).Scan(&open); err != nil || open > 0 {
		return false, wrap("read cloud alert", err)
	}
	since, now = edge.Millis(since), edge.Millis(now)
	return true, tx.tellCloudAlert(site, edge.AlertRaised, edge.Alert{
		ID:   "cloud:" + rule + ":" + strconv.FormatInt(now.UnixMilli(), 36),
		Rule: rule, Subject: "hub", SubjectKind: "hub", Severity: severity, State: edge.StateFiring,
		Message: message, Since: since, RaisedAt: now, UpdatedAt: now,
	}, now)
}

// ClearCloudAlert clears the cloud's own open alert of a rule about a site's hub, if there is
// one.
func (tx *Tx) ClearCloudAlert(site Site, rule string, now time.Time) error {
	open, err := tx.OpenAlerts(site.ID)
	if err != nil {
		return err
	}
	for _, a := range open {
		if !a.Cloud || a.Alert.Rule != rule {
			continue
		}
		a.Alert.State, a.Alert.ClearedAt, a.Alert.UpdatedAt = edge.StateCleared, edge.Millis(now), edge.Millis(now)
		if err := tx.tellCloudAlert(site, edge.AlertCleared, a.Alert, now); err != nil {
			return err
		}
	}
	return nil
}

// tellCloudAlert writes the event and the alert's row.
func (tx *Tx) tellCloudAlert(site Site, typ edge.EventType, a edge.Alert, now time.Time) error {
	data, err := json.Marshal(a)
	if err != nil {
		return wrap("encode alert", err)
	}
	p, err := tx.AddCloudEvent(site, edge.Event{Type: typ, Subject: a.ID, At: edge.Millis(now), Data: data})
	if err != nil {
		return err
	}
	return tx.PutAlert(Alert{Site: site.ID, Alert: a, Cloud: true, Position: p})
}
