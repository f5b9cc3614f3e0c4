package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// The prefixes of receivers.
const (
	toChannel = "channel:"
	toUser    = "user:"
)

// alertKind is the kind of notices about alerts.
const alertKind = "alert"

// present lists whom a step tells now: of its users, those who still have a role in the domain of
// the route.
func (n *Notifier) present(ctx context.Context, p plan) ([]string, error) {
	if len(p.Users) > 0 && n.o.Members != nil {
		people, err := n.o.Members(ctx, p.Domain, token.Viewer)
		if err != nil {
			return nil, fmt.Errorf("list members of %s: %w", p.Domain, err)
		}
		p.Users = slices.DeleteFunc(slices.Clone(p.Users), func(id string) bool {
			return !slices.ContainsFunc(people, func(person Person) bool { return person.ID == id })
		})
	}
	return n.receivers(ctx, p)
}

// receivers lists whom a step tells: its channels, its users, and who has its roles now.
func (n *Notifier) receivers(ctx context.Context, p plan) ([]string, error) {
	var out []string
	for _, c := range p.Channels {
		out = append(out, toChannel+c)
	}
	for _, u := range p.Users {
		out = append(out, toUser+u)
	}
	for _, role := range p.Roles {
		if n.o.Members == nil {
			continue
		}
		people, err := n.o.Members(ctx, p.Domain, role)
		if err != nil {
			return nil, fmt.Errorf("list members of %s: %w", p.Domain, err)
		}
		for _, person := range people {
			out = append(out, toUser+person.ID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// tell queues one message about one or more alerts for a receiver.
func (n *Notifier) tell(tx *store.Tx, facts []*fact, receiver, key string, muted verdict) error {
	if user, ok := strings.CutPrefix(receiver, toUser); ok {
		return n.tellUser(tx, facts, user, key, muted)
	}
	name := strings.TrimPrefix(receiver, toChannel)
	ours := facts
	if len(facts) > 1 { // what the hub delivers itself is left to it, one by one
		ours = nil
		for _, f := range facts {
			if !f.byHub(name) {
				ours = append(ours, f)
			} else if err := n.tellChannel(tx, []*fact{f}, name, f.key(), muted); err != nil {
				return err
			}
		}
	}
	if len(ours) == 0 {
		return nil
	}
	return n.tellChannel(tx, ours, name, key, muted)
}

func (n *Notifier) tellChannel(tx *store.Tx, facts []*fact, name, key string, muted verdict) error {
	f := facts[0]
	m := n.gather(facts)
	m.Key = key
	d := Delivery{Org: f.tenant, Site: f.place(), Channel: channelName(f.tenant, name), Order: f.place() + "/" + f.alert.ID,
		Alert: f.alert.ID, State: Due, Updated: n.now(), Message: m}
	// Age was judged when the steps began: what is told now is of now.
	if err := n.judge(tx, &d, f, 1<<62, muted); err != nil {
		return err
	}
	if d.State == Due && f.typ() == edge.AlertRaised {
		var err error
		if d.Message.Ack, err = n.ackLink(tx, facts, "link to "+name, m.Title); err != nil {
			return err
		}
	}
	_, err := add(tx, d)
	return err
}

func (n *Notifier) tellUser(tx *store.Tx, facts []*fact, user, key string, muted verdict) error {
	f := facts[0]
	m := n.gather(facts)
	c := Notice{Key: key, Org: f.tenant, User: user, Kind: alertKind, Title: m.Title, Text: m.Text, Link: m.Link, Severity: m.Severity, At: f.At}
	if f.typ() == edge.AlertRaised {
		var err error
		if c.ack, err = n.ackLink(tx, facts, user, m.Title); err != nil {
			return err
		}
	}
	return n.Tell(tx, c)
}

// gather makes one message of one or more alerts.
func (n *Notifier) gather(facts []*fact) deliver.Message {
	m := n.message(facts[0])
	if len(facts) == 1 {
		return m
	}
	m.Type = "alert.group"
	var text strings.Builder
	all := make([]edge.Alert, len(facts))
	for i, f := range facts {
		all[i] = f.alert
		if rank(f.alert.Severity) > rank(m.Severity) {
			m.Severity = f.alert.Severity
		}
		fmt.Fprintf(&text, "%s\n", n.message(f).Title)
	}
	m.Title = fmt.Sprintf("[%s] %d alerts: %s", m.Severity, len(facts), facts[0].alert.Rule)
	m.Text = text.String()
	m.Data, _ = json.Marshal(map[string]any{"alerts": all}) // of types that always can be
	return m
}

// maxDigestLines bounds the lines of a digest.
const maxDigestLines = 50

// digest tells as one what was too old when it arrived.
func (n *Notifier) digest(ctx context.Context, tx *store.Tx, list []timer) error {
	t := list[0]
	var text strings.Builder
	for i, t := range list {
		if i == maxDigestLines {
			fmt.Fprintf(&text, "… and %d more\n", len(list)-i)
			break
		}
		fmt.Fprintf(&text, "%s\n", t.spec.Title)
	}
	w := deliver.Words{
		Title:    fmt.Sprintf("%s: %d alerts arrived too late to be told", t.site, len(list)),
		Text:     "They were raised while the hub was offline:\n" + text.String(),
		Severity: edge.Info, Link: n.link(t.org, t.site),
	}
	receivers, err := n.present(ctx, t.spec)
	if err != nil {
		return err
	}
	org := t.spec.Org
	key := fmt.Sprintf("%s/digest/%s/%d", org, t.route, t.id)
	for _, r := range receivers {
		if user, ok := strings.CutPrefix(r, toUser); ok {
			err = n.Tell(tx, Notice{Key: key, Org: org, User: user, Kind: "digest", Title: w.Title, Text: w.Text, Link: w.Link, Severity: w.Severity})
		} else {
			m := deliver.Message{Key: key, Source: "/" + t.org + "/" + t.site, Type: "notification.digest", At: n.now(), Words: w}
			_, err = add(tx, Delivery{Org: org, Site: t.place(), Channel: channelName(org, strings.TrimPrefix(r, toChannel)), State: Due, Updated: n.now(), Message: m})
		}
		if err != nil {
			return err
		}
	}
	for _, t := range list {
		if err := n.endTimer(tx, t); err != nil {
			return err
		}
	}
	return nil
}
