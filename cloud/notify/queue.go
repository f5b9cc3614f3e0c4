package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// State says what became or will become of a delivery.
type State string

// The states of a delivery.
const (
	Due       State = "due"           // to be sent
	AtHub     State = "hub"           // the hub tries this channel itself
	Held      State = "held"          // no mail server is configured
	Done      State = "delivered"     //
	ByHub     State = "hub-delivered" // the hub has delivered it
	Late      State = "late"          // too old when it arrived; recorded, not sent
	Silenced  State = "silenced"      // a silence matched
	Inhibited State = "inhibited"     // a graver alert of the site explains it
	Failed    State = "failed"        // given up: a dead letter
	Cancelled State = "cancelled"     // its receiver is gone
	Dropped   State = "dropped"       // a dead letter that somebody has looked at and dismissed
)

// States lists all states.
var States = []State{Due, AtHub, Held, Done, ByHub, Late, Silenced, Inhibited, Failed, Cancelled, Dropped}

// Delivery is one message for one receiver of one channel.
type Delivery struct {
	ID       int64
	Org      string
	Site     string // id within the organisation; empty = none
	Channel  string // "ORG/NAME", "mail" or "push:HOST"
	Target   string // address, "user:ID" or id of a push subscription; empty = the channel's own
	Order    string // those of a channel with the same one go in order
	Alert    string
	State    State
	Reason   string
	Attempts int
	Due      time.Time // not sent before
	Updated  time.Time
	Message  deliver.Message
}

// add puts a delivery into the queue; the same message is not added twice for one receiver. It
// tells whether it was new.
func add(tx *store.Tx, d Delivery) (bool, error) {
	const insert = `INSERT INTO notify_deliveries
		(org, site, channel, target, dedupe, sequence, alert, type, state, reason, at, due, updated, message)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org, channel, target, dedupe) DO NOTHING`
	m, err := json.Marshal(d.Message)
	if err != nil {
		return false, fmt.Errorf("encode message: %w", err)
	}
	n, err := tx.ExecCount(insert, d.Org, d.Site, d.Channel, d.Target, d.Message.Key, d.Order, d.Alert, d.Message.Type,
		string(d.State), d.Reason, store.Millis(d.Message.At), store.Millis(d.Due), store.Millis(d.Updated), string(m))
	if err != nil {
		return false, fmt.Errorf("queue message: %w", err)
	}
	return n == 1, nil
}

// put sets state and reason of a delivery that is in state from, and tells whether it was.
func put(tx *store.Tx, id int64, from, to State, reason string, now time.Time) (bool, error) {
	const update = `UPDATE notify_deliveries SET state = ?, reason = ?, updated = ? WHERE id = ? AND state = ?`
	n, err := tx.ExecCount(update, string(to), reason, store.Millis(now), id, string(from))
	if err != nil {
		return false, fmt.Errorf("update delivery: %w", err)
	}
	return n == 1, nil
}

const deliveryColumns = `id, org, site, channel, target, sequence, alert, state, reason, attempts, due, updated, message`

func scanDelivery(r *sql.Rows) (Delivery, error) {
	var d Delivery
	var state, m string
	var due, updated int64
	err := r.Scan(&d.ID, &d.Org, &d.Site, &d.Channel, &d.Target, &d.Order, &d.Alert, &state, &d.Reason, &d.Attempts, &due, &updated, &m)
	if err != nil {
		return d, err
	}
	d.State, d.Due, d.Updated = State(state), store.FromMillis(due), store.FromMillis(updated)
	return d, json.Unmarshal([]byte(m), &d.Message)
}

