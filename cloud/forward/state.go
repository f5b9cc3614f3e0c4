package forward

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headcount-hub/headcount/cloud/store"
)

// target is a row of forward_targets.
type target struct {
	ID, Org  string
	Spec     Spec // of a webhook
	Active   bool
	Position int64
	Failures int
	Error    string
	Paused   time.Time // zero = not
	Created  time.Time
	changed  string
}

const targetColumns = `id, org, spec, active, position, failures, error, paused, created, changed`

func scanTarget(r *sql.Rows) (t target, err error) {
	var spec string
	var paused, created int64
	if err := r.Scan(&t.ID, &t.Org, &spec, &t.Active, &t.Position, &t.Failures, &t.Error, &paused, &created, &t.changed); err != nil {
		return t, err
	}
	t.Paused, t.Created = store.FromMillis(paused), store.FromMillis(created)
	if spec != "" {
		err = json.Unmarshal([]byte(spec), &t.Spec)
	}
	return t, err
}

// targets lists all, or those of an organisation.
func (f *Forwarder) targets(ctx context.Context, org string) ([]target, error) {
	rows, err := f.db.Query(ctx, `SELECT `+targetColumns+` FROM forward_targets WHERE ? = '' OR org = ? ORDER BY id`, org, org)
	return store.Collect(rows, err, scanTarget)
}

// find reads a target; store.ErrNotFound when there is none.
func (f *Forwarder) find(ctx context.Context, org, id string) (target, error) {
	rows, err := f.db.Query(ctx, `SELECT `+targetColumns+` FROM forward_targets WHERE org = ? AND id = ?`, org, id)
	list, err := store.Collect(rows, err, scanTarget)
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return target{}, err
	}
	return list[0], nil
}

// touch makes all processes start the target's sender anew.
func touch(tx *store.Tx, id string) error {
	return tx.Exec(`UPDATE forward_targets SET changed = ? WHERE id = ?`, rand.Text(), id)
}

// claim takes the target for this process, reads where it is, and its oldest replay that is not
// finished. False: another process has it, or it is not to be sent.
func (w *worker) claim(ctx context.Context) (mine bool, err error) {
	now := w.f.now()
	err = w.f.db.Update(ctx, func(tx *store.Tx) error {
		const update = `UPDATE forward_targets SET owner = ?, lease = ? WHERE id = ? AND active = 1 AND paused = 0 AND (owner = '' OR owner = ? OR lease <= ?)`
		n, err := tx.ExecCount(update, w.f.owner, store.Millis(now.Add(leaseFor)), w.target.ID, w.f.owner, store.Millis(now))
		if mine = n == 1; err != nil || !mine {
			return err
		}
		const read = `SELECT position, failures FROM forward_targets WHERE id = ?`
		if err := tx.QueryRow(read, w.target.ID).Scan(&w.target.Position, &w.target.Failures); err != nil {
			return err
		}
		w.saved = w.target.Position
		w.replay, err = openReplay(tx, w.target.ID)
		return err
	})
	w.leased = now
	return mine, err
}

// release lets other processes go on at once.
func (w *worker) release() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := w.f.db.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(`UPDATE forward_targets SET owner = '', lease = 0 WHERE id = ? AND owner = ?`, w.target.ID, w.f.owner)
	})
	if err != nil {
		w.log().Warn("target not released; others wait for a minute", "err", err)
	}
}

// errLost says that another process sends for the target now.
var errLost = errors.New("another process sends")

// move stores where a target or its replay is, if this process still has it.
func (w *worker) move(tx *store.Tx, r *replay, position int64, sent int) error {
	const update = `UPDATE forward_targets SET position = ?, failures = 0, error = '' WHERE id = ? AND owner = ?`
	at := w.target.Position
	if r == nil {
		at = position
	}
	n, err := tx.ExecCount(update, at, w.target.ID, w.f.owner)
	if err == nil && n == 0 {
		err = errLost
	}
	if err != nil || r == nil {
		return err
	}
	finished := 0
	if position >= r.Final {
		finished = 1
	}
	return tx.Exec(`UPDATE forward_replays SET position = ?, sent = sent + ?, finished = ? WHERE id = ?`, position, sent, finished, r.ID)
}

// Delivery is one call of a target, or what it refused.
type Delivery struct {
	ID       int64     `json:"id"`
	State    string    `json:"state"`    // delivered or dead
	First    string    `json:"first"`    // id of its first event
	Last     string    `json:"last"`     // id of its last event
	Events   int       `json:"events"`   //
	Attempts int       `json:"attempts"` // of this process
	Replay   string    `json:"replay,omitempty"`
	Error    string    `json:"error,omitempty"`
	At       time.Time `json:"at"`
	TookMS   int64     `json:"took_ms"`
}

// The states of a delivery.
const (
	delivered = "delivered"
	dead      = "dead"
)

// keepDelivered is how many deliveries of a target stay listed; those that were refused all do.
const keepDelivered = 200

func addDelivery(tx *store.Tx, target string, d Delivery, oldest, newest int64) error {
	const insert = `INSERT INTO forward_deliveries (target, state, oldest, newest, amount, attempts, replay, error, at, took) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	if err := tx.Exec(insert, target, d.State, oldest, newest, d.Events, d.Attempts, d.Replay, d.Error, store.Millis(d.At), d.TookMS); err != nil {
		return fmt.Errorf("note delivery: %w", err)
	}
	const prune = `DELETE FROM forward_deliveries WHERE target = ? AND state = 'delivered' AND id < (
		SELECT min(id) FROM (SELECT id FROM forward_deliveries WHERE target = ? AND state = 'delivered' ORDER BY id DESC LIMIT ?) AS kept)`
	return tx.Exec(prune, target, target, keepDelivered)
}

// deliveries lists the newest first; state and before narrow them unless empty.
func (f *Forwarder) deliveries(ctx context.Context, target, state string, before int64, limit int) ([]Delivery, error) {
	const query = `SELECT id, state, oldest, newest, amount, attempts, replay, error, at, took FROM forward_deliveries
		WHERE target = ? AND (? = '' OR state = ?) AND (CAST(? AS BIGINT) = 0 OR id < ?) ORDER BY id DESC LIMIT ?`
	rows, err := f.db.Query(ctx, query, target, state, state, before, before, limit)
	list, err := store.Collect(rows, err, func(r *sql.Rows) (d Delivery, err error) {
		var at, oldest, newest int64
		err = r.Scan(&d.ID, &d.State, &oldest, &newest, &d.Events, &d.Attempts, &d.Replay, &d.Error, &at, &d.TookMS)
		d.At, d.First, d.Last = store.FromMillis(at), fmt.Sprint(oldest), fmt.Sprint(newest)
		return d, err
	})
	if list == nil {
		list = []Delivery{}
	}
	return list, err
}
