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
	DeliveryDue       DeliveryState = "due"           // to be sent at NextTry
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
	NextTry  time.Time
	At       time.Time // of the event
	Updated  time.Time
}

// AddDelivery adds a row; the same step of an alert is not added twice for one webhook.
func (tx *Tx) AddDelivery(d Delivery) error {
	const insert = `INSERT INTO outbox (event, org, site, webhook, alert, type, state, reason, next_try, at, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, alert, type, webhook) DO NOTHING`
	_, err := tx.tx.Exec(insert, d.Event, d.Org, d.Site, d.Webhook, d.Alert, d.Type, string(d.State), d.Reason,
		millis(d.NextTry), millis(d.At), millis(d.Updated))
	return wrap("add delivery", err)
}

// PutDelivery sets state, reason, attempts and next try of a row that is in state from, and
// tells whether it was.
func (tx *Tx) PutDelivery(d Delivery, from DeliveryState) (bool, error) {
	const update = `UPDATE outbox SET state = ?, reason = ?, attempts = ?, next_try = ?, updated = ? WHERE id = ? AND state = ?`
	res, err := tx.tx.Exec(update, string(d.State), d.Reason, d.Attempts, millis(d.NextTry), millis(d.Updated), d.ID, string(from))
	if err != nil {
		return false, wrap("update delivery", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

const deliveryColumns = `id, event, org, site, webhook, alert, type, state, reason, attempts, next_try, at, updated`

func scanDelivery(r *sql.Rows) (Delivery, error) {
	var d Delivery
	var state string
	var next, at, updated int64
	err := r.Scan(&d.ID, &d.Event, &d.Org, &d.Site, &d.Webhook, &d.Alert, &d.Type, &state, &d.Reason, &d.Attempts, &next, &at, &updated)
	d.State = DeliveryState(state)
	d.NextTry, d.At, d.Updated = fromMillis(next), fromMillis(at), fromMillis(updated)
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

// DueDeliveries lists at most limit deliveries that are due at now, and when the next one after
// them is (zero: none).
func (db *DB) DueDeliveries(ctx context.Context, now time.Time, limit int) (due []Delivery, next time.Time, err error) {
	const query = `SELECT ` + deliveryColumns + ` FROM outbox WHERE state = 'due' AND next_try <= ? ORDER BY next_try, id LIMIT ?`
	rows, err := db.read.QueryContext(ctx, query, millis(now), limit)
	if due, err = collect(rows, err, scanDelivery); err != nil {
		return nil, time.Time{}, wrap("read due deliveries", err)
	}
	var ms int64
	err = db.read.QueryRowContext(ctx, `SELECT coalesce(min(next_try), 0) FROM outbox WHERE state = 'due' AND next_try > ?`, millis(now)).Scan(&ms)
	return due, fromMillis(ms), wrap("read due deliveries", err)
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
