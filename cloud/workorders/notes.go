package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
)

// Note is something said about an order.
type Note struct {
	ID       string    `json:"id"`
	Author   string    `json:"author"` // id of a user, or guest:ID
	Name     string    `json:"name"`
	Text     string    `json:"text"`     // empty when deleted
	Mentions []string  `json:"mentions"` // ids of users
	At       time.Time `json:"at"`
	EditedAt time.Time `json:"edited_at,omitzero"`
	Deleted  bool      `json:"deleted,omitempty"`
}

// The bounds of notes.
const (
	maxNote    = 8000 // bytes
	editWithin = 15 * time.Minute
)

const noteColumns = `id, author, author_name, text, mentions, at, edited, deleted`

func scanNote(row interface{ Scan(...any) error }) (Note, error) {
	var n Note
	var mentions string
	var at, edited, deleted int64
	if err := row.Scan(&n.ID, &n.Author, &n.Name, &n.Text, &mentions, &at, &edited, &deleted); err != nil {
		return n, err
	}
	n.At, n.EditedAt, n.Deleted = store.FromMillis(at), store.FromMillis(edited), deleted != 0
	return n, json.Unmarshal([]byte(mentions), &n.Mentions)
}

// notes lists at most limit notes since a time, those after the cursor, oldest first.
func (m *Module) notes(ctx context.Context, order, after string, since time.Time, limit int) ([]Note, error) {
	const query = `SELECT ` + noteColumns + ` FROM workorders_notes WHERE workorder = ? AND id > ? AND at >= ? ORDER BY id LIMIT ?`
	rows, err := m.db.Query(ctx, query, order, after, store.Millis(since), limit)
	return store.Collect(rows, err, func(r *sql.Rows) (Note, error) { return scanNote(r) })
}

// listNotes answers GET …/notes, oldest first; ?after= is the id of the last one seen.
func (m *Module) listNotes(r *route.Request, o Order) (any, error) {
	limit := page
	if s := r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostPage {
			return nil, route.Problem(http.StatusBadRequest, "limit %q: want 1 to %d", s, mostPage)
		}
		limit = n
	}
	notes, err := m.notes(r.Context(), o.ID, r.URL.Query().Get("after"), time.Time{}, limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(notes) > limit {
		notes = notes[:limit]
		next = notes[limit-1].ID
	}
	return map[string]any{"notes": orEmpty(notes), "next": next}, nil
}

// noting is the body of POST and PATCH of notes.
type noting struct {
	Text     string   `json:"text"`     // with @mentions: e-mail address, its part before the @, or name without spaces
	Mentions []string `json:"mentions"` // ids of users who are meant besides
}

func (n *noting) check() error {
	n.Text = strings.TrimSpace(n.Text)
	if n.Text == "" || len(n.Text) > maxNote || len(n.Mentions) > maxList {
		return route.Problem(http.StatusUnprocessableEntity, "text: want 1 to %d bytes", maxNote)
	}
	return nil
}

func (m *Module) postNote(r *route.Request, o Order) (any, error) {
	var in noting
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	n, err := m.write(r.Context(), &o, in, actorOf(r, o.Domain))
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/work-orders/"+o.ID+"/notes/"+n.ID, n), nil
}

