package workorders

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// Guest may read and write the notes of one order from when it first joins, by a link.
type Guest struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	InvitedAt time.Time `json:"invited_at"`
	InvitedBy string    `json:"invited_by"`
	JoinedAt  time.Time `json:"joined_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at"`
	Token     string    `json:"token,omitempty"` // told once, when invited
	Link      string    `json:"link,omitempty"`  // told once
}

// guestLife is how long an invitation is good for by default, and at most.
const (
	guestLife     = 7 * 24 * time.Hour
	mostGuestLife = 90 * 24 * time.Hour
	guestPrefix   = "guest-"
)

const guestColumns = `id, name, invited, invited_by, joined, expires`

func scanGuest(row interface{ Scan(...any) error }) (Guest, error) {
	var g Guest
	var invited, joined, expires int64
	err := row.Scan(&g.ID, &g.Name, &invited, &g.InvitedBy, &joined, &expires)
	g.InvitedAt, g.JoinedAt, g.ExpiresAt = store.FromMillis(invited), store.FromMillis(joined), store.FromMillis(expires)
	return g, err
}

func (m *Module) listGuests(r *route.Request, o Order) (any, error) {
	rows, err := m.db.Query(r.Context(), `SELECT `+guestColumns+` FROM workorders_guests WHERE workorder = ? ORDER BY id`, o.ID)
	list, err := store.Collect(rows, err, func(r *sql.Rows) (Guest, error) { return scanGuest(r) })
	return map[string]any{"guests": orEmpty(list)}, err
}

// inviting is the body of POST …/guests.
type inviting struct {
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at"` // in 7 days by default
}

func (m *Module) invite(r *route.Request, o Order) (any, error) {
	var in inviting
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	now := m.now()
	if in.ExpiresAt.IsZero() {
		in.ExpiresAt = now.Add(guestLife)
	}
	in.Name = strings.TrimSpace(in.Name)
	switch {
	case in.Name == "" || len(in.Name) > maxWord:
		return nil, route.Problem(http.StatusUnprocessableEntity, "name: want 1 to %d bytes", maxWord)
	case !in.ExpiresAt.After(now) || in.ExpiresAt.After(now.Add(mostGuestLife)):
		return nil, route.Problem(http.StatusUnprocessableEntity, "expires_at: want a time within 90 days")
	}
	g := Guest{ID: newID(), Name: in.Name, InvitedAt: now, InvitedBy: r.Who.Who(), ExpiresAt: in.ExpiresAt, Token: guestPrefix + rand.Text()}
	g.Link = m.o.PublicURL() + "/ws/chat/" + o.ID + "?token=" + g.Token
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		const insert = `INSERT INTO workorders_guests (workorder, hash, ` + guestColumns + `) VALUES (?, ?, ?, ?, ?, ?, 0, ?)`
		if err := tx.Exec(insert, o.ID, hashOf(g.Token), g.ID, g.Name, store.Millis(now), g.InvitedBy, store.Millis(g.ExpiresAt)); err != nil {
			return err
		}
		return m.record(tx, o, by, Step{What: "guest_invited", Why: g.Name}, nil)
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/work-orders/"+o.ID+"/guests/"+g.ID, g), nil
}

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

func (m *Module) uninvite(r *route.Request, o Order) (any, error) {
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		n, err := tx.ExecCount(`DELETE FROM workorders_guests WHERE id = ? AND workorder = ?`, r.PathValue("guest"), o.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return route.ErrNotFound
		}
		return m.record(tx, o, by, Step{What: "guest_uninvited"}, nil)
	})
	return nil, err
}

// join lets a guest in, and notes when that was the first time.
func (m *Module) join(ctx context.Context, order, raw string) (Guest, error) {
	var g Guest
	err := m.db.Update(ctx, func(tx *store.Tx) (err error) {
		g, err = scanGuest(tx.QueryRow(`SELECT `+guestColumns+` FROM workorders_guests WHERE hash = ? AND workorder = ?`, hashOf(raw), order))
		if err != nil {
			return missing(err)
		}
		if !m.now().Before(g.ExpiresAt) {
			return route.Problem(http.StatusGone, "the invitation has expired; ask for another one")
		}
		if !g.JoinedAt.IsZero() {
			return nil
		}
		g.JoinedAt = m.now()
		return tx.Exec(`UPDATE workorders_guests SET joined = ? WHERE id = ?`, store.Millis(g.JoinedAt), g.ID)
	})
	return g, err
}
