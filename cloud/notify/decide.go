package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// fact is an event about an alert and all that is decided by.
type fact struct {
	store.Event
	tenant string // the organisation that is told: of one of the domains that the site belongs to
	alert  edge.Alert
	site   store.Site
	model  edge.Site
	data   json.RawMessage
}

func (f *fact) typ() edge.EventType { return edge.EventType(f.Type) }

// to is the fact as an organisation is told it.
func (f *fact) to(org string) *fact {
	g := *f
	g.tenant = org
	return &g
}

// place is the site as the organisation that is told knows it: with its owner's id when that is
// another.
func (f *fact) place() string {
	if f.tenant == f.Org {
		return f.SiteName
	}
	return f.Org + "/" + f.SiteName
}

// tenants lists the organisations of the domains that a site belongs to, the owner's first: each
// tells its own people and channels by its own routes and silences.
func (n *Notifier) tenants(s store.Site) []string {
	var out []string
	for _, d := range n.o.Domains(s) {
		if org := token.Organisation(d); !slices.Contains(out, org) {
			out = append(out, org)
		}
	}
	return out
}

// key is the same whenever this step of the alert is told.
func (f *fact) key() string { return f.Org + "/" + f.SiteName + "/" + f.alert.ID + "/" + f.Type }

// decide writes what one event means to the queue and the timers.
func (n *Notifier) decide(ctx context.Context, tx *store.Tx, e store.Event) error {
	rec, err := edge.ParseRecord(e.Body)
	if err != nil {
		return nil // ingest has let it pass; it says nothing that could be sent
	}
	switch edge.EventType(e.Type) {
	case edge.ActionDelivered, edge.ActionFailed:
		return n.action(tx, e, rec.Data)
	}
	f, err := n.fact(ctx, e, rec.Data)
	if err != nil || f == nil || f.alert.ID == "" {
		return err
	}
	for _, org := range n.tenants(f.site) {
		if err := n.tellHooks(tx, f.to(org)); err != nil {
			return err
		}
	}
	if err := n.follow(tx, f); err != nil {
		return err
	}
	if f.alert.Rule == store.RuleHubOffline && strings.HasPrefix(f.alert.ID, "cloud:") && f.typ() == edge.AlertRaised {
		return n.takeOver(tx, e.Org, e.SiteName, "", "", "the hub is offline")
	}
	return nil
}

// fact reads the alert of an event; its id is empty when there is none. It is nil when the site
// has been deleted.
func (n *Notifier) fact(ctx context.Context, e store.Event, data json.RawMessage) (*fact, error) {
	f := &fact{Event: e, tenant: e.Org, data: data}
	if err := json.Unmarshal(data, &f.alert); err != nil {
		f.alert = edge.Alert{} // it says nothing that could be sent
		return f, nil
	}
	found, err := n.db.FindSites(ctx, e.Org, e.SiteName)
	if err != nil || len(found) != 1 {
		return nil, err
	}
	f.site = found[0]
	if len(f.site.Model) > 0 {
		_ = json.Unmarshal(f.site.Model, &f.model) // without it the ids serve as names
	}
	if f.model.ID == "" {
		f.model.ID, f.model.Name = e.SiteName, f.site.Name
	}
	return f, nil
}

// message is what the event says, for machines and people.
func (n *Notifier) message(f *fact) deliver.Message {
	trace := ""
	if n.o.Trace != nil {
		trace = n.o.Trace(f.Event)
	}
	return deliver.Message{
		Trace: trace, Key: f.key(), Source: "/" + f.Org + "/" + f.SiteName, Type: f.Type, Subject: f.alert.ID, At: f.At, Data: f.data,
		Words: deliver.AlertWords(f.typ(), f.alert, deliver.PlaceOf(f.model, f.alert, n.link(f.Org, f.SiteName))),
	}
}

// link is the page of a site's alerts.
func (n *Notifier) link(org, site string) string {
	if n.o.Public == nil {
		return ""
	}
	return n.o.Public() + "/?" + url.Values{"site": {site}, "org": {org}}.Encode()
}

