package notify

import (
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Item is a notice in a person's inbox.
type Item struct {
	ID       string        `json:"id"`
	Org      string        `json:"org"`
	Kind     string        `json:"kind"`
	Title    string        `json:"title"`
	Text     string        `json:"text"`
	Link     string        `json:"link,omitempty"`
	Severity edge.Severity `json:"severity"`
	At       time.Time     `json:"at"`
	ReadAt   time.Time     `json:"read_at,omitzero"` // zero = unread
}

const itemColumns = `id, org, kind, title, body, link, severity, at, seen`

func scanItem(r *sql.Rows) (Item, error) {
	var i Item
	var severity string
	var at, seen int64
	err := r.Scan(&i.ID, &i.Org, &i.Kind, &i.Title, &i.Text, &i.Link, &severity, &at, &seen)
	i.Severity, i.At, i.ReadAt = edge.Severity(severity), store.FromMillis(at), store.FromMillis(seen)
	return i, err
}

// person is whose inbox the caller may see: its own. Programs have none.
func person(r *route.Request) (string, error) {
	if r.Who == nil || r.Who.Kind == token.Service || r.Who.Subject == "" {
		return "", route.Problem(http.StatusForbidden, "only persons have an inbox")
	}
	return r.Who.Subject, nil
}

// Inbox is a page of an inbox, newest first.
type Inbox struct {
	Items  []Item `json:"items"`
	Unread int    `json:"unread"`           // of the whole inbox
	Cursor string `json:"cursor,omitempty"` // ?cursor= of the next page; empty = there is none
}

// pageOf reads ?limit, 1 to 500; 50 by default.
func pageOf(r *route.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return 50, nil
	}
	limit, err := strconv.Atoi(s)
	if err != nil || limit < 1 || limit > 500 {
		return 0, route.Problem(http.StatusBadRequest, "limit is %q: want 1 to 500", s)
	}
	return limit, nil
}

func (n *Notifier) getInbox(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	limit, err := pageOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	const query = `SELECT ` + itemColumns + ` FROM notify_inbox
		WHERE person = ? AND (id < ? OR ? = '') AND (seen = 0 OR ? = '') ORDER BY id DESC LIMIT ?`
	unread := ""
	if q.Get("unread") == "true" {
		unread = "yes"
	}
	rows, err := n.db.Query(r.Context(), query, me, q.Get("cursor"), q.Get("cursor"), unread, limit)
	items, err := store.Collect(rows, err, scanItem)
	if err != nil {
		return nil, err
	}
	out := Inbox{Items: items}
	if out.Items == nil {
		out.Items = []Item{}
	}
	if len(items) == limit {
		out.Cursor = items[limit-1].ID
	}
	out.Unread, err = n.unread(r, me)
	return out, err
}

func (n *Notifier) unread(r *route.Request, me string) (count int, err error) {
	err = n.db.QueryRow(r.Context(), `SELECT count(*) FROM notify_inbox WHERE person = ? AND seen = 0`, me).Scan(&count)
	return count, err
}

func (n *Notifier) getUnread(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	count, err := n.unread(r, me)
	return map[string]int{"unread": count}, err
}

// readOne marks a notice of the caller read, or unread with {"read": false}.
func (n *Notifier) readOne(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	in := struct {
		Read *bool `json:"read"`
	}{}
	if r.ContentLength != 0 {
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
	}
	seen := store.Millis(n.now())
	if in.Read != nil && !*in.Read {
		seen = 0
	}
	var found []Item
	err = n.db.Update(r.Context(), func(tx *store.Tx) error {
		const update = `UPDATE notify_inbox SET seen = CASE WHEN CAST(? AS BIGINT) = 0 THEN 0 WHEN seen > 0 THEN seen ELSE ? END
			WHERE person = ? AND id = ? RETURNING ` + itemColumns
		rows, err := tx.Query(update, seen, seen, me, r.PathValue("id"))
		found, err = store.Collect(rows, err, scanItem)
		return err
	})
	if err == nil && len(found) == 0 {
		err = errors.Join(route.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// readAll marks all notices of the caller read.
func (n *Notifier) readAll(r *route.Request) (any, error) {
	me, err := person(r)
	if err != nil {
		return nil, err
	}
	var count int64
	err = n.db.Update(r.Context(), func(tx *store.Tx) (err error) {
		count, err = tx.ExecCount(`UPDATE notify_inbox SET seen = ? WHERE person = ? AND seen = 0`, store.Millis(n.now()), me)
		return err
	})
	return map[string]int64{"read": count}, err
}
