package store

import (
	"context"
	"database/sql"
	"time"
)

// DeliveryState says what became or will become of a notification.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryDue       DeliveryState = "due"           // to be sent
	DeliveryHub       DeliveryState = "hub"           // the hub tries this channel itself
	DeliveryDone      DeliveryState = "delivered"     //
	DeliveryByHub     DeliveryState = "hub-delivered" // the hub has delivered it
	DeliveryLate      DeliveryState = "late"          // too old when it arrived; recorded, not sent
	DeliveryFailed    DeliveryState = "failed"        // given up
	DeliveryCancelled DeliveryState = "cancelled"     // its webhook is not configured any more
)

// Delivery is one row of the outbox: one event for one webhook.
type Delivery struct {
	ID       int64
	Event    int64
	Org      string
	Site     int64
	Webhook  string
	Alert    string
	Type     string // of the event
	State    DeliveryState
	Reason   string
	Attempts int
	At       time.Time // of the event
	Updated  time.Time
}

// AddDelivery adds a row; the same step of an alert is not added twice for one webhook.
func (tx *Tx) AddDelivery(d Delivery) error {
	const insert = `INSERT INTO outbox (event, org, site, webhook, alert, type, state, reason, at, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, alert, type, webhook) DO NOTHING`
	_, err := tx.tx.Exec(insert, d.Event, d.Org, d.Site, d.Webhook, d.Alert, d.Type, string(d.State), d.Reason,
		millis(d.At), millis(d.Updated))
	return wrap("add delivery", err)
}

// PutDelivery sets state and reason of a row that is in state from, and tells whether it was.
func (tx *Tx) PutDelivery(d Delivery, from DeliveryState) (bool, error) {
	const update = `UPDATE outbox SET state = ?, reason = ?, updated = ? WHERE id = ? AND state = ?`
	res, err := tx.tx.Exec(update, string(d.State), d.Reason, millis(d.Updated), d.ID, string(from))
	if err != nil {
		return false, wrap("update delivery", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

const deliveryColumns = `id, event, org, site, webhook, alert, type, state, reason, attempts, at, updated`

func scanDelivery(r *sql.Rows) (Delivery, error) {
	var d Delivery
	var state string
	var at, updated int64
	err := r.Scan(&d.ID, &d.Event, &d.Org, &d.Site, &d.Webhook, &d.Alert, &d.Type, &state, &d.Reason, &d.Attempts, &at, &updated)
	d.State = DeliveryState(state)
	d.At, d.Updated = fromMillis(at), fromMillis(updated)
	return d, err
}

// Waiting lists a site's deliveries that wait for its hub; alert and webhook narrow them unless
// empty.
func (tx *Tx) Waiting(site int64, alert, webhook string) ([]Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM outbox
		WHERE site = ? AND state = 'hub' AND (alert = ? OR ? = '') AND (webhook = ? OR ? = '') ORDER BY id`
	rows, err := tx.tx.Query(query, site, alert, alert, webhook, webhook)
	return collect(rows, err, scanDelivery)
}

// NotifyEvents lists at most limit events with a higher id than after that notifications follow
// from: alerts raised, acknowledged and cleared, and what became of the hub's own actions.
func (db *DB) NotifyEvents(ctx context.Context, after int64, limit int) ([]Event, error) {
	const query = `SELECT ` + eventColumns + ` FROM events e JOIN sites s ON s.id = e.site
		WHERE e.id > ? AND e.type IN ('alert.raised', 'alert.acknowledged', 'alert.cleared', 'action.delivered', 'action.failed') ORDER BY e.id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, query, after, limit)
	return collect(rows, err, scanEvent)
}

// DueDeliveries lists at most limit due deliveries, oldest first, but for those that another
// process than owner has claimed and may be sending.
func (db *DB) DueDeliveries(ctx context.Context, owner string, now time.Time, limit int) ([]Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM outbox
		WHERE state = 'due' AND (owner = '' OR owner = ? OR claimed <= ?) ORDER BY id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, query, owner, millis(now), limit)
	due, err := collect(rows, err, scanDelivery)
	return due, wrap("read due deliveries", err)
}

// Claim takes a due delivery for one attempt of owner, so that no other process makes one at
// the same time; until is when others may try, should this one die. It tells whether it got it.
func (tx *Tx) Claim(id int64, owner string, now, until time.Time) (bool, error) {
	const update = `UPDATE outbox SET owner = ?, claimed = ?, attempts = attempts + 1
		WHERE id = ? AND state = 'due' AND (owner = '' OR owner = ? OR claimed <= ?)`
	res, err := tx.tx.Exec(update, owner, millis(until), id, owner, millis(now))
	if err != nil {
		return false, wrap("claim delivery", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// FindDelivery reads the delivery of one step of an alert to one webhook; ErrNotFound when
// there is none.
func (tx *Tx) FindDelivery(site int64, alert, typ, webhook string) (Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM outbox WHERE site = ? AND alert = ? AND type = ? AND webhook = ?`
	rows, err := tx.tx.Query(query, site, alert, typ, webhook)
	found, err := collect(rows, err, scanDelivery)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Delivery{}, wrap("read delivery", err)
	}
	return found[0], nil
}

// Deliveries lists a site's newest deliveries, newest first.
func (db *DB) Deliveries(ctx context.Context, site int64, limit int) ([]Delivery, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM outbox WHERE site = ? ORDER BY id DESC LIMIT ?`, site, limit)
	return collect(rows, err, scanDelivery)
}

// CountDeliveries counts the outbox by state.
func (db *DB) CountDeliveries(ctx context.Context) (map[DeliveryState]int, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT state, count(*) FROM outbox GROUP BY state`)
	counts := map[DeliveryState]int{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var state string
		var n int
		err := r.Scan(&state, &n)
		counts[DeliveryState(state)] = n
		return struct{}{}, err
	})
	return counts, wrap("count deliveries", err)
}
