package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// pushPrefix begins the names of channels to push services; the rest is the host, so that one
// that is down does not hold up the others.
const pushPrefix = "push:"

// maxSubscriptions bounds the browsers of one person; the oldest goes.
const maxSubscriptions = 10

// Subscription is a browser of a person that wants to be told.
type Subscription struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"` // of the push service; the address itself is a secret
	Created time.Time `json:"created"`

	spec deliver.Subscription
}

func (s Subscription) channel() string { return pushPrefix + s.Host }

func scanSubscription(r *sql.Rows) (Subscription, error) {
	var s Subscription
	var spec string
	var created int64
	if err := r.Scan(&s.ID, &spec, &created); err != nil {
		return s, err
	}
	s.Created = store.FromMillis(created)
	err := json.Unmarshal([]byte(spec), &s.spec)
	s.Host = hostOf(s.spec.Endpoint)
	return s, err
}

// subscriptions lists the browsers of a person.
func subscriptions(tx *store.Tx, person string) ([]Subscription, error) {
	rows, err := tx.Query(`SELECT id, spec, created FROM notify_push WHERE person = ? ORDER BY id`, person)
	return store.Collect(rows, err, scanSubscription)
}

// sendPush sends to the subscription of a delivery, and forgets it when it has ended.
func (n *Notifier) sendPush(ctx context.Context, d Delivery) error {
	rows, err := n.db.Query(ctx, `SELECT id, spec, created FROM notify_push WHERE id = ?`, d.Target)
	found, err := store.Collect(rows, err, scanSubscription)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%w: the browser has unsubscribed", deliver.ErrRefused)
	}
	err = n.o.Push.Send(ctx, found[0].spec, d.Message)
	if errors.Is(err, deliver.ErrGone) {
		forget := n.db.Update(ctx, func(tx *store.Tx) error { return tx.Exec(`DELETE FROM notify_push WHERE id = ?`, d.Target) })
		return errors.Join(err, forget)
	}
	return err
}

func (n *Notifier) pushKey(*route.Request) (any, error) {
	if n.o.Push == nil {
		return nil, route.Problem(http.StatusNotFound, "Web Push is switched off")
	}
	return map[string]string{"public_key": n.o.Push.PublicKey()}, nil
}

func (n *Notifier) getSubscriptions(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	rows, err := n.db.Query(r.Context(), `SELECT id, spec, created FROM notify_push WHERE person = ? ORDER BY id`, me)
	list, err := store.Collect(rows, err, scanSubscription)
	if list == nil {
		list = []Subscription{}
	}
	return map[string][]Subscription{"subscriptions": list}, err
}

// subscribe takes what PushManager.subscribe gave. The same browser again replaces itself.
func (n *Notifier) subscribe(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		deliver.Subscription
		ExpirationTime *float64 `json:"expirationTime"` // browsers send it; push services tell when it has ended
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if err := in.Subscription.Check(); err != nil {
		return nil, route.Problem(http.StatusUnprocessableEntity, "%v", err)
	}
	if !n.o.Private && !strings.HasPrefix(in.Endpoint, "https://") {
		return nil, route.Problem(http.StatusUnprocessableEntity, "endpoint: want https")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	s := Subscription{ID: id.String(), Host: hostOf(in.Endpoint), Created: n.now().UTC().Truncate(time.Millisecond)}
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.Exec(`DELETE FROM notify_push WHERE endpoint = ?`, in.Endpoint),
			tx.Exec(`INSERT INTO notify_push (id, person, endpoint, spec, created) VALUES (?, ?, ?, ?, ?)`,
				s.ID, me, in.Endpoint, toJSON(in.Subscription), store.Millis(s.Created)),
			tx.Exec(`DELETE FROM notify_push WHERE person = ? AND id NOT IN (SELECT id FROM notify_push WHERE person = ? ORDER BY id DESC LIMIT ?)`,
				me, me, maxSubscriptions))
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/push/subscriptions/"+s.ID, s), nil
}

func (n *Notifier) unsubscribe(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	var count int64
	err = n.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		count, err = tx.ExecCount(`DELETE FROM notify_push WHERE person = ? AND id = ?`, me, r.PathValue("id"))
		return err
	})
	if err == nil && count == 0 {
		err = route.ErrNotFound
	}
	return nil, err
}
