package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
	"github.com/headcount-hub/headcount/sync/token"
)

// Letter is a delivery as the API and the command line show it.
type Letter struct {
	ID       int64            `json:"id"`
	Org      string           `json:"org"`
	Site     string           `json:"site,omitempty"`
	Channel  string           `json:"channel"`
	Target   string           `json:"target,omitempty"`
	Alert    string           `json:"alert,omitempty"`
	Type     string           `json:"type"`
	Title    string           `json:"title"`
	State    State            `json:"state"`
	Reason   string           `json:"reason,omitempty"`
	Attempts int              `json:"attempts"`
	At       time.Time        `json:"at"`
	Due      time.Time        `json:"due,omitzero"` // not sent before
	Updated  time.Time        `json:"updated"`
	Webhook  string           `json:"webhook,omitempty"` // the channel's name within the organisation
	Message  *deliver.Message `json:"message,omitempty"` // in full, but for the text of what is for one person only
}

func letter(d Delivery, full bool) Letter {
	name, _ := strings.CutPrefix(d.Channel, d.Org+"/")
	l := Letter{ID: d.ID, Org: d.Org, Site: d.Site, Channel: name, Target: d.Target, Alert: d.Alert, Type: d.Message.Type, Title: d.Message.Title,
		State: d.State, Reason: d.Reason, Attempts: d.Attempts, At: d.Message.At, Due: d.Due, Updated: d.Updated}
	if strings.HasPrefix(d.Channel, d.Org+"/") {
		l.Webhook = name
	}
	if full {
		m := d.Message
		m.Ack = ""          // acknowledges for whoever has it
		if d.Target != "" { // what one person is told may hold a secret, such as a link to answer in their name
			m.Text, m.Link, m.Data = "", "", nil
		}
		l.Message = &m
	}
	return l
}

func letters(list []Delivery) []Letter {
	out := make([]Letter, len(list))
	for i, d := range list {
		out[i] = letter(d, false)
	}
	return out
}

// query reads what narrows a list: org, site, state, before, limit. Managers see the deliveries of
// their organisations; those for one person only are not for operators.
func (n *Notifier) query(r *route.Request) (Query, error) {
	v := r.URL.Query()
	org, err := n.orgOf(r, "", "")
	if err != nil {
		return Query{}, err
	}
	q := Query{Org: org, Site: v.Get("site"), State: State(v.Get("state"))}
	switch have := r.Who.Role(org); {
	case have == token.None:
		return q, route.ErrNotFound
	case have < token.Manager:
		return q, route.Problem(http.StatusForbidden, "this needs the role manager; yours is %s", have)
	}
	if q.State != "" && !slices.Contains(States, q.State) {
		return q, route.Problem(http.StatusBadRequest, "state is %q: want one of %v", q.State, States)
	}
	if s := v.Get("before"); s != "" {
		if q.Before, err = strconv.ParseInt(s, 10, 64); err != nil {
			return q, route.Problem(http.StatusBadRequest, "before is %q: want an id", s)
		}
	}
	q.Limit, err = pageOf(r)
	return q, err
}

func (n *Notifier) listDeliveries(r *route.Request) (any, error) {
	q, err := n.query(r)
	if err != nil {
		return nil, err
	}
	list, err := List(r.Context(), n.db, q)
	return map[string][]Letter{"deliveries": letters(list)}, err
}

func (n *Notifier) listLetters(r *route.Request) (any, error) {
	q, err := n.query(r)
	if err != nil {
		return nil, err
	}
	if q.State == "" {
		q.State = Failed
	}
	list, err := List(r.Context(), n.db, q)
	return map[string][]Letter{"dead_letters": letters(list)}, err
}

// SiteDeliveries answers what was told about a site, for who may see it.
func (n *Notifier) SiteDeliveries(r *route.Request, s store.Site) (any, error) {
	limit, err := pageOf(r)
	if err != nil {
		return nil, err
	}
	list, err := List(r.Context(), n.db, Query{Org: s.Org, Site: s.Site, Limit: limit})
	out := letters(list)
	for i := range out {
		out[i].Target = ""
	}
	return map[string][]Letter{"deliveries": out}, err
}

func (n *Notifier) ofLetter(r *route.Request) ([]string, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, route.ErrNotFound
	}
	d, err := find(r.Context(), n.db, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, route.ErrNotFound
	}
	r.Found = d
	return []string{d.Org}, err
}

func (n *Notifier) getLetter(r *route.Request) (any, error) {
	return letter(r.Found.(Delivery), true), nil
}

func (n *Notifier) retryLetter(r *route.Request) (any, error) {
	return n.change(r, func(id int64) error { return Retry(r.Context(), n.db, id) })
}

func (n *Notifier) dropLetter(r *route.Request) (any, error) {
	return n.change(r, func(id int64) error { return Drop(r.Context(), n.db, id) })
}

func (n *Notifier) change(r *route.Request, do func(int64) error) (any, error) {
	err := do(r.Found.(Delivery).ID)
	if errors.Is(err, ErrNotDead) {
		return nil, route.Problem(http.StatusConflict, "%v", err)
	}
	n.queue.kick()
	return nil, err
}

// ErrNotDead says that a delivery is no dead letter.
var ErrNotDead = errors.New("it is no dead letter: its state is not failed or held")

// Retry makes a dead letter due again, with a new age.
func Retry(ctx context.Context, db *store.DB, id int64) error {
	return revive(ctx, db, id, Due, "tried again by hand")
}

// Drop dismisses a dead letter; it stays listed with state dropped.
func Drop(ctx context.Context, db *store.DB, id int64) error {
	return revive(ctx, db, id, Dropped, "dismissed")
}

func revive(ctx context.Context, db *store.DB, id int64, to State, why string) error {
	if _, err := find(ctx, db, id); err != nil {
		return fmt.Errorf("dead letter %d: %w", id, err)
	}
	return db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE notify_deliveries SET state = ?, reason = ?, updated = ?, owner = '', claimed = 0, due = 0 WHERE id = ? AND state IN ('failed', 'held')`
		count, err := tx.ExecCount(update, string(to), why, store.Millis(time.Now()), id)
		if err == nil && count == 0 {
			err = fmt.Errorf("dead letter %d: %w", id, ErrNotDead)
		}
		return err
	})
}

// Dead lists dead letters and what is held, newest first, for the administrator of the machine.
func Dead(ctx context.Context, db *store.DB, org string) ([]Letter, error) {
	var all []Delivery
	for _, state := range []State{Failed, Held} {
		list, err := List(ctx, db, Query{Org: org, State: state, Limit: 1000})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b Delivery) int { return int(b.ID - a.ID) })
	return letters(all), nil
}

// Show is one delivery in full, for the administrator of the machine: the text of a mail that was
// kept too.
func Show(ctx context.Context, db *store.DB, id int64) (Letter, error) {
	d, err := find(ctx, db, id)
	if err != nil {
		return Letter{}, fmt.Errorf("dead letter %d: %w", id, err)
	}
	l := letter(d, false)
	l.Message = &d.Message
	return l, nil
}