// tellHooks tells the configured webhooks of the organisation.
func (n *Notifier) tellHooks(tx *store.Tx, f *fact) error {
	if f.typ() != edge.AlertRaised && f.typ() != edge.AlertCleared {
		return nil
	}
	muted, err := n.muted(tx, f)
	if err != nil {
		return err
	}
	for _, h := range n.hooks {
		if h.Org != f.tenant || rank(f.alert.Severity) < rank(h.MinSeverity) {
			continue
		}
		d := Delivery{Org: f.tenant, Site: f.place(), Channel: channelName(h.Org, h.Name), Order: f.place() + "/" + f.alert.ID,
			Alert: f.alert.ID, State: Due, Updated: n.now(), Message: n.message(f)}
		if err := n.judge(tx, &d, f, h.MaxAge, muted); err != nil {
			return err
		}
		if _, err := add(tx, d); err != nil {
			return err
		}
	}
	return nil
}

// judge decides what becomes of a step of an alert in a channel of the organisation.
func (n *Notifier) judge(tx *store.Tx, d *Delivery, f *fact, maxAge time.Duration, muted verdict) error {
	name := strings.TrimPrefix(d.Channel, f.tenant+"/")
	switch age := n.now().Sub(f.At); {
	case age > maxAge:
		d.State, d.Reason = Late, fmt.Sprintf("arrived %s after the event", age.Round(time.Second))
	case f.byHub(name):
		d.State, d.Reason = AtHub, "the hub delivers this itself"
	case muted.state != "" && f.typ() == edge.AlertRaised:
		d.State, d.Reason = muted.state, muted.reason
	}
	if f.typ() != edge.AlertCleared || d.State != Due {
		return nil
	}
	raised, err := stateOf(tx, d.Org, d.Channel, strings.TrimSuffix(d.Message.Key, f.Type)+string(edge.AlertRaised))
	if err != nil {
		return err
	}
	if slices.Contains([]State{Late, Failed, Cancelled, Silenced, Inhibited, Dropped}, raised) {
		d.State, d.Reason = Late, "that it was raised was not told either"
		if raised == Silenced || raised == Inhibited {
			d.State = raised
		}
	}
	return nil
}

// byHub tells whether the hub tells a channel of the organisation itself: it knows its owner's only.
func (f *fact) byHub(channel string) bool {
	return f.tenant == f.Org && slices.Contains(f.alert.Actions, channel)
}

// action takes a hub's report about one of its own actions.
func (n *Notifier) action(tx *store.Tx, e store.Event, data json.RawMessage) error {
	var report struct {
		Job    string `json:"job"`
		Action string `json:"action"`
		Event  string `json:"event"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil
	}
	alert, ok := strings.CutSuffix(report.Job, "/"+report.Event+"/"+report.Action)
	if !ok {
		alert = e.Subject
	}
	channel := channelName(e.Org, report.Action)
	if edge.EventType(e.Type) == edge.ActionFailed {
		return n.takeOver(tx, e.Org, e.SiteName, alert, channel, "the hub could not deliver it")
	}
	list, err := waiting(tx, e.Org, e.SiteName, alert, channel)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.Message.Type != report.Event {
			continue
		}
		if _, err := put(tx, d.ID, AtHub, ByHub, "", n.now()); err != nil {
			return err
		}
	}
	return nil
}

// takeOver makes due what waits for a hub, unless it is too old by now.
func (n *Notifier) takeOver(tx *store.Tx, org, site, alert, channel, why string) error {
	list, err := waiting(tx, org, site, alert, channel)
	if err != nil {
		return err
	}
	now := n.now()
	for _, d := range list {
		state, reason := Due, why
		if n.channel(d.Channel) == nil {
			state, reason = Cancelled, "the channel is not configured any more"
		} else if now.Sub(d.Message.At) > n.maxAge(d) {
			state, reason = Late, why+"; too old by then"
		}
		if _, err := put(tx, d.ID, AtHub, state, reason, now); err != nil {
			return err
		}
	}
	return nil
}

// maxAge is how old a message of a channel may be to be sent.
func (n *Notifier) maxAge(d Delivery) time.Duration {
	i := slices.IndexFunc(n.hooks, func(h Webhook) bool { return channelName(h.Org, h.Name) == d.Channel })
	if i < 0 {
		return DefaultMaxAge
	}
	return n.hooks[i].MaxAge
}

func channelName(org, name string) string { return org + "/" + name }