// write stores a note and tells those who are mentioned.
func (m *Module) write(ctx context.Context, o *Order, in noting, by actor) (Note, error) {
	if err := in.check(); err != nil {
		return Note{}, err
	}
	mentions, err := m.mentioned(ctx, o.Domain, in)
	if err != nil {
		return Note{}, err
	}
	n := Note{ID: newID(), Author: by.id, Name: by.name, Text: in.Text, Mentions: mentions, At: m.now()}
	_, err = m.change(ctx, o.ID, 0, func(tx *store.Tx, o *Order) error {
		list, err := json.Marshal(n.Mentions)
		if err != nil {
			return err
		}
		const insert = `INSERT INTO workorders_notes (workorder, ` + noteColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)`
		if err := tx.Exec(insert, o.ID, n.ID, n.Author, n.Name, n.Text, string(list), store.Millis(n.At)); err != nil {
			return err
		}
		if err := m.logNote(tx, o, by, "note", n); err != nil {
			return err
		}
		text := by.name + ": " + shorten(n.Text)
		return m.notify(tx, o, by, slices.Clone(n.Mentions), notice{kind: "mention", text: text, key: n.ID})
	})
	return n, err
}

// logNote puts a note where chats look, and into the events.
func (m *Module) logNote(tx *store.Tx, o *Order, by actor, what string, n Note) error {
	if err := tx.Exec(`INSERT INTO workorders_notelog (workorder, note, what) VALUES (?, ?, ?)`, o.ID, n.ID, what); err != nil {
		return err
	}
	return m.tell(tx, o, what, by, Change{Detail: n})
}

func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

var mentionPattern = regexp.MustCompile(`(?:^|[\s(,;])@([\pL\pN._%+-]+(?:@[A-Za-z0-9.-]*[A-Za-z0-9])?)`)

// mentioned finds the users whom a note means. A name that fits nobody, or more than one, is
// text like any other.
func (m *Module) mentioned(ctx context.Context, domain string, in noting) ([]string, error) {
	words := mentionPattern.FindAllStringSubmatch(in.Text, maxList)
	if len(words)+len(in.Mentions) == 0 || !m.accounts() {
		return []string{}, nil
	}
	people, err := m.people(ctx, domain, token.Viewer)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, id := range in.Mentions {
		if !slices.Contains(ids(people), id) {
			return nil, route.Problem(http.StatusUnprocessableEntity, "mention %q may not see this work order", id)
		}
		out = append(out, id)
	}
	for _, w := range words {
		out = append(out, meant(people, strings.TrimRight(w[1], ".-_%+")))
	}
	return tidy(out), nil
}

// meant is the id of the one person whom a word names; empty when it is none or several.
func meant(people []Person, word string) string {
	found := ""
	for _, p := range people {
		local, _, _ := strings.Cut(p.Email, "@")
		name := strings.ReplaceAll(p.Name, " ", "")
		if !strings.EqualFold(word, p.Email) && !strings.EqualFold(word, local) && !strings.EqualFold(word, name) && word != p.ID {
			continue
		}
		if strings.EqualFold(word, p.Email) || word == p.ID {
			return p.ID
		}
		if found != "" {
			return ""
		}
		found = p.ID
	}
	return found
}

// own reads a note that the caller may still change.
func (m *Module) own(tx *store.Tx, o *Order, id string, by actor) (Note, error) {
	n, err := scanNote(tx.QueryRow(`SELECT `+noteColumns+` FROM workorders_notes WHERE id = ? AND workorder = ?`, id, o.ID))
	switch {
	case err != nil:
		return n, missing(err)
	case n.Deleted:
		return n, route.ErrNotFound
	case n.Author != by.id:
		return n, route.Problem(http.StatusForbidden, "it is somebody else's note")
	case m.now().Sub(n.At) > editWithin:
		return n, route.Problem(http.StatusConflict, "a note can be changed for 15 minutes; write another one")
	}
	return n, nil
}

// editNote answers PATCH …/notes/{note}. Who is mentioned now for the first time is told.
func (m *Module) editNote(r *route.Request, o Order) (any, error) {
	var in noting
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	mentions, err := m.mentioned(r.Context(), o.Domain, in)
	if err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	var n Note
	_, err = m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) (err error) {
		if n, err = m.own(tx, o, r.PathValue("note"), by); err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(mentions), func(id string) bool { return slices.Contains(n.Mentions, id) })
		before := n.Text
		n.Text, n.Mentions, n.EditedAt = in.Text, mentions, m.now()
		if err := putNote(tx, n, 0); err != nil {
			return err
		}
		if err := addStep(tx, o, Step{At: n.EditedAt, By: by.id, Name: by.name, What: "note_edited", Why: "it was: " + before}); err != nil {
			return err
		}
		if err := m.logNote(tx, o, by, "note_edited", n); err != nil {
			return err
		}
		return m.notify(tx, o, by, fresh, notice{kind: "mention", text: by.name + ": " + shorten(n.Text), key: n.ID})
	})
	return n, err
}

func putNote(tx *store.Tx, n Note, deleted int64) error {
	list, err := json.Marshal(orEmpty(n.Mentions))
	if err != nil {
		return err
	}
	const update = `UPDATE workorders_notes SET text = ?, mentions = ?, edited = ?, deleted = ? WHERE id = ?`
	return tx.Exec(update, n.Text, string(list), store.Millis(n.EditedAt), deleted, n.ID)
}

// deleteNote answers DELETE …/notes/{note}; that there was one stays to be seen.
func (m *Module) deleteNote(r *route.Request, o Order) (any, error) {
	by := actorOf(r, o.Domain)
	_, err := m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		n, err := m.own(tx, o, r.PathValue("note"), by)
		if err != nil {
			return err
		}
		now := edge.Millis(m.now())
		if err := addStep(tx, o, Step{At: now, By: by.id, Name: by.name, What: "note_deleted", Why: "it was: " + n.Text}); err != nil {
			return err
		}
		n.Text, n.Mentions, n.Deleted = "", []string{}, true
		if err := putNote(tx, n, store.Millis(now)); err != nil {
			return err
		}
		return m.logNote(tx, o, by, "note_deleted", n)
	})
	return nil, err
}
