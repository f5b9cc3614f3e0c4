package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// Priority says how much it hurries.
type Priority string

// The priorities, the most pressing first.
const (
	Urgent Priority = "urgent"
	High   Priority = "high"
	Medium Priority = "medium"
	Low    Priority = "low"
)

var priorities = []Priority{Urgent, High, Medium, Low}

// Order is one work order.
type Order struct {
	ID             string     `json:"id"`
	Number         string     `json:"number,omitempty"` // WO-2026-0001; drafts have none
	Org            string     `json:"org"`
	Domain         string     `json:"domain"` // whose members see it
	Site           string     `json:"site,omitempty"`
	Space          string     `json:"space,omitempty"`
	Alert          string     `json:"alert,omitempty"` // it was opened from
	AlertClearedAt time.Time  `json:"alert_cleared_at,omitzero"`
	AutoResolve    bool       `json:"auto_resolve,omitempty"` // when the alert clears
	Title          string     `json:"title"`
	Description    string     `json:"description,omitempty"`
	Priority       Priority   `json:"priority"`
	State          State      `json:"state"`
	Reason         string     `json:"reason,omitempty"` // of the newest change of state
	PostponedFrom  State      `json:"postponed_from,omitempty"`
	PostponedUntil time.Time  `json:"postponed_until,omitzero"`
	Assignee       string     `json:"assignee,omitempty"` // id of a user
	Watchers       []string   `json:"watchers"`           // ids of users
	Labels         []string   `json:"labels"`
	Cost           string     `json:"cost,omitempty"` // as approved or to be approved, such as "1200 NOK"
	Deadlines      *Deadlines `json:"deadlines,omitempty"`
	Reopens        int        `json:"reopens"`
	CreatedAt      time.Time  `json:"created_at"`
	CreatedBy      string     `json:"created_by"`
	CreatorName    string     `json:"creator_name,omitempty"`
	UpdatedAt      time.Time  `json:"updated_at"`
	ResolvedAt     time.Time  `json:"resolved_at,omitzero"`
	ClosedAt       time.Time  `json:"closed_at,omitzero"`
	ExpiresAt      time.Time  `json:"expires_at,omitzero"` // of a draft
	Version        int64      `json:"version"`
}

func (o *Order) etag() string { return fmt.Sprintf(`"v%d"`, o.Version) }

// breached tells whether a deadline was missed.
func (o *Order) breached() bool {
	return o.Deadlines != nil && (o.Deadlines.RespondBreached || o.Deadlines.ResolveBreached)
}

// search is the text that ?q= looks in.
func (o *Order) search() string {
	return strings.ToLower(strings.Join([]string{o.Number, o.Title, o.Description, o.Space, strings.Join(o.Labels, " ")}, "\n"))
}

// actor is who does something. The zero actor is the module itself.
type actor struct {
	id, name string
	role     token.Role // in the order's domain
}

func actorOf(r *route.Request, domain string) actor {
	return actor{id: r.Who.Subject, name: r.Who.Who(), role: r.Who.Role(domain)}
}

// itself is the module acting by timers and alerts.
var itself = actor{name: "headcount", role: token.Admin}

const orderColumns = `doc, version`

func scanOrder(row interface{ Scan(...any) error }) (Order, error) {
	var o Order
	var doc string
	var version int64
	if err := row.Scan(&doc, &version); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = route.ErrNotFound
		}
		return o, err
	}
	err := json.Unmarshal([]byte(doc), &o)
	o.Version = version
	return o, err
}

func (m *Module) order(ctx context.Context, id string) (Order, error) {
	return scanOrder(m.db.QueryRow(ctx, `SELECT `+orderColumns+` FROM workorders_orders WHERE id = ?`, id))
}

func readOrder(tx *store.Tx, id string) (Order, error) {
	return scanOrder(tx.QueryRow(`SELECT `+orderColumns+` FROM workorders_orders WHERE id = ?`, id))
}

// columns are the values of an order's row but for its id and version.
func (o *Order) columns() ([]any, error) {
	doc, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode work order: %w", err)
	}
	breached := 0
	if o.breached() {
		breached = 1
	}
	labels := ""
	if len(o.Labels) > 0 {
		labels = "," + strings.Join(o.Labels, ",") + ","
	}
	return []any{o.Number, o.Org, o.Domain, o.Site, o.Alert, string(o.State), string(o.Priority), o.Assignee, o.CreatedBy, labels, breached, o.search(), string(doc)}, nil
}

func insertOrder(tx *store.Tx, o *Order) error {
	o.Version = 1
	values, err := o.columns()
	if err != nil {
		return err
	}
	const insert = `INSERT INTO workorders_orders (id, version, number, org, domain, site, alert, state, priority, assignee, creator, labels, breached, search, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	if err := tx.Exec(insert, append([]any{o.ID, o.Version}, values...)...); err != nil {
		return fmt.Errorf("store work order: %w", err)
	}
	return nil
}

// saveOrder writes the next version of an order that was read in this transaction.
func saveOrder(tx *store.Tx, o *Order) error {
	o.Version++
	values, err := o.columns()
	if err != nil {
		return err
	}
	const update = `UPDATE workorders_orders SET number = ?, org = ?, domain = ?, site = ?, alert = ?, state = ?, priority = ?, assignee = ?, creator = ?,
		labels = ?, breached = ?, search = ?, doc = ?, version = ? WHERE id = ? AND version = ?`
	n, err := tx.ExecCount(update, append(values, o.Version, o.ID, o.Version-1)...)
	if err != nil {
		return fmt.Errorf("store work order: %w", err)
	}
	if n != 1 {
		return errMoved
	}
	return nil
}

// errMoved is what whoever comes second is told.
var errMoved = route.Problem(409, "the work order was changed in the meantime; read it again")

// number issues the next number of the organisation's local year. Numbers are issued in the
// transaction that opens an order, so they follow each other without gaps until one is deleted.
func (m *Module) number(tx *store.Tx, org string, at time.Time) (string, error) {
	year := at.In(m.zone(org)).Year()
	const next = `INSERT INTO workorders_numbers (org, year, last) VALUES (?, ?, 1)
		ON CONFLICT (org, year) DO UPDATE SET last = workorders_numbers.last + 1 RETURNING last`
	var n int64
	if err := tx.QueryRow(next, org, year).Scan(&n); err != nil {
		return "", fmt.Errorf("issue number: %w", err)
	}
	return fmt.Sprintf("WO-%04d-%04d", year, n), nil
}

// newID makes the id of a new thing: a UUIDv7, so that ids sort by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() } // fails only without a source of randomness