// waiting lists a site's deliveries that wait for its hub; alert and channel narrow them unless
// empty.
func waiting(tx *store.Tx, org, site, alert, channel string) ([]Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM notify_deliveries
		WHERE org = ? AND site = ? AND state = 'hub' AND (alert = ? OR ? = '') AND (channel = ? OR ? = '') ORDER BY id`
	rows, err := tx.Query(query, org, site, alert, alert, channel, channel)
	return store.Collect(rows, err, scanDelivery)
}

// stateOf is the state of a step of an alert in a channel; empty when there is none.
func stateOf(tx *store.Tx, org, channel, key string) (State, error) {
	var s string
	err := tx.QueryRow(`SELECT state FROM notify_deliveries WHERE org = ? AND channel = ? AND target = '' AND dedupe = ?`, org, channel, key).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return State(s), err
}

// due lists at most limit deliveries to be sent now, but for those that another process than owner
// has claimed and may be sending: the oldest of each channel, then the next of each, so that what
// one channel cannot take holds up no other.
func due(ctx context.Context, db *store.DB, owner string, now time.Time, limit int) ([]Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM notify_deliveries JOIN
		(SELECT id AS chosen, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY id) AS nth FROM notify_deliveries
			WHERE state = 'due' AND due <= ? AND (owner = '' OR owner = ? OR claimed <= ?)) AS waiting ON chosen = id
		ORDER BY nth, id LIMIT ?`
	rows, err := db.Query(ctx, query, store.Millis(now), owner, store.Millis(now), limit)
	return store.Collect(rows, err, scanDelivery)
}

// claim takes a due delivery for one attempt of owner, so that no other process makes one at the
// same time; until is when others may try, should this one die. It tells whether it got it.
func claim(tx *store.Tx, id int64, owner string, now, until time.Time) (bool, error) {
	const update = `UPDATE notify_deliveries SET owner = ?, claimed = ?, attempts = attempts + 1
		WHERE id = ? AND state = 'due' AND (owner = '' OR owner = ? OR claimed <= ?)`
	n, err := tx.ExecCount(update, owner, store.Millis(until), id, owner, store.Millis(now))
	if err != nil {
		return false, fmt.Errorf("claim delivery: %w", err)
	}
	return n == 1, nil
}

// Query narrows a list of deliveries. Fields that are zero do not.
type Query struct {
	Org, Site string
	State     State
	Before    int64 // id: only older ones
	Limit     int   // 100
}

// List lists deliveries, newest first.
func List(ctx context.Context, db *store.DB, q Query) ([]Delivery, error) {
	const query = `SELECT ` + deliveryColumns + ` FROM notify_deliveries
		WHERE (org = ? OR ? = '') AND (site = ? OR ? = '') AND (state = ? OR ? = '') AND (id < ? OR CAST(? AS BIGINT) = 0) ORDER BY id DESC LIMIT ?`
	if q.Limit <= 0 {
		q.Limit = 100
	}
	rows, err := db.Query(ctx, query, q.Org, q.Org, q.Site, q.Site, string(q.State), string(q.State), q.Before, q.Before, q.Limit)
	return store.Collect(rows, err, scanDelivery)
}

// find reads one delivery; ErrNotFound of store when there is none.
func find(ctx context.Context, db *store.DB, id int64) (Delivery, error) {
	rows, err := db.Query(ctx, `SELECT `+deliveryColumns+` FROM notify_deliveries WHERE id = ?`, id)
	found, err := store.Collect(rows, err, scanDelivery)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return Delivery{}, err
	}
	return found[0], nil
}

// Count is a number of deliveries by channel and state.
type Count struct {
	Channel string
	State   State
	N       int
}

// Counts counts the queue; push services of all hosts count as "push".
func Counts(ctx context.Context, db *store.DB) ([]Count, error) {
	const query = `SELECT CASE WHEN channel LIKE 'push:%' THEN 'push' ELSE channel END AS name, state, count(*)
		FROM notify_deliveries GROUP BY name, state ORDER BY name, state`
	rows, err := db.Query(ctx, query)
	return store.Collect(rows, err, func(r *sql.Rows) (c Count, err error) {
		var state string
		err = r.Scan(&c.Channel, &state, &c.N)
		c.State = State(state)
		return c, err
	})
}
