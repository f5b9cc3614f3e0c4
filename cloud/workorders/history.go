package workorders

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Step is one line of an order's history: who, when, what, why.
type Step struct {
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"` // id; empty = the cloud itself
	Name string    `json:"name"`
	What string    `json:"what"` // opened, moved, changed, note_edited, …
	From State     `json:"from,omitempty"`
	To   State     `json:"to,omitempty"`
	Why  string    `json:"why,omitempty"`
}

func addStep(tx *store.Tx, o *Order, s Step) error {
	const insert = `INSERT INTO workorders_history (workorder, at, who, who_name, what, was, became, why) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	err := tx.Exec(insert, o.ID, store.Millis(s.At), s.By, s.Name, s.What, string(s.From), string(s.To), s.Why)
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

func (m *Module) history(ctx context.Context, id string) ([]Step, error) {
	rows, err := m.db.Query(ctx, `SELECT at, who, who_name, what, was, became, why FROM workorders_history WHERE workorder = ? ORDER BY id`, id)
	return store.Collect(rows, err, func(r *sql.Rows) (Step, error) {
		var s Step
		var at int64
		err := r.Scan(&at, &s.By, &s.Name, &s.What, &s.From, &s.To, &s.Why)
		s.At = store.FromMillis(at)
		return s, err
	})
}

// Change is the Data of all events workorder.*.
type Change struct {
	ID       string   `json:"id"`
	Number   string   `json:"number,omitempty"`
	Title    string   `json:"title"`
	State    State    `json:"state"`
	Priority Priority `json:"priority"`
	Domain   string   `json:"domain"`
	Space    string   `json:"space,omitempty"`
	Assignee string   `json:"assignee,omitempty"`
	By       string   `json:"by"`
	From     State    `json:"from,omitempty"`
	Why      string   `json:"why,omitempty"`
	Breached bool     `json:"breached"`
	Version  int64    `json:"version"`
	Detail   any      `json:"detail,omitempty"` // the note, task, approval or attachment it is about
}

// tell writes the event workorder.<what>. Those of drafts are their author's alone.
func (m *Module) tell(tx *store.Tx, o *Order, what string, by actor, c Change) error {
	c.ID, c.Number, c.Title, c.State, c.Priority, c.Domain = o.ID, o.Number, o.Title, o.State, o.Priority, o.Domain
	c.Space, c.Assignee, c.By, c.Breached, c.Version = o.Space, o.Assignee, by.name, o.breached(), o.Version
	now := m.now()
	e, err := store.EventOf(edge.EventType("workorder."+what), o.ID, now, c)
	if err != nil {
		return err
	}
	audience := ""
	if o.State == Draft {
		audience = "user:" + o.CreatedBy
	}
	if o.Site == "" {
		return tx.AddOrgEvent(o.Org, audience, e)
	}
	site, err := tx.Site(o.Org, o.Site, now)
	if err != nil {
		return err
	}
	for _, d := range m.o.Domains(site) {
		if !token.Within(o.Domain, d) { // who sees the site does not see every order there
			return tx.AddOrgEvent(o.Org, audience, e)
		}
	}
	return tx.AddSiteEvent(site, audience, e)
}

// record is a step of history and the event that tells of it.
func (m *Module) record(tx *store.Tx, o *Order, by actor, s Step, detail any) error {
	s.At, s.By, s.Name = m.now(), by.id, by.name
	if err := addStep(tx, o, s); err != nil {
		return err
	}
	return m.tell(tx, o, s.What, by, Change{From: s.From, Why: s.Why, Detail: detail})
}
